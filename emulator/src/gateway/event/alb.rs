//! The event of an Application Load Balancer.
//!
//! [Receive events from the load balancer](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html#receive-event-from-load-balancer).

use http::header::CONTENT_ENCODING;
use serde_json::{Value, json};

use crate::gateway::door::Api;
use crate::gateway::event::field;
use crate::gateway::event::received::ReceivedRequest;

/// Builds the event of a request. With multi-value headers it has all values of a name, otherwise the last one.
///
/// Neither the path nor the query parameters are decoded.
pub fn build(api: &Api, request: &ReceivedRequest<'_>, multi_value: bool) -> Value {
    let ReceivedRequest { parts, body, .. } = *request;
    let headers = field::all_headers(&parts.headers);
    let parameters = field::raw_parameters(parts.uri.query().unwrap_or_default());
    let text = field::is_text(&parts.headers) && !parts.headers.contains_key(CONTENT_ENCODING);
    let (body, encoded) = field::body_text(body, text);
    let target_group =
        format!("arn:aws:elasticloadbalancing:{}:{}:targetgroup/nearedge/{}", api.region, field::ACCOUNT_ID, api.id);
    let mut event = json!({
        "requestContext": {"elb": {"targetGroupArn": target_group}},
        "httpMethod": parts.method.as_str(),
        "path": parts.uri.path(),
        "body": body,
        "isBase64Encoded": encoded,
    });
    if multi_value {
        event["multiValueQueryStringParameters"] = json!(parameters);
        event["multiValueHeaders"] = json!(headers);
    } else {
        event["queryStringParameters"] = json!(field::last_values(&parameters));
        event["headers"] = json!(field::last_values(&headers));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::door::Door;
    use bytes::Bytes;
    use std::net::Ipv4Addr;

    fn event(request: http::request::Builder, body: &'static [u8], multi_value: bool) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let api = Api::new("local", "x", "$default", Door::Alb { multi_value });
        let body = Bytes::from_static(body);
        let (source_ip, request_id) = (Ipv4Addr::LOCALHOST.into(), "id");
        let request = ReceivedRequest { parts: &parts, body: &body, source_ip, request_id, signed_by: None };
        build(&api, &request, multi_value)
    }

    fn repeated() -> http::request::Builder {
        http::Request::builder().uri("/a%20b%2F?a=1&b=%20&a=2+3&c").header("X-A", "1").header("x-a", "2")
    }

    #[test]
    fn paths_and_query_parameters_are_not_decoded() {
        let event = event(repeated(), b"", false);
        assert_eq!(event["path"], json!("/a%20b%2F"));
        assert_eq!(event["queryStringParameters"], json!({"a": "2+3", "b": "%20", "c": ""}));
    }

    #[test]
    fn single_values_are_the_last_and_multi_values_are_all() {
        let single = event(repeated(), b"", false);
        assert_eq!(single["headers"], json!({"x-a": "2"}));
        assert_eq!((single.get("multiValueHeaders"), single.get("multiValueQueryStringParameters")), (None, None));
        let multi = event(repeated(), b"", true);
        assert_eq!(multi["multiValueHeaders"], json!({"x-a": ["1", "2"]}));
        assert_eq!(multi["multiValueQueryStringParameters"], json!({"a": ["1", "2+3"], "b": ["%20"], "c": [""]}));
        assert_eq!((multi.get("headers"), multi.get("queryStringParameters")), (None, None));
    }

    #[test]
    fn the_context_names_the_target_group_and_nothing_else() {
        let target_group = "arn:aws:elasticloadbalancing:x:123456789012:targetgroup/nearedge/local";
        let context = &event(repeated(), b"", false)["requestContext"];
        assert_eq!(context, &json!({"elb": {"targetGroupArn": target_group}}));
    }

    #[test]
    fn a_body_is_text_only_for_text_types_without_a_coding() {
        let post = |fields: &[(&str, &str)]| {
            let mut request = http::Request::builder().method("POST").uri("/");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let event = event(request, b"hi", false);
            (event["body"].clone(), event["isBase64Encoded"].clone())
        };
        for (fields, text) in [
            (&[("content-type", "text/plain; charset=utf-8")][..], true),
            (&[("content-type", "application/json")], true),
            (&[("content-type", "image/png")], false),
            (&[("content-type", "text/plain"), ("content-encoding", "gzip")], false),
        ] {
            let expected = if text { (json!("hi"), json!(false)) } else { (json!("aGk="), json!(true)) };
            assert_eq!(post(fields), expected, "{fields:?}");
        }
        let empty = event(http::Request::builder().uri("/"), b"", false);
        assert_eq!((&empty["body"], &empty["isBase64Encoded"]), (&json!(""), &json!(false)));
    }
}
