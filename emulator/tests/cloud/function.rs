//! Lambda: environments, the Runtime API and the invocation loop of the real handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use emulator::cloud::{Options, Storage};
use emulator::gateway::door::Door;
use emulator::serve;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::{
    SECRET, TestCloud, buffered, example, fake_s3, http_api, nearedge, options, start, wait_until, with_env,
};

/// Options with the handler `examples/misbehaving.rs` in this mode.
fn misbehaving(mode: &str) -> Options {
    Options { door: Door::HttpApi, bootstrap: example("misbehaving"), environments: 1, ..with_env(&[("mode", mode)]) }
}

/// The states of the handler processes of this cloud, from /proc.
fn handler_states(cloud: &TestCloud) -> Vec<char> {
    let bucket = format!("AWS_ENDPOINT_URL_S3={}", cloud.cloud.s3_endpoint);
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| {
            let environ = std::fs::read(process.join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == bucket.as_bytes())
        })
        .filter_map(|process| {
            let stat = std::fs::read_to_string(process.join("stat")).ok()?;
            stat.rsplit(')').next()?.trim().chars().next()
        })
        .collect()
}

async fn invoke(cloud: &TestCloud, event: Value) -> Result<Value, String> {
    let invocation = cloud.cloud.lambda.invoke(event.to_string().into(), "Root=1-0-0".to_owned()).await.unwrap();
    invocation.result.map(|response| serde_json::from_slice(&response).unwrap()).map_err(|error| error.0)
}

fn function_url_event(path: &str) -> Value {
    json!({
        "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {"lambda_auth": "lambdaapi_test"},
        "requestContext": {
            "domainName": "abc.lambda-url.us-east-1.on.aws", "stage": "$default", "http": {"method": "GET"},
        },
        "isBase64Encoded": false,
    })
}

#[tokio::test]
async fn an_idle_environment_is_frozen_only_with_freeze() {
    for (freeze, state) in [(true, 'T'), (false, 'S')] {
        let cloud = start(Options { freeze, ..options() }).await;
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
        // The environment requests its next event, and is frozen, just after it has responded.
        wait_until(|| handler_states(&cloud) == [state]).await;
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK, "the environment is thawed");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn shutdown_leaves_no_process() {
    let cloud = start(options()).await;
    assert_eq!(handler_states(&cloud).len(), 1);
    let lambda = cloud.cloud.lambda.clone();
    lambda.shut_down().await;
    assert_eq!((handler_states(&cloud).len(), lambda.environments()), (0, 0));
}

#[tokio::test]
async fn a_function_url_event_selects_the_same_key() {
    let cloud = start(buffered(options())).await;
    cloud.put("a b?100%25+ж.html", "odd", "text/html").await;
    let response = invoke(&cloud, function_url_event("/a%20b%3F100%2525+%D0%B6.html")).await.unwrap();
    assert_eq!((&response["statusCode"], &response["body"]), (&json!(200), &json!("b2Rk")));
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_unsupported_event_is_an_error_and_the_process_survives() {
    let cloud = start(Options { environments: 1, ..buffered(options()) }).await;
    for (event, problem) in [
        (
            json!({"version": "1.0", "httpMethod": "GET", "path": "/", "headers": {"lambda_auth": "x"}}),
            "payload format 1.0 without",
        ),
        (json!({"httpMethod": "GET", "requestContext": {"elb": {}}}), "unknown source"),
        (json!({"Records": []}), "unknown source"),
        (json!([1, 2]), "malformed"),
        (json!("text"), "malformed"),
        (json!({"version": "2.0", "rawPath": 7}), "malformed"),
    ] {
        let error = invoke(&cloud, event).await.unwrap_err();
        assert!(error.contains(problem) && error.contains("API Gateway (HTTP API or REST API)"), "{error}");
    }
    let malformed = cloud.cloud.lambda.invoke(Bytes::from_static(b"{nonsense"), String::new()).await.unwrap();
    assert!(malformed.result.unwrap_err().0.contains("malformed"));
    let response = invoke(&cloud, function_url_event("/none")).await.unwrap();
    assert_eq!(response["statusCode"], json!(404));
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    assert_eq!(
        journal.lines().iter().filter(|line| line.contains("started in")).count(),
        1,
        "the process was replaced"
    );
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_process_survives() {
    let cloud = start(Options { bootstrap: example("panicking"), environments: 1, ..http_api() }).await;
    let panicked = cloud.api("/panic", &[SECRET]).await;
    assert_eq!(
        (panicked.status, panicked.text()),
        (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#)
    );
    let next = cloud.api("/next", &[SECRET]).await;
    assert_eq!((next.status, next.text()), (StatusCode::OK, "ok"));
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    assert!(lines.iter().any(|line| line.contains("Origin.Panic") && line.contains("requested panic")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("started in")).count(), 1);
}

#[tokio::test]
async fn a_crash_is_a_500_and_the_environment_is_replaced() {
    let cloud = start(misbehaving("crash")).await;
    for _ in 0..2 {
        let response = cloud.api("/", &[]).await;
        assert_eq!(
            (response.status, response.text()),
            (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#)
        );
    }
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    assert!(lines.iter().any(|line| line.contains("env 1  exited: exit status: 3")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("env 2  started in")), "{lines:#?}");
}

#[tokio::test]
async fn a_failed_init_fails_waiting_requests_immediately() {
    let marker = tempfile::NamedTempFile::new().unwrap();
    // The handler starts while the file exists. It crashes at the first request, and then cannot start.
    let options = misbehaving("crash");
    let env = options.env.clone().into_iter().chain([("needs".to_owned(), marker.path().display().to_string())]);
    let cloud = start(Options { env: env.collect(), ..options }).await;
    marker.close().unwrap();
    let responses = futures_util::future::join_all(["/x"; 4].map(|path| cloud.api(path, &[]))).await;
    assert!(
        responses.iter().all(|response| response.status == StatusCode::INTERNAL_SERVER_ERROR),
        "expected a 500 for each request"
    );
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_hanging_handler_is_killed_at_the_timeout_and_replaced() {
    let cloud = start(Options { timeout: Duration::from_millis(200), ..misbehaving("hang") }).await;
    for _ in 0..2 {
        assert_eq!(cloud.api("/", &[]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("Task timed out after 0.20 seconds")).count(), 2, "{lines:#?}");
}

#[tokio::test]
async fn an_invalid_response_is_a_500_and_the_reason_is_logged() {
    for (mode, reason) in
        [("invalid", "the function response is not JSON"), ("too-large", "exceeded maximum allowed payload size")]
    {
        let cloud = start(misbehaving(mode)).await;
        let response = cloud.api("/", &[]).await;
        assert_eq!(
            (response.status, response.text()),
            (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#)
        );
        let journal = cloud.journal.clone();
        cloud.shut_down().await;
        assert!(journal.lines().iter().any(|line| line.contains(reason)), "{mode}: {:#?}", journal.lines());
    }
}

#[tokio::test]
async fn cookies_of_a_response_become_set_cookie_headers() {
    let cloud = start(misbehaving("cookies")).await;
    let response = cloud.api("/", &[]).await;
    let cookies: Vec<_> =
        response.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!((cookies, response.header("x-a"), response.text()), (vec!["a=1", "b=2"], "1", "hi"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_event_matches_cloudfront_and_api_gateway() {
    let cloud = start(misbehaving("echo")).await;
    let headers = [
        ("test_version", "v1"),
        ("redirect", "no"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"x\""),
        ("cookie", "a=1; b=2"),
        ("user-agent", "curl"),
        ("accept-language", "en"),
        ("x-custom", "1"),
        ("lambda_auth", "guess"),
        ("x-forwarded-for", "192.0.2.1"),
        ("accept-encoding", "gzip"),
    ];
    let echoed = cloud.cdn("/a%20b?x=1&x=2", &headers).await;
    let event: Value = serde_json::from_slice(&echoed.body).unwrap();
    let header = |name: &str| event["headers"][name].as_str().unwrap_or_default();
    assert_eq!((header("test_version"), header("redirect")), ("v1", "no"));
    assert_eq!((header("range"), header("if-none-match")), ("bytes=0-1", "\"x\""));
    assert_eq!(header("lambda_auth"), "lambdaapi_test", "the CDN replaces the secret");
    assert_eq!(header("user-agent"), "Amazon CloudFront");
    assert_eq!(header("host"), cloud.cloud.gateway.to_string());
    assert!(header("via").ends_with("cloudfront.net (CloudFront)"));
    assert_eq!(header("x-amz-cf-id").len(), 56);
    assert_eq!(header("x-forwarded-for"), "192.0.2.1, 127.0.0.1, 127.0.0.1");
    assert!(header("x-amzn-trace-id").starts_with("Root=1-"));
    assert_eq!(header("accept-encoding"), "gzip");
    for dropped in ["accept-language", "x-custom", "cookie"] {
        assert_eq!(event["headers"][dropped], Value::Null, "{dropped}");
    }
    assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
    assert_eq!((&event["rawPath"], &event["rawQueryString"]), (&json!("/a b"), &json!("x=1&x=2")));
    assert_eq!(event["requestContext"]["http"]["method"], json!("GET"));
    assert_eq!(event["version"], json!("2.0"));
    assert_eq!(echoed.header("x-cache"), "Miss from cloudfront");
    assert!(echoed.header("via").ends_with("(CloudFront)") && !echoed.header("apigw-requestid").is_empty());
    cloud.shut_down().await;
}

#[tokio::test]
async fn oversized_headers_and_bodies_do_not_reach_the_function() {
    let cloud = start(misbehaving("echo")).await;
    let long = "x".repeat(10_300);
    assert_eq!(cloud.api("/", &[("x-long", &long)]).await.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let request = |bytes: usize| {
        let url = format!("http://{}/", cloud.cloud.gateway);
        http::Request::post(url).header("content-type", "text/plain").body(Bytes::from(vec![b'x'; bytes])).unwrap()
    };
    assert_eq!(cloud.request(request(10 * 1024 * 1024 + 1)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(cloud.request(request(1024 * 1024)).await.status, StatusCode::OK);
    cloud.shut_down().await;
}

/// An S3 that responds only when `count` requests wait.
async fn barrier_s3(count: usize) -> (serve::Server, Storage) {
    let barrier = Arc::new(Barrier::new(count));
    fake_s3(move |_| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            Ok(Response::new(serve::full("together")))
        }
    })
    .await
}

#[tokio::test]
async fn max_concurrency_allows_parallel_requests_in_one_process() {
    let (_s3, storage) = barrier_s3(8).await;
    let cloud = start(Options { storage, concurrency: 8, environments: 1, ..options() }).await;
    let paths = ["/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"];
    let responses = futures_util::future::join_all(paths.map(|path| cloud.api(path, &[SECRET]))).await;
    for response in responses {
        assert_eq!((response.status, response.text()), (StatusCode::OK, "together"));
    }
    assert_eq!(cloud.cloud.lambda.environments(), 1);
    cloud.shut_down().await;
}

#[tokio::test]
async fn without_concurrency_environments_are_added_up_to_a_limit() {
    let (_s3, storage) = barrier_s3(3).await;
    let cloud = start(Options { storage, environments: 3, ..options() }).await;
    let responses = futures_util::future::join_all(["/x"; 3].map(|path| cloud.api(path, &[SECRET]))).await;
    assert!(responses.iter().all(|response| response.text() == "together"));
    assert_eq!(cloud.cloud.lambda.environments(), 3);
    cloud.shut_down().await;
}

#[tokio::test]
async fn throttling_at_the_concurrency_limit_is_a_503() {
    // The two environments wait for S3 until the test sends the third request itself.
    let (_s3, storage) = barrier_s3(3).await;
    let options = Options { storage, environments: 2, throttle: true, ..http_api() };
    let cloud = start(options).await;
    let busy = futures_util::future::join_all(["/x"; 2].map(|path| cloud.api(path, &[SECRET])));
    let third = async {
        wait_until(|| cloud.cloud.lambda.environments() == 2 && cloud.cloud.lambda.in_flight() == 2).await;
        let throttled = cloud.api("/x", &[SECRET]).await;
        assert_eq!(throttled.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(throttled.text(), r#"{"message":"Service Unavailable"}"#);
        cloud.send(http::Method::GET, &cloud.cloud.s3_endpoint, &[]).await;
    };
    let (responses, ()) = tokio::join!(busy, third);
    assert!(responses.iter().all(|response| response.text() == "together"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_init_error_lists_every_invalid_setting() {
    let env = [("lambda_auth", ""), ("bucket", ""), ("missing_status", "500"), ("AWS_LAMBDA_LOG_LEVEL", "LOUD")];
    let journal = emulator::journal::Journal::in_memory();
    let faults = emulator::fault::Faults::default();
    let error = emulator::cloud::Cloud::start(with_env(&env), faults, journal.clone()).await.unwrap_err();
    for name in ["lambda_auth", "bucket", "missing_status", "AWS_LAMBDA_LOG_LEVEL"] {
        assert!(error.contains(&format!("{name} is")), "expected {name} in {error}");
        assert!(
            journal.lines().iter().any(|line| line.contains("ERROR") && line.contains(name)),
            "no log line contains {name}"
        );
    }
    assert!(journal.lines().iter().any(|line| line.contains("Origin.Init")), "no init error at the Runtime API");
}

#[tokio::test]
async fn an_init_error_of_any_handler_is_reported() {
    let journal = emulator::journal::Journal::in_memory();
    let faults = emulator::fault::Faults::default();
    let error = emulator::cloud::Cloud::start(misbehaving("init-error"), faults, journal).await.unwrap_err();
    assert!(error.contains("init failed on request"), "{error}");
}

#[tokio::test]
async fn without_lambda_the_handler_logs_every_missing_variable() {
    let output = tokio::process::Command::new(nearedge()).arg("as-bootstrap").env_clear().output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stdout).unwrap();
    let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], json!("ERROR"));
    for name in ["AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "bucket", "lambda_auth", "redirect_path"] {
        assert!(line["message"].as_str().unwrap().contains(&format!("{name} is not set")), "{log}");
    }
}

#[tokio::test]
async fn no_log_level_shows_a_secret() {
    let token = "the-session-token-of-the-role";
    let secrets = ["lambdaapi_test", "the-next-secret", token, emulator::cloud::SECRET_ACCESS_KEY, "a-wrong-guess"];
    for level in ["TRACE", "nearedge=trace,hyper=trace,aws_sigv4=trace,aws_smithy_runtime=trace,trace"] {
        let env = [("lambda_auth_next", secrets[1]), ("RUST_LOG", level), ("AWS_SESSION_TOKEN", token)];
        let cloud = start(with_env(&env)).await;
        for headers in [&[SECRET][..], &[("lambda_auth", "a-wrong-guess")], &[("lambda_auth", "the-next-secret")]] {
            cloud.api("/test.html", headers).await;
        }
        cloud
            .cloud
            .lambda
            .invoke(Bytes::from_static(b"{\"lambda_auth\":\"lambdaapi_test\""), String::new())
            .await
            .unwrap();
        let journal = cloud.journal.clone();
        cloud.shut_down().await;
        let lines = journal.lines();
        assert!(lines.iter().any(|line| line.contains("\"status\":403")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("\"DEBUG\"")), "no line at DEBUG: {lines:#?}");
        for secret in secrets {
            assert!(!lines.iter().any(|line| line.contains(secret)), "found {secret} in {lines:#?}");
        }
    }
}

#[tokio::test]
async fn a_log_line_has_the_fields_of_its_invocation() {
    let cloud = start(with_env(&[("metrics", "false")])).await;
    cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    let line = lines.iter().find_map(|line| {
        line.split_once("  ").and_then(|(_, line)| line.split_once("  ")).filter(|(_, line)| line.contains("answered"))
    });
    let line: Value = serde_json::from_str(line.unwrap().1).unwrap();
    assert_eq!(line["level"], json!("INFO"));
    assert_eq!((&line["key"], &line["variant"], &line["status"]), (&json!("v1/test.html"), &json!("v1"), &json!(200)));
    assert_eq!(line["request_id"].as_str().unwrap().len(), 36);
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0 && line["timestamp"].is_string());
}

#[tokio::test]
async fn aws_lambda_log_level_overrides_rust_log() {
    let cloud =
        start(with_env(&[("metrics", "false"), ("AWS_LAMBDA_LOG_LEVEL", "ERROR"), ("RUST_LOG", "trace")])).await;
    cloud.api("/test.html", &[SECRET]).await;
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    assert!(!journal.lines().iter().any(|line| line.contains("answered")), "{:#?}", journal.lines());
}
