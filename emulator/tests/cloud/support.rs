//! A cloud on free ports, and a client that sends exactly what it is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use bytes::Bytes;
use emulator::cloud::{ACCESS_KEY_ID, Bootstrap, Cloud, Options, SECRET_ACCESS_KEY, Storage};
use emulator::fault::Faults;
use emulator::journal::Journal;
use emulator::s3::MissingKey;
use emulator::serve::{self, HttpClient};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The header that opens the API.
pub(crate) const SECRET: (&str, &str) = ("lambda_auth", "lambdaapi_test");

const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

pub(crate) const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("site")
}

pub(crate) fn emulator() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_nearedge"))
}

/// A program of `emulator/examples`, which `cargo test` builds beside the emulator itself.
pub(crate) fn example(name: &str) -> Bootstrap {
    let program = emulator().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built: run `cargo build --workspace --examples`", program.display());
    Bootstrap { program, arguments: Vec::new() }
}

/// The local bucket over the sample site; or, so that no rule leans on one server's habits, the S3 at the
/// address in `NEAREDGE_TEST_S3`, which knows the same keys and has an empty bucket of the same name.
fn storage() -> Storage {
    match std::env::var("NEAREDGE_TEST_S3") {
        Ok(url) => Storage::Endpoint {
            url: url.parse().unwrap(),
            credentials: Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None),
        },
        Err(_) => Storage::Folder { site: site(), address: FREE, missing_key: MissingKey::NoSuchKey },
    }
}

/// A cache that asks S3 about everything each time, so that what a test changes shows at once, and no request to S3
/// but for a request of the test's.
const NOTHING_FRESH: [(&str, &str); 4] =
    [("cache_ttl_secs", "0"), ("cache_missing_ttl_secs", "0"), ("stale_if_error_secs", "0"), ("prewarm", "false")];

pub(crate) fn options() -> Options {
    with_env(&[])
}

/// With these settings; nothing is fresh unless they say so.
pub(crate) fn with_env(env: &[(&str, &str)]) -> Options {
    let handler = Bootstrap { program: emulator(), arguments: vec!["as-bootstrap".to_owned()] };
    let env = NOTHING_FRESH.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options {
        edge: FREE,
        gateway: FREE,
        console: FREE,
        storage: storage(),
        environments: 2,
        env,
        ..Options::new(handler, site())
    }
}

/// A running cloud; its processes end with it.
pub(crate) struct TestCloud {
    pub(crate) cloud: Cloud,
    pub(crate) journal: Journal,
    client: HttpClient,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn start(options: Options) -> TestCloud {
    let journal = Journal::kept();
    let cloud = Cloud::start(options, Faults::default(), journal.clone()).await.unwrap();
    TestCloud { cloud, journal, client: serve::client() }
}

impl TestCloud {
    pub(crate) async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(Bytes::new()).unwrap()).await
    }

    pub(crate) async fn request(&self, request: Request<Bytes>) -> Answer {
        let response = self.client.request(request.map(serve::full)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// GET through the API.
    pub(crate) async fn api(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, &format!("http://{}{path}", self.cloud.gateway), headers).await
    }

    /// GET through the edge.
    pub(crate) async fn cdn(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
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

    /// Waits until the journal has a line that `wanted` is true of; a handler writes its log after its answer.
    pub(crate) async fn logged(&self, wanted: impl Fn(&str) -> bool) {
        self.logged_times(1, wanted).await;
    }

    pub(crate) async fn logged_times(&self, times: usize, wanted: impl Fn(&str) -> bool) {
        until(|| self.journal.lines().iter().filter(|line| wanted(line)).count() >= times).await;
    }

    pub(crate) async fn end(self) {
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

/// Waits until something is true, and fails if it does not come true.
pub(crate) async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(), "it never came true");
}

/// A path, percent-encoded wherever a URI allows it.
pub(crate) fn encode(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}
