use super::*;
use crate::lambda::environment::Caller;
use crate::lambda::invocation::Delivery;
use crate::lambda::stream::ResponseStream;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ID: &str = "request-1";

const STREAM: InvokeMode = InvokeMode::ResponseStream(Transmission { pace: None, drains: false });

/// A service without invocations.
#[derive(Clone, Default)]
struct NoEvents(Faults);

impl EventSource for NoEvents {
    fn next_event(&self, _: &Arc<Environment>) -> oneshot::Receiver<Event> {
        oneshot::channel().1
    }

    fn faults(&self) -> &Faults {
        &self.0
    }
}

/// An environment with one invocation, a connection to its Runtime API, and the response.
struct Invoked {
    environment: Arc<Environment>,
    socket: TcpStream,
    delivered: oneshot::Receiver<Result<Delivery, FunctionError>>,
    _server: Server,
}

async fn invoked(mode: InvokeMode) -> Invoked {
    let environment = Arc::new(Environment::new(1, 0));
    let (caller, delivered): (Caller, _) = oneshot::channel();
    assert!(environment.begin(ID, mode, caller));
    let (server, address) = serve(NoEvents::default(), environment.clone()).await.unwrap();
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    Invoked { environment, socket, delivered, _server: server }
}

impl Invoked {
    async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Starts a streamed response.
    async fn start_stream(&mut self, fields: &str) {
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
        );
        self.write(head.as_bytes()).await;
    }

    async fn write_chunk(&mut self, bytes: &[u8]) {
        self.write(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
        self.write(bytes).await;
        self.write(b"\r\n").await;
    }

    /// The delivered stream, and the channel that receives its end.
    async fn stream(&mut self) -> (ResponseStream, oneshot::Receiver<()>) {
        match (&mut self.delivered).await.unwrap().unwrap() {
            Delivery::Stream(stream, end) => (stream, end),
            Delivery::Buffered(_) => panic!("expected a stream"),
        }
    }

    /// The status of the Runtime API's response; `None` if the connection closes without one.
    async fn status(&mut self) -> Option<u16> {
        let mut received = Vec::new();
        let mut buffer = [0; 1024];
        while !received.ends_with(b"}") {
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
            }
        }
        String::from_utf8(received).unwrap().split(' ').nth(1).map(|status| status.parse().unwrap())
    }
}

fn chunk(bytes: &'static [u8]) -> Option<Result<Bytes, stream::StreamError>> {
    Some(Ok(Bytes::from_static(bytes)))
}

#[tokio::test]
async fn a_stream_reaches_the_caller_chunk_by_chunk() {
    let mut invoked = invoked(STREAM).await;
    invoked.start_stream("").await;
    let (mut stream, end) = invoked.stream().await;
    assert_eq!(stream.content_type, "text/plain");
    for data in [&b"one"[..], b"two\0\n"] {
        invoked.write_chunk(data).await;
        assert_eq!(stream.next().await.unwrap().unwrap(), data, "before the next chunk exists");
        assert_eq!(invoked.environment.in_flight(), 1);
    }
    invoked.write(b"0\r\n\r\n").await;
    assert_eq!(stream.next().await, None);
    assert_eq!(invoked.status().await, Some(202));
    assert_eq!(end.await, Ok(()));
    assert_eq!(invoked.environment.in_flight(), 0);
}

#[tokio::test]
async fn error_trailers_break_the_stream() {
    let error = base64_simd::STANDARD.encode_to_string(r#"{"errorMessage":"half-way"}"#);
    for (trailers, parts) in [
        (
            format!("Lambda-Runtime-Function-Error-Type: Origin.S3\r\nLambda-Runtime-Function-Error-Body: {error}\r\n"),
            &["Origin.S3", "half-way"][..],
        ),
        ("Lambda-Runtime-Function-Error-Type: Origin.S3\r\n".to_owned(), &["Origin.S3"]),
        ("Lambda-Runtime-Function-Error-Body: not base64\r\n".to_owned(), &["not base64"]),
    ] {
        let mut invoked = invoked(STREAM).await;
        invoked.start_stream("Trailer: Lambda-Runtime-Function-Error-Type\r\n").await;
        let (mut stream, end) = invoked.stream().await;
        invoked.write_chunk(b"one").await;
        invoked.write(format!("0\r\n{trailers}\r\n").as_bytes()).await;
        assert_eq!(stream.next().await, chunk(b"one"));
        let reason = stream.next().await.unwrap().unwrap_err().to_string();
        assert!(parts.iter().all(|part| reason.contains(part)), "{trailers}: {reason}");
        assert_eq!(invoked.status().await, Some(202), "Lambda has accepted the error");
        assert!(end.await.is_err(), "the invocation has failed");
        assert_eq!(invoked.environment.in_flight(), 0);
    }
}

#[tokio::test]
async fn other_trailers_do_not_break_the_stream() {
    let mut invoked = invoked(STREAM).await;
    invoked.start_stream("").await;
    let (mut stream, end) = invoked.stream().await;
    invoked.write(b"0\r\nX-Checksum: 1\r\n\r\n").await;
    assert_eq!((stream.next().await, end.await), (None, Ok(())));
}

#[tokio::test]
async fn a_broken_connection_breaks_the_stream() {
    for part in [&b"3\r\none\r\n"[..], b"3\r\none\r\n5\r\ntw", b"3\r\none\r\n0\r\n"] {
        let mut invoked = invoked(STREAM).await;
        invoked.start_stream("").await;
        let (mut stream, end) = invoked.stream().await;
        invoked.write(part).await;
        assert_eq!(stream.next().await, chunk(b"one"));
        invoked.socket.shutdown().await.unwrap();
        let mut last = stream.next().await;
        if last == chunk(b"tw") {
            last = stream.next().await;
        }
        assert!(last.unwrap().is_err(), "{part:?}: expected no end");
        assert!(end.await.is_err(), "the invocation has failed");
        assert_eq!(invoked.environment.in_flight(), 0);
    }
}

#[tokio::test]
async fn the_upload_is_aborted_when_the_caller_has_gone() {
    let mut invoked = invoked(STREAM).await;
    invoked.start_stream("").await;
    let (stream, end) = invoked.stream().await;
    invoked.write_chunk(b"one").await;
    drop(stream);
    assert_eq!(invoked.status().await, None, "the connection closes without a response");
    assert_eq!(end.await, Ok(()), "the function has not failed");
    assert_eq!(invoked.environment.in_flight(), 0);
}

#[tokio::test]
async fn a_draining_upload_is_read_to_its_end_without_a_caller() {
    for (rest, status, succeeds) in [
        (&b"3\r\ntwo\r\n0\r\n\r\n"[..], Some(202), true),
        (b"0\r\nLambda-Runtime-Function-Error-Type: Origin.S3\r\n\r\n", Some(202), false),
        (b"3\r\ntw", None, false),
    ] {
        let mut invoked = invoked(InvokeMode::ResponseStream(Transmission { pace: None, drains: true })).await;
        invoked.start_stream("").await;
        let (stream, end) = invoked.stream().await;
        drop(stream);
        invoked.write_chunk(b"one").await;
        invoked.write(rest).await;
        if status.is_none() {
            invoked.socket.shutdown().await.unwrap();
        }
        assert_eq!(invoked.status().await, status);
        assert_eq!(end.await.is_ok(), succeeds, "{rest:?}");
        assert_eq!(invoked.environment.in_flight(), 0);
    }
}

#[tokio::test]
async fn the_upload_waits_for_a_caller_that_does_not_read() {
    let mut invoked = invoked(STREAM).await;
    invoked.start_stream("").await;
    let (stream, _end) = invoked.stream().await;
    let chunk = vec![b'x'; 64 * 1024];
    let mut written = 0;
    // The kernel's buffers take a few megabytes.
    while tokio::time::timeout(Duration::from_millis(500), invoked.write_chunk(&chunk)).await.is_ok() {
        written += chunk.len();
        assert!(written < 64 * 1024 * 1024, "the upload never waits");
    }
    drop(stream);
}

#[tokio::test]
async fn a_stream_cannot_start_twice_or_for_another_request() {
    let mut first = invoked(STREAM).await;
    first.start_stream("").await;
    let (_stream, _end) = first.stream().await;
    assert!(!first.environment.complete(ID, Ok(Bytes::new())), "the response streams already");
    assert_eq!(first.environment.invoke_mode(ID), None);
    assert_eq!(first.environment.invoke_mode("unknown"), None);
}

#[tokio::test]
async fn a_buffered_invocation_collects_a_stream_and_a_streaming_one_accepts_a_buffer() {
    let mut buffered = invoked(InvokeMode::Buffered).await;
    buffered.start_stream("").await;
    buffered.write(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(buffered.status().await, Some(202));
    let delivered = (&mut buffered.delivered).await.unwrap().unwrap();
    assert!(matches!(delivered, Delivery::Buffered(payload) if payload == "onetwo"));

    let mut streaming = invoked(STREAM).await;
    let head =
        format!("POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
    streaming.write(head.as_bytes()).await;
    streaming.write(b"{}").await;
    assert_eq!(streaming.status().await, Some(202));
    let delivered = (&mut streaming.delivered).await.unwrap().unwrap();
    assert!(matches!(delivered, Delivery::Buffered(payload) if payload == "{}"));
}
