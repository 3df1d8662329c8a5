//! When S3 is in trouble: never "no file", never kept, never past the deadline.

use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use emulator::cloud::{Options, Storage};
use emulator::fault::S3Fault;
use http::StatusCode;

use crate::support::{Answer, FREE, SECRET, options, start, with_env};

fn assert_trouble(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("retry-after"), if status == StatusCode::SERVICE_UNAVAILABLE { "1" } else { "" });
    assert!(!answer.text().contains("no file"), "{}", answer.text());
}

#[tokio::test]
async fn what_s3_answers_is_sorted_into_503_and_502_and_the_log_says_why() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    for (fault, status, logged) in [
        (S3Fault::Error(503, "SlowDown"), StatusCode::SERVICE_UNAVAILABLE, "503 SlowDown"),
        (S3Fault::Error(500, "InternalError"), StatusCode::BAD_GATEWAY, "500 InternalError"),
        (S3Fault::Error(403, "InvalidAccessKeyId"), StatusCode::BAD_GATEWAY, "403 InvalidAccessKeyId"),
        (S3Fault::Error(404, "NoSuchBucket"), StatusCode::BAD_GATEWAY, "check the setting bucket"),
        (S3Fault::Error(400, "ExpiredToken"), StatusCode::BAD_GATEWAY, "400 ExpiredToken"),
        (S3Fault::Reset, StatusCode::SERVICE_UNAVAILABLE, "cannot be reached"),
        (S3Fault::HalfBody, StatusCode::SERVICE_UNAVAILABLE, "broke off"),
    ] {
        cloud.cloud.faults.set_s3(Some(fault.clone()));
        assert_trouble(&cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await, status);
        cloud.logged(|line| line.contains("\"trouble\":") && line.contains(logged)).await;
    }
    let warnings = cloud.journal.lines().iter().filter(|line| line.contains("\"WARN\"")).count();
    assert_eq!(warnings, 1, "a warning says it once in a while, the lines of the invocations each time");
    cloud.cloud.faults.set_s3(None);
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "and it is well again");
    cloud.end().await;
}

#[tokio::test]
async fn a_refused_signature_is_no_missing_object_for_head_either() {
    let cloud = start(with_env(&[("AWS_SECRET_ACCESS_KEY", "another-key")])).await;
    assert_trouble(&cloud.api("/index.html", &[SECRET]).await, StatusCode::BAD_GATEWAY);
    let url = format!("http://{}/index.html", cloud.cloud.gateway);
    assert_eq!(cloud.send(http::Method::HEAD, &url, &[SECRET]).await.status, StatusCode::BAD_GATEWAY);
    cloud.end().await;
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_missing_object() {
    let cloud = start(with_env(&[("bucket", "another-bucket")])).await;
    assert_trouble(&cloud.api("/index.html", &[SECRET]).await, StatusCode::BAD_GATEWAY);
    let url = format!("http://{}/index.html", cloud.cloud.gateway);
    assert_eq!(cloud.send(http::Method::HEAD, &url, &[SECRET]).await.status, StatusCode::BAD_GATEWAY);
    cloud.end().await;
}

#[tokio::test]
async fn an_s3_that_hangs_is_a_504_before_lambda_ends_the_invocation() {
    let timeout = Duration::from_secs(2);
    let options = Options { timeout, environments: 1, ..with_env(&[("deadline_margin_ms", "1500")]) };
    let cloud = start(options).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Hang));
    let started = Instant::now();
    assert_trouble(&cloud.api("/test.html", &[SECRET]).await, StatusCode::GATEWAY_TIMEOUT);
    assert!(started.elapsed() < timeout, "the answer came before the function's timeout");
    cloud.cloud.faults.set_s3(None);
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    let journal = cloud.journal.clone();
    cloud.end().await;
    let lines = journal.lines();
    assert!(lines.iter().any(|line| line.contains("no answer from S3 in")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("started in")).count(), 1, "the process lived on");
}

#[tokio::test]
async fn no_time_left_is_a_504_without_a_call() {
    let options = Options { timeout: Duration::from_secs(1), ..with_env(&[("deadline_margin_ms", "2000")]) };
    let cloud = start(options).await;
    assert_trouble(&cloud.api("/test.html", &[SECRET]).await, StatusCode::GATEWAY_TIMEOUT);
    cloud.logged(|line| line.contains("no time is left to ask S3")).await;
    cloud.end().await;
}

#[tokio::test]
async fn a_slow_s3_is_waited_for() {
    let cloud = start(options()).await;
    let latency = Duration::from_millis(50);
    cloud.cloud.faults.set_s3(Some(S3Fault::Latency(latency)));
    let started = Instant::now();
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    assert!(started.elapsed() >= latency, "it was slow");
    cloud.end().await;
}

#[tokio::test]
async fn a_dead_s3_is_a_503_and_redirects_go_on() {
    // A port that is taken and that nobody listens on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(FREE).unwrap();
    let port = socket.local_addr().unwrap();
    let url = format!("http://{port}").parse().unwrap();
    let credentials = Credentials::from_keys("AKIDEXAMPLE", "secret-key", None);
    let cloud = start(Options { storage: Storage::Endpoint { url, credentials }, ..options() }).await;
    assert_trouble(&cloud.api("/test.html", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cloud.api("/test.html", &[SECRET, ("redirect", "true")]).await.status, StatusCode::FOUND);
    assert_eq!(cloud.cdn("/v1/test.html", &[]).await.status, StatusCode::BAD_GATEWAY, "the second origin's own");
    cloud.end().await;
}
