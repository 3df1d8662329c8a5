//! The fields that the events of several doors have in common.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;

/// The account id of the local cloud.
pub(super) const ACCOUNT_ID: &str = "123456789012";

/// Inserts a field, unless it is `None`.
pub(super) fn insert_if_some(event: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        event.insert(name.to_owned(), value);
    }
}

/// The time of a request in API Gateway's format.
pub(super) fn clock() -> String {
    let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}

/// Headers with names in lower case and repeated fields joined by commas; and the cookies.
pub(super) fn join_headers(headers: &HeaderMap) -> (BTreeMap<String, String>, Vec<String>) {
    let mut joined = BTreeMap::<String, String>::new();
    let mut cookies = Vec::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == http::header::COOKIE {
            cookies.extend(value.split(';').map(|cookie| cookie.trim().to_owned()).filter(|cookie| !cookie.is_empty()));
            continue;
        }
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|first| {
                first.push(',');
                first.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    (joined, cookies)
}

/// The values of each header, with names in lower case.
pub(super) fn all_headers(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        all.entry(name.as_str().to_owned()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    all
}

/// The last value of each name.
pub(super) fn last_values(all: &BTreeMap<String, Vec<String>>) -> BTreeMap<&str, &str> {
    all.iter().filter_map(|(name, values)| Some((name.as_str(), values.last()?.as_str()))).collect()
}

/// The values of each query parameter as the viewer sent them.
pub(super) fn raw_parameters(query: &str) -> BTreeMap<String, Vec<String>> {
    parameters(query, str::to_owned)
}

/// The decoded values of each query parameter.
pub(super) fn decoded_parameters(query: &str) -> BTreeMap<String, Vec<String>> {
    parameters(query, |text| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

fn parameters(query: &str, decode: impl Fn(&str) -> String) -> BTreeMap<String, Vec<String>> {
    let mut parameters = BTreeMap::<String, Vec<String>>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(decode(name)).or_default().push(decode(value));
    }
    parameters
}

/// Whether a body of this type is passed as text. Any other body is encoded as base64.
///
/// HTTP APIs and load balancers have the same list of types.
pub(super) fn is_text(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return true;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || matches!(essence.as_str(), "application/json" | "application/javascript" | "application/xml")
}

/// The body as a string of the event, and whether that string is base64.
pub(super) fn body_text(body: &Bytes, text: bool) -> (String, bool) {
    match std::str::from_utf8(body) {
        Ok(body) if text || body.is_empty() => (body.to_owned(), false),
        _ => (base64_simd::STANDARD.encode_to_string(body), true),
    }
}
