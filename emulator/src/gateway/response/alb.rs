//! The response of an Application Load Balancer.
//!
//! [Respond to the load balancer](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html#respond-to-load-balancer).

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::gateway::response::field;

/// Converts a function response to HTTP. With multi-value headers only `multiValueHeaders` counts, otherwise only `headers`.
///
/// # Errors
/// Describes the first invalid field. The viewer receives a 502.
pub fn to_response(payload: &[u8], multi_value: bool) -> Result<Response<Bytes>, String> {
    let Value::Object(fields) = field::parse(payload)? else {
        return Err("the function response is not an object".to_owned());
    };
    if !matches!(fields.get("statusDescription"), None | Some(Value::Null | Value::String(_))) {
        return Err("statusDescription: expected a string".to_owned());
    }
    let mut response = Response::new(field::body(&fields)?);
    *response.status_mut() = field::status(fields.get("statusCode"))?;
    if multi_value {
        field::merge_multi_value_headers(response.headers_mut(), fields.get("multiValueHeaders"))?;
    } else {
        field::insert_headers(response.headers_mut(), fields.get("headers"))?;
    }
    field::default_type(&mut response, "application/octet-stream");
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_headers_of_the_target_groups_setting_count() {
        let payload = json!({
            "statusCode": 200,
            "statusDescription": "200 OK",
            "headers": {"x-single": "1", "content-type": "text/plain"},
            "multiValueHeaders": {"x-multi": ["1", "2"], "set-cookie": ["a=1", "b=2"]},
            "body": "hi",
        });
        let headers = |multi_value| {
            let response = to_response(payload.to_string().as_bytes(), multi_value).unwrap();
            let count = |name: &str| response.headers().get_all(name).iter().count();
            let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
            (count("x-single"), count("x-multi"), count("set-cookie"), content_type)
        };
        assert_eq!(headers(false), (1, 0, 0, "text/plain".to_owned()));
        assert_eq!(headers(true), (0, 2, 2, "application/octet-stream".to_owned()));
    }

    #[test]
    fn a_base64_body_is_decoded_byte_for_byte() {
        let payload = json!({"statusCode": 200, "isBase64Encoded": true, "body": "/wD+"}).to_string();
        assert_eq!(to_response(payload.as_bytes(), false).unwrap().body().as_ref(), b"\xff\x00\xfe");
    }

    #[test]
    fn an_invalid_response_is_an_error_that_names_the_field() {
        for (payload, multi_value, field) in [
            ("nonsense", false, "not JSON"),
            (r#""text""#, false, "not an object"),
            (r#"{"body":"x"}"#, false, "statusCode"),
            (r#"{"statusCode":200,"statusDescription":1}"#, false, "statusDescription"),
            (r#"{"statusCode":200,"headers":[]}"#, false, "headers"),
            (r#"{"statusCode":200,"multiValueHeaders":{"a":"x"}}"#, true, "multiValueHeaders a"),
            (r#"{"statusCode":200,"body":"%%","isBase64Encoded":true}"#, false, "base64"),
        ] {
            let error = to_response(payload.as_bytes(), multi_value).unwrap_err();
            assert!(error.contains(field), "{payload}: {error}");
        }
    }
}
