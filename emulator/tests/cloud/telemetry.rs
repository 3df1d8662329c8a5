//! Spans, log lines and metrics of each invocation, also while the collector fails.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use emulator::cloud::Options;
use emulator::cloudwatch::MetricName;
use emulator::fault::S3Fault;
use emulator::gateway::door::Door;
use emulator::serve;
use emulator::xray::{Span, XRay};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{FREE_PORT, SECRET, TestCloud, buffered, door, options, start, wait_until, with_env};
use crate::visitor::{Browser, Laboratory};

/// Options that retain every span, and the receiver of the spans.
fn retaining(options: Options) -> (Options, XRay) {
    let xray = XRay::retaining_all();
    (Options { xray: xray.clone(), ..options }, xray)
}

/// The server spans, one for each invocation.
fn servers(spans: &[Span]) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind == "server").collect()
}

/// Checks that each span was received once, and its parent too. Only spans of Lambda itself have no parent.
fn assert_complete(spans: &[Span]) {
    let ids: HashSet<(&str, &str)> = spans.iter().map(|span| (span.trace_id.as_str(), span.id.as_str())).collect();
    assert_eq!(ids.len(), spans.len(), "a span was received twice");
    for span in spans {
        let is_lambdas = span.attributes.contains_key("aws.origin");
        assert_eq!(span.parent.is_empty(), is_lambdas, "{span:?}");
        assert!(is_lambdas || ids.contains(&(&span.trace_id, &span.parent)), "the parent is missing: {span:?}");
        assert!(span.start_ns <= span.end_ns, "{span:?}");
    }
}

async fn send(cloud: &TestCloud, count: usize) {
    for number in 0..count {
        let version = ["v1", "v2"][number % 2];
        let response = cloud.api("/test.html", &[SECRET, ("test_version", version)]).await;
        assert_eq!(response.status, StatusCode::OK);
    }
}

fn attribute<'a>(span: &'a Span, name: &str) -> &'a Value {
    span.attributes.get(name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_frozen_environment_loses_no_span() {
    let (options, xray) = retaining(Options { environments: 1, ..with_env(&[("cache_ttl_secs", "3600")]) });
    let cloud = start(options).await;
    send(&cloud, 200).await;
    // The last invocation's spans too: an environment without an extension gets no SIGTERM to flush them later.
    wait_until(|| servers(&xray.all()).len() == 200).await;
    cloud.shut_down().await;
    let spans = xray.all();
    assert_complete(&spans);
    assert_eq!(servers(&spans).len(), 200);
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    assert_eq!(
        (count("GET"), count("decision"), count("cache lookup"), count("encoding"), count("post")),
        (200, 200, 200, 200, 200)
    );
    assert_eq!(count("S3.GetObject"), 2, "one for each variant");
}

#[tokio::test]
async fn a_visitors_span_names_experiment_and_variation() {
    let definition =
        r#"{"features": {"test_version": {"rules": [{"key": "new checkout", "variations": ["v1", "v2"]}]}}}"#;
    let laboratory = Laboratory::new(definition);
    let (options, xray) = retaining(laboratory.options(&[]));
    let cloud = start(options).await;
    let mut browser = Browser::new();
    browser.navigate(&cloud, "/").await;
    cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
    wait_until(|| servers(&xray.all()).len() == 2).await;
    let spans = xray.all();
    let names: Vec<&Value> = servers(&spans)
        .iter()
        .map(|span| attribute(span, "nearedge.experiments"))
        .filter(|name| !name.is_null())
        .collect();
    let variation = browser.variation("new%20checkout").to_owned();
    assert_eq!(names, [&json!(format!("new%20checkout.{variation}"))], "a forced version takes part in no experiment");
    cloud.shut_down().await;
}

#[tokio::test]
async fn concurrent_invocations_and_sigterm_lose_no_span() {
    // The batch delay is longer than the test, so the spans are sent at SIGTERM.
    let env = [("OTEL_BSP_SCHEDULE_DELAY", "60000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "300")];
    let (options, xray) = retaining(Options { environments: 1, concurrency: 8, ..with_env(&env) });
    let cloud = Arc::new(start(options).await);
    let senders = (0..8).map(|_| {
        let cloud = cloud.clone();
        tokio::spawn(async move { send(&cloud, 25).await })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let Ok(cloud) = Arc::try_unwrap(cloud) else { panic!("another task holds the cloud") };
    cloud.shut_down().await;
    let spans = xray.all();
    assert_complete(&spans);
    assert_eq!(servers(&spans).len(), 200);
}

#[tokio::test]
async fn spans_record_the_response_and_each_s3_attempt() {
    let (options, xray) = retaining(Options { environments: 1, ..options() });
    let cloud = start(options).await;
    cloud.api("/test.html?token=private", &[SECRET, ("test_version", "v1"), ("cookie", "session=private")]).await;
    cloud.api("/nothing.html", &[SECRET]).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(503, "SlowDown")));
    cloud.api("/index.html", &[SECRET]).await;
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let spans = xray.all();
    assert_complete(&spans);
    let servers = servers(&spans);
    let [found, missing, failed] = servers.as_slice() else { panic!("{servers:#?}") };
    for (name, expected) in [
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!(200)),
        ("url.path", json!("/test.html")),
        ("url.scheme", json!("https")),
        ("faas.trigger", json!("http")),
        ("faas.coldstart", json!(true)),
        ("cloud.resource_id", json!("arn:aws:lambda:us-east-1:123456789012:function:lambdaapi")),
        ("nearedge.key", json!("v1/test.html")),
        ("nearedge.variant", json!("v1")),
        ("nearedge.outcome", json!("found")),
        ("nearedge.cache", json!("miss")),
    ] {
        assert_eq!(attribute(found, name), &expected, "{name}");
    }
    assert_eq!(found.service, "lambdaapi");
    assert_eq!((attribute(missing, "nearedge.outcome"), missing.error), (&json!("missing"), false));
    assert_eq!(
        (attribute(missing, "faas.coldstart"), attribute(failed, "error.type")),
        (&json!(false), &json!("unavailable"))
    );
    assert!(failed.error);
    let attempts: Vec<&Span> = spans.iter().filter(|span| span.parent == failed.id && span.kind == "client").collect();
    assert_eq!(attempts.len(), 3, "expected a span for each attempt: {attempts:#?}");
    for (resend, attempt) in attempts.iter().enumerate() {
        assert!(attempt.error);
        for (name, expected) in [
            ("rpc.system", json!("aws-api")),
            ("rpc.method", json!("GetObject")),
            ("aws.s3.bucket", json!("lambda-api-2022")),
            ("aws.s3.key", json!("index.html")),
            ("http.response.status_code", json!(503)),
            ("http.request.resend_count", json!(resend)),
            ("error.type", json!("503")),
            ("server.address", json!("127.0.0.1")),
        ] {
            assert_eq!(attribute(attempt, name), &expected, "{name}");
        }
        assert!(attribute(attempt, "aws.request_id").is_string());
    }
    let exported = format!("{spans:?}");
    for private in ["private", "lambdaapi_test", emulator::cloud::SECRET_ACCESS_KEY, emulator::cloud::SESSION_TOKEN] {
        assert!(!exported.contains(private), "found {private} in {exported}");
        assert!(!journal.lines().iter().any(|line| line.starts_with("env") && line.contains(private)));
    }
}

#[tokio::test]
async fn trace_ratio_samples_what_lambda_does_not_sample() {
    for (ratio, expected) in [("0", 0), ("1", 5)] {
        let (options, xray) = retaining(Options { sampled: 0.0, ..with_env(&[("trace_ratio", ratio)]) });
        let cloud = start(options).await;
        send(&cloud, 5).await;
        cloud.shut_down().await;
        assert_eq!(servers(&xray.all()).len(), expected, "trace_ratio={ratio}");
    }
}

#[tokio::test]
async fn traceparent_is_the_parent_if_lambda_does_not_sample() {
    let (options, xray) = retaining(Options { sampled: 0.0, ..options() });
    let cloud = start(options).await;
    let traceparent = |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    cloud.api("/test.html", &[SECRET, ("traceparent", &traceparent("01"))]).await;
    cloud.api("/test.html", &[SECRET, ("traceparent", &traceparent("00"))]).await;
    cloud.shut_down().await;
    let spans = xray.all();
    let [server] = servers(&spans)[..] else { panic!("{spans:#?}") };
    assert_eq!(
        (server.trace_id.as_str(), server.parent.as_str()),
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    );
}

/// A collector that responds with `status`. Returns its URL, the spans, and the header `x-key` of each request.
async fn collector(status: StatusCode) -> (serve::Server, String, XRay, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(FREE_PORT).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (xray, keys) = (XRay::retaining_all(), Arc::new(Mutex::new(Vec::new())));
    let (spans, seen) = (xray.clone(), keys.clone());
    let server = serve::serve(listener, move |request, _| {
        let (spans, seen) = (spans.clone(), seen.clone());
        async move {
            assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            let key = request.headers().get("x-key").map_or("", |key| key.to_str().unwrap()).to_owned();
            seen.lock().unwrap().push(key);
            let body = serve::collect(request.into_body(), 1 << 20).await.unwrap();
            assert!(spans.receive_request(&body));
            let mut response = Response::new(serve::full(""));
            *response.status_mut() = status;
            Ok(response)
        }
    });
    (server, address, xray, keys)
}

#[tokio::test]
async fn a_configured_endpoint_receives_spans_over_http() {
    let (_collector, address, received, keys) = collector(StatusCode::OK).await;
    let env =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20key,other=1")];
    let cloud = start(with_env(&env)).await;
    send(&cloud, 20).await;
    cloud.shut_down().await;
    let spans = received.all();
    assert_eq!(servers(&spans).len(), 20);
    assert!(keys.lock().unwrap().iter().all(|key| key == "a key"));
}

#[tokio::test]
async fn a_failing_collector_rarely_costs_a_timeout() {
    let hanging = TcpListener::bind(FREE_PORT).await.unwrap();
    let hanging_address = format!("http://{}", hanging.local_addr().unwrap());
    let dead = TcpListener::bind(FREE_PORT).await.unwrap();
    let dead_address = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    let (_rejecting, rejecting_address, ..) = collector(StatusCode::SERVICE_UNAVAILABLE).await;
    for address in [hanging_address, dead_address, rejecting_address] {
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];
        let cloud = start(Options { environments: 1, ..with_env(&env) }).await;
        let started = Instant::now();
        send(&cloud, 40).await;
        // At most one timeout in five seconds, for every kind of failure; forty timeouts take twelve seconds.
        assert!(started.elapsed() < Duration::from_secs(6), "{address}: {:?}", started.elapsed());
        cloud
            .wait_for_log(|line| line.contains("spans were dropped") && line.contains("OTEL_EXPORTER_OTLP_ENDPOINT"))
            .await;
        // The line of the next invocation reports the dropped spans.
        cloud.wait_for_log(|line| line.contains("\"SpansDropped\":")).await;
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn metrics_over_otlp_are_those_of_the_invocations() {
    let env = [("metrics", "otlp"), ("log_ratio", "0"), ("slow_ms", "900000")];
    let cloud = start(Options { environments: 1, ..with_env(&env) }).await;
    send(&cloud, 250).await;
    cloud.api("/index.html", &[]).await;
    let (cloudwatch, journal) = (cloud.cloud.cloudwatch.clone(), cloud.journal.clone());
    // SIGTERM exports what waits.
    cloud.shut_down().await;
    let values = |name: &str, dimensions: &[(&str, &str)]| {
        let dimensions = [&[("service", "lambdaapi")], dimensions].concat();
        cloudwatch.values(&MetricName::new("nearedge", name, &dimensions), 0, u64::MAX, u64::MAX).concat()
    };
    let sum = |name: &str| values(name, &[]).iter().sum::<f64>();
    assert_eq!((sum("Status2xx"), sum("AuthFailure"), sum("ColdStart")), (250.0, 1.0, 1.0));
    assert_eq!(values("Duration", &[]).len(), 251);
    for variant in ["v1", "v2"] {
        let durations = values("Duration", &[("variant", variant), ("outcome", "found")]);
        assert!(durations.len() == 125 && durations.iter().all(|ms| *ms > 0.0), "{variant}: {durations:?}");
    }
    let lines = journal.lines();
    let written: Vec<_> = lines.iter().filter(|line| line.contains("_aws") || line.contains("answered")).collect();
    assert!(written.is_empty(), "{written:#?}");
}

#[tokio::test]
async fn metrics_have_dimensions_that_no_request_can_extend() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
    cloud.api("/test.html", &[SECRET, ("test_version", "made-up")]).await;
    cloud.api("/index.html", &[SECRET]).await;
    cloud.api("/index.html", &[]).await;
    let cloudwatch = cloud.cloud.cloudwatch.clone();
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let sum = |name: &str, dimensions: &[(&str, &str)]| {
        let values = cloudwatch.values(&MetricName::new("nearedge", name, dimensions), 0, u64::MAX, u64::MAX);
        values.concat()
    };
    let service = ("service", "lambdaapi");
    let one = vec![1.0];
    assert_eq!(sum("Duration", &[service]).len(), 4);
    for (variant, outcome) in [("v1", "found"), ("other", "missing"), ("none", "found"), ("none", "forbidden")] {
        let dimensions = [service, ("variant", variant), ("outcome", outcome)];
        assert_eq!(sum("Duration", &dimensions).len(), 1, "{variant} {outcome}");
        assert_eq!(sum("BodyBytes", &dimensions).len(), 1, "{variant} {outcome}");
    }
    assert_eq!((sum("ColdStart", &[service]), sum("AuthFailure", &[service])), (one.clone(), one.clone()));
    assert_eq!((sum("ObjectMissing", &[service]), sum("Status4xx", &[service])), (one, vec![1.0, 1.0]));
    assert_eq!(sum("S3Requests", &[service]).iter().sum::<f64>(), 3.0);
    assert_eq!(sum("S3Duration", &[service]).len(), 3);
    assert!(sum("InitDuration", &[service])[0] > 0.0);
    let variants: HashSet<String> =
        cloudwatch.names().iter().filter_map(|name| name.dimension("variant").map(str::to_owned)).collect();
    assert_eq!(variants, ["v1", "other", "none"].map(str::to_owned).into());
    // The line also has the request's properties and the trace id of Lambda's header.
    let lines = journal.lines();
    let line = lines.iter().find(|line| line.contains("made-up/test.html") && line.contains("_aws")).unwrap();
    let line: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
    assert_eq!(
        (&line["status"], &line["test_version"], &line["secret"]),
        (&json!(404), &json!("made-up"), &json!("current"))
    );
    assert_eq!(line["request_id"].as_str().unwrap().len(), 36);
    assert!(line["trace_id"].as_str().unwrap().starts_with("1-"), "{line}");
    // Lambda and the door emit their own metrics.
    let has = |namespace: &str, metric: &str| {
        cloudwatch.names().iter().any(|name| (&*name.namespace, &*name.name) == (namespace, metric))
    };
    let is_url = matches!(door(), Door::FunctionUrl { .. });
    let metrics = ["Duration", "UrlRequestCount"].map(|metric| has("AWS/Lambda", metric));
    assert_eq!((metrics, has("AWS/ApiGateway", "Count")), ([true, is_url], !is_url));
}

#[tokio::test]
async fn a_log_level_that_drops_metrics_is_reported_at_the_start() {
    let cloud = start(with_env(&[("AWS_LAMBDA_LOG_LEVEL", "WARN")])).await;
    cloud.wait_for_log(|line| line.contains("metrics") && line.contains("AWS_LAMBDA_LOG_LEVEL")).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn every_failed_invocation_logs_its_error() {
    let cloud = start(options()).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(500, "InternalError")));
    for _ in 0..3 {
        cloud.api("/index.html", &[SECRET]).await;
    }
    wait_until(|| {
        cloud.journal.lines().iter().filter(|line| line.contains("\"error\":\"S3 responded 500")).count() == 3
    })
    .await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn presigning_is_not_counted_as_an_s3_request() {
    let (options, xray) = retaining(Options { environments: 1, ..buffered(options()) });
    let cloud = start(options).await;
    cloud.put("large.bin", vec![0; 5 << 20], "application/octet-stream").await;
    let response = cloud.api("/large.bin", &[SECRET]).await;
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    let cloudwatch = cloud.cloud.cloudwatch.clone();
    cloud.shut_down().await;
    let spans = xray.all();
    let attempts: Vec<&Span> = spans.iter().filter(|span| span.kind == "client").collect();
    assert_eq!((attempts.len(), attempts[0].error), (1, false), "{attempts:#?}");
    let name = MetricName::new("nearedge", "S3Requests", &[("service", "lambdaapi")]);
    assert_eq!(cloudwatch.values(&name, 0, u64::MAX, u64::MAX).concat(), [1.0]);
}

#[tokio::test]
async fn each_body_is_a_span_and_a_truncated_body_is_an_error() {
    let (options, xray) = retaining(Options { environments: 1, ..options() });
    let cloud = start(options).await;
    cloud.api("/index.html", &[SECRET]).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::HalfBody));
    cloud.api("/v1/test.html", &[SECRET]).await;
    cloud.shut_down().await;
    let spans = xray.all();
    assert_complete(&spans);
    let bodies: Vec<(bool, &Value)> = spans
        .iter()
        .filter(|span| span.name == "S3 body")
        .map(|span| (span.error, attribute(span, "error.type")))
        .collect();
    // A truncated body is retried once.
    let broken_off = json!("broken off");
    assert_eq!(bodies, [(false, &Value::Null), (true, &broken_off), (true, &broken_off)]);
}

#[tokio::test]
async fn without_the_secret_traceparent_samples_nothing() {
    let (options, xray) = retaining(Options { sampled: 0.0, ..options() });
    let cloud = start(options).await;
    let traceparent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(cloud.api("/test.html", &[traceparent]).await.status, StatusCode::FORBIDDEN);
    cloud.shut_down().await;
    assert!(xray.all().is_empty());
}

#[tokio::test]
async fn a_log_line_names_the_trace_of_its_spans() {
    let (options, xray) = retaining(Options { sampled: 0.0, ..options() });
    let cloud = start(options).await;
    let traceparent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    cloud.api("/test.html", &[SECRET, traceparent]).await;
    cloud.wait_for_log(|line| line.contains(r#""trace_id":"0af7651916cd43dd8448eb211c80319c""#)).await;
    cloud.shut_down().await;
    assert_eq!(servers(&xray.all()).len(), 1);
}

#[tokio::test]
async fn a_shared_request_is_in_the_trace_of_the_leader() {
    let env = [("cache_ttl_secs", "3600")];
    let (options, xray) = retaining(Options { environments: 1, concurrency: 8, ..with_env(&env) });
    let cloud = Arc::new(start(options).await);
    for key in 0..12 {
        cloud.put(&format!("together-{key}.txt"), "x".repeat(200_000), "text/plain").await;
    }
    cloud.cloud.faults.set_s3(Some(S3Fault::Latency(Duration::from_millis(30))));
    for key in 0..12 {
        let requests = (0..8).map(|_| {
            let cloud = cloud.clone();
            tokio::spawn(async move { cloud.api(&format!("/together-{key}.txt"), &[SECRET]).await.status })
        });
        for status in requests.collect::<Vec<_>>() {
            assert_eq!(status.await.unwrap(), StatusCode::OK);
        }
    }
    let Ok(cloud) = Arc::try_unwrap(cloud) else { panic!("another task holds the cloud") };
    cloud.shut_down().await;
    let spans = xray.all();
    assert_complete(&spans);
    let leaders: HashSet<&str> = servers(&spans)
        .into_iter()
        .filter(|span| attribute(span, "nearedge.cache") == "miss")
        .map(|span| span.id.as_str())
        .collect();
    assert_eq!(leaders.len(), 12);
    for name in ["S3.GetObject", "S3 body"] {
        let parents: HashSet<&str> =
            spans.iter().filter(|span| span.name == name).map(|span| span.parent.as_str()).collect();
        assert_eq!(parents, leaders, "{name}");
    }
}
