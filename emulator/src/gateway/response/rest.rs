//! The response of a REST API, with payload format 1.0.
//!
//! [Output format](https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html#api-gateway-simple-proxy-for-lambda-output-format).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, SERVER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Response};
use serde_json::Value;

use crate::gateway::response::field;

/// The fields of a function that a REST API renames. AWS lists more that "may be remapped"; these were observed in responses.
const REMAPPED: [HeaderName; 4] = [CONTENT_LENGTH, DATE, SERVER, WWW_AUTHENTICATE];

/// Converts a function response to HTTP. The API has the binary media type `*/*`, so each base64 body is decoded.
///
/// # Errors
/// Describes the first invalid field. The viewer receives a 502.
pub fn to_response(payload: &[u8]) -> Result<Response<Bytes>, String> {
    let Value::Object(fields) = field::parse(payload)? else {
        return Err("the function response is not an object".to_owned());
    };
    let mut response = Response::new(field::body(&fields)?);
    *response.status_mut() = field::status(fields.get("statusCode"))?;
    field::insert_headers(response.headers_mut(), fields.get("headers"))?;
    field::merge_multi_value_headers(response.headers_mut(), fields.get("multiValueHeaders"))?;
    remap(response.headers_mut());
    field::default_type(&mut response, "application/json");
    Ok(response)
}

/// Renames the fields that REST APIs rename.
pub(super) fn remap(headers: &mut HeaderMap) {
    for name in &REMAPPED {
        field::remap(headers, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn respond(payload: &Value) -> Response<Bytes> {
        to_response(payload.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn headers_and_multi_value_headers_are_merged() {
        let response = respond(&json!({
            "statusCode": 200,
            "headers": {"X-A": "1", "X-B": "2", "connection": "close"},
            "multiValueHeaders": {"x-a": ["1", "3"], "set-cookie": ["a=1", "b=2"]},
            "body": "hi",
        }));
        let values = |name: &str| response.headers().get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(values("x-a"), ["1", "3"], "a value in both fields appears once");
        assert_eq!(values("x-b"), ["2"]);
        assert_eq!(values("set-cookie"), ["a=1", "b=2"]);
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.body(), "hi");
    }

    #[test]
    fn a_base64_body_is_decoded_byte_for_byte() {
        let response = respond(&json!({"statusCode": 200, "isBase64Encoded": true, "body": "/wD+"}));
        assert_eq!(response.body().as_ref(), b"\xff\x00\xfe");
    }

    #[test]
    fn some_fields_are_renamed() {
        let headers =
            json!({"WWW-Authenticate": "Bearer", "Content-Length": "5", "Date": "now", "Server": "s", "age": 1});
        let response = respond(&json!({"statusCode": 401, "headers": headers}));
        for (name, value) in [("www-authenticate", "Bearer"), ("content-length", "5"), ("date", "now"), ("server", "s")]
        {
            assert!(!response.headers().contains_key(name), "{name}");
            assert_eq!(response.headers()[&format!("x-amzn-remapped-{name}")], value);
        }
        assert_eq!(response.headers()["age"], "1");
    }

    #[test]
    fn a_response_without_content_has_no_type() {
        assert!(!respond(&json!({"statusCode": 304})).headers().contains_key("content-type"));
    }

    #[test]
    fn an_invalid_response_is_an_error_that_names_the_field() {
        for (payload, field) in [
            ("nonsense", "not JSON"),
            (r#""text""#, "not an object"),
            (r#"{"body":"x"}"#, "statusCode"),
            (r#"{"statusCode":"abc"}"#, "statusCode"),
            (r#"{"statusCode":200,"headers":{"a":["x"]}}"#, "header a"),
            (r#"{"statusCode":200,"multiValueHeaders":{"a":"x"}}"#, "multiValueHeaders a"),
            (r#"{"statusCode":200,"multiValueHeaders":[]}"#, "multiValueHeaders"),
            (r#"{"statusCode":200,"body":{}}"#, "body"),
            (r#"{"statusCode":200,"body":"%%","isBase64Encoded":true}"#, "base64"),
        ] {
            let error = to_response(payload.as_bytes()).unwrap_err();
            assert!(error.contains(field), "{payload}: {error}");
        }
    }
}
