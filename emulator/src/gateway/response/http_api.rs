//! The response of an HTTP API, with payload format 2.0.
//!
//! [Lambda function response](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html#http-api-develop-integrations-lambda.response).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde_json::{Map, Value};

use crate::gateway::response::field;

/// Converts a function response to HTTP.
///
/// # Errors
/// Describes the first invalid field. The viewer receives a 500.
pub fn to_response(payload: &[u8]) -> Result<Response<Bytes>, String> {
    match field::parse(payload)? {
        Value::Object(fields) if fields.contains_key("statusCode") => structured(&fields),
        // "If your Lambda function returns valid JSON and doesn't return a statusCode", the response is inferred.
        Value::String(text) => Ok(inferred(text.into_bytes())),
        other => Ok(inferred(other.to_string().into_bytes())),
    }
}

fn inferred(body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn structured(fields: &Map<String, Value>) -> Result<Response<Bytes>, String> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = field::status(fields.get("statusCode"))?;
    field::insert_headers(response.headers_mut(), fields.get("headers"))?;
    field::append_cookies(response.headers_mut(), fields.get("cookies"))?;
    *response.body_mut() = field::body(fields)?;
    field::default_type(&mut response, "text/plain;charset=UTF-8");
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    fn respond(payload: Value) -> Response<Bytes> {
        to_response(payload.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_structured_response_becomes_http() {
        let response = respond(json!({
            "statusCode": 404, "headers": {"X-A": "1", "n": 2, "Connection": "close"},
            "cookies": ["a=1", "b=2; Secure"], "body": "gone",
        }));
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["x-a"], "1");
        assert_eq!(response.headers()["n"], "2");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(response.headers()["content-type"], "text/plain;charset=UTF-8");
        assert_eq!(response.body(), "gone");
    }

    #[test]
    fn a_base64_body_is_decoded_byte_for_byte() {
        let response = respond(json!({"statusCode": 200, "isBase64Encoded": true, "body": "/wD+"}));
        assert_eq!(response.body().as_ref(), b"\xff\x00\xfe");
    }

    #[test]
    fn json_without_a_status_code_becomes_the_body() {
        let response = respond(json!({"hello": 1}));
        assert_eq!((response.status(), response.body().as_ref()), (StatusCode::OK, &br#"{"hello":1}"#[..]));
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(respond(json!("hi")).body(), "hi");
    }

    #[test]
    fn an_invalid_response_is_an_error_that_names_the_field() {
        for (payload, field) in [
            ("nonsense", "not JSON"),
            (r#"{"statusCode":"abc"}"#, "statusCode"),
            (r#"{"statusCode":42}"#, "statusCode"),
            (r#"{"statusCode":200,"headers":[]}"#, "headers"),
            (r#"{"statusCode":200,"headers":{"a b":"x"}}"#, "header name"),
            (r#"{"statusCode":200,"headers":{"a":"x\r\ny"}}"#, "header value"),
            (r#"{"statusCode":200,"cookies":"a=1"}"#, "cookies"),
            (r#"{"statusCode":200,"body":{}}"#, "body"),
            (r#"{"statusCode":200,"body":"%%","isBase64Encoded":true}"#, "base64"),
            (r#"{"statusCode":200,"body":"x","isBase64Encoded":"yes"}"#, "isBase64Encoded"),
        ] {
            let error = to_response(payload.as_bytes()).unwrap_err();
            assert!(error.contains(field), "{payload}: {error}");
        }
    }
}
