//! Presigning, and an S3 server with scripted responses, byte for byte, that no real server sends on demand.

mod odd_responses;

use std::ops::Range;
use std::time::SystemTime;

use super::*;
use crate::storage::s3::attempt::USER_AGENT;
use crate::storage::s3::request::content_range;
use aws_sdk_s3::config::{Credentials, Region};
use nearedge_core::http::range::ByteRange;
use nearedge_core::object::Head;
use nearedge_core::store::{Fetched, Missing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client whose credentials expire after `lifetime`.
fn store(lifetime: Option<Duration>, endpoint: Option<String>) -> S3 {
    let expires = lifetime.map(|lifetime| SystemTime::now() + lifetime);
    let credentials = Credentials::new("AKIDEXAMPLE", "secret-key", Some("token".into()), expires, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .http_client(http_client::client(http_client::bundled_anchors(), CONNECT_TIMEOUT).unwrap())
        .credentials_provider(credentials.clone())
        .retry_config(RetryConfig::disabled())
        // A host name with the bucket could not be resolved.
        .force_path_style(endpoint.is_some());
    config.set_endpoint_url(endpoint);
    let attempts = Arc::new(Attempts::default());
    let config = for_one_bucket(config, &attempts).build();
    S3 {
        encoding: Encoding::Base64,
        client: aws_sdk_s3::Client::from_conf(config),
        bucket: "site".into(),
        credentials: Some(credentials),
        attempts,
        breaker: Arc::default(),
        connections: Arc::new(Semaphore::new(100)),
        bodies: BodyBudget::new(64 << 20),
    }
}

/// The lifetime of a presigned URL in seconds.
async fn expires_in(lifetime: Option<Duration>, ttl_secs: u64) -> Result<u64, FetchError> {
    let key = ObjectKey::new("v1/a b+c.mp4".into());
    let url = store(lifetime, None).sign(&key, Part::Whole, Duration::from_secs(ttl_secs)).await?;
    assert!(url.starts_with("https://site.s3.us-east-1.amazonaws.com/v1/a%20b%2Bc.mp4?"), "{url}");
    assert!(!url.contains("secret-key"));
    let expires = url.split("X-Amz-Expires=").nth(1).and_then(|rest| rest.split('&').next());
    Ok(expires.unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_presigned_url_never_outlives_the_credentials() {
    assert_eq!(expires_in(None, 300).await, Ok(300));
    assert_eq!(expires_in(Some(Duration::from_secs(900)), 300).await, Ok(300));
    let short = expires_in(Some(Duration::from_secs(60)), 300).await.unwrap();
    assert!((1..=60).contains(&short), "{short}");
    assert!(matches!(expires_in(Some(Duration::ZERO), 300).await, Err(FetchError::Failed(_))));
}

/// The requests that a scripted S3 has received.
#[derive(Clone, Default)]
struct Requests(Arc<std::sync::Mutex<Vec<String>>>);

impl Requests {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// The parts of a response, each with the delay in ms before it.
type Script = &'static [(u64, &'static str)];

/// An S3 that sends the next script on each connection and closes it; repeats the last script.
async fn scripted(scripts: impl Into<Vec<Script>>) -> (S3, Requests) {
    let bytes = |script: Script| script.iter().map(|(ms, text)| (*ms, text.as_bytes().to_vec())).collect();
    scripted_bytes(scripts.into().into_iter().map(bytes).collect()).await
}

/// As [`scripted`], with parts that need not be UTF-8.
async fn scripted_bytes(scripts: Vec<Vec<(u64, Vec<u8>)>>) -> (S3, Requests) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let received = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 16_384];
            let read = connection.read(&mut request).await.unwrap_or(0);
            let turn = received.count();
            received.0.lock().unwrap().push(String::from_utf8_lossy(&request[..read]).to_ascii_lowercase());
            let script = scripts[turn.min(scripts.len() - 1)].clone();
            tokio::spawn(async move {
                for (ms, bytes) in script {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    let _ = connection.write_all(&bytes).await;
                }
            });
        }
    });
    (store(None, Some(endpoint)), requests)
}

async fn fetch(s3: &S3, range: Option<&str>) -> Result<Fetched, FetchError> {
    fetch_within(s3, range, Duration::from_secs(10)).await
}

async fn fetch_within(s3: &S3, range: Option<&str>, budget: Duration) -> Result<Fetched, FetchError> {
    let (key, fits) = (ObjectKey::new("v1/test.html".into()), |_: &Head, _: Option<&Range<u64>>| true);
    let request = FetchRequest {
        overflow: None,
        range: range.and_then(ByteRange::parse),
        ..FetchRequest::unconditional(&key, Part::Whole, &fits)
    };
    s3.fetch(&request, Instant::now() + budget).await.result
}

#[tokio::test]
async fn no_request_to_s3_accepts_compressed_bodies() {
    let (s3, requests) = scripted([WHOLE]).await;
    fetch(&s3, None).await.unwrap();
    let request = requests.0.lock().unwrap().concat();
    let encodings: Vec<&str> = request.lines().filter_map(|line| line.strip_prefix("accept-encoding:")).collect();
    assert!(
        request.starts_with("get /site/v1/test.html") && encodings.iter().all(|one| one.trim() == "identity"),
        "{request}"
    );
}

#[tokio::test]
async fn a_request_to_s3_names_nearedge_and_has_no_ids_of_the_sdk() {
    let (s3, requests) = scripted([WHOLE]).await;
    fetch(&s3, None).await.unwrap();
    let request = requests.0.lock().unwrap().concat();
    let names: Vec<&str> = request.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert!(request.contains(&format!("\r\nuser-agent: {USER_AGENT}\r\n")), "{request}");
    assert!(!names.iter().any(|name| name.starts_with("amz-sdk-") || *name == "x-amz-user-agent"), "{request}");
}

#[tokio::test]
async fn the_endpoint_of_the_first_request_serves_every_key() {
    let s3 = store(None, None);
    for path in ["a.html", "v1/b.html", "a.html"] {
        let url = s3.sign(&ObjectKey::new(path.into()), Part::Whole, Duration::from_secs(60)).await.unwrap();
        assert!(url.starts_with(&format!("https://site.s3.us-east-1.amazonaws.com/{path}?")), "{url}");
    }
}

/// The credentials of a session for a directory bucket.
const SESSION: Script = &[(
    0,
    "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n\
     <CreateSessionResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Credentials><AccessKeyId>A</AccessKeyId>\
     <SecretAccessKey>S</SecretAccessKey><SessionToken>session-token</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>\
     </Credentials></CreateSessionResult>",
)];

#[tokio::test]
async fn a_directory_bucket_is_read_with_a_session() {
    let (mut s3, requests) = scripted([SESSION, WHOLE]).await;
    s3.bucket = "site--use1-az4--x-s3".into();
    for _ in 0..2 {
        let fetched = fetch_within(&s3, None, Duration::from_secs(5)).await;
        assert!(matches!(fetched, Ok(Fetched::Object(_))), "{fetched:?}");
    }
    let requests = requests.0.lock().unwrap().clone();
    assert!(requests[0].starts_with("get /site--use1-az4--x-s3/?session "), "{requests:?}");
    for request in &requests[1..] {
        assert!(
            request.starts_with("get /site--use1-az4--x-s3/v1/test.html") && request.contains("session-token"),
            "{request}"
        );
    }
    assert_eq!(requests.len(), 3, "{requests:?}");
}

const HANG: Script = &[(600_000, "")];

/// The text of an error.
fn error(result: Result<Fetched, FetchError>) -> String {
    result.unwrap_err().cause().unwrap().to_string()
}

#[tokio::test]
async fn a_timeout_opens_the_breaker_and_a_slow_probe_closes_it() {
    // The response to the probe takes longer than the probe may wait for headers.
    let (s3, requests) = scripted([HANG, &[(10, HALF_TEXT), (2_000, "56"), (2_000, "789")], WHOLE]).await;
    assert!(error(fetch_within(&s3, None, FIRST_BYTE_TIMEOUT).await).starts_with("no response from S3 within 3"));
    assert_eq!(error(fetch(&s3, None).await), "circuit breaker open: S3 timed out less than 1 s ago");
    assert_eq!(requests.count(), 1);
    let probed = loop {
        match fetch(&s3, None).await {
            Err(FetchError::Unavailable(why)) if why.to_string().contains("circuit breaker open") => {
                tokio::task::yield_now().await
            }
            other => break other,
        }
    };
    assert!(probed.is_ok() && requests.count() == 2, "{probed:?}");
    assert!(fetch(&s3, None).await.is_ok());
}

#[tokio::test]
async fn a_probe_of_a_hanging_s3_is_short() {
    let (s3, _) = scripted([HANG]).await;
    s3.breaker.suspect();
    let started = Instant::now();
    assert!(error(fetch(&s3, None).await).starts_with("no response from S3 within "));
    assert!(started.elapsed() < Duration::from_secs(9), "the probe must not use the whole budget of 10 s");
    assert!(error(fetch(&s3, None).await).contains("circuit breaker open"));
}

#[tokio::test]
async fn short_deadlines_and_fast_errors_do_not_open_the_breaker() {
    const BUSY: Script = &[(0, "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")];
    let (s3, requests) = scripted([HANG, BUSY, &[], WHOLE]).await;
    assert!(
        error(fetch_within(&s3, None, Duration::from_millis(100)).await).starts_with("no response from S3 within 1")
    );
    assert!(error(fetch(&s3, None).await).starts_with("S3 responded 503"));
    assert!(error(fetch(&s3, None).await).starts_with("S3 cannot be reached"));
    assert!(fetch(&s3, None).await.is_ok() && requests.count() == 4);
}

const HALF_TEXT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\netag: \"a\"\r\nconnection: close\r\n\r\n01234";
const HALF: Script = &[(0, HALF_TEXT)];
const WHOLE: Script =
    &[(0, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\netag: \"a\"\r\nconnection: close\r\n\r\n0123456789")];

#[tokio::test]
async fn a_truncated_body_is_fetched_again() {
    let (s3, requests) = scripted([HALF, WHOLE]).await;
    let Ok(Fetched::Object(object)) = fetch(&s3, None).await else { panic!("expected an object") };
    assert_eq!(&object.body.base64()[..], b"MDEyMzQ1Njc4OQ==");
    assert_eq!((requests.count(), s3.stats().retries), (2, 1));
}

#[tokio::test]
async fn retries_of_truncated_bodies_have_a_budget() {
    let (s3, requests) = scripted([HALF]).await;
    for _ in 0..RETRY_BURST + 5 {
        assert!(matches!(fetch(&s3, None).await, Err(FetchError::Unavailable(_))));
    }
    let twice = u64::try_from(RETRY_BURST).unwrap();
    assert_eq!((requests.count(), s3.stats().retries), (2 * RETRY_BURST + 5, twice));
    for _ in 0..RETRY_COST {
        s3.attempts.budget.earn();
    }
    assert!(s3.attempts.budget.spend() && !s3.attempts.budget.spend(), "RETRY_COST successes pay for one retry");
}

#[tokio::test]
async fn a_response_with_the_wrong_range_is_an_error() {
    const OTHER: Script =
        &[(0, "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\ncontent-range: bytes 1-5/10\r\n\r\n12345")];
    const MALFORMED: Script =
        &[(0, "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\ncontent-range: five\r\n\r\n01234")];
    for script in [OTHER, MALFORMED] {
        let (s3, _) = scripted([script]).await;
        assert!(matches!(fetch(&s3, Some("bytes=0-4")).await, Err(FetchError::Failed(_))));
    }
}

#[tokio::test]
async fn only_a_rejected_key_with_dot_segments_is_missing() {
    const EMPTY: Script = &[(0, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")];
    const REJECTED: Script =
        &[(0, "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<Error><Code>InvalidRequest</Code></Error>")];
    const EXPIRED: Script =
        &[(0, "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<Error><Code>ExpiredToken</Code></Error>")];
    for (script, name, is_missing) in [
        (EMPTY, "v1/a/../b", true),
        (REJECTED, "v1/a/../b", true),
        (EXPIRED, "v1/a/../b", false),
        (REJECTED, "v1/test.html", false),
    ] {
        for part in [Part::Whole, Part::Head] {
            let (s3, _) = scripted([script]).await;
            let (key, fits) = (ObjectKey::new(name.into()), |_: &Head, _: Option<&Range<u64>>| true);
            let response = s3
                .fetch(&FetchRequest::unconditional(&key, part, &fits), Instant::now() + Duration::from_secs(10))
                .await;
            let error = response.result.unwrap_err();
            assert_eq!(
                matches!(error, FetchError::Missing(Missing::NoSuchKey)),
                is_missing,
                "{name} {part:?}: {error:?}"
            );
            assert!(is_missing || matches!(error, FetchError::Failed(_)));
        }
    }
}

#[test]
fn a_content_range_is_parsed_or_rejected() {
    assert_eq!(content_range("bytes 2-4/10"), Some((2..5, 10)));
    for bad in ["", "bytes */10", "bytes 2-4/*", "bytes 4/10", "items 2-4/10", "bytes 2-18446744073709551615/9"] {
        assert_eq!(content_range(bad), None, "{bad}");
    }
}
