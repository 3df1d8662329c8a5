//! Signing, and an S3 whose answers are scripted down to the byte: what no real one can be made to send.

use std::ops::Range;
use std::time::SystemTime;

use super::*;
use crate::storage::s3::request::content_range;
use aws_sdk_s3::config::{Credentials, Region};
use nearedge_core::http::range::ByteRange;
use nearedge_core::object::Head;
use nearedge_core::store::{Fetched, Missing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client of credentials that live for so long.
fn store(lifetime: Option<Duration>, endpoint: Option<String>) -> S3 {
    let expires = lifetime.map(|lifetime| SystemTime::now() + lifetime);
    let credentials = Credentials::new("AKIDEXAMPLE", "secret-key", Some("token".into()), expires, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .http_client(http_client::client(http_client::bundled_anchors(), CONNECT_TIMEOUT).unwrap())
        .credentials_provider(credentials.clone())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::disabled())
        // A name for the bucket would be one to look up.
        .force_path_style(endpoint.is_some());
    config.set_endpoint_url(endpoint);
    let attempts = Arc::new(Attempts::default());
    let config = config.interceptor(EachAttempt(attempts.clone())).build();
    S3 {
        client: aws_sdk_s3::Client::from_conf(config),
        bucket: "site".into(),
        credentials: Some(credentials),
        attempts,
        breaker: Arc::default(),
    }
}

async fn expires_in(lifetime: Option<Duration>, ttl_secs: u64) -> Result<u64, FetchError> {
    let key = ObjectKey::new("v1/a b+c.mp4".into());
    let address = store(lifetime, None).sign(&key, Part::Whole, Duration::from_secs(ttl_secs)).await?;
    assert!(address.starts_with("https://site.s3.us-east-1.amazonaws.com/v1/a%20b%2Bc.mp4?"), "{address}");
    assert!(!address.contains("secret-key"));
    let expires = address.split("X-Amz-Expires=").nth(1).and_then(|rest| rest.split('&').next());
    Ok(expires.unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_presigned_address_never_outlives_the_credentials() {
    assert_eq!(expires_in(None, 300).await, Ok(300));
    assert_eq!(expires_in(Some(Duration::from_secs(900)), 300).await, Ok(300));
    let short = expires_in(Some(Duration::from_secs(60)), 300).await.unwrap();
    assert!((1..=60).contains(&short), "{short}");
    assert!(matches!(expires_in(Some(Duration::ZERO), 300).await, Err(FetchError::Failed(_))));
}

/// What an S3 was asked, request by request.
#[derive(Clone, Default)]
struct Asked(Arc<std::sync::Mutex<Vec<String>>>);

impl Asked {
    fn times(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Texts, each so many ms later than the one before it.
type Script = &'static [(u64, &'static str)];

/// An S3 that answers each connection with the next of these, the last again and again, and closes it.
async fn scripted(answers: impl Into<Vec<Script>>) -> (S3, Asked) {
    let answers = answers.into();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let kept = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = connection.read(&mut request).await.unwrap_or(0);
            let turn = kept.times();
            kept.0.lock().unwrap().push(String::from_utf8_lossy(&request[..read]).to_ascii_lowercase());
            let script = answers[turn.min(answers.len() - 1)];
            tokio::spawn(async move {
                for (ms, text) in script {
                    tokio::time::sleep(Duration::from_millis(*ms)).await;
                    let _ = connection.write_all(text.as_bytes()).await;
                }
            });
        }
    });
    (store(None, Some(endpoint)), asked)
}

async fn fetched(s3: &S3, range: Option<&str>) -> Result<Fetched, FetchError> {
    fetched_within(s3, range, Duration::from_secs(10)).await
}

async fn fetched_within(s3: &S3, range: Option<&str>, time: Duration) -> Result<Fetched, FetchError> {
    let (key, fits) = (ObjectKey::new("v1/test.html".into()), |_: &Head, _: Option<&Range<u64>>| true);
    let request = FetchRequest {
        range: range.and_then(ByteRange::parse),
        ..FetchRequest::unconditional(&key, Part::Whole, &fits)
    };
    s3.fetch(&request, Instant::now() + time).await.result
}

#[tokio::test]
async fn nothing_compressed_is_asked_for() {
    let (s3, asked) = scripted([WHOLE]).await;
    fetched(&s3, None).await.unwrap();
    let request = asked.0.lock().unwrap().concat();
    let encodings: Vec<&str> = request.lines().filter_map(|line| line.strip_prefix("accept-encoding:")).collect();
    assert!(
        request.starts_with("get /site/v1/test.html") && encodings.iter().all(|one| one.trim() == "identity"),
        "{request}"
    );
}

const NEVER: Script = &[(600_000, "")];

fn trouble(fetched: Result<Fetched, FetchError>) -> String {
    fetched.unwrap_err().cause().unwrap().to_string()
}

#[tokio::test]
async fn once_s3_has_not_answered_it_is_let_alone_and_then_found_again_however_slow_it_is() {
    // The second comes piece by piece for longer than a probe may wait for its beginning.
    let (s3, asked) = scripted([NEVER, &[(10, HALF_TEXT), (2_000, "56"), (2_000, "789")], WHOLE]).await;
    assert!(trouble(fetched_within(&s3, None, FIRST_BYTE_TIMEOUT).await).starts_with("no response from S3 within 3"));
    assert_eq!(trouble(fetched(&s3, None).await), "circuit breaker open: S3 timed out less than 1 s ago");
    assert_eq!(asked.times(), 1);
    let probed = loop {
        match fetched(&s3, None).await {
            Err(FetchError::Unavailable(why)) if why.to_string().contains("circuit breaker open") => {
                tokio::task::yield_now().await
            }
            other => break other,
        }
    };
    assert!(probed.is_ok() && asked.times() == 2, "{probed:?}");
    assert!(fetched(&s3, None).await.is_ok());
}

#[tokio::test]
async fn a_probe_of_an_s3_that_still_hangs_is_short() {
    let (s3, _) = scripted([NEVER]).await;
    s3.breaker.suspect();
    let started = Instant::now();
    assert!(trouble(fetched(&s3, None).await).starts_with("no response from S3 within "));
    assert!(started.elapsed() < Duration::from_secs(9), "ten seconds is what there is");
    assert!(trouble(fetched(&s3, None).await).contains("circuit breaker open"));
}

#[tokio::test]
async fn one_without_the_time_to_wait_and_errors_that_come_at_once_shut_nobody_out() {
    const BUSY: Script = &[(0, "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")];
    let (s3, asked) = scripted([NEVER, BUSY, &[], WHOLE]).await;
    assert!(
        trouble(fetched_within(&s3, None, Duration::from_millis(100)).await)
            .starts_with("no response from S3 within 1")
    );
    assert!(trouble(fetched(&s3, None).await).starts_with("S3 responded 503"));
    assert!(trouble(fetched(&s3, None).await).starts_with("S3 cannot be reached"));
    assert!(fetched(&s3, None).await.is_ok() && asked.times() == 4);
}

const HALF_TEXT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\netag: \"a\"\r\nconnection: close\r\n\r\n01234";
const HALF: Script = &[(0, HALF_TEXT)];
const WHOLE: Script =
    &[(0, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\netag: \"a\"\r\nconnection: close\r\n\r\n0123456789")];

#[tokio::test]
async fn a_body_that_breaks_off_once_is_whole_the_second_time() {
    let (s3, asked) = scripted([HALF, WHOLE]).await;
    let Ok(Fetched::Object(object)) = fetched(&s3, None).await else { panic!("no object") };
    assert_eq!(&object.body.base64()[..], b"MDEyMzQ1Njc4OQ==");
    assert_eq!((asked.times(), s3.stats().retries), (2, 1));
}

#[tokio::test]
async fn bodies_that_always_break_off_are_asked_for_again_only_while_there_is_a_budget() {
    let (s3, asked) = scripted([HALF]).await;
    for _ in 0..RETRY_BURST + 5 {
        assert!(matches!(fetched(&s3, None).await, Err(FetchError::Unavailable(_))));
    }
    let twice = u64::try_from(RETRY_BURST).unwrap();
    assert_eq!((asked.times(), s3.stats().retries), (2 * RETRY_BURST + 5, twice));
    for _ in 0..RETRY_COST {
        s3.attempts.budget.earn();
    }
    assert!(s3.attempts.budget.spend() && !s3.attempts.budget.spend(), "successes pay for more");
}

#[tokio::test]
async fn an_answer_of_s3s_with_another_range_than_was_asked_for_is_no_part_of_the_object() {
    const OTHER: Script =
        &[(0, "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\ncontent-range: bytes 1-5/10\r\n\r\n12345")];
    const NONSENSE: Script =
        &[(0, "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\ncontent-range: five\r\n\r\n01234")];
    for answer in [OTHER, NONSENSE] {
        let (s3, _) = scripted([answer]).await;
        assert!(matches!(fetched(&s3, Some("bytes=0-4")).await, Err(FetchError::Failed(_))));
    }
}

#[tokio::test]
async fn a_name_that_a_server_refuses_is_missing_and_any_other_refusal_is_not() {
    const EMPTY: Script = &[(0, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")];
    const REFUSED: Script =
        &[(0, "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<Error><Code>InvalidRequest</Code></Error>")];
    const EXPIRED: Script =
        &[(0, "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<Error><Code>ExpiredToken</Code></Error>")];
    for (answer, name, is_missing) in [
        (EMPTY, "v1/a/../b", true),
        (REFUSED, "v1/a/../b", true),
        (EXPIRED, "v1/a/../b", false),
        (REFUSED, "v1/test.html", false),
    ] {
        for part in [Part::Whole, Part::Head] {
            let (s3, _) = scripted([answer]).await;
            let (key, fits) = (ObjectKey::new(name.into()), |_: &Head, _: Option<&Range<u64>>| true);
            let reply = s3
                .fetch(&FetchRequest::unconditional(&key, part, &fits), Instant::now() + Duration::from_secs(10))
                .await;
            let error = reply.result.unwrap_err();
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
fn a_content_range_is_read_or_refused() {
    assert_eq!(content_range("bytes 2-4/10"), Some((2..5, 10)));
    for bad in ["", "bytes */10", "bytes 2-4/*", "bytes 4/10", "items 2-4/10", "bytes 2-18446744073709551615/9"] {
        assert_eq!(content_range(bad), None, "{bad}");
    }
}
