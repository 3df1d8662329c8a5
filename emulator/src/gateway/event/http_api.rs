//! The event of an HTTP API, with payload format 2.0.
//!
//! [Payload format](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::gateway::door::Api;
use crate::gateway::event::field;
use crate::gateway::event::format_2;
use crate::gateway::event::received::{ReceivedRequest, Unroutable};

/// Builds the event of a request.
///
/// # Errors
/// If the path cannot be decoded or has no route.
pub fn build(api: &Api, request: &ReceivedRequest<'_>) -> Result<Value, Unroutable> {
    let parts = request.parts;
    let path = decode_path(parts.uri.path()).ok_or(Unroutable::BadPath)?;
    let proxied = api.proxied(&path).ok_or(Unroutable::NoRoute)?;
    let mut event = format_2::build(api, request, &path, &api.stage);
    let proxy = proxied.trim_start_matches('/');
    if let Some(event) = event.as_object_mut() {
        field::insert_if_some(event, "pathParameters", (!proxy.is_empty()).then(|| json!({"proxy": proxy})));
    }
    Ok(event)
}

/// Decodes the path once and cuts it at the first decoded `?`.
fn decode_path(path: &str) -> Option<String> {
    let mut decoded = percent_decode_str(path).decode_utf8().ok()?.into_owned();
    if let Some(end) = decoded.find('?') {
        decoded.truncate(end);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::door::Door;
    use bytes::Bytes;
    use std::net::Ipv4Addr;

    fn event_of(request: http::request::Builder, body: &'static [u8], stage: &str) -> Result<Value, Unroutable> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let api = Api::new("local", "x", stage, Door::HttpApi);
        let body = Bytes::from_static(body);
        let (source_ip, request_id) = (Ipv4Addr::LOCALHOST.into(), "id");
        build(&api, &ReceivedRequest { parts: &parts, body: &body, source_ip, request_id, signed_by: None })
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
