//! The head of a streamed response: a JSON prelude, eight NUL bytes, and the body.
//!
//! [Format of REST APIs](https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html). For
//! function URLs it is that of Lambda's own runtimes (aws/aws-lambda-rust-runtime #696).

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::gateway::door::Door;
use crate::gateway::response::{field, function_url, rest};

/// The content type of a stream with a prelude.
pub const CONTENT_TYPE_OF_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";

/// The end of the prelude.
const DELIMITER: [u8; 8] = [0; 8];

/// The delimiter "must appear within the first 16KB of stream data". For function URLs a limit is not documented.
const BYTES_MAX: usize = 16 * 1024;

/// Collects the start of a stream until the end of the prelude.
#[derive(Debug, Default)]
pub struct PreludeReader {
    bytes: BytesMut,
}

impl PreludeReader {
    /// Adds a chunk. Returns the prelude, and the start of the body, once the delimiter has arrived.
    ///
    /// # Errors
    /// If the prelude is too long.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<(Bytes, Bytes)>, String> {
        // The delimiter can start in an earlier chunk.
        let from = self.bytes.len().saturating_sub(DELIMITER.len() - 1);
        self.bytes.extend_from_slice(chunk);
        let found =
            self.bytes.get(from..).and_then(|new| new.windows(DELIMITER.len()).position(|end| end == DELIMITER));
        match found.map(|at| from + at) {
            Some(at) if at + DELIMITER.len() <= BYTES_MAX => {
                let mut body = std::mem::take(&mut self.bytes).freeze();
                let prelude = body.split_to(at);
                Ok(Some((prelude, body.slice(DELIMITER.len()..))))
            }
            None if self.bytes.len() <= BYTES_MAX => Ok(None),
            _ => Err(format!("prelude: expected eight NUL bytes within the first {BYTES_MAX} bytes")),
        }
    }
}

/// The head of the response that a prelude describes.
///
/// The function's Content-Length does not frame the response, which is chunked: a REST API renames it, and a function URL is
/// assumed to drop it.
///
/// # Errors
/// Describes the first invalid field. The viewer receives a 502.
pub fn to_head(door: &Door, prelude: &[u8]) -> Result<Response<()>, String> {
    let Value::Object(fields) = field::parse(prelude)? else {
        return Err("prelude: expected an object".to_owned());
    };
    let mut response = Response::new(());
    if fields.get("statusCode").is_some_and(|status| !status.is_null()) {
        *response.status_mut() = field::status(fields.get("statusCode"))?;
    }
    let headers = response.headers_mut();
    field::insert_headers(headers, fields.get("headers"))?;
    field::merge_multi_value_headers(headers, fields.get("multiValueHeaders"))?;
    field::append_cookies(headers, fields.get("cookies"))?;
    match door {
        Door::Rest { .. } => rest::remap(headers),
        Door::HttpApi | Door::FunctionUrl { .. } | Door::Alb { .. } => {
            headers.remove(CONTENT_LENGTH);
            function_url::remap(headers);
        }
    }
    let default_type = if matches!(door, Door::Rest { .. }) { "application/json" } else { "application/octet-stream" };
    field::default_type(&mut response, default_type);
    Ok(response)
}

/// The head of a stream without a prelude; `None` if the door requires one.
pub fn head_without_prelude(door: &Door, content_type: &HeaderValue) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
    matches!(door, Door::FunctionUrl { .. }).then_some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: Door = Door::FunctionUrl { streaming: None, origin_access_control: false };
    const REST: Door = Door::Rest { base_path: None, streaming: None };

    #[test]
    fn the_prelude_ends_at_eight_nul_bytes_in_any_chunks() {
        let stream = b"{\"statusCode\":200}\0\0\0\0\0\0\0\0\0body";
        for size in 1..=stream.len() {
            let mut reader = PreludeReader::default();
            let mut body = Vec::new();
            let mut found = None;
            for chunk in stream.chunks(size) {
                match &found {
                    Some(_) => body.extend_from_slice(chunk),
                    None => {
                        found = reader.push(chunk).unwrap().map(|(prelude, start)| {
                            body.extend_from_slice(&start);
                            prelude
                        });
                    }
                }
            }
            assert_eq!(found.as_deref(), Some(&b"{\"statusCode\":200}"[..]), "chunks of {size} bytes");
            assert_eq!(body, b"\0body", "chunks of {size} bytes: the ninth NUL is body");
        }
    }

    #[test]
    fn a_prelude_over_16_kib_is_an_error() {
        let with_delimiter = |bytes: usize| [vec![b'x'; bytes], DELIMITER.to_vec()].concat();
        assert!(PreludeReader::default().push(&with_delimiter(BYTES_MAX - 8)).unwrap().is_some());
        assert!(PreludeReader::default().push(&with_delimiter(BYTES_MAX - 7)).unwrap_err().contains("16384"));
        let mut reader = PreludeReader::default();
        assert_eq!(reader.push(&vec![b'x'; BYTES_MAX]), Ok(None));
        assert!(reader.push(b"x").is_err());
    }

    #[test]
    fn a_prelude_becomes_the_head_of_the_response() {
        let prelude = br#"{"statusCode":206,"headers":{"x-a":"1","content-length":"9","www-authenticate":"B"},
            "multiValueHeaders":{"x-b":["1","2"]},"cookies":["a=1","b=2"]}"#;
        for (door, remapped_length) in [(URL, false), (REST, true)] {
            let head = to_head(&door, prelude).unwrap();
            assert_eq!((head.status().as_u16(), &head.headers()["x-a"]), (206, &"1".parse().unwrap()));
            for name in ["x-b", "set-cookie"] {
                assert_eq!(head.headers().get_all(name).iter().count(), 2, "{name}");
            }
            assert!(!head.headers().contains_key("content-length"));
            assert_eq!(head.headers().contains_key("x-amzn-remapped-content-length"), remapped_length);
            assert_eq!(head.headers()["x-amzn-remapped-www-authenticate"], "B");
        }
        assert_eq!(to_head(&URL, b"{}").unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn an_invalid_prelude_is_an_error_that_names_the_field() {
        for (prelude, field) in [
            ("x", "not JSON"),
            ("[]", "an object"),
            (r#"{"statusCode":1}"#, "statusCode"),
            (r#"{"headers":1}"#, "headers"),
        ] {
            let error = to_head(&URL, prelude.as_bytes()).unwrap_err();
            assert!(error.contains(field), "{prelude}: {error}");
        }
    }

    #[test]
    fn only_a_function_url_accepts_a_stream_without_a_prelude() {
        let content_type = HeaderValue::from_static("text/plain");
        let head = head_without_prelude(&URL, &content_type).unwrap();
        assert_eq!((head.status(), &head.headers()["content-type"]), (StatusCode::OK, &content_type));
        assert!(head_without_prelude(&REST, &content_type).is_none());
    }
}
