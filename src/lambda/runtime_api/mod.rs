//! The Runtime API: HTTP/1.1 over connections that stay open, an answer written from where it lies.
//!
//! lambda_runtime's own client spends more on an answer and an event than all the rest of a hit: a pool, tasks, URIs and
//! header maps (docs/performance.md). Here an answer is one `writev`, and an event one `read`.

use std::fmt;
use std::io;

use bytes::{Buf, Bytes};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Lambda's protection against an answer that reaches another invocation: echoed as it came.
pub(crate) const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// Names the kind of an error to the Runtime API
/// ([Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html)).
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// The version of the API, in every path.
const VERSION: &str = "/2018-06-01/runtime";

/// The version of the Extensions API, which is at the same address.
const EXTENSION_VERSION: &str = "/2020-01-01/extension";

/// Says which extension it is that asks.
const EXTENSION_ID: &str = "lambda-extension-identifier";

/// The most header fields that a response may have.
const FIELDS_MAX: usize = 32;

/// How much is read at once: a usual event and its head.
const READ_BYTES: usize = 8 << 10;

/// The most that is read of a message; an event can have 6 MB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A client of the Runtime API.
pub(crate) struct RuntimeApi {
    /// `host:port`.
    authority: String,
    /// What stands before each path: the API's version, and before it what a substitute of the API puts there.
    base: String,
    /// The same for the Extensions API.
    extension_base: String,
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
    /// A client of the API at `address`; nothing is opened before there is something to post.
    ///
    /// `AWS_LAMBDA_RUNTIME_API` is `host:port` in Lambda, and a URL with a path under cargo-lambda.
    pub(crate) fn new(address: &str) -> Self {
        let address = address.strip_prefix("http://").unwrap_or(address);
        let (authority, path) = address.split_once('/').unwrap_or((address, ""));
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let path = path.trim_end_matches('/');
        let base = |version: &str| if path.is_empty() { version.to_owned() } else { format!("/{path}{version}") };
        Self { base: base(VERSION), extension_base: base(EXTENSION_VERSION), authority, idle: Mutex::default() }
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
        let mut head = self.head("POST", &["/invocation/", request_id, "/response"]);
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
        let mut head = self.head("POST", &["/invocation/", request_id, "/error"]);
        field(&mut head, INVOCATION_ID, invocation_id);
        self.report(head, error_type, message).await
    }

    /// Says that the function cannot start.
    ///
    /// # Errors
    /// As of [`Self::post_response`].
    pub(crate) async fn post_init_error(&self, error_type: &'static str, message: &str) -> io::Result<StatusCode> {
        self.report(self.head("POST", &["/init/error"]), error_type, message).await
    }

    /// Asks for the next event, and waits for it: we may be frozen in between, for hours.
    ///
    /// # Errors
    /// When the API cannot be reached, or gives no event.
    pub(crate) async fn next(&self) -> io::Result<Invocation> {
        let mut head = self.head("GET", &["/invocation/next"]);
        head.extend_from_slice(b"\r\n");
        self.exchange(head.into(), &[const { Bytes::new() }; 3]).await?.into_invocation()
    }

    /// Registers an extension that wants to hear of nothing: to a process with one in it, Lambda says SIGTERM before it
    /// ends the environment. It has to be registered before the first event is asked for, and then [`Self::wait_as_extension`]
    /// ([Extensions API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html)).
    ///
    /// # Errors
    /// When there is no such API, or it refuses.
    pub(crate) async fn register_extension(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut head = self.extension_head("POST", "/register");
        let body = [Bytes::from_static(b"{\"events\":[]}"), Bytes::new(), Bytes::new()];
        field(&mut head, "lambda-extension-name", Some(name.as_bytes()));
        field(&mut head, "content-type", Some(b"application/json"));
        field(&mut head, "content-length", Some(body[0].len().to_string().as_bytes()));
        head.extend_from_slice(b"\r\n");
        let response = self.exchange(head.into(), &body).await?;
        let id = response.field(EXTENSION_ID)?.filter(|_| response.status == StatusCode::OK);
        id.ok_or_else(|| invalid(format!("{} instead of an extension's id", response.status)))
    }

    /// Waits as an extension that hears of nothing: for ever.
    ///
    /// # Errors
    /// When the API goes away, or answers after all.
    pub(crate) async fn wait_as_extension(&self, extension: &[u8]) -> io::Result<()> {
        let mut head = self.extension_head("GET", "/event/next");
        field(&mut head, EXTENSION_ID, Some(extension));
        head.extend_from_slice(b"\r\n");
        let response = self.exchange(head.into(), &[const { Bytes::new() }; 3]).await?;
        Err(invalid(format!("{} to an extension that asked for nothing", response.status)))
    }

    fn extension_head(&self, method: &str, path: &str) -> Vec<u8> {
        let Self { extension_base, authority, .. } = self;
        format!("{method} {extension_base}{path} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes()
    }

    async fn report(&self, mut head: Vec<u8>, error_type: &'static str, message: &str) -> io::Result<StatusCode> {
        let report = ErrorReport { error_type, error_message: message, stack_trace: [] };
        field(&mut head, ERROR_TYPE, Some(error_type.as_bytes()));
        self.post(head, &[serde_json::to_vec(&report)?.into(), Bytes::new(), Bytes::new()]).await
    }

    /// The first lines of a request; by pieces, since formatting them would cost as much as the cache does.
    fn head(&self, method: &str, path: &[&str]) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        for piece in
            [method, " ", &self.base].iter().chain(path).chain(&[" HTTP/1.1\r\nhost: ", &self.authority, "\r\n"])
        {
            head.extend_from_slice(piece.as_bytes());
        }
        head
    }

    async fn post(&self, mut head: Vec<u8>, body: &[Bytes; 3]) -> io::Result<StatusCode> {
        let length = body.iter().map(Bytes::len).sum::<usize>().to_string();
        field(&mut head, "content-type", Some(b"application/json"));
        field(&mut head, "content-length", Some(length.as_bytes()));
        head.extend_from_slice(b"\r\n");
        Ok(self.exchange(head.into(), body).await?.status)
    }

    /// Sends a request, and again over a new connection if one that was idle turns out to be dead: the API may have
    /// closed it while we were frozen.
    async fn exchange(&self, head: Bytes, body: &[Bytes; 3]) -> io::Result<Response> {
        let idle = self.idle.lock().pop();
        if let Some(connection) = idle
            && let Ok(response) = self.send(connection, &head, body).await
        {
            return Ok(response);
        }
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        self.send(Connection { stream, received: Vec::with_capacity(READ_BYTES) }, &head, body).await
    }

    /// Writes a request, reads the response, and keeps the connection if it can be used again.
    async fn send(&self, mut connection: Connection, head: &Bytes, body: &[Bytes; 3]) -> io::Result<Response> {
        let [first, second, third] = body.clone();
        let mut message = head.clone().chain(first).chain(second).chain(third);
        let written = connection.stream.write_all_buf(&mut message).await;
        // What is refused half-way has a response that says why.
        let response = connection.read().await?;
        if response.reusable && written.is_ok() {
            self.idle.lock().push(connection);
        }
        Ok(response)
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

/// An event, and what the API says of its invocation.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// What protects an answer from reaching another invocation; echoed as it came.
    pub(crate) invocation_id: Option<Vec<u8>>,
    /// When the invocation ends, in milliseconds since 1970.
    pub(crate) deadline_ms: u64,
    /// The trace header.
    pub(crate) trace: Option<String>,
    pub(crate) event: Bytes,
}

/// What the API answers.
struct Response {
    status: StatusCode,
    /// Whether the connection is in order for another request.
    reusable: bool,
    /// The head, its empty line included.
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Response {
    /// The value of a header field.
    fn field(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(&self.head).map_err(|error| invalid(error.to_string()))?;
        let found = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        Ok(found.map(|field| field.value.to_vec()))
    }

    fn into_invocation(self) -> io::Result<Invocation> {
        if self.status != StatusCode::OK {
            return Err(invalid(format!("{} instead of an event", self.status)));
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(&self.head).map_err(|error| invalid(error.to_string()))?;
        let (mut request_id, mut invocation_id, mut deadline_ms, mut trace) = (None, None, 0, None);
        for field in parsed.headers.iter() {
            let text = || std::str::from_utf8(field.value).ok();
            if field.name.eq_ignore_ascii_case("lambda-runtime-aws-request-id") {
                request_id = text();
            } else if field.name.eq_ignore_ascii_case("lambda-runtime-deadline-ms") {
                deadline_ms = text().and_then(|milliseconds| milliseconds.parse().ok()).unwrap_or(0);
            } else if field.name.eq_ignore_ascii_case("lambda-runtime-trace-id") {
                trace = text().map(str::to_owned);
            } else if field.name.eq_ignore_ascii_case(INVOCATION_ID) {
                invocation_id = Some(field.value.to_vec());
            }
        }
        let Some(request_id) = request_id.map(str::to_owned) else {
            return Err(invalid("an event without a request id".to_owned()));
        };
        Ok(Invocation { request_id, invocation_id, deadline_ms, trace, event: self.body.into() })
    }
}

impl Connection {
    /// Reads one response (RFC 9112 §4); what is informational is passed over.
    async fn read(&mut self) -> io::Result<Response> {
        self.received.clear();
        loop {
            let Some(Head { status, bytes, reusable, framing }) = Head::parse(&self.received)? else {
                self.more().await?;
                continue;
            };
            let mut body = self.received.split_off(bytes);
            let head = std::mem::replace(&mut self.received, Vec::with_capacity(READ_BYTES));
            if status.is_informational() {
                self.received = body;
                continue;
            }
            let reusable = match framing {
                Framing::Length(length) => {
                    within_bounds(length)?;
                    body.reserve_exact(length.saturating_sub(body.len()));
                    while body.len() < length {
                        self.more().await?;
                        body.append(&mut self.received);
                    }
                    reusable && body.len() == length
                }
                Framing::Chunked => {
                    let mut chunked = std::mem::take(&mut body);
                    let mut decoder = Chunks::default();
                    while !decoder.decode(&chunked, &mut body)? {
                        self.more().await?;
                        chunked.append(&mut self.received);
                        within_bounds(chunked.len())?;
                    }
                    reusable && decoder.position == chunked.len()
                }
                // It ends with the connection (RFC 9112 §6.3): of what is posted it is of no interest, and no event
                // comes so.
                Framing::Unknown => false,
            };
            return Ok(Response { status, reusable, head, body });
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        self.received.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => within_bounds(self.received.len()),
        }
    }
}

/// How a body's end is found (RFC 9112 §6.3).
enum Framing {
    Length(usize),
    Chunked,
    Unknown,
}

struct Head {
    status: StatusCode,
    bytes: usize,
    reusable: bool,
    framing: Framing,
}

impl Head {
    /// Reads the head of a response; `None` while there is more of it to come.
    fn parse(received: &[u8]) -> io::Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let bytes = match response.parse(received) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(invalid(format!("an answer that is no HTTP: {error}"))),
        };
        let status = StatusCode::from_u16(response.code.unwrap_or(0)).map_err(|error| invalid(error.to_string()))?;
        let (mut framing, mut reusable) = (Framing::Unknown, true);
        for field in response.headers.iter() {
            let value = std::str::from_utf8(field.value).unwrap_or_default();
            if field.name.eq_ignore_ascii_case("transfer-encoding") {
                // It overrides a length (§6.3).
                framing = if value.eq_ignore_ascii_case("chunked") { Framing::Chunked } else { Framing::Unknown };
            } else if field.name.eq_ignore_ascii_case("content-length") && matches!(framing, Framing::Unknown) {
                let length = value.parse().map_err(|_| invalid("a length that is no number".to_owned()))?;
                framing = Framing::Length(length);
            } else if field.name.eq_ignore_ascii_case("connection") {
                reusable = !value.eq_ignore_ascii_case("close");
            }
        }
        if status.is_informational() {
            framing = Framing::Length(0);
        }
        Ok(Some(Self { status, bytes, reusable, framing }))
    }
}

/// Decodes a chunked body (RFC 9112 §7.1) as it arrives.
#[derive(Default)]
struct Chunks {
    /// How much has been decoded.
    position: usize,
}

impl Chunks {
    /// Decodes what has arrived; `true` when that was the end.
    fn decode(&mut self, received: &[u8], body: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let rest = &received[self.position..];
            let (line, size) = match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete((line, size))) => (line, usize::try_from(size).unwrap_or(usize::MAX)),
                Ok(httparse::Status::Partial) => return Ok(false),
                Err(_) => return Err(invalid("a chunk that has no size".to_owned())),
            };
            if size == 0 {
                // Trailers, if any, end with an empty line.
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
                Some(_) => return Err(invalid("a chunk that is longer than its size".to_owned())),
            }
            body.extend_from_slice(chunk);
            self.position += line + size + 2;
        }
    }
}

fn within_bounds(bytes: usize) -> io::Result<()> {
    if bytes <= MESSAGE_BYTES_MAX { Ok(()) } else { Err(invalid(format!("a message of {bytes} bytes"))) }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
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
        (listener, RuntimeApi::new(&authority))
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

    /// A response as this arrives, in pieces of so many bytes.
    async fn response(written: &[u8], piece: usize) -> io::Result<Response> {
        let (listener, api) = api().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            for piece in written.chunks(piece) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let nothing = [const { Bytes::new() }; 3];
        let client = api.exchange(Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), &nothing);
        tokio::join!(server, client).1
    }

    #[tokio::test]
    async fn rfc9112_6_3_a_response_ends_where_its_head_says() {
        for (written, body, reusable) in [
            ("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", "{}", true),
            ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", "{}", true),
            ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nA: b\r\n\r\n", "{}", true),
            ("HTTP/1.1 202 A\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", true),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "", true),
            ("HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", false),
            ("HTTP/1.1 202 Accepted\r\n\r\n", "", false),
        ] {
            for piece in [1, 7, 1000] {
                let response = response(written.as_bytes(), piece).await.unwrap();
                assert_eq!(response.status, StatusCode::ACCEPTED, "{written}");
                assert_eq!((response.body.as_slice(), response.reusable), (body.as_bytes(), reusable), "{written}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_http_is_an_error_and_no_panic() {
        for written in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 202 Accepted\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nshort",
            "HTTP/1.1 202 Accepted\r\nContent-Length: 18446744073709551615\r\n\r\nlong",
            "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n",
            "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
        ] {
            assert!(response(written.as_bytes(), 1000).await.is_err(), "{written}");
        }
    }

    #[tokio::test]
    async fn an_event_comes_with_what_the_api_says_of_it() {
        let event = "{\"version\":\"2.0\"}".repeat(5_000);
        let named = "Lambda-Runtime-Aws-Request-Id: id\r\nLambda-Runtime-Deadline-Ms: 17\r\nLambda-Runtime-Invocation-Id: echo\r\nLambda-Runtime-Trace-Id: Root=1";
        let whole = format!("HTTP/1.1 200 OK\r\n{named}\r\nContent-Length: {}\r\n\r\n{event}", event.len());
        // As a Go server sends what is longer than its buffer.
        let chunks: String = event
            .as_bytes()
            .chunks(4096)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), str::from_utf8(chunk).unwrap()))
            .collect();
        let chunked = format!("HTTP/1.1 200 OK\r\n{named}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
        for written in [whole, chunked] {
            let invocation = response(written.as_bytes(), 1500).await.unwrap().into_invocation().unwrap();
            assert_eq!((invocation.request_id.as_str(), invocation.deadline_ms), ("id", 17));
            assert_eq!(invocation.invocation_id.as_deref(), Some(&b"echo"[..]));
            assert_eq!((invocation.trace.as_deref(), &invocation.event), (Some("Root=1"), &Bytes::from(event.clone())));
        }
        for refused in ["HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
        {
            assert!(response(refused.as_bytes(), 1500).await.unwrap().into_invocation().is_err());
        }
    }

    #[tokio::test]
    async fn what_is_refused_half_way_has_a_status_all_the_same() {
        let (listener, api) = api().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            // As a server that has seen enough: no more is read, and what comes is refused.
            stream.shutdown().await.unwrap();
            let mut some = vec![0; 1 << 20];
            for _ in 0..8 {
                let _ = stream.read(&mut some).await;
            }
        };
        let client = async {
            // More than the sockets hold, so that the writing is cut short.
            let large = [vec![b'x'; 32 << 20].into(), Bytes::new(), Bytes::new()];
            let status = api.post_response("id", None, &large).await.unwrap();
            drop(api);
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        };
        tokio::join!(server, client);
    }

    #[test]
    fn the_api_may_be_a_host_and_a_port_or_a_url_with_a_path() {
        for (address, authority, base) in [
            ("127.0.0.1:9001", "127.0.0.1:9001", "/2018-06-01/runtime"),
            ("http://127.0.0.1:9000/.rt", "127.0.0.1:9000", "/.rt/2018-06-01/runtime"),
            ("http://[::1]:9000/", "[::1]:9000", "/2018-06-01/runtime"),
            ("sandbox", "sandbox:80", "/2018-06-01/runtime"),
        ] {
            let api = RuntimeApi::new(address);
            assert_eq!((api.authority.as_str(), api.base.as_str()), (authority, base), "{address}");
        }
    }

    #[tokio::test]
    async fn an_extension_registers_for_nothing_and_waits_by_the_id_that_it_was_given() {
        let (listener, api) = api().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let registered = read_until(&mut stream, "{\"events\":[]}").await;
            assert!(registered.starts_with("POST /2020-01-01/extension/register HTTP/1.1\r\n"), "{registered}");
            assert!(registered.contains("\r\nlambda-extension-name: nearedge\r\n"), "{registered}");
            let answer = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-7\r\nContent-Length: 2\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let waiting = read_until(&mut stream, "\r\n\r\n").await;
            assert!(waiting.starts_with("GET /2020-01-01/extension/event/next HTTP/1.1\r\n"), "{waiting}");
            assert!(waiting.contains("\r\nlambda-extension-identifier: id-7\r\n"), "{waiting}");
        };
        let extension = async {
            let id = api.register_extension("nearedge").await.unwrap();
            api.wait_as_extension(&id).await
        };
        tokio::select! {
            () = server => {}
            ended = extension => panic!("it waits for ever: {ended:?}"),
        }
    }

    #[tokio::test]
    async fn where_no_extension_is_taken_that_is_an_error() {
        let (listener, api) = api().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "{\"events\":[]}").await;
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        };
        let ((), registered) = tokio::join!(server, api.register_extension("nearedge"));
        assert!(registered.unwrap_err().to_string().contains("403"));
    }

    #[tokio::test]
    async fn an_api_that_is_gone_is_an_error() {
        let (listener, api) = api().await;
        drop(listener);
        assert!(api.post_init_error("Origin.Init", "no").await.is_err());
    }
}
