//! HTTP request → Lambda event, as API Gateway builds it (HTTP API, payload format 2.0).
//!
//! [Payload format](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).
//! The table in `emulator/README.md` lists undocumented behaviour, with the places where it was observed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::identity;

/// The API as its events describe it.
#[derive(Debug, Clone)]
pub struct Api {
    /// The API's id, the first label of its domain name.
    pub id: String,
    /// The API's domain name.
    pub domain_name: String,
    /// `$default`, or the name of a stage, which prefixes every path.
    pub stage: String,
    /// The service that builds the events.
    pub endpoint: Endpoint,
}

/// The service in front of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// An HTTP API of API Gateway.
    #[default]
    HttpApi,
    /// A function URL of Lambda: its paths stay encoded, and it renames WWW-Authenticate.
    FunctionUrl,
}

/// Why API Gateway rejects a request without invoking the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unroutable {
    /// The path is not percent-encoded UTF-8.
    BadPath,
    /// The path does not start with the named stage.
    NoRoute,
}

/// Builds the event of a request.
///
/// # Errors
/// If the path cannot be decoded or has no route.
pub fn build(
    api: &Api,
    request: &Parts,
    body: &Bytes,
    source_ip: IpAddr,
    request_id: &str,
) -> Result<Value, Unroutable> {
    let path = match api.endpoint {
        Endpoint::HttpApi => decode_path(request.uri.path()).ok_or(Unroutable::BadPath)?,
        Endpoint::FunctionUrl => request.uri.path().to_owned(),
    };
    let proxied = if api.stage == "$default" {
        path.as_str()
    } else {
        let rest = path.strip_prefix('/').and_then(|rest| rest.strip_prefix(api.stage.as_str()));
        rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).ok_or(Unroutable::NoRoute)?
    };
    let query = request.uri.query().unwrap_or_default();
    let (headers, cookies) = join_headers(&request.headers);
    let now = OffsetDateTime::now_utc();
    let clock = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let content_type = request.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let (body, encoded) = body_text(body, is_text(content_type));
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": api.id,
            "domainName": api.domain_name,
            "domainPrefix": api.id,
            "http": {
                "method": request.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": api.stage,
            "time": now.format(clock).unwrap_or_default(),
            "timeEpoch": identity::now_ms(),
        },
        "isBase64Encoded": encoded,
    });
    if let Some(event) = event.as_object_mut() {
        insert_if_some(event, "cookies", (!cookies.is_empty()).then(|| json!(cookies)));
        insert_if_some(event, "queryStringParameters", query_parameters(query).map(|parameters| json!(parameters)));
        let proxy = proxied.trim_start_matches('/');
        insert_if_some(event, "pathParameters", (!proxy.is_empty()).then(|| json!({"proxy": proxy})));
        insert_if_some(event, "body", (!body.is_empty()).then(|| json!(body)));
    }
    Ok(event)
}

fn insert_if_some(event: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        event.insert(name.to_owned(), value);
    }
}

/// Decodes the path once and cuts it at the first decoded `?`.
fn decode_path(path: &str) -> Option<String> {
    let mut decoded = percent_decode_str(path).decode_utf8().ok()?.into_owned();
    if let Some(end) = decoded.find('?') {
        decoded.truncate(end);
    }
    Some(decoded)
}

/// Headers with names in lower case and repeated fields joined by commas; and the cookies.
fn join_headers(headers: &HeaderMap) -> (BTreeMap<String, String>, Vec<String>) {
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

/// Decoded query parameters, repeated ones joined by commas; `None` without a query.
fn query_parameters(query: &str) -> Option<BTreeMap<String, String>> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut parameters = BTreeMap::<String, String>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        parameters
            .entry(decode(name))
            .and_modify(|first| {
                first.push(',');
                first.push_str(&value);
            })
            .or_insert(value);
    }
    (!parameters.is_empty()).then_some(parameters)
}

/// Whether an HTTP API passes a body of this type as text. It encodes all other bodies as base64.
fn is_text(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || matches!(essence.as_str(), "application/json" | "application/javascript" | "application/xml")
}

/// The body as a string of the event, and whether that string is base64.
fn body_text(body: &Bytes, text: bool) -> (String, bool) {
    match std::str::from_utf8(body) {
        Ok(body) if text || body.is_empty() => (body.to_owned(), false),
        _ => (base64_simd::STANDARD.encode_to_string(body), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn event_of(request: http::request::Builder, body: &'static [u8], stage: &str) -> Result<Value, Unroutable> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let api = Api {
            id: "local".into(),
            domain_name: "local.execute-api.x".into(),
            stage: stage.into(),
            endpoint: Endpoint::HttpApi,
        };
        build(&api, &parts, &Bytes::from_static(body), Ipv4Addr::LOCALHOST.into(), "id")
    }

    fn event(uri: &str) -> Value {
        event_of(http::Request::builder().uri(uri), b"", "$default").unwrap()
    }

    #[test]
    fn the_path_is_decoded_once_and_cut_at_a_decoded_question_mark() {
        for (uri, path) in [
            ("/a%20b", "/a b"),
            ("/a+b", "/a+b"),
            ("/100%2525", "/100%25"),
            ("/a%2Fb", "/a/b"),
            ("/a%3Fb/c", "/a"),
            ("/%E6%97%A5", "/日"),
            ("//x/../y", "//x/../y"),
            ("/a%23b", "/a#b"),
        ] {
            assert_eq!(event(uri)["rawPath"], json!(path), "{uri}");
        }
        let bad = event_of(http::Request::builder().uri("/%ff"), b"", "$default");
        assert_eq!(bad.unwrap_err(), Unroutable::BadPath);
    }

    #[test]
    fn a_function_url_keeps_the_path_encoded() {
        let (parts, ()) = http::Request::builder().uri("/a%20b%3F%ff").body(()).unwrap().into_parts();
        let (id, domain_name, stage) = ("local".into(), "local.lambda-url.x.on.aws".into(), "$default".into());
        let api = Api { id, domain_name, stage, endpoint: Endpoint::FunctionUrl };
        let event = build(&api, &parts, &Bytes::new(), Ipv4Addr::LOCALHOST.into(), "id").unwrap();
        assert_eq!(event["rawPath"], json!("/a%20b%3F%ff"));
    }

    #[test]
    fn the_query_stays_encoded_and_its_parameters_are_decoded() {
        let event = event("/x?a=1&b=%20&a=2+3&c");
        assert_eq!(event["rawQueryString"], json!("a=1&b=%20&a=2+3&c"));
        assert_eq!(event["queryStringParameters"], json!({"a": "1,2 3", "b": " ", "c": ""}));
    }

    #[test]
    fn repeated_headers_are_joined_and_cookies_are_separate() {
        let request = http::Request::builder()
            .uri("/")
            .header("Lambda_Auth", "a")
            .header("lambda_auth", "b")
            .header("cookie", "x=1; y=2");
        let event = event_of(request, b"", "$default").unwrap();
        assert_eq!(event["headers"], json!({"lambda_auth": "a,b"}));
        assert_eq!(event["cookies"], json!(["x=1", "y=2"]));
    }

    #[test]
    fn a_path_outside_the_named_stage_has_no_route() {
        let at = |uri: &str| event_of(http::Request::builder().uri(uri), b"", "prod");
        assert_eq!(at("/prod/x").unwrap()["rawPath"], json!("/prod/x"));
        assert_eq!(at("/prod/x").unwrap()["pathParameters"], json!({"proxy": "x"}));
        assert_eq!(at("/x").unwrap_err(), Unroutable::NoRoute);
        assert_eq!(at("/production").unwrap_err(), Unroutable::NoRoute);
    }

    #[test]
    fn a_text_body_is_text_and_any_other_is_base64() {
        let post = |content_type: &str, body| {
            event_of(
                http::Request::builder().method("POST").uri("/").header("content-type", content_type),
                body,
                "$default",
            )
            .unwrap()
        };
        let text = post("text/plain; charset=utf-8", b"hi");
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("hi"), &json!(false)));
        let binary = post("image/png", b"hi");
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("aGk="), &json!(true)));
        assert_eq!(event("/").get("body"), None);
    }
}
