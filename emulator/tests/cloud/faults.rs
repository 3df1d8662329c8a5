//! When S3 is in trouble: never "no file", never kept, never past the deadline.

use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use bytes::Bytes;
use emulator::cloud::{Options, Storage};
use emulator::cloudwatch::MetricName;
use emulator::fault::{Fault, S3Fault};
use http::{Method, Request, StatusCode};

use crate::support::{Answer, FREE, SECRET, TestCloud, options, start, until, with_env};

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
    let errors = cloud.journal.lines().into_iter().filter(|line| line.contains("\"ERROR\"")).collect::<Vec<_>>();
    assert!(errors.is_empty(), "S3's trouble is none of the function's: {errors:?}");
    cloud.cloud.faults.set_s3(None);
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "and it is well again");
    cloud.end().await;
}

#[tokio::test]
async fn an_error_of_s3s_that_breaks_off_is_no_word_about_the_object() {
    let cloud = start(options()).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::HalfBody));
    assert_trouble(&cloud.api("/none.html", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    cloud.logged(|line| line.contains("broke off its answer")).await;
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

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_once_more() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    for fault in [S3Fault::HalfBody, S3Fault::WrongLength] {
        let before = s3_requests(&cloud);
        cloud.cloud.faults.set_s3(Some(fault));
        let answer = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
        assert_trouble(&answer, StatusCode::SERVICE_UNAVAILABLE);
        until(|| s3_requests(&cloud) == before + 2.0).await;
    }
    cloud.end().await;
}

fn s3_requests(cloud: &TestCloud) -> f64 {
    let name = MetricName::new("nearedge", "S3Requests", &[("service", "lambdaapi")]);
    cloud.cloud.cloudwatch.values(&name, 0, u64::MAX / 2, u64::MAX / 2).concat().iter().sum()
}

#[tokio::test]
async fn an_s3_that_stops_in_the_middle_is_a_503_long_before_the_deadline() {
    let cloud = start(Options { environments: 1, ..with_env(&[("AWS_MAX_ATTEMPTS", "1")]) }).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Stall));
    assert_trouble(&cloud.api("/", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    cloud.logged(|line| line.contains("S3 stopped for 3000 ms in the middle of its answer")).await;
    // Nobody else waits for that, for a second; how soon the next request is there is the machine's to say.
    let refused = "S3 was not asked: it did not answer a moment ago";
    for _ in 0..5 {
        let answer = cloud.api("/v1/test.html", &[SECRET]).await;
        assert!([StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&answer.status));
    }
    cloud.logged(|line| line.contains(refused)).await;
    cloud.cloud.faults.set_s3(None);
    let back = async { while cloud.api("/", &[SECRET]).await.status != StatusCode::OK {} };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
    // An error too has a body.
    cloud.cloud.faults.set_s3(Some(S3Fault::Stall));
    assert_trouble(&cloud.api("/no-such-key", &[SECRET]).await, StatusCode::GATEWAY_TIMEOUT);
    cloud.logged(|line| line.contains("no answer from S3: ")).await;
    cloud.end().await;
}

#[tokio::test]
async fn an_s3_that_dies_and_comes_back_is_a_503_until_it_is_back() {
    let cloud = start(options()).await;
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    cloud.cloud.faults.set_s3(Some(S3Fault::Dead));
    let s3 = cloud.cloud.s3_endpoint.trim_start_matches("http://").to_owned();
    until(|| std::net::TcpStream::connect(&s3).is_err()).await;
    assert_trouble(&cloud.api("/test.html", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    cloud.cloud.faults.set_s3(None);
    until(|| std::net::TcpStream::connect(&s3).is_ok()).await;
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    cloud.end().await;
}

fn lambda_fault(cloud: &TestCloud, fault: &str) {
    cloud.cloud.faults.set(vec![fault.parse().unwrap()]);
}

#[tokio::test]
async fn a_process_that_dies_while_it_answers_costs_that_request_and_no_other() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    // The emulator's own process holds far more than that.
    for fault in ["lambda-crash=100", "lambda-memory=1"] {
        lambda_fault(&cloud, fault);
        let answer = cloud.api("/", &[SECRET]).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{fault}");
        assert_eq!(answer.text(), r#"{"message":"Internal Server Error"}"#);
        cloud.cloud.faults.set(Vec::new());
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "another environment, after {fault}");
    }
    let killed = cloud.journal.lines().iter().filter(|line| line.contains("signal: 9")).count();
    assert_eq!(killed, 2, "{:#?}", cloud.journal.lines());
    cloud.end().await;
}

#[tokio::test]
async fn a_process_that_hangs_is_replaced_after_the_timeout_and_a_throttled_request_is_a_503() {
    let cloud = start(Options { environments: 1, timeout: Duration::from_millis(300), ..options() }).await;
    lambda_fault(&cloud, "lambda-hang=100");
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    cloud.logged(|line| line.contains("Task timed out after 0.30 seconds")).await;
    lambda_fault(&cloud, "lambda-throttle=100");
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    cloud.cloud.faults.set(Vec::new());
    cloud.end().await;
}

#[tokio::test]
async fn an_invocation_that_is_frozen_in_the_middle_goes_on_when_it_is_thawed() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    let slow = S3Fault::Latency(Duration::from_millis(30));
    cloud.cloud.faults.set(vec![Fault::S3(slow), "lambda-freeze=150".parse().unwrap()]);
    let started = Instant::now();
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
    cloud.end().await;
}

#[tokio::test]
async fn environments_that_are_told_to_go_lose_no_request() {
    let cloud = start(Options { environments: 2, ..options() }).await;
    lambda_fault(&cloud, "lambda-sigterm");
    let started = cloud.cloud.lambda.started();
    for _ in 0..20 {
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    }
    until(|| cloud.cloud.lambda.started() > started).await;
    cloud.end().await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_answer_and_the_lost_lines_are_told_of() {
    let timeout = Duration::from_secs(5);
    let cloud = start(Options { environments: 1, timeout, ..options() }).await;
    lambda_fault(&cloud, "stdout-full");
    // A pipe holds 64 KiB; a line has some 800 bytes.
    for _ in 0..150 {
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    }
    cloud.cloud.faults.set(Vec::new());
    let told = |line: &str| line.contains("log lines were lost");
    let journal = cloud.journal.clone();
    // Room has to be seen before it is told of.
    let mut turns = 0;
    while !journal.lines().iter().any(|line| told(line)) {
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
        turns += 1;
        assert!(turns < 1_000, "it is never told");
    }
    cloud.end().await;
}

#[tokio::test]
async fn faults_change_while_the_cloud_runs_and_a_wrong_one_is_refused_with_the_list() {
    let cloud = start(options()).await;
    let url = format!("http://{}/fault", cloud.cloud.console);
    let put = async |body: &'static str| {
        let request = Request::builder().method(Method::PUT).uri(&url).body(Bytes::from_static(body.as_bytes()));
        cloud.request(request.unwrap()).await
    };
    assert_eq!(put("s3-error=503\nlambda-freeze=1").await.text(), "s3-error=503\nlambda-freeze=1\n");
    assert_trouble(&cloud.api("/", &[SECRET]).await, StatusCode::SERVICE_UNAVAILABLE);
    let refused = put("s3-rain").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text().contains("\"s3-rain\" is no fault") && refused.text().contains("s3-hang"));
    assert_eq!(put("").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(cloud.send(Method::GET, &url, &[]).await.text(), "s3-error=503\nlambda-freeze=1\n", "as before");
    assert_eq!(cloud.send(Method::POST, &url, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(cloud.send(Method::DELETE, &url, &[]).await.text(), "");
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    cloud.end().await;
}

#[tokio::test]
async fn a_collector_in_trouble_costs_no_answer() {
    let cloud = start(with_env(&[])).await;
    let endpoint = format!("http://{}", cloud.cloud.console);
    cloud.cloud.lambda.configure(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    for fault in ["otlp-hang", "otlp-unavailable", "otlp-reset"] {
        lambda_fault(&cloud, fault);
        for _ in 0..5 {
            assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "{fault}");
        }
    }
    cloud.end().await;
}
