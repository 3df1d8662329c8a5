//! Parses responses of the Runtime API: head, framing, chunks, and the invocation that an event belongs to.

use std::io;

use bytes::Bytes;
use http::StatusCode;

/// Header field that ties a response to its invocation. Lambda sends it with an event; the response returns it
/// unchanged.
pub(crate) const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// The number of header fields that are parsed without an allocation: more than Lambda sends.
const FIELDS_USUAL: usize = 32;

/// Upper bound of the number of header fields in a response. An event whose head is rejected is lost.
const FIELDS_MAX: usize = 4096;

/// Parses the head of a response, and passes it to `read`.
fn with_head<T>(
    received: &[u8],
    read: impl FnOnce(&httparse::Response<'_, '_>, httparse::Status<usize>) -> io::Result<T>,
) -> io::Result<T> {
    let failed = |error: httparse::Error| invalid(format!("expected an HTTP response: {error}"));
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_USUAL];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(received) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut fields = vec![httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut response = httparse::Response::new(&mut fields);
            let status = response.parse(received).map_err(failed)?;
            read(&response, status)
        }
        status => read(&response, status.map_err(failed)?),
    }
}

/// An event and the fields of its invocation.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// The value of [`INVOCATION_ID`], which the response must return unchanged.
    pub(crate) invocation_id: Option<Vec<u8>>,
    /// The deadline, in milliseconds since 1970.
    pub(crate) deadline_ms: u64,
    /// The trace header.
    pub(crate) trace: Option<String>,
    /// The ARN of the invoked function, if the caller asked for it.
    pub(crate) arn: Option<String>,
    pub(crate) event: Bytes,
}

/// A response of the API.
pub(super) struct Response {
    pub(super) status: StatusCode,
    /// Whether the connection can carry another request.
    pub(super) reusable: bool,
    /// The head, including its empty line.
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// The value of a header field.
    pub(super) fn field(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        with_head(&self.head, |head, _| {
            let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            Ok(found.map(|field| field.value.to_vec()))
        })
    }

    /// The event and its header fields.
    ///
    /// # Errors
    /// If the status is not 200 or the request id is missing.
    pub(super) fn into_invocation(self, with_arn: bool) -> io::Result<Invocation> {
        if self.status != StatusCode::OK {
            return Err(invalid(format!("expected an event, found status {}", self.status)));
        }
        let (mut request_id, mut invocation_id, mut deadline_ms, mut trace, mut arn) = (None, None, 0, None, None);
        with_head(&self.head, |head, _| {
            for field in head.headers.iter() {
                let text = || std::str::from_utf8(field.value).ok();
                if field.name.eq_ignore_ascii_case("lambda-runtime-aws-request-id") {
                    request_id = text().map(str::to_owned);
                } else if field.name.eq_ignore_ascii_case("lambda-runtime-deadline-ms") {
                    deadline_ms = text().and_then(|milliseconds| milliseconds.parse().ok()).unwrap_or(0);
                } else if field.name.eq_ignore_ascii_case("lambda-runtime-trace-id") {
                    trace = text().map(str::to_owned);
                } else if with_arn && field.name.eq_ignore_ascii_case("lambda-runtime-invoked-function-arn") {
                    arn = text().map(str::to_owned);
                } else if field.name.eq_ignore_ascii_case(INVOCATION_ID) {
                    invocation_id = Some(field.value.to_vec());
                }
            }
            Ok(())
        })?;
        let Some(request_id) = request_id else {
            return Err(invalid("expected lambda-runtime-aws-request-id with an event, found none".to_owned()));
        };
        Ok(Invocation { request_id, invocation_id, deadline_ms, trace, arn, event: self.body.into() })
    }
}

/// How the end of a body is determined (RFC 9112 §6.3).
pub(super) enum Framing {
    Length(usize),
    Chunked,
    Unknown,
}

/// The parsed head of a response.
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// The size of the head in bytes, including its empty line.
    pub(super) len: usize,
    /// Whether the server keeps the connection open.
    pub(super) reusable: bool,
    pub(super) framing: Framing,
}

impl Head {
    /// Parses the head of a response; `None` if it is incomplete.
    pub(super) fn parse(received: &[u8]) -> io::Result<Option<Self>> {
        with_head(received, |response, status| match status {
            httparse::Status::Partial => Ok(None),
            httparse::Status::Complete(len) => Self::of(response, len).map(Some),
        })
    }

    fn of(response: &httparse::Response<'_, '_>, len: usize) -> io::Result<Self> {
        let status = StatusCode::from_u16(response.code.unwrap_or(0)).map_err(|error| invalid(error.to_string()))?;
        let (mut framing, mut reusable) = (Framing::Unknown, true);
        for field in response.headers.iter() {
            let value = std::str::from_utf8(field.value).unwrap_or_default();
            if field.name.eq_ignore_ascii_case("transfer-encoding") {
                // Overrides a Content-Length (§6.3).
                framing = if value.eq_ignore_ascii_case("chunked") { Framing::Chunked } else { Framing::Unknown };
            } else if field.name.eq_ignore_ascii_case("content-length") && matches!(framing, Framing::Unknown) {
                let length = value
                    .parse()
                    .map_err(|_| invalid(format!("expected a number in Content-Length, found {value:?}")))?;
                framing = Framing::Length(length);
            } else if field.name.eq_ignore_ascii_case("connection") {
                reusable = !value.eq_ignore_ascii_case("close");
            }
        }
        if status.is_informational() {
            framing = Framing::Length(0);
        }
        Ok(Self { status, len, reusable, framing })
    }
}

/// Decodes a chunked body (RFC 9112 §7.1) incrementally.
#[derive(Default)]
pub(super) struct ChunkDecoder {
    /// The number of bytes decoded so far.
    pub(super) position: usize,
}

impl ChunkDecoder {
    /// Appends the complete chunks in `received` to `body`; `true` after the last one.
    pub(super) fn decode(&mut self, received: &[u8], body: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let rest = &received[self.position..];
            let (line, size) = match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete((line, size))) => (line, usize::try_from(size).unwrap_or(usize::MAX)),
                Ok(httparse::Status::Partial) => return Ok(false),
                Err(_) => return Err(invalid("expected the size of a chunk in hexadecimal digits".to_owned())),
            };
            if size == 0 {
                // An empty line ends the trailers.
                let trailers = &rest[line..];
                let end =
                    if trailers.starts_with(b"\r\n") { Some(2) } else { find(trailers, b"\r\n\r\n").map(|at| at + 4) };
                self.position += end.map_or(0, |end| line + end);
                return Ok(end.is_some());
            }
            let Some(chunk) = line.checked_add(size).and_then(|end| rest.get(line..end)) else { return Ok(false) };
            match rest.get(line + size..line + size + 2) {
                None => return Ok(false),
                Some(b"\r\n") => {}
                Some(_) => return Err(invalid(format!("expected the end of a chunk after {size} bytes"))),
            }
            body.extend_from_slice(chunk);
            self.position += line + size + 2;
        }
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

/// An error in a response, described by `message`.
pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
