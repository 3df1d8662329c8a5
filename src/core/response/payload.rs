//! Encodes a response as Lambda returns it to the door: in payload format 2.0 here, in the others in `proxy_payload`.
//!
//! The encoding never copies an object's body. A payload has three parts: a short head, the body as the object already
//! holds it, and a tail. They are written to the socket without being joined.

use bytes::Bytes;

use crate::json::{write_member, write_string};
use crate::object::Reservation;
use crate::request::door::{Door, Transfer};
use crate::response::proxy_payload::write_head;
use crate::response::{Content, Response};

/// The delimiter between the status and header fields of a streamed response and its body
/// ([format](https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html)).
const DELIMITER: [u8; 8] = [0; 8];

/// An encoded response: a head, an object's body and a tail. Unneeded parts are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    parts: [Bytes; 3],
    transfer: Transfer,
    /// Keeps the memory of the body reserved until the payload has been sent.
    _reservation: Reservation,
}

impl Payload {
    /// Encodes a response in the format of `door`.
    pub fn encode(response: &Response<'_>, door: Door, transfer: Transfer) -> Self {
        if transfer == Transfer::Streamed {
            return Self::stream(response);
        }
        let mut head = match door {
            Door::HttpApi | Door::FunctionUrl { .. } => head_of_format_2(response),
            Door::HttpApiFormat1 | Door::RestApi | Door::LoadBalancer { .. } | Door::Lattice => {
                write_head(response, door)
            }
        };
        let mut reservation = Reservation::default();
        let (body, tail) = match &response.content {
            Content::Object(body) => {
                head.extend_from_slice(b",\"isBase64Encoded\":true,\"body\":\"");
                reservation = body.reservation().clone();
                (body.base64(), Bytes::from_static(b"\"}"))
            }
            Content::Text(text) => {
                head.extend_from_slice(b",\"isBase64Encoded\":false,\"body\":");
                write_string(&mut head, text);
                head.push(b'}');
                (Bytes::new(), Bytes::new())
            }
            Content::Empty => {
                head.extend_from_slice(b",\"isBase64Encoded\":false,\"body\":\"\"}");
                (Bytes::new(), Bytes::new())
            }
        };
        Self { parts: [head.into(), body, tail], transfer, _reservation: reservation }
    }

    /// The status, the header fields and the cookies as JSON, then the body as it is.
    fn stream(response: &Response<'_>) -> Self {
        let mut head = head_of_format_2(response);
        head.push(b'}');
        head.extend_from_slice(&DELIMITER);
        let (body, reservation) = match &response.content {
            // An encoder wrote the text, so that it decodes.
            Content::Object(body) => (body.raw().unwrap_or_default(), body.reservation().clone()),
            Content::Text(text) => (Bytes::copy_from_slice(text.as_bytes()), Reservation::default()),
            Content::Empty => (Bytes::new(), Reservation::default()),
        };
        let transfer = Transfer::Streamed;
        Self { parts: [head.into(), body, Bytes::new()], transfer, _reservation: reservation }
    }

    /// How the response reaches the door.
    pub fn transfer(&self) -> Transfer {
        self.transfer
    }

    /// The length of all parts, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// The parts, in the order in which they must be sent.
    pub fn parts(&self) -> &[Bytes; 3] {
        &self.parts
    }
}

/// The start of a response: its status, its header fields and its cookies.
#[inline]
fn head_of_format_2(response: &Response<'_>) -> Vec<u8> {
    let of_object = response.head.as_ref();
    let cookies_bytes = response.cookies.iter().map(|cookie| cookie.len() + 16).sum::<usize>();
    let capacity = of_object.map_or(0, |head| head.json().len()) + 256 + cookies_bytes;
    let mut head = Vec::with_capacity(capacity);
    head.extend_from_slice(b"{\"statusCode\":");
    head.extend_from_slice(response.status.to_string().as_bytes());
    head.extend_from_slice(b",\"headers\":{");
    match of_object {
        Some(object) if response.omitted.is_empty() => head.extend_from_slice(object.json()),
        Some(object) => object.json_without(response.omitted).for_each(|field| head.extend_from_slice(field)),
        None => {}
    }
    for (name, value) in &response.headers {
        write_member(&mut head, name, value);
    }
    if let Some(timing) = &response.server_timing {
        for part in ["\"server-timing\":\"", timing, "\","] {
            head.extend_from_slice(part.as_bytes());
        }
    }
    if head.last() == Some(&b',') {
        head.pop();
    }
    head.push(b'}');
    if !response.cookies.is_empty() {
        head.extend_from_slice(b",\"cookies\":[");
        for (index, cookie) in response.cookies.iter().enumerate() {
            if index > 0 {
                head.push(b',');
            }
            write_string(&mut head, cookie);
        }
        head.push(b']');
    }
    head
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::object::{Body, BodyEncoder, FieldSet};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn body_of(bytes: &[u8]) -> Body {
        let mut encoder = BodyEncoder::with_capacity(bytes.len());
        encoder.push(bytes);
        encoder.finish()
    }

    fn response(status: u16, headers: Vec<(&'static str, Cow<'static, str>)>, content: Content) -> Response<'static> {
        Response {
            status,
            head: None,
            omitted: FieldSet::default(),
            headers,
            server_timing: None,
            cookies: Vec::new(),
            content,
            body_bytes: 0,
        }
    }

    fn json_of(response: &Response<'_>) -> Value {
        let payload = Payload::encode(response, Door::HttpApi, Transfer::Buffered);
        let written: Vec<u8> = payload.parts.iter().flatten().copied().collect();
        assert_eq!(payload.size_bytes(), written.len() as u64);
        serde_json::from_slice(&written).unwrap()
    }

    #[test]
    fn a_text_body_is_a_json_string() {
        let headers = vec![("a", "\"\r\n\u{1}é".into()), ("b", "2".into())];
        let response = response(404, headers, Content::Text("no file: \"\\\u{0}ж".into()));
        let expected = json!({
            "statusCode": 404,
            "headers": {"a": "\"\r\n\u{1}é", "b": "2"},
            "isBase64Encoded": false,
            "body": "no file: \"\\\u{0}ж",
        });
        assert_eq!(json_of(&response), expected);
    }

    #[test]
    fn a_payload_shares_the_body_of_its_object() {
        let body = body_of(b"hello");
        let response = response(200, vec![], Content::Object(body.clone()));
        assert_eq!(
            Payload::encode(&response, Door::HttpApi, Transfer::Buffered).parts[1].as_ptr(),
            body.base64().as_ptr()
        );
    }

    #[test]
    fn a_streamed_response_has_its_bytes_after_eight_nuls() {
        for (content, bytes) in [
            (Content::Object(body_of(b"\0\xff")), &b"\0\xff"[..]),
            (Content::Text("gone".into()), b"gone"),
            (Content::Empty, b""),
        ] {
            let mut response = response(404, vec![("a", "\0".into())], content);
            response.cookies = vec!["b=1".to_owned(), "c=2".to_owned()];
            let payload = Payload::encode(&response, Door::FunctionUrl { by_iam: true }, Transfer::Streamed);
            let written = payload.parts().concat();
            let end = written.windows(8).position(|window| window == DELIMITER).unwrap();
            let prelude: Value = serde_json::from_slice(&written[..end]).unwrap();
            assert_eq!(prelude, json!({"statusCode": 404, "headers": {"a": "\0"}, "cookies": ["b=1", "c=2"]}));
            assert_eq!(&written[end + 8..], bytes);
        }
    }

    proptest! {
        #[test]
        fn every_object_body_decodes_to_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let json = json_of(&response(200, vec![], Content::Object(body_of(&bytes))));
            prop_assert_eq!(&json["isBase64Encoded"], &json!(true));
            let decoded = base64_simd::STANDARD.decode_to_vec(json["body"].as_str().unwrap()).unwrap();
            prop_assert_eq!(decoded, bytes);
        }

        #[test]
        fn every_header_value_is_valid_json(value in "(?s:.){0,40}") {
            let response = response(302, vec![("location", value.clone().into())], Content::Empty);
            prop_assert_eq!(&json_of(&response)["headers"]["location"], &json!(value));
        }
    }
}
