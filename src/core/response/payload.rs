//! A response → the JSON that Lambda hands to API Gateway (payload format 2.0).
//!
//! The body of an object is never copied here: a payload is a short head, the base64 text that the
//! object already holds, and a tail; they are written to the socket side by side.

use bytes::Bytes;

use crate::json::{write_member, write_string};
use crate::response::{Content, Response};

/// The most that Lambda takes as an answer, in bytes of JSON
/// ([Lambda quotas](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html): 6 MB, which is
/// 6 × 1024² + 100 as the service counts it).
pub const PAYLOAD_BYTES_MAX: u64 = 6_291_556;

/// An encoded answer: a head, an object's own text and a tail; those that are not needed are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    parts: [Bytes; 3],
}

impl Payload {
    /// Writes a response as JSON.
    pub fn encode(response: &Response<'_>) -> Self {
        let prepared = response.head.as_ref().map_or(&b""[..], |head| head.json());
        let mut head = Vec::with_capacity(prepared.len() + 256);
        head.extend_from_slice(b"{\"statusCode\":");
        head.extend_from_slice(response.status.to_string().as_bytes());
        head.extend_from_slice(b",\"headers\":{");
        head.extend_from_slice(prepared);
        for (name, value) in &response.headers {
            write_member(&mut head, name, value);
        }
        if head.last() == Some(&b',') {
            head.pop();
        }
        let (body, tail) = match &response.content {
            Content::Object(body) => {
                head.extend_from_slice(b"},\"isBase64Encoded\":true,\"body\":\"");
                (body.base64().clone(), Bytes::from_static(b"\"}"))
            }
            Content::Text(text) => {
                head.extend_from_slice(b"},\"isBase64Encoded\":false,\"body\":");
                write_string(&mut head, text);
                head.push(b'}');
                (Bytes::new(), Bytes::new())
            }
            Content::Empty => {
                head.extend_from_slice(b"},\"isBase64Encoded\":false,\"body\":\"\"}");
                (Bytes::new(), Bytes::new())
            }
        };
        Self { parts: [head.into(), body, tail] }
    }

    /// Its length, in bytes.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// What is to be written, one after the other.
    pub fn parts(&self) -> &[Bytes; 3] {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Body, BodyEncoder};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn body_of(bytes: &[u8]) -> Body {
        let mut encoder = BodyEncoder::with_capacity(bytes.len());
        encoder.push(bytes);
        encoder.finish()
    }

    fn json_of(response: &Response<'_>) -> Value {
        let payload = Payload::encode(response);
        let written: Vec<u8> = payload.parts.iter().flatten().copied().collect();
        assert_eq!(payload.len(), written.len() as u64);
        serde_json::from_slice(&written).unwrap()
    }

    #[test]
    fn a_text_is_sent_as_it_is() {
        let response = Response {
            status: 404,
            head: None,
            headers: vec![("a", "\"\r\n\u{1}é".into()), ("b", "2".into())],
            content: Content::Text("no file: \"\\\u{0}ж".into()),
            body_bytes: 0,
        };
        let wanted = json!({
            "statusCode": 404,
            "headers": {"a": "\"\r\n\u{1}é", "b": "2"},
            "isBase64Encoded": false,
            "body": "no file: \"\\\u{0}ж",
        });
        assert_eq!(json_of(&response), wanted);
    }

    #[test]
    fn an_object_shares_its_body_with_the_payload() {
        let body = body_of(b"hello");
        let response = Response {
            status: 200,
            head: None,
            headers: vec![],
            content: Content::Object(body.clone()),
            body_bytes: 0,
        };
        assert_eq!(Payload::encode(&response).parts[1].as_ptr(), body.base64().as_ptr());
    }

    proptest! {
        #[test]
        fn every_body_comes_back_byte_for_byte(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let response = Response { status: 200, head: None, headers: vec![], content: Content::Object(body_of(&bytes)), body_bytes: 0 };
            let json = json_of(&response);
            prop_assert_eq!(&json["isBase64Encoded"], &json!(true));
            let decoded = base64_simd::STANDARD.decode_to_vec(json["body"].as_str().unwrap()).unwrap();
            prop_assert_eq!(decoded, bytes);
        }

        #[test]
        fn every_header_value_is_valid_json(value in "(?s:.){0,40}") {
            let response =
                Response { status: 302, head: None, headers: vec![("location", value.clone().into())], content: Content::Empty, body_bytes: 0 };
            prop_assert_eq!(&json_of(&response)["headers"]["location"], &json!(value));
        }
    }
}
