//! The console: counts, traces and dashboards match the metrics lines and spans of the function.

use emulator::cloud::Options;
use http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::support::{SECRET, TestCloud, options, start, wait_until, with_env};
use crate::visitor::{Browser, Laboratory};

async fn console(cloud: &TestCloud, path: &str) -> Value {
    let response = cloud.send(Method::GET, &format!("http://{}{path}", cloud.cloud.console), &[]).await;
    assert_eq!(response.status, StatusCode::OK, "{path}");
    serde_json::from_slice(&response.body).unwrap()
}

fn total(value: &Value) -> f64 {
    value.as_array().unwrap().iter().filter_map(Value::as_f64).sum()
}

#[tokio::test]
async fn the_state_counts_responses_by_variant_and_source() {
    let cloud = start(Options { environments: 1, ..with_env(&[("cache_ttl_secs", "3600")]) }).await;
    for version in ["v1", "v1", "v2"] {
        cloud.api("/test.html", &[SECRET, ("test_version", version)]).await;
    }
    // The console counts a second when it has ended.
    let mut state = console(&cloud, "/api/state").await;
    while state["requests"]["v2"].as_array().is_none() || total(&state["requests"]["v2"]) < 1.0 {
        state = console(&cloud, "/api/state").await;
    }
    assert_eq!((total(&state["requests"]["v1"]), total(&state["requests"]["v2"])), (2.0, 1.0), "{state}");
    assert_eq!((total(&state["cache"]["miss"]), total(&state["cache"]["hit"])), (2.0, 1.0), "{state}");
    assert_eq!((total(&state["status"]["2xx"]), total(&state["s3"]["requests"])), (3.0, 2.0), "{state}");
    assert_eq!(total(&state["cold_starts"]), 1.0);
    assert_eq!((&state["environments"]["frozen"], &state["environments"]["started"]), (&1.into(), &1.into()));
    assert!(state["duration"]["v1"]["p99"].as_array().unwrap().iter().any(Value::is_number));
    for seconds in ["requests", "cache", "status", "s3"] {
        for values in state[seconds].as_object().unwrap().values() {
            assert_eq!(values.as_array().unwrap().len(), state["seconds"].as_array().unwrap().len(), "{seconds}");
        }
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_trace_lists_the_spans_of_its_waterfall() {
    let cloud = start(options()).await;
    cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
    wait_until(|| cloud.cloud.xray.latest(1)[0]["spans"].as_array().is_some_and(|spans| spans.len() > 5)).await;
    let traces = console(&cloud, "/api/traces").await;
    let trace = &traces[0];
    assert_eq!((&trace["status"], &trace["variant"], &trace["cache"]), (&200.into(), &"v1".into(), &"miss".into()));
    let names: Vec<&str> =
        trace["spans"].as_array().unwrap().iter().map(|span| span["name"].as_str().unwrap()).collect();
    for name in ["lambdaapi", "GET", "decision", "cache lookup", "S3.GetObject", "encoding", "post"] {
        assert!(names.contains(&name), "expected {name} in {names:?}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_trace_names_the_method_of_a_refused_request() {
    let cloud = start(options()).await;
    for method in ["POST", "DELETE", "PURGE"] {
        let url = format!("http://{}/test.html", cloud.cloud.gateway);
        let response = cloud.send(Method::from_bytes(method.as_bytes()).unwrap(), &url, &[SECRET]).await;
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
        wait_until(|| cloud.cloud.xray.latest(1)[0]["method"] == method).await;
        let trace = console(&cloud, "/api/traces").await[0].clone();
        let name = if method == "PURGE" { "HTTP" } else { method };
        assert_eq!((&trace["outcome"], &trace["name"]), (&"method_refused".into(), &name.into()));
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_pages_have_an_icon() {
    let cloud = start(options()).await;
    let base = format!("http://{}", cloud.cloud.console);
    for path in ["/", "/dashboards/latency"] {
        let page = cloud.send(Method::GET, &format!("{base}{path}"), &[]).await;
        assert!(page.text().contains(r#"<link rel="icon" href="/icon.svg""#), "{path}");
    }
    for path in ["/icon.svg", "/favicon.ico"] {
        let icon = cloud.send(Method::GET, &format!("{base}{path}"), &[]).await;
        assert_eq!((icon.status, icon.header("content-type")), (StatusCode::OK, "image/svg+xml"), "{path}");
    }
    for path in ["/index.html", "/v1/test.html", "/v2/test.html"] {
        let page = cloud.send(Method::GET, &format!("http://{}{path}", cloud.cloud.edge), &[]).await;
        for part in [r#"<link rel="icon" href="data:image/svg+xml,"#, ":root { color-scheme: light dark }"] {
            assert!(page.text().contains(part), "{path}: {part}");
        }
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_experiment_page_compares_all_metrics_variants() {
    let cases = [
        (&[][..], &["v1", "v2"][..]),
        (&[("test_versions", "red,green,blue")], &["red", "green", "blue"]),
        (&[("test_versions", "a,b"), ("metrics_variants", "a, b, c, d")], &["a", "b", "c", "d"]),
        (&[("metrics_variants", "only")], &["only"]),
        (&[("metrics_variants", "a,b,c,d,e,f,g,h")], &["a", "b", "c", "d", "e", "f", "g", "h"]),
    ];
    for (settings, expected) in cases {
        let cloud = start(Options { environments: 1, ..with_env(settings) }).await;
        assert_eq!(console(&cloud, "/api/state").await["variants"], serde_json::json!(expected));
        let board = console(&cloud, "/api/dashboards/experiment").await;
        assert_eq!(board["variants"], serde_json::json!(expected));
        let widgets = board["widgets"].as_array().unwrap();
        assert!(widgets.iter().all(|widget| widget["problem"].is_null()), "{board}");
        let shares = widgets.iter().find(|widget| widget["title"] == "Failed requests").unwrap();
        let labels: Vec<&str> =
            shares["series"].as_array().unwrap().iter().filter_map(|series| series["label"].as_str()).collect();
        assert_eq!(labels, expected);
        let differences = widgets
            .iter()
            .filter_map(|widget| widget["title"].as_str())
            .filter(|title| title.contains(&format!("− control {}", expected[0])))
            .count();
        assert_eq!(differences, 2 * (expected.len() - 1), "a comparison with the control for each other variant");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn every_dashboard_widget_draws_the_emitted_metrics() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    for version in ["v1", "v2", "v1"] {
        cloud.cdn("/test.html", &[("test_version", version)]).await;
    }
    wait_until(|| {
        cloud.cloud.cloudwatch.names().iter().filter(|name| name.dimension("variant") == Some("v2")).count() > 1
    })
    .await;
    // The console draws a second when it has ended.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut drawn = 0;
    while drawn <= 40 {
        assert!(std::time::Instant::now() < deadline, "only {drawn} series have values");
        drawn = 0;
        for name in ["latency", "experiment", "cache", "cold-starts"] {
            let board = console(&cloud, &format!("/api/dashboards/{name}")).await;
            for widget in board["widgets"].as_array().unwrap() {
                assert!(widget["problem"].is_null(), "{name}: {widget}");
                let series = widget["series"].as_array().unwrap();
                drawn += series.iter().filter(|series| total(&series["v"]) > 0.0).count();
            }
        }
    }
    let page = cloud.send(Method::GET, &format!("http://{}/dashboards/latency", cloud.cloud.console), &[]).await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_results_count_visitors_and_conversions() {
    let laboratory = Laboratory::new(
        r#"{"features": {"test_version": {"rules": [{"key": "checkout", "variations": ["v1", "v2"]}]}},
            "goals": [{"key": "signup", "path": "/page.html"}]}"#,
    );
    let cloud = laboratory.start(&[]).await;
    for visitor in 0..6 {
        let mut browser = Browser::new();
        for path in ["/", "/page.html"].iter().take(1 + visitor % 2) {
            browser.navigate(&cloud, path).await;
        }
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let board = console(&cloud, "/api/dashboards/results").await;
        let widgets = board["widgets"].as_array().unwrap();
        assert!(widgets.iter().all(|widget| widget["problem"].is_null()), "{board}");
        let total = |title: &str| {
            let widget = widgets.iter().find(|widget| widget["title"] == title).unwrap();
            widget["series"].as_array().unwrap().iter().map(|series| total(&series["v"])).sum::<f64>()
        };
        // The console draws a second when it has ended.
        let totals = [total("Visitors"), total("Conversions of signup")];
        if totals == [6.0, 3.0] {
            break;
        }
        assert!(totals[0] <= 6.0 && totals[1] <= 3.0 && std::time::Instant::now() < deadline, "{totals:?}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_console_accepts_spans_over_otlp() {
    let first = start(options()).await;
    let address = format!("http://{}", first.cloud.console);
    // The handler of another cloud sends its spans to the console of the first.
    let second = start(with_env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &address)])).await;
    second.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
    wait_until(|| first.cloud.xray.counts().0 >= 5).await;
    assert_eq!(console(&first, "/api/traces").await[0]["variant"], "v2");
    second.shut_down().await;
    first.shut_down().await;
}

#[tokio::test]
async fn unknown_pages_methods_and_spans_get_a_4xx() {
    let cloud = start(options()).await;
    let base = format!("http://{}", cloud.cloud.console);
    for (method, path, status) in [
        (Method::GET, "/", StatusCode::OK),
        (Method::GET, "/nothing", StatusCode::NOT_FOUND),
        (Method::GET, "/dashboards/nothing", StatusCode::NOT_FOUND),
        (Method::GET, "/api/dashboards/nothing", StatusCode::NOT_FOUND),
        (Method::DELETE, "/", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(cloud.send(method, &format!("{base}{path}"), &[]).await.status, status, "{path}");
    }
    for path in ["/v1/traces", "/v1/metrics"] {
        let export = Request::post(format!("{base}{path}")).body("not protobuf".into()).unwrap();
        assert_eq!(cloud.request(export).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    cloud.shut_down().await;
}
