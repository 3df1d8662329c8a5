//! Posting to the Runtime API: HTTP/1.1 over connections that stay open, an answer written from where it lies.
//!
//! lambda_runtime's own client takes 8 µs more for each answer than the writing itself: its pool, its tasks, its URIs.
//! Here an answer is one `writev` and its receipt one `read`.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes};
use http::StatusCode;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Lambda's protection against an answer that reaches another invocation: echoed as it came.
pub(crate) const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// Names the kind of an error to the Runtime API
/// ([Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html)).
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// The version that every path starts with.
const BASE: &str = "/2018-06-01/runtime";

/// The most header fields that a receipt may have.
const FIELDS_MAX: usize = 32;

/// The longest receipt that is read; the API's are some dozens of bytes.
const RECEIPT_BYTES_MAX: usize = 64 << 10;

/// A client of the Runtime API.
pub(crate) struct RuntimeApi {
    /// `host:port`, as `AWS_LAMBDA_RUNTIME_API` has it.
    authority: String,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An error as the Runtime API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorReport<'a> {
    error_type: &'static str,
    error_message: &'a str,
    stack_trace: [(); 0],
}

impl RuntimeApi {
    /// A client of the API at `authority`; nothing is opened before there is something to post.
    pub(crate) fn new(authority: String) -> Self {
        Self { authority, idle: Mutex::default() }
    }

    /// Posts the answer of an invocation, and gives the status of the receipt.
    ///
    /// # Errors
    /// When the API cannot be reached or gives no receipt.
    pub(crate) async fn post_response(
        &self,
        request_id: &str,
        invocation_id: Option<&[u8]>,
        payload: &[Bytes; 3],
    ) -> io::Result<StatusCode> {
        let mut head = self.head(format_args!("{BASE}/invocation/{request_id}/response"));
        field(&mut head, INVOCATION_ID, invocation_id);
        self.post(head, payload).await
    }

    /// Says that an invocation has no answer.
    ///
    /// # Errors
    /// As of [`Self::post_response`].
    pub(crate) async fn post_error(
        &self,
        request_id: &str,
        invocation_id: Option<&[u8]>,
        error_type: &'static str,
        message: &str,
    ) -> io::Result<StatusCode> {
        let mut head = self.head(format_args!("{BASE}/invocation/{request_id}/error"));
        field(&mut head, INVOCATION_ID, invocation_id);
        self.report(head, error_type, message).await
    }

    /// Says that the function cannot start.
    ///
    /// # Errors
    /// As of [`Self::post_response`].
    pub(crate) async fn post_init_error(&self, error_type: &'static str, message: &str) -> io::Result<StatusCode> {
        self.report(self.head(format_args!("{BASE}/init/error")), error_type, message).await
    }

    async fn report(&self, mut head: Vec<u8>, error_type: &'static str, message: &str) -> io::Result<StatusCode> {
        let report = ErrorReport { error_type, error_message: message, stack_trace: [] };
        field(&mut head, ERROR_TYPE, Some(error_type.as_bytes()));
        self.post(head, &[serde_json::to_vec(&report)?.into(), Bytes::new(), Bytes::new()]).await
    }

    fn head(&self, path: fmt::Arguments<'_>) -> Vec<u8> {
        let Self { authority, .. } = self;
        format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n").into_bytes()
    }

    async fn post(&self, mut head: Vec<u8>, body: &[Bytes; 3]) -> io::Result<StatusCode> {
        let length = body.iter().map(Bytes::len).sum::<usize>().to_string();
        field(&mut head, "content-length", Some(length.as_bytes()));
        head.extend_from_slice(b"\r\n");
        let head = Bytes::from(head);
        // One that the API has closed while we were frozen is no reason to lose an answer.
        let idle = self.idle().pop();
        if let Some(connection) = idle
            && let Ok(status) = self.exchange(connection, &head, body).await
        {
            return Ok(status);
        }
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        self.exchange(Connection { stream, received: Vec::with_capacity(1024) }, &head, body).await
    }

    /// Writes a request, reads its receipt, and keeps the connection if it can be used again.
    async fn exchange(&self, mut connection: Connection, head: &Bytes, body: &[Bytes; 3]) -> io::Result<StatusCode> {
        let [first, second, third] = body.clone();
        let mut message = head.clone().chain(first).chain(second).chain(third);
        let written = connection.stream.write_all_buf(&mut message).await;
        // What is refused half-way has a receipt that says why.
        let Receipt { status, reusable } = connection.receipt().await?;
        if reusable && written.is_ok() {
            self.idle().push(connection);
        }
        Ok(status)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A panic of somebody else leaves nothing half done here.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RuntimeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeApi").field("authority", &self.authority).finish_non_exhaustive()
    }
}

fn field(head: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
}

/// What the API says of what was posted.
struct Receipt {
    status: StatusCode,
    /// Whether the connection is in order for another request.
    reusable: bool,
}

impl Connection {
    async fn receipt(&mut self) -> io::Result<Receipt> {
        self.received.clear();
        loop {
            if self.received.len() > RECEIPT_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a receipt without an end"));
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(receipt) = parse_receipt(&self.received)? {
                return Ok(receipt);
            }
        }
    }
}

/// Reads a response (RFC 9112 §4); `None` while there is more to come. The body is of no interest: one whose end is
/// not known (§6.3) costs the connection.
fn parse_receipt(received: &[u8]) -> io::Result<Option<Receipt>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let head_bytes = match response.parse(received) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(invalid(format!("a receipt that is no HTTP: {error}"))),
    };
    let status = StatusCode::from_u16(response.code.unwrap_or(0)).map_err(|error| invalid(error.to_string()))?;
    if status.is_informational() {
        return parse_receipt(&received[head_bytes..]);
    }
    let value = |name: &str| {
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let length = value("content-length").and_then(|length| length.parse::<usize>().ok());
    let Some(length) = length.filter(|_| value("transfer-encoding").is_none()) else {
        return Ok(Some(Receipt { status, reusable: false }));
    };
    match received.len() - head_bytes {
        there if there < length && length <= RECEIPT_BYTES_MAX => Ok(None),
        there => Ok(Some(Receipt { status, reusable: !closes && there == length })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncRead;
    use tokio::net::TcpListener;

    const RECEIPT: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

    async fn api() -> (TcpListener, RuntimeApi) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        (listener, RuntimeApi::new(authority))
    }

    async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
        let mut received = Vec::new();
        while !received.windows(end.len()).any(|window| window == end.as_bytes()) {
            assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "{}", String::from_utf8_lossy(&received));
        }
        String::from_utf8(received).unwrap()
    }

    fn payload(text: &'static str) -> [Bytes; 3] {
        ["{", text, "}"].map(|part| Bytes::from_static(part.as_bytes()))
    }

    #[tokio::test]
    async fn an_answer_arrives_whole_and_the_connection_is_used_again() {
        let (listener, api) = api().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..3 {
                let request = read_until(&mut stream, "{1}").await;
                assert!(request.starts_with("POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nhost: 127."));
                assert!(request.contains("\r\nlambda-runtime-invocation-id: echo\r\n"), "{request}");
                assert!(request.ends_with("\r\ncontent-length: 3\r\n\r\n{1}"), "{request}");
                // In pieces, as a socket may give it.
                for piece in RECEIPT.as_bytes().chunks(7) {
                    stream.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        };
        let client = async {
            for _ in 0..3 {
                let status = api.post_response("id", Some(b"echo"), &payload("1")).await.unwrap();
                assert_eq!(status, StatusCode::ACCEPTED);
            }
        };
        tokio::join!(server, client);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_while_it_was_idle_is_replaced() {
        let (listener, api) = api().await;
        let server = async {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_until(&mut stream, "{1}").await;
                stream.write_all(RECEIPT.as_bytes()).await.unwrap();
            }
        };
        let client = async {
            for _ in 0..3 {
                assert_eq!(api.post_response("id", None, &payload("1")).await.unwrap(), StatusCode::ACCEPTED);
            }
        };
        tokio::join!(server, client);
    }

    #[tokio::test]
    async fn a_receipt_whose_end_is_not_known_costs_the_connection_and_no_more() {
        for receipt in [
            "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\nmore than that",
        ] {
            let Receipt { status, reusable } = parse_receipt(receipt.as_bytes()).unwrap().unwrap();
            assert_eq!((status, reusable), (StatusCode::ACCEPTED, false), "{receipt}");
        }
        let informed = format!("HTTP/1.1 100 Continue\r\n\r\n{RECEIPT}");
        assert!(parse_receipt(informed.as_bytes()).unwrap().unwrap().reusable);
        assert!(parse_receipt(b"SSH-2.0-OpenSSH_9.2\r\n").is_err());
    }

    #[tokio::test]
    async fn what_is_refused_half_way_has_a_status_all_the_same() {
        let (listener, api) = api().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            // Until the client goes away: a reset might overtake the answer.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        };
        let client = async {
            let large = [Bytes::from_static(&[b'x'; 10]), Bytes::new(), Bytes::new()];
            let status = api.post_response("id", None, &large).await.unwrap();
            drop(api);
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        };
        tokio::join!(server, client);
    }

    #[tokio::test]
    async fn an_api_that_is_gone_is_an_error() {
        let (listener, api) = api().await;
        drop(listener);
        assert!(api.post_init_error("Origin.Init", "no").await.is_err());
    }
}
