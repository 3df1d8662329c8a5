//! The start of a response for the doors without payload format 2.0: REST APIs, load balancers and VPC Lattice.

use http::StatusCode;

use crate::json::{write_member, write_string};
use crate::request::door::Door;
use crate::response::Response;

/// Writes the status, the header fields and the cookies of a response.
///
/// - REST APIs, and HTTP APIs with payload format 1.0, merge `headers` and `multiValueHeaders`
///   ([format](https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html)).
/// - Load balancers read one of them, as the target group says
///   ([format](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html)).
/// - VPC Lattice reads `headers` ([format](https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html)).
///
/// Without lists of values a response has one Set-Cookie: the first cookie, which identifies the visitor.
pub(super) fn write_head(response: &Response<'_>, door: Door) -> Vec<u8> {
    let mut head = Vec::with_capacity(1024);
    head.extend_from_slice(b"{\"statusCode\":");
    head.extend_from_slice(response.status.to_string().as_bytes());
    if let Door::LoadBalancer { .. } | Door::Lattice = door {
        let reason = StatusCode::from_u16(response.status).ok().and_then(|status| status.canonical_reason());
        head.extend_from_slice(b",\"statusDescription\":");
        write_string(&mut head, format!("{} {}", response.status, reason.unwrap_or("Unknown")).trim_end());
    }
    let is_list = door == Door::LoadBalancer { multi_value: true };
    let timing = response.server_timing.as_ref().map(|timing| timing.replace("\\\"", "\""));
    let fields = response.fields().chain(timing.as_deref().map(|timing| ("server-timing", timing)));
    if is_list {
        let cookies = response.cookies.iter().map(String::as_str);
        write_lists(&mut head, fields.map(|(name, value)| (name, [value])), cookies);
        return head;
    }
    head.extend_from_slice(b",\"headers\":{");
    for (name, value) in fields {
        write_member(&mut head, name, value);
    }
    let has_both = matches!(door, Door::RestApi | Door::HttpApiFormat1);
    if !has_both && let Some(cookie) = response.cookies.first() {
        write_member(&mut head, "set-cookie", cookie);
    }
    close(&mut head, b'}');
    if has_both && !response.cookies.is_empty() {
        write_lists(&mut head, std::iter::empty(), response.cookies.iter().map(String::as_str));
    }
    head
}

/// Writes `multiValueHeaders` with these fields, and Set-Cookie with the cookies.
fn write_lists<'f>(
    head: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'f str, [&'f str; 1])>,
    cookies: impl Iterator<Item = &'f str>,
) {
    head.extend_from_slice(b",\"multiValueHeaders\":{");
    let mut write_list = |name: &str, values: &mut dyn Iterator<Item = &'f str>| {
        let start = head.len();
        write_string(head, name);
        head.extend_from_slice(b":[");
        let first = head.len();
        for value in values {
            write_string(head, value);
            head.push(b',');
        }
        match head.len() == first {
            true => head.truncate(start),
            false => {
                close(head, b']');
                head.push(b',');
            }
        }
    };
    for (name, values) in fields {
        write_list(name, &mut values.into_iter());
    }
    write_list("set-cookie", &mut { cookies });
    close(head, b'}');
}

/// Ends an object or a list: `end` replaces the comma after its last element.
fn close(json: &mut Vec<u8>, end: u8) {
    if json.last() == Some(&b',') {
        json.pop();
    }
    json.push(end);
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, json};

    use crate::object::FieldSet;
    use crate::request::door::{Door, Transfer};
    use crate::response::payload::Payload;
    use crate::response::{Content, Response};

    fn response(status: u16, cookies: &[&str]) -> Response<'static> {
        Response {
            status,
            head: None,
            omitted: FieldSet::default(),
            headers: vec![("x-a", Cow::Borrowed("\"1\"")), ("vary", Cow::Borrowed("a, b"))],
            server_timing: Some(Cow::Borrowed("nearedge;desc=\\\"a.b\\\"")),
            cookies: cookies.iter().map(|cookie| (*cookie).to_owned()).collect(),
            content: Content::Text("gone".into()),
            body_bytes: 4,
        }
    }

    fn json_of(response: &Response<'_>, door: Door) -> Value {
        serde_json::from_slice(&Payload::encode(response, door, Transfer::Buffered).parts().concat()).unwrap()
    }

    const TIMING: &str = "nearedge;desc=\"a.b\"";

    #[test]
    fn a_rest_api_gets_its_cookies_in_a_list() {
        let expected = json!({
            "statusCode": 404,
            "headers": {"x-a": "\"1\"", "vary": "a, b", "server-timing": TIMING},
            "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]},
            "isBase64Encoded": false, "body": "gone",
        });
        assert_eq!(json_of(&response(404, &["a=1", "b=2"]), Door::RestApi), expected);
        assert_eq!(json_of(&response(404, &[]), Door::RestApi).get("multiValueHeaders"), None);
    }

    #[test]
    fn a_load_balancer_gets_lists_if_its_target_group_has_them() {
        let lists = json_of(&response(404, &["a=1", "b=2"]), Door::LoadBalancer { multi_value: true });
        let expected = json!({
            "statusCode": 404, "statusDescription": "404 Not Found",
            "multiValueHeaders": {
                "x-a": ["\"1\""], "vary": ["a, b"], "server-timing": [TIMING], "set-cookie": ["a=1", "b=2"],
            },
            "isBase64Encoded": false, "body": "gone",
        });
        assert_eq!(lists, expected);
        let single = json_of(&response(404, &["a=1", "b=2"]), Door::LoadBalancer { multi_value: false });
        assert_eq!(
            single["headers"],
            json!({"x-a": "\"1\"", "vary": "a, b", "server-timing": TIMING, "set-cookie": "a=1"})
        );
        assert_eq!(single.get("multiValueHeaders"), None);
    }

    #[test]
    fn every_status_has_a_description() {
        for (status, description) in [(200, "200 OK"), (206, "206 Partial Content"), (599, "599 Unknown")] {
            let payload = json_of(&response(status, &[]), Door::Lattice);
            assert_eq!((&payload["statusDescription"], &payload["statusCode"]), (&json!(description), &json!(status)));
        }
    }
}
