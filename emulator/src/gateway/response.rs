//! Function response → HTTP response, as API Gateway builds it (HTTP API, payload format 2.0).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

/// The body of the 500 when the function fails or returns an invalid response.
pub const INTERNAL_SERVER_ERROR: &str = r#"{"message":"Internal Server Error"}"#;

/// Fields of one connection, which an intermediary removes (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// The name that WWW-Authenticate gets.
const REMAPPED: HeaderName = HeaderName::from_static("x-amzn-remapped-www-authenticate");

/// Renames WWW-Authenticate, as function URLs do.
///
/// AWS documents this only for REST APIs
/// ([known issues](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html)); several
/// projects report it of function URLs. HTTP APIs are reported to pass the field.
pub fn remap(mut response: Response<Bytes>) -> Response<Bytes> {
    let headers = response.headers_mut();
    let values: Vec<HeaderValue> = headers.get_all(WWW_AUTHENTICATE).iter().cloned().collect();
    headers.remove(WWW_AUTHENTICATE);
    for value in values {
        headers.append(REMAPPED, value);
    }
    response
}

/// Converts a function response to HTTP.
///
/// # Errors
/// Describes the first invalid field. The viewer receives a 500.
pub fn to_response(payload: &[u8]) -> Result<Response<Bytes>, String> {
    let payload: Value =
        serde_json::from_slice(payload).map_err(|error| format!("the function response is not JSON: {error}"))?;
    match payload {
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
    *response.status_mut() = status(fields.get("statusCode"))?;
    match fields.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(headers)) => {
            for (name, value) in headers {
                let value = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(_) | Value::Bool(_) => value.to_string(),
                    _ => return Err(format!("header {name}: expected a string, found {value}")),
                };
                let name: HeaderName = name.parse().map_err(|_| format!("invalid header name {name:?}"))?;
                if !HOP_BY_HOP.contains(&name.as_str()) {
                    response.headers_mut().insert(name.clone(), header_value(&name, &value)?);
                }
            }
        }
        Some(_) => return Err("headers: expected an object".to_owned()),
    }
    match fields.get("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Array(cookies)) => {
            for cookie in cookies {
                let cookie = cookie.as_str().ok_or("cookies: expected strings")?;
                response.headers_mut().append(SET_COOKIE, header_value(&SET_COOKIE, cookie)?);
            }
        }
        Some(_) => return Err("cookies: expected a list".to_owned()),
    }
    let encoded = match fields.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(encoded)) => *encoded,
        Some(_) => return Err("isBase64Encoded: expected true or false".to_owned()),
    };
    *response.body_mut() = match fields.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if encoded => base64_simd::STANDARD
            .decode_to_vec(text)
            .map_err(|_| "body: expected base64, because isBase64Encoded is true".to_owned())?
            .into(),
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(_) => return Err("body: expected a string".to_owned()),
    };
    // 204 and 304 have no content, so they have no content type (RFC 9110 §15.3.5, §15.4.5).
    if !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        response.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain;charset=UTF-8"));
    }
    Ok(response)
}

fn status(value: Option<&Value>) -> Result<StatusCode, String> {
    let number = match value {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| (200..=599).contains(number))
        .and_then(|number| StatusCode::from_u16(number).ok())
        .ok_or_else(|| format!("statusCode: expected 200 to 599, found {}", value.unwrap_or(&Value::Null)))
}

fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| format!("header {name}: invalid header value"))
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn only_a_function_url_renames_www_authenticate() {
        let payload = json!({"statusCode": 401, "headers": {"WWW-Authenticate": "Bearer", "X-A": "1"}});
        assert_eq!(respond(payload.clone()).headers()["www-authenticate"], "Bearer");
        let renamed = remap(respond(payload));
        assert!(!renamed.headers().contains_key("www-authenticate"));
        assert_eq!(renamed.headers()["x-amzn-remapped-www-authenticate"], "Bearer");
        assert_eq!((renamed.status(), &renamed.headers()["x-a"]), (StatusCode::UNAUTHORIZED, &"1".parse().unwrap()));
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
