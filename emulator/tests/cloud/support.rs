//! A local cloud on free ports, and a client that changes no request.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use bytes::Bytes;
use emulator::cloud::{ACCESS_KEY_ID, Bootstrap, Cloud, Options, SECRET_ACCESS_KEY, Storage};
use emulator::cloudwatch::MetricName;
use emulator::fault::Faults;
use emulator::gateway::door::{Door, Streaming};
use emulator::journal::Journal;
use emulator::s3::MissingKey;
use emulator::serve::{self, BoxError, HttpClient, Server};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::{TcpListener, TcpSocket};

/// The header with the shared secret.
pub(crate) const SECRET: (&str, &str) = ("lambda_auth", "lambdaapi_test");

const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// Any free port.
pub(crate) const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The sample site.
pub(crate) fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("site")
}

/// The binary `nearedge`.
pub(crate) fn nearedge() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_nearedge"))
}

/// A program of `emulator/examples`, which `cargo test` builds next to the binary.
pub(crate) fn example(name: &str) -> Bootstrap {
    let program = nearedge().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built: run `cargo build --workspace --examples`", program.display());
    Bootstrap { program, arguments: Vec::new() }
}

/// The local bucket with the sample site, or the S3 server at the URL in `NEAREDGE_TEST_S3`.
///
/// That server must accept the same credentials and have an empty bucket of the same name. It shows whether the tests
/// depend on the local bucket.
fn storage() -> Storage {
    match std::env::var("NEAREDGE_TEST_S3") {
        Ok(url) => Storage::Endpoint {
            url: url.parse().unwrap(),
            credentials: Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None),
        },
        Err(_) => Storage::Folder { site: site(), address: FREE_PORT, missing_key: MissingKey::NoSuchKey },
    }
}

/// A server in place of S3, with this handler.
pub(crate) async fn fake_s3<H, F>(handler: H) -> (Server, Storage)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<serve::Body>, BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind(FREE_PORT).await.unwrap();
    let storage = s3_at(listener.local_addr().unwrap());
    (serve::serve(listener, move |request, _| handler(request)), storage)
}

/// An S3 that refuses connections: the socket reserves the port and does not listen.
pub(crate) fn unreachable_s3() -> (TcpSocket, Storage) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(FREE_PORT).unwrap();
    let storage = s3_at(socket.local_addr().unwrap());
    (socket, storage)
}

fn s3_at(address: SocketAddr) -> Storage {
    let url = format!("http://{address}").parse().unwrap();
    Storage::Endpoint { url, credentials: Credentials::from_keys("AKIDEXAMPLE", "secret-key", None) }
}

/// Revalidates every object, so changes are visible immediately, and sends no S3 request without a request of the test.
const ALWAYS_REVALIDATE: [(&str, &str); 4] =
    [("cache_ttl_secs", "0"), ("cache_missing_ttl_secs", "0"), ("stale_if_error_secs", "0"), ("prewarm", "false")];

pub(crate) fn options() -> Options {
    with_env(&[])
}

/// Options with these settings of the function; by default it revalidates every object.
pub(crate) fn with_env(env: &[(&str, &str)]) -> Options {
    let handler = Bootstrap { program: nearedge(), arguments: vec!["as-bootstrap".to_owned()] };
    let env =
        ALWAYS_REVALIDATE.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options {
        edge: FREE_PORT,
        gateway: FREE_PORT,
        console: FREE_PORT,
        door: door(),
        storage: storage(),
        environments: 2,
        // Most tests are about the function, which notices edits itself.
        reload: false,
        env,
        ..Options::new(handler, site())
    }
}

/// The door in front of the function: the one that the variable `TEST_DOOR` names, by default an HTTP API.
pub(crate) fn door() -> Door {
    let streaming = Some(Streaming::default());
    match std::env::var("TEST_DOOR").as_deref() {
        Err(_) | Ok("http-api") => Door::HttpApi,
        Ok("function-url") => Door::FunctionUrl { streaming: None, origin_access_control: false },
        Ok("function-url-streaming") => Door::FunctionUrl { streaming, origin_access_control: false },
        Ok("rest") => Door::Rest { base_path: Some(String::new()), streaming: None },
        Ok("rest-streaming") => Door::Rest { base_path: Some(String::new()), streaming },
        Ok("alb") => Door::Alb { multi_value: true },
        Ok(other) => panic!("TEST_DOOR is {other}: use http-api, function-url, rest or alb, or one with -streaming"),
    }
}

/// The status with which the door answers for a function that fails, and for one that is throttled.
pub(crate) fn failure_statuses() -> (StatusCode, StatusCode) {
    match door() {
        Door::HttpApi => (StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE),
        Door::FunctionUrl { .. } => (StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS),
        Door::Rest { .. } => (StatusCode::BAD_GATEWAY, StatusCode::INTERNAL_SERVER_ERROR),
        Door::Alb { .. } => (StatusCode::BAD_GATEWAY, StatusCode::BAD_GATEWAY),
    }
}

/// Options for a test that is about an HTTP API, whatever `TEST_DOOR` says.
pub(crate) fn http_api() -> Options {
    Options { door: Door::HttpApi, ..options() }
}

/// Options for a test about responses in JSON: the door of `TEST_DOOR` without streams.
pub(crate) fn buffered(options: Options) -> Options {
    let door = match options.door {
        Door::FunctionUrl { origin_access_control, .. } => Door::FunctionUrl { streaming: None, origin_access_control },
        Door::Rest { base_path, .. } => Door::Rest { base_path, streaming: None },
        door => door,
    };
    Options { door, ..options }
}

/// A running local cloud.
pub(crate) struct TestCloud {
    pub(crate) cloud: Cloud,
    pub(crate) journal: Journal,
    client: HttpClient,
}

pub(crate) struct TestResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl TestResponse {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks Content-Length, which the head of a stream lacks.
    pub(crate) fn assert_length(&self, expected: &str) {
        let found = self.header("content-length");
        assert!(found == expected || found.is_empty() && door().streaming().is_some(), "{found}, expected {expected}");
    }

    /// The value of a header field, even if the door has renamed the field
    /// ([REST APIs](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html)).
    pub(crate) fn header(&self, name: &str) -> &str {
        let renamed = self.headers.get(format!("x-amzn-remapped-{name}"));
        renamed.or_else(|| self.headers.get(name)).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn start(options: Options) -> TestCloud {
    start_with(options, Faults::default()).await
}

/// Starts a cloud with these faults.
pub(crate) async fn start_with(options: Options, faults: Faults) -> TestCloud {
    let journal = Journal::in_memory();
    let cloud = Cloud::start(options, faults, journal.clone()).await.unwrap();
    TestCloud { cloud, journal, client: serve::client() }
}

impl TestCloud {
    pub(crate) async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> TestResponse {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(Bytes::new()).unwrap()).await
    }

    /// Sends a GET with the secret to the door, and returns when the head of the response has arrived.
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> http::Response<hyper::body::Incoming> {
        let mut request = Request::builder().uri(format!("http://{}{path}", self.cloud.gateway));
        for (name, value) in headers.iter().copied().chain([SECRET]) {
            request = request.header(name, value);
        }
        self.client.request(request.body(serve::full(Bytes::new())).unwrap()).await.unwrap()
    }

    pub(crate) async fn request(&self, request: Request<Bytes>) -> TestResponse {
        let response = self.client.request(request.map(serve::full)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        TestResponse { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request with the secret to the HTTP API.
    pub(crate) async fn with(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> TestResponse {
        let headers: Vec<_> = headers.iter().copied().chain([SECRET]).collect();
        self.send(method, &format!("http://{}{path}", self.cloud.gateway), &headers).await
    }

    /// Sends a GET to the HTTP API.
    pub(crate) async fn api(&self, path: &str, headers: &[(&str, &str)]) -> TestResponse {
        self.send(Method::GET, &format!("http://{}{path}", self.cloud.gateway), headers).await
    }

    /// Sends a GET to the CDN.
    pub(crate) async fn cdn(&self, path: &str, headers: &[(&str, &str)]) -> TestResponse {
        self.send(Method::GET, &format!("http://{}{path}", self.cloud.edge), headers).await
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        self.s3_as(SECRET_ACCESS_KEY)
    }

    pub(crate) fn s3_as(&self, secret_key: &str) -> aws_sdk_s3::Client {
        s3_client(&self.cloud.s3_endpoint, secret_key)
    }

    pub(crate) async fn put(&self, key: &str, body: impl Into<Bytes>, content_type: &str) {
        let body = aws_sdk_s3::primitives::ByteStream::from(body.into());
        let put = self.s3().put_object().bucket(&self.cloud.bucket).key(key).body(body).content_type(content_type);
        put.send().await.unwrap();
    }

    /// The sum of the metric `S3Requests`.
    pub(crate) fn s3_requests(&self) -> f64 {
        let name = MetricName::new("nearedge", "S3Requests", &[("service", "lambdaapi")]);
        self.cloud.cloudwatch.values(&name, 0, u64::MAX / 2, u64::MAX / 2).concat().iter().sum()
    }

    /// Waits for a matching line in the journal. The handler logs after it has responded.
    pub(crate) async fn wait_for_log(&self, wanted: impl Fn(&str) -> bool) {
        self.wait_for_logs(1, wanted).await;
    }

    /// Waits for `times` matching lines in the journal.
    pub(crate) async fn wait_for_logs(&self, times: usize, wanted: impl Fn(&str) -> bool) {
        wait_until(|| self.journal.lines().iter().filter(|line| wanted(line)).count() >= times).await;
    }

    pub(crate) async fn shut_down(self) {
        self.cloud.shut_down().await;
    }
}

fn s3_client(endpoint: &str, secret_key: &str) -> aws_sdk_s3::Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::from_keys(ACCESS_KEY_ID, secret_key, None))
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .http_client(http)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Waits until the condition is true; fails after ten seconds.
pub(crate) async fn wait_until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(),
        "the condition is still false after 10 s"
    );
}

/// Percent-encodes every character of a path that may be encoded.
pub(crate) fn encode(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}
