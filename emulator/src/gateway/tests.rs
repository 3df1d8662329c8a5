//! Requests over raw sockets. The function is a process that does nothing: the test itself is its runtime.

use super::*;
use crate::cloudwatch::experiment_log::ExperimentLog;
use crate::fault::Faults;
use crate::lambda::function::Function;
use crate::xray::XRay;
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const STREAMING: door::Streaming = door::Streaming { bytes_per_sec: None, drains: false };
const URL: Door = Door::FunctionUrl { streaming: None, origin_access_control: false };
const STREAMING_URL: Door = Door::FunctionUrl { streaming: Some(STREAMING), origin_access_control: false };
const STREAMING_REST: Door = Door::Rest { base_path: None, streaming: Some(STREAMING) };

const PRELUDE: &[u8] = b"{\"statusCode\":203,\"headers\":{\"x-a\":\"1\"}}\0\0\0\0\0\0\0\0";

/// A front door with its function.
struct Served {
    address: SocketAddr,
    lambda: Lambda,
    journal: Journal,
    /// The file to which the process of the function writes the address of its Runtime API.
    runtime_api: PathBuf,
    _folder: TempDir,
    _server: Server,
}

async fn serve_door(door: Door) -> Served {
    serve_with_timeout(door, Duration::from_secs(20)).await
}

async fn serve_with_timeout(door: Door, timeout: Duration) -> Served {
    let folder = TempDir::new().unwrap();
    let runtime_api = folder.path().join("runtime-api");
    // The file appears with its whole content.
    let script = "echo $AWS_LAMBDA_RUNTIME_API > $0.new; mv $0.new $0; exec sleep 60";
    let journal = Journal::in_memory();
    let cloudwatch = CloudWatch::default();
    let function = Function {
        name: "echo".to_owned(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned(), runtime_api.display().to_string()],
        env: Vec::new(),
        region: "x".to_owned(),
        memory_mb: 128,
        timeout,
        environments: 1,
        concurrency: 1,
        freeze: false,
        throttle: false,
        sampled: 0.0,
        cloudwatch: cloudwatch.clone(),
        experiments: ExperimentLog::default(),
        xray: XRay::default(),
        faults: Faults::default(),
    };
    let lambda = Lambda::new(function, journal.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = Gateway {
        api: Api::new("id", "x", "$default", door),
        version_header: HeaderName::from_static("test_version"),
        lambda: lambda.clone(),
        function_name: "x",
        journal: journal.clone(),
        cloudwatch,
        edits: None,
    };
    Served { address, lambda, journal, runtime_api, _folder: folder, _server: serve(listener, gateway) }
}

/// One connection, of the viewer or of the function.
struct Connection(TcpStream);

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self(socket)
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads until the received bytes end with `end`, and returns them. Fails if the connection closes before.
    async fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut received = Vec::new();
        while !received.ends_with(end) {
            let byte = self.0.read_u8().await;
            received
                .push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&received))));
        }
        received
    }

    /// Reads until the connection closes, also if it is reset.
    async fn read_to_close(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer).await {
                Ok(0) | Err(_) => return received,
                Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    /// Reads the head of a message: the first line, and the lower-case header section.
    async fn read_head(&mut self) -> (String, String) {
        let head = String::from_utf8(self.read_until(b"\r\n\r\n").await).unwrap();
        let (line, fields) = head.split_once("\r\n").unwrap();
        (line.to_owned(), fields.to_ascii_lowercase())
    }

    /// Reads a body with a Content-Length.
    async fn read_body(&mut self, fields: &str) -> Vec<u8> {
        let length = fields.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    async fn write_chunk(&mut self, bytes: &[u8]) {
        self.write(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
        self.write(bytes).await;
        self.write(b"\r\n").await;
    }
}

/// The runtime of the function, with the event that it has received.
struct Runtime {
    connection: Connection,
    request_id: String,
    event: Value,
}

impl Runtime {
    async fn start_stream(&mut self, content_type: &str) {
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{}/response HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n",
            self.request_id
        );
        self.connection.write(head.as_bytes()).await;
    }

    async fn respond(&mut self, payload: &Value) {
        let payload = payload.to_string();
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{}/response HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{payload}",
            self.request_id,
            payload.len()
        );
        self.connection.write(head.as_bytes()).await;
    }
}

impl Served {
    /// Sends a request, and fetches its event.
    async fn request(&self, line: &str) -> (Connection, Runtime) {
        self.request_with(line, &HeaderMap::new()).await
    }

    async fn request_with(&self, line: &str, headers: &HeaderMap) -> (Connection, Runtime) {
        let mut viewer = Connection::open(self.address).await;
        let fields = headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
        let fields: String = fields.collect();
        viewer.write(format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).await;
        let address =
            wait_for("the address of the Runtime API", || std::fs::read_to_string(&self.runtime_api).ok()).await;
        let runtime_api = address.trim().parse().unwrap();
        let mut connection = Connection::open(runtime_api).await;
        connection.write(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (_, fields) = connection.read_head().await;
        let event = serde_json::from_slice(&connection.read_body(&fields).await).unwrap();
        let id = fields.lines().find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: ")).unwrap();
        let request_id = id.to_owned();
        (viewer, Runtime { connection, request_id, event })
    }

    async fn wait_for_line(&self, part: &str) {
        wait_for(part, || self.journal.lines().iter().any(|line| line.contains(part)).then_some(())).await;
    }
}

/// Waits until there is a value; fails after ten seconds.
async fn wait_for<T>(what: &str, value: impl Fn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            match value() {
                Some(value) => return value,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    found.unwrap_or_else(|_| panic!("still missing after 10 s: {what}"))
}

#[tokio::test]
async fn each_door_invokes_the_function_with_its_own_format() {
    let rest = Door::Rest { base_path: Some("shop".to_owned()), streaming: None };
    for (door, path, field, expected) in [
        (Door::HttpApi, "/a%20b", "rawPath", "/a b"),
        (URL, "/a%20b", "rawPath", "/a%20b"),
        (STREAMING_URL, "/a%20b", "rawPath", "/a%20b"),
        (rest, "/shop/a%20b", "path", "/shop/a%20b"),
        (Door::Alb { multi_value: false }, "/a%20b", "path", "/a%20b"),
    ] {
        let served = serve_door(door.clone()).await;
        let (mut viewer, mut runtime) = served.request(&format!("GET {path}")).await;
        assert_eq!(runtime.event[field], json!(expected), "{door:?}");
        runtime.respond(&json!({"statusCode": 203, "headers": {"x-a": "1"}, "body": "hi"})).await;
        let (line, fields) = viewer.read_head().await;
        assert!(line.starts_with("HTTP/1.1 203") && fields.contains("x-a: 1"), "{door:?}: {line} {fields}");
        assert_eq!(viewer.read_body(&fields).await, b"hi", "{door:?}");
        served.lambda.shut_down().await;
    }
}

#[tokio::test]
async fn the_viewer_receives_each_chunk_when_it_arrives() {
    for (door, path) in [(STREAMING_URL, "/x"), (STREAMING_REST, "/prod/x")] {
        let served = serve_door(door).await;
        let (mut viewer, mut runtime) = served.request(&format!("GET {path}")).await;
        runtime.start_stream("application/vnd.awslambda.http-integration-response").await;
        runtime.connection.write_chunk(PRELUDE).await;
        let (line, fields) = viewer.read_head().await;
        assert!(line.starts_with("HTTP/1.1 203") && fields.contains("x-a: 1"), "{line} {fields}");
        assert!(fields.contains("transfer-encoding: chunked"), "{fields}");
        for data in ["one", "two"] {
            runtime.connection.write_chunk(data.as_bytes()).await;
            assert_eq!(viewer.read_until(b"\r\n").await, b"3\r\n");
            assert_eq!(viewer.read_until(b"\r\n").await, format!("{data}\r\n").as_bytes());
        }
        assert_eq!(served.lambda.in_flight(), 1);
        runtime.connection.write(b"0\r\n\r\n").await;
        assert_eq!(viewer.read_until(b"0\r\n\r\n").await, b"0\r\n\r\n");
        let (line, _) = runtime.connection.read_head().await;
        assert!(line.starts_with("HTTP/1.1 202"), "{line}");
        assert_eq!(served.lambda.in_flight(), 0);
        served.wait_for_line("6 B").await;
        served.lambda.shut_down().await;
    }
}

#[tokio::test]
async fn a_stream_without_an_end_aborts_the_viewers_connection() {
    let trailers = b"0\r\nLambda-Runtime-Function-Error-Type: Origin.S3\r\n\r\n";
    for (rest, error) in [(&trailers[..], "Origin.S3"), (b"5\r\ntw", "connection broke"), (b"", "connection broke")] {
        let served = serve_door(STREAMING_URL).await;
        let (mut viewer, mut runtime) = served.request("GET /x").await;
        runtime.start_stream("text/plain").await;
        runtime.connection.write_chunk(b"one").await;
        let (line, _) = viewer.read_head().await;
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        assert_eq!(viewer.read_until(b"one\r\n").await, b"3\r\none\r\n");
        runtime.connection.write(rest).await;
        runtime.connection.0.shutdown().await.unwrap();
        let received = viewer.read_to_close().await;
        assert!(!received.ends_with(b"0\r\n\r\n"), "a clean end after {rest:?}: {received:?}");
        served.wait_for_line(error).await;
        served.lambda.shut_down().await;
    }
}

#[tokio::test]
async fn a_function_may_close_its_connection_after_a_complete_stream() {
    let served = serve_door(STREAMING_URL).await;
    let (mut viewer, mut runtime) = served.request("GET /x").await;
    runtime.start_stream("text/plain").await;
    runtime.connection.write(b"3\r\none\r\n0\r\n\r\n").await;
    runtime.connection.0.shutdown().await.unwrap();
    viewer.read_until(b"3\r\none\r\n0\r\n\r\n").await;
    served.lambda.shut_down().await;
}

#[tokio::test]
async fn the_upload_is_aborted_when_the_viewer_disconnects() {
    let served = serve_door(STREAMING_URL).await;
    let (mut viewer, mut runtime) = served.request("GET /x").await;
    runtime.start_stream("text/plain").await;
    runtime.connection.write_chunk(b"one").await;
    viewer.read_until(b"one\r\n").await;
    drop(viewer);
    assert_eq!(runtime.connection.read_to_close().await, b"", "the Runtime API closes without a response");
    served.wait_for_line("the viewer closed the connection").await;
    assert_eq!(served.lambda.in_flight(), 0);
    served.lambda.shut_down().await;
}

#[tokio::test]
async fn the_functions_exit_aborts_the_viewers_connection() {
    let served = serve_door(STREAMING_URL).await;
    let (mut viewer, mut runtime) = served.request("GET /x").await;
    runtime.start_stream("text/plain").await;
    runtime.connection.write_chunk(b"one").await;
    viewer.read_until(b"one\r\n").await;
    served.lambda.shut_down().await;
    let received = viewer.read_to_close().await;
    assert!(!received.ends_with(b"0\r\n\r\n"), "a clean end: {received:?}");
}

#[tokio::test]
async fn the_functions_timeout_aborts_the_viewers_connection() {
    let served = serve_with_timeout(STREAMING_URL, Duration::from_millis(1_000)).await;
    let (mut viewer, mut runtime) = served.request("GET /x").await;
    runtime.start_stream("text/plain").await;
    runtime.connection.write_chunk(b"one").await;
    viewer.read_until(b"one\r\n").await;
    // Lambda kills the process, and the Runtime API of its environment ends with it.
    let received = viewer.read_to_close().await;
    assert!(!received.ends_with(b"0\r\n\r\n"), "a clean end: {received:?}");
    served.wait_for_line("exited").await;
    assert_eq!(served.lambda.environments(), 0);
}

#[tokio::test]
async fn a_stream_over_200_mb_is_aborted() {
    let served = serve_door(STREAMING_URL).await;
    let (mut viewer, mut runtime) = served.request("GET /x").await;
    runtime.start_stream("text/plain").await;
    let reading = tokio::spawn(async move { viewer.read_to_close().await });
    let chunk = vec![b'x'; 1024 * 1024];
    for _ in 0..200 {
        runtime.connection.write_chunk(&chunk).await;
    }
    runtime.connection.write_chunk(b"x").await;
    let (line, _) = runtime.connection.read_head().await;
    assert!(line.starts_with("HTTP/1.1 413"), "{line}");
    let received = reading.await.unwrap();
    // The abort can overtake the last bytes.
    assert!(received.len() > 199 * 1024 * 1024 && !received.ends_with(b"0\r\n\r\n"), "{} bytes", received.len());
    served.wait_for_line("exceeds 209715200 bytes").await;
    served.lambda.shut_down().await;
}

#[tokio::test]
async fn a_failure_before_the_head_is_a_502() {
    for (door, path) in [(STREAMING_URL, "/x"), (STREAMING_REST, "/prod/x")] {
        let served = serve_door(door).await;
        let (mut viewer, mut runtime) = served.request(&format!("GET {path}")).await;
        runtime.start_stream("application/vnd.awslambda.http-integration-response").await;
        runtime.connection.write(b"2\r\n{}\r\n0\r\n\r\n").await;
        let (line, _) = viewer.read_head().await;
        assert!(line.starts_with("HTTP/1.1 502"), "{line}");
        served.lambda.shut_down().await;
    }
}

#[tokio::test]
async fn a_response_without_a_body_lets_the_upload_complete() {
    let served = serve_door(STREAMING_URL).await;
    let (mut viewer, mut runtime) = served.request("HEAD /x").await;
    runtime.start_stream("application/vnd.awslambda.http-integration-response").await;
    runtime.connection.write_chunk(PRELUDE).await;
    let (line, _) = viewer.read_head().await;
    assert!(line.starts_with("HTTP/1.1 203"), "{line}");
    runtime.connection.write_chunk(b"ignored").await;
    runtime.connection.write(b"0\r\n\r\n").await;
    let (line, _) = runtime.connection.read_head().await;
    assert!(line.starts_with("HTTP/1.1 202"), "{line}");
    served.lambda.shut_down().await;
}

#[tokio::test]
async fn only_a_signed_request_passes_origin_access_control() {
    let served = serve_door(Door::FunctionUrl { streaming: None, origin_access_control: true }).await;
    let mut viewer = Connection::open(served.address).await;
    viewer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (line, fields) = viewer.read_head().await;
    assert!(line.starts_with("HTTP/1.1 403"), "{line}");
    assert_eq!(viewer.read_body(&fields).await, br#"{"Message":"Forbidden"}"#);
    assert_eq!(served.lambda.started(), 0, "the function is not invoked");

    let mut headers = HeaderMap::new();
    OriginAccess::new("x").sign(&Method::GET, "x", "/x", &HeaderMap::new(), &mut headers).unwrap();
    let (mut viewer, mut runtime) = served.request_with("GET /x", &headers).await;
    let iam = &runtime.event["requestContext"]["authorizer"]["iam"];
    assert_eq!(iam["accessKey"], json!(origin_access::ACCESS_KEY_ID));
    runtime.respond(&json!({"statusCode": 200})).await;
    let (line, _) = viewer.read_head().await;
    assert!(line.starts_with("HTTP/1.1 200"), "{line}: {:#?}", served.journal.lines());
    served.lambda.shut_down().await;
}

#[tokio::test]
async fn a_large_body_is_rejected_by_the_door() {
    for (door, bytes, status) in [
        (Door::Alb { multi_value: false }, 1024 * 1024 + 1, 413),
        (URL, 6 * 1024 * 1024 + 1, 413),
        (Door::HttpApi, 10 * 1024 * 1024 + 1, 413),
    ] {
        let served = serve_door(door).await;
        let mut viewer = Connection::open(served.address).await;
        viewer.write(format!("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n").as_bytes()).await;
        viewer.write(&vec![b'x'; bytes]).await;
        let (line, _) = viewer.read_head().await;
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{line}");
        assert_eq!(served.lambda.started(), 0);
    }
}

#[tokio::test]
async fn large_headers_are_rejected_by_the_door() {
    for (door, header, status) in [
        (Door::HttpApi, 10_300, 431),
        (Door::Rest { base_path: None, streaming: None }, 10_300, 431),
        (Door::Alb { multi_value: false }, 16 * 1024, 413),
    ] {
        let served = serve_door(door).await;
        let mut viewer = Connection::open(served.address).await;
        let value = "x".repeat(header);
        viewer.write(format!("GET /prod/x HTTP/1.1\r\nHost: x\r\nx-a: {value}\r\n\r\n").as_bytes()).await;
        let (line, _) = viewer.read_head().await;
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{line}");
        assert_eq!(served.lambda.started(), 0);
    }
}
