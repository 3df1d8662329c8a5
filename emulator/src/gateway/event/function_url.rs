//! The event of a function URL, with payload format 2.0.
//!
//! [Request and response payloads](https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads).

use serde_json::{Value, json};

use crate::gateway::door::Api;
use crate::gateway::event::field;
use crate::gateway::event::format_2;
use crate::gateway::event::received::ReceivedRequest;

/// Builds the event of a request. Its path stays percent-encoded.
pub fn build(api: &Api, request: &ReceivedRequest<'_>) -> Value {
    let ReceivedRequest { parts, signed_by, .. } = *request;
    let path = parts.uri.path();
    let mut event = format_2::build(api, request, path, "$default");
    let context = &mut event["requestContext"];
    context["accountId"] = json!(if signed_by.is_some() { field::ACCOUNT_ID } else { "anonymous" });
    context["authentication"] = Value::Null;
    if let Some(access_key) = signed_by {
        context["authorizer"] = json!({"iam": iam(access_key)});
    }
    event
}

/// The caller. AWS does not document the values for the service principal of CloudFront.
fn iam(access_key: &str) -> Value {
    json!({
        "accessKey": access_key,
        "accountId": field::ACCOUNT_ID,
        "callerId": access_key,
        "cognitoIdentity": null,
        "principalOrgId": null,
        "userArn": format!("arn:aws:sts::{}:assumed-role/OriginAccessControlRole/EdgeCredentialsProxy", field::ACCOUNT_ID),
        "userId": access_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::door::Door;
    use bytes::Bytes;
    use std::net::Ipv4Addr;

    fn event(request: http::request::Builder, body: &'static [u8], signed_by: Option<&str>) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let door = Door::FunctionUrl { streaming: None, origin_access_control: signed_by.is_some() };
        let api = Api::new("local", "x", "$default", door);
        let body = Bytes::from_static(body);
        let (source_ip, request_id) = (Ipv4Addr::LOCALHOST.into(), "id");
        build(&api, &ReceivedRequest { parts: &parts, body: &body, source_ip, request_id, signed_by })
    }

    #[test]
    fn a_function_url_keeps_the_path_encoded() {
        for path in ["/a%20b%3F%ff", "/a%2Fb", "//x/../y", "/a+b", "/"] {
            let event = event(http::Request::builder().uri(path), b"", None);
            assert_eq!(event["rawPath"], json!(path));
            assert_eq!(event["requestContext"]["http"]["path"], json!(path));
            assert_eq!(event.get("pathParameters"), None, "{path}");
        }
    }

    #[test]
    fn queries_headers_and_cookies_are_those_of_payload_format_2() {
        let request = http::Request::builder()
            .uri("/x?a=1&b=%20&a=2+3&c")
            .header("X-A", "1")
            .header("x-a", "2")
            .header("cookie", "x=1; y=2");
        let event = event(request, b"", None);
        assert_eq!(event["rawQueryString"], json!("a=1&b=%20&a=2+3&c"));
        assert_eq!(event["queryStringParameters"], json!({"a": "1,2 3", "b": " ", "c": ""}));
        assert_eq!((&event["headers"], &event["cookies"]), (&json!({"x-a": "1,2"}), &json!(["x=1", "y=2"])));
    }

    #[test]
    fn only_a_signed_request_has_an_authorizer() {
        let request = || http::Request::builder().uri("/");
        let anonymous = event(request(), b"", None);
        assert_eq!(anonymous["requestContext"]["accountId"], json!("anonymous"));
        assert_eq!(anonymous["requestContext"].get("authorizer"), None);
        let signed = event(request(), b"", Some("AKID"));
        assert_eq!(signed["requestContext"]["accountId"], json!("123456789012"));
        assert_eq!(signed["requestContext"]["authorizer"]["iam"]["accessKey"], json!("AKID"));
    }

    #[test]
    fn a_binary_body_is_base64() {
        let request = http::Request::builder().method("POST").uri("/").header("content-type", "image/png");
        let event = event(request, b"hi", None);
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("aGk="), &json!(true)));
    }
}
