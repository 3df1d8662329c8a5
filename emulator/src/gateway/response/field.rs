//! The fields that the function responses of several doors have in common.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

/// Fields of one connection, which an intermediary removes (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Parses a function response.
pub(super) fn parse(payload: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(payload).map_err(|error| format!("the function response is not JSON: {error}"))
}

/// The status, a number or a string.
pub(super) fn status(value: Option<&Value>) -> Result<StatusCode, String> {
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

/// Inserts the fields of `headers`, except those of one connection.
pub(super) fn insert_headers(headers: &mut HeaderMap, fields: Option<&Value>) -> Result<(), String> {
    for (name, value) in object("headers", fields)? {
        let (name, value) = (header_name(name)?, header_text(name, value)?);
        if !HOP_BY_HOP.contains(&name.as_str()) {
            let value = header_value(&name, &value)?;
            headers.insert(name, value);
        }
    }
    Ok(())
}

/// Appends the fields of `multiValueHeaders`. A value that a name already has is not repeated.
pub(super) fn merge_multi_value_headers(headers: &mut HeaderMap, fields: Option<&Value>) -> Result<(), String> {
    for (name, values) in object("multiValueHeaders", fields)? {
        let values = values.as_array().ok_or_else(|| format!("multiValueHeaders {name}: expected a list"))?;
        let header = header_name(name)?;
        for value in values {
            let value = header_value(&header, &header_text(name, value)?)?;
            let is_known = headers.get_all(&header).iter().any(|known| *known == value);
            if !HOP_BY_HOP.contains(&header.as_str()) && !is_known {
                headers.append(header.clone(), value);
            }
        }
    }
    Ok(())
}

/// Appends the cookies as Set-Cookie.
pub(super) fn append_cookies(headers: &mut HeaderMap, cookies: Option<&Value>) -> Result<(), String> {
    match cookies {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(cookies)) => cookies.iter().try_for_each(|cookie| {
            let cookie = cookie.as_str().ok_or("cookies: expected strings")?;
            headers.append(SET_COOKIE, header_value(&SET_COOKIE, cookie)?);
            Ok(())
        }),
        Some(_) => Err("cookies: expected a list".to_owned()),
    }
}

/// The body, decoded if it is base64.
pub(super) fn body(fields: &Map<String, Value>) -> Result<Bytes, String> {
    let encoded = match fields.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(encoded)) => *encoded,
        Some(_) => return Err("isBase64Encoded: expected true or false".to_owned()),
    };
    match fields.get("body") {
        None | Some(Value::Null) => Ok(Bytes::new()),
        Some(Value::String(text)) if encoded => base64_simd::STANDARD
            .decode_to_vec(text)
            .map(Into::into)
            .map_err(|_| "body: expected base64, because isBase64Encoded is true".to_owned()),
        Some(Value::String(text)) => Ok(Bytes::from(text.clone())),
        Some(_) => Err("body: expected a string".to_owned()),
    }
}

/// Sets the content type of a response that has none. 204 and 304 have no content (RFC 9110 §15.3.5, §15.4.5).
pub(super) fn default_type<B>(response: &mut Response<B>, content_type: &'static str) {
    if !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        response.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    }
}

/// Renames a field to `x-amzn-remapped-` and its name.
///
/// [Known issues](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html).
pub(super) fn remap(headers: &mut HeaderMap, name: &HeaderName) {
    let values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    if let Ok(remapped) = HeaderName::try_from(format!("x-amzn-remapped-{name}")) {
        for value in values {
            headers.append(remapped.clone(), value);
        }
    }
}

/// The entries of an object; none if it is absent.
fn object<'a>(field: &str, value: Option<&'a Value>) -> Result<Vec<(&'a str, &'a Value)>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(fields)) => Ok(fields.iter().map(|(name, value)| (name.as_str(), value)).collect()),
        Some(_) => Err(format!("{field}: expected an object")),
    }
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("invalid header name {name:?}"))
}

fn header_text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("header {name}: expected a string, found {value}")),
    }
}

fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| format!("header {name}: invalid header value"))
}
