//! Faults of S3, Lambda and the collector. An S3 error is never "no file", never cached and never exceeds the deadline.

use std::time::{Duration, Instant};

use bytes::Bytes;
use emulator::cloud::Options;
use emulator::fault::{Fault, S3Fault};
use http::{Method, Request, StatusCode};

use crate::support::{
    SECRET, TestCloud, TestResponse, failure_statuses, options, start, unreachable_s3, wait_until, with_env,
};

/// Checks the status and header fields of a response to an S3 error.
fn assert_s3_error(response: &TestResponse, status: StatusCode) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("cache-control"), "no-store");
    assert_eq!(response.header("retry-after"), if status == StatusCode::SERVICE_UNAVAILABLE { "1" } else { "" });
    assert!(!response.text().contains("no file"), "{}", response.text());
}

#[tokio::test]
async fn s3_errors_become_503_or_502_and_are_logged() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    for (fault, status, logged) in [
        (S3Fault::Error(503, "SlowDown"), StatusCode::SERVICE_UNAVAILABLE, "503 SlowDown"),
        (S3Fault::Error(500, "InternalError"), StatusCode::BAD_GATEWAY, "500 InternalError"),
        (S3Fault::Error(403, "InvalidAccessKeyId"), StatusCode::BAD_GATEWAY, "403 InvalidAccessKeyId"),
        (S3Fault::Error(404, "NoSuchBucket"), StatusCode::BAD_GATEWAY, "check the setting bucket"),
        (S3Fault::Error(400, "ExpiredToken"), StatusCode::BAD_GATEWAY, "400 ExpiredToken"),
        (S3Fault::Reset, StatusCode::SERVICE_UNAVAILABLE, "cannot be reached"),
        (S3Fault::HalfBody, StatusCode::SERVICE_UNAVAILABLE, "closed the connection within the body"),
    ] {
        cloud.cloud.faults.set_s3(Some(fault.clone()));
        assert_s3_error(&cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await, status);
        cloud.wait_for_log(|line| line.contains("\"error\":") && line.contains(logged)).await;
    }
    let warnings = cloud.journal.lines().iter().filter(|line| line.contains("\"WARN\"")).count();
    assert_eq!(warnings, 1, "warnings are throttled");
    let errors = cloud.journal.lines().into_iter().filter(|line| line.contains("\"ERROR\"")).collect::<Vec<_>>();
    assert!(errors.is_empty(), "an S3 error is not an error of the function: {errors:?}");
    cloud.cloud.faults.set_s3(None);
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "S3 has recovered");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_truncated_s3_error_is_not_a_missing_object() {
    let cloud = start(options()).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::HalfBody));
    assert_s3_error(&cloud.api("/none.html", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    cloud.wait_for_log(|line| line.contains("closed the connection within its response")).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_rejected_signature_is_not_a_missing_object() {
    let cloud = start(with_env(&[("AWS_SECRET_ACCESS_KEY", "another-key")])).await;
    assert_s3_error(&cloud.api("/index.html", &[SECRET]).await, StatusCode::BAD_GATEWAY);
    let url = format!("http://{}/index.html", cloud.cloud.gateway);
    assert_eq!(cloud.send(http::Method::HEAD, &url, &[SECRET]).await.status, StatusCode::BAD_GATEWAY);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let cloud = start(with_env(&[("bucket", "another-bucket")])).await;
    assert_s3_error(&cloud.api("/index.html", &[SECRET]).await, StatusCode::BAD_GATEWAY);
    let url = format!("http://{}/index.html", cloud.cloud.gateway);
    assert_eq!(cloud.send(http::Method::HEAD, &url, &[SECRET]).await.status, StatusCode::BAD_GATEWAY);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_hanging_s3_is_a_504_before_the_lambda_timeout() {
    let timeout = Duration::from_secs(2);
    let options = Options { timeout, environments: 1, ..with_env(&[("deadline_margin_ms", "1500")]) };
    let cloud = start(options).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Hang));
    let started = Instant::now();
    assert_s3_error(&cloud.api("/test.html", &[SECRET]).await, StatusCode::GATEWAY_TIMEOUT);
    assert!(started.elapsed() < timeout, "expected a response within {timeout:?}");
    cloud.cloud.faults.set_s3(None);
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    assert!(lines.iter().any(|line| line.contains("no response from S3 within")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("started in")).count(), 1, "the process was replaced");
}

#[tokio::test]
async fn no_time_left_is_a_504_without_an_s3_request() {
    let options = Options { timeout: Duration::from_secs(1), ..with_env(&[("deadline_margin_ms", "2000")]) };
    let cloud = start(options).await;
    assert_s3_error(&cloud.api("/test.html", &[SECRET]).await, StatusCode::GATEWAY_TIMEOUT);
    cloud.wait_for_log(|line| line.contains("the invocation has no time left")).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_slow_s3_is_not_an_error() {
    let cloud = start(options()).await;
    let latency = Duration::from_millis(50);
    cloud.cloud.faults.set_s3(Some(S3Fault::Latency(latency)));
    let started = Instant::now();
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    assert!(started.elapsed() >= latency, "{:?}", started.elapsed());
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_unreachable_s3_is_a_503_and_redirects_still_work() {
    let (_socket, storage) = unreachable_s3();
    let cloud = start(Options { storage, ..options() }).await;
    assert_s3_error(&cloud.api("/test.html", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cloud.api("/test.html", &[SECRET, ("redirect", "true")]).await.status, StatusCode::FOUND);
    assert_eq!(
        cloud.cdn("/v1/test.html", &[]).await.status,
        StatusCode::BAD_GATEWAY,
        "the CDN cannot reach the bucket either"
    );
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_truncated_body_is_retried_once() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    for fault in [S3Fault::HalfBody, S3Fault::WrongLength] {
        let before = cloud.s3_requests();
        cloud.cloud.faults.set_s3(Some(fault));
        let response = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
        assert_s3_error(&response, StatusCode::SERVICE_UNAVAILABLE);
        wait_until(|| cloud.s3_requests() == before + 2.0).await;
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_stalled_body_is_a_503_long_before_the_deadline() {
    let cloud = start(Options { environments: 1, ..with_env(&[("AWS_MAX_ATTEMPTS", "1")]) }).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Stall));
    assert_s3_error(&cloud.api("/", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    cloud.wait_for_log(|line| line.contains("S3 sent nothing for 3000 ms within the body")).await;
    // The circuit breaker is open for one second. How many of these requests it rejects depends on the machine.
    let rejected = "circuit breaker open: S3 timed out less than 1 s ago";
    for _ in 0..5 {
        let response = cloud.api("/v1/test.html", &[SECRET]).await;
        assert!([StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&response.status));
    }
    cloud.wait_for_log(|line| line.contains(rejected)).await;
    cloud.cloud.faults.set_s3(None);
    let recovered = async { while cloud.api("/", &[SECRET]).await.status != StatusCode::OK {} };
    tokio::time::timeout(Duration::from_secs(20), recovered).await.unwrap();
    // An error response stalls in its body too.
    cloud.cloud.faults.set_s3(Some(S3Fault::Stall));
    assert_s3_error(&cloud.api("/no-such-key", &[SECRET]).await, StatusCode::GATEWAY_TIMEOUT);
    cloud.wait_for_log(|line| line.contains("no response from S3: ")).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_s3_outage_is_a_503_until_s3_recovers() {
    let cloud = start(options()).await;
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    cloud.cloud.faults.set_s3(Some(S3Fault::Dead));
    let s3 = cloud.cloud.s3_endpoint.trim_start_matches("http://").to_owned();
    wait_until(|| std::net::TcpStream::connect(&s3).is_err()).await;
    assert_s3_error(&cloud.api("/test.html", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    cloud.cloud.faults.set_s3(None);
    wait_until(|| std::net::TcpStream::connect(&s3).is_ok()).await;
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    cloud.shut_down().await;
}

fn lambda_fault(cloud: &TestCloud, fault: &str) {
    cloud.cloud.faults.set(vec![fault.parse().unwrap()]);
}

#[tokio::test]
async fn a_crash_fails_only_the_current_request() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    // Every process uses more than the 1 MB of lambda-memory=1.
    for fault in ["lambda-crash=100", "lambda-memory=1"] {
        lambda_fault(&cloud, fault);
        let response = cloud.api("/", &[SECRET]).await;
        assert_eq!(response.status, failure_statuses().0, "{fault}");
        cloud.cloud.faults.set(Vec::new());
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "a new environment responds after {fault}");
    }
    let killed = cloud.journal.lines().iter().filter(|line| line.contains("signal: 9")).count();
    assert_eq!(killed, 2, "{:#?}", cloud.journal.lines());
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_hang_ends_at_the_timeout_and_throttling_is_reported() {
    let cloud = start(Options { environments: 1, timeout: Duration::from_millis(300), ..options() }).await;
    lambda_fault(&cloud, "lambda-hang=100");
    let (failed, throttled) = failure_statuses();
    assert_eq!(cloud.api("/", &[SECRET]).await.status, failed);
    cloud.wait_for_log(|line| line.contains("Task timed out after 0.30 seconds")).await;
    lambda_fault(&cloud, "lambda-throttle=100");
    assert_eq!(cloud.api("/", &[SECRET]).await.status, throttled);
    cloud.cloud.faults.set(Vec::new());
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_frozen_invocation_resumes_when_thawed() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    let slow = S3Fault::Latency(Duration::from_millis(30));
    cloud.cloud.faults.set(vec![Fault::S3(slow), "lambda-freeze=150".parse().unwrap()]);
    let started = Instant::now();
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
    cloud.shut_down().await;
}

#[tokio::test]
async fn stopping_environments_with_sigterm_loses_no_request() {
    let cloud = start(Options { environments: 2, ..options() }).await;
    lambda_fault(&cloud, "lambda-sigterm");
    let started = cloud.cloud.lambda.started();
    for _ in 0..20 {
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    }
    wait_until(|| cloud.cloud.lambda.started() > started).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_full_stdout_delays_no_response_and_lost_lines_are_logged() {
    let timeout = Duration::from_secs(5);
    let cloud = start(Options { environments: 1, timeout, ..options() }).await;
    lambda_fault(&cloud, "stdout-full");
    // A pipe holds 64 KiB; a line has about 800 bytes.
    for _ in 0..150 {
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    }
    cloud.cloud.faults.set(Vec::new());
    let reported = |line: &str| line.contains("log lines were lost");
    let journal = cloud.journal.clone();
    // The handler reports lost lines once it can write again.
    let mut requests = 0;
    while !journal.lines().iter().any(|line| reported(line)) {
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
        requests += 1;
        assert!(requests < 1_000, "the lost lines are not reported");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn faults_can_change_at_run_time_and_wrong_ones_are_rejected() {
    let cloud = start(options()).await;
    let url = format!("http://{}/fault", cloud.cloud.console);
    let put = async |body: &'static str| {
        let request = Request::builder().method(Method::PUT).uri(&url).body(Bytes::from_static(body.as_bytes()));
        cloud.request(request.unwrap()).await
    };
    assert_eq!(put("s3-error=503\nlambda-freeze=1").await.text(), "s3-error=503\nlambda-freeze=1\n");
    assert_s3_error(&cloud.api("/", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    let rejected = put("s3-rain").await;
    assert_eq!(rejected.status, StatusCode::BAD_REQUEST);
    assert!(rejected.text().contains("invalid fault \"s3-rain\"") && rejected.text().contains("s3-hang"));
    assert_eq!(put("").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        cloud.send(Method::GET, &url, &[]).await.text(),
        "s3-error=503\nlambda-freeze=1\n",
        "the faults are unchanged"
    );
    assert_eq!(cloud.send(Method::POST, &url, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(cloud.send(Method::DELETE, &url, &[]).await.text(), "");
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_failing_collector_fails_no_request() {
    let cloud = start(with_env(&[])).await;
    let endpoint = format!("http://{}", cloud.cloud.console);
    cloud.cloud.lambda.configure(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    for fault in ["otlp-hang", "otlp-unavailable", "otlp-reset"] {
        lambda_fault(&cloud, fault);
        for _ in 0..5 {
            assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "{fault}");
        }
    }
    cloud.shut_down().await;
}
