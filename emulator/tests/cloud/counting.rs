//! Exposures and conversions: what visitors do, and the lines that the origin writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use emulator::cloud::{Caching, Options};
use emulator::fault::{Fault, Faults, LambdaFault, S3Fault};
use futures_util::StreamExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::experiments::is_private;
use crate::support::{SECRET, TestCloud, start, start_with};
use crate::visitor::{Browser, Fetch, ID, Laboratory};

/// A definition with a test of v1 and v2, two goals, and these members of its rule and of itself.
fn definition(rule: &str, members: &str) -> String {
    format!(
        r#"{{"features": {{"test_version": {{"defaultValue": "v3", "rules": [{{"key": "checkout", "variations": ["v1", "v2"],
            "hashVersion": 2, "meta": [{{"key": "control"}}, {{"key": "treatment"}}]{rule}}}]}}}},
            "goals": [{{"key": "signup", "path": "/page.html"}}, {{"key": "order"}}]{members}}}"#
    )
}

/// The lines of exposures and conversions that the handlers have written.
fn counted(lines: &[String]) -> Vec<Value> {
    let of_handler = lines.iter().filter_map(|line| Some(&line[line.find('{')?..]));
    let records = of_handler.filter_map(|text| serde_json::from_str::<Value>(text).ok());
    records.filter(|record| record["message"] == "exposure" || record["message"] == "conversion").collect()
}

/// What identifies a count: the visitor, the message and the goal.
fn name(count: &Value) -> (String, String, String) {
    let text = |name: &str| count[name].as_str().unwrap_or_default().to_owned();
    (text("anonymous_id"), text("message"), text("goal"))
}

/// Waits for so many counts.
async fn wait_for(cloud: &TestCloud, counts: usize) -> Vec<Value> {
    cloud.wait_for_logs(counts, |line| line.contains("\"anonymous_id\"")).await;
    counted(&cloud.journal.lines())
}

async fn send(cloud: &TestCloud, browser: &mut Browser, method: Method, path: &str) -> (StatusCode, String) {
    let response = browser.send(cloud, (method, path, Fetch::Script), &[]).await;
    (response.status, response.header("cache-control").to_owned())
}

#[tokio::test]
async fn a_visitor_is_counted_once_per_exposure_and_goal() {
    let laboratory = Laboratory::new(&definition("", ""));
    let cloud = laboratory.start(&[]).await;
    let mut browser = Browser::new();
    for _ in 0..2 {
        browser.navigate(&cloud, "/").await;
        browser.get(&cloud, "/style.css", Fetch::Asset).await;
        let thanks = browser.navigate(&cloud, "/page.html").await;
        assert!(is_private(&thanks));
        for (method, query) in [(Method::GET, "?value=12.50"), (Method::POST, "?value=99")] {
            let answer = send(&cloud, &mut browser, method, &format!("/.nearedge/goal/order{query}")).await;
            assert_eq!(answer.0, StatusCode::NO_CONTENT);
            assert!(answer.1.contains("no-store"), "{}", answer.1);
        }
    }
    // A second visitor, whose lines come after all of the first's.
    Browser::new().navigate(&cloud, "/").await;
    let counts = wait_for(&cloud, 4).await;
    let id = browser.cookie(ID).split('.').nth(1).unwrap();
    let (variation, variant) =
        if browser.variation("checkout") == "control" { ("control", "v1") } else { ("treatment", "v2") };
    let of_first: Vec<&Value> = counts.iter().filter(|count| count["anonymous_id"] == id).collect();
    assert_eq!(of_first.len(), 3, "{counts:#?}");
    for (count, (message, metric, goal, value)) in of_first.iter().zip([
        ("exposure", "Exposures", Value::Null, Value::Null),
        ("conversion", "Conversions", json!("signup"), Value::Null),
        ("conversion", "Conversions", json!("order"), json!(12.5)),
    ]) {
        assert_eq!((&count["message"], &count[metric]), (&json!(message), &json!(1)));
        assert_eq!((&count["experiment_id"], &count["variation_id"]), (&json!("checkout"), &json!(variation)));
        assert_eq!((&count["goal"], &count["value"]), (&goal, &value));
        assert_eq!(count["service"], "lambdaapi");
    }
    assert_eq!(of_first[0]["variant"], variant);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_beacon_that_cannot_count_says_so() {
    let laboratory = Laboratory::new(&definition("", ""));
    let cloud = laboratory.start(&[]).await;
    let mut browser = Browser::new();
    browser.navigate(&cloud, "/").await;
    for (method, path, expected) in [
        (Method::GET, "/.nearedge/goal/unknown", StatusCode::NOT_FOUND),
        (Method::POST, "/.nearedge/goal/unknown", StatusCode::NOT_FOUND),
        (Method::GET, "/.nearedge/goal/order?value=much", StatusCode::BAD_REQUEST),
        (Method::HEAD, "/.nearedge/goal/order", StatusCode::NO_CONTENT),
        (Method::PUT, "/.nearedge/goal/order", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/.nearedge/other", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let answer = send(&cloud, &mut browser, method.clone(), path).await;
        assert_eq!(answer.0, expected, "{method} {path}");
        assert!(answer.1.contains("no-store"), "{method} {path}: {}", answer.1);
    }
    // The request needs the secret, and a version of its own is not counted.
    assert_eq!(cloud.api("/.nearedge/goal/order", &[]).await.status, StatusCode::FORBIDDEN);
    let cookie = format!("nearedge={}; nearedge_v={}", browser.cookie(ID), browser.cookie("nearedge_v"));
    let forced = [SECRET, ("cookie", &*cookie), ("test_version", "v1")];
    assert_eq!(cloud.api("/.nearedge/goal/order", &forced).await.status, StatusCode::NO_CONTENT);
    send(&cloud, &mut browser, Method::GET, "/.nearedge/goal/order").await;
    let counts = wait_for(&cloud, 2).await;
    assert_eq!(counts.len(), 2, "{counts:#?}");
    cloud.shut_down().await;
}

#[tokio::test]
async fn settings_change_the_lines_and_the_path() {
    let laboratory = Laboratory::new(&definition(r#", "condition": {"country": "CN"}"#, ""));
    let env = [
        ("experiments_log_ids", "hash"),
        ("experiments_path", "/track"),
        ("metrics", "false"),
        ("AWS_LAMBDA_LOG_LEVEL", "ERROR"),
    ];
    let cloud = laboratory.start(&env).await;
    let mut browser = Browser::new().with("cloudfront-viewer-country", "CN");
    browser.navigate(&cloud, "/").await;
    assert_eq!(send(&cloud, &mut browser, Method::GET, "/track/goal/order").await.0, StatusCode::NO_CONTENT);
    let counts = wait_for(&cloud, 2).await;
    for count in &counts {
        let id = count["anonymous_id"].as_str().unwrap();
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!((&count["country"], &count["_aws"]), (&json!("CN"), &Value::Null));
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_page_that_fails_counts_nothing() {
    let laboratory = Laboratory::new(&definition("", ""));
    let cloud = laboratory.start(&[("stale_if_error_secs", "0")]).await;
    let mut browser = Browser::new();
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(503, "SlowDown")));
    let failed = browser.navigate(&cloud, "/").await;
    assert_eq!((failed.status, browser.jar.len()), (StatusCode::SERVICE_UNAVAILABLE, 0));
    cloud.cloud.faults.set_s3(None);
    browser.navigate(&cloud, "/page.html").await;
    let counts = wait_for(&cloud, 1).await;
    assert_eq!(counts.len(), 1, "{counts:#?}");
    cloud.shut_down().await;
}

#[tokio::test]
async fn goals_are_counted_behind_a_caching_cdn() {
    let laboratory =
        Laboratory::new(&definition("", r#", "exposures": [{"experiment": "checkout", "path": "/index.html"}]"#));
    let options = Options { caching: Caching::On, ..laboratory.options(&[]) };
    let cloud = start(options).await;
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        let mut browser = Browser::new();
        // Assigned on a page that does not count, which the CDN caches for the next visitor with the same assignment.
        browser.navigate(&cloud, "/logo.png").await;
        browser.navigate(&cloud, "/index.html").await;
        browser.navigate(&cloud, "/page.html").await;
        browser.navigate(&cloud, "/page.html").await;
        ids.insert(browser.cookie(ID).split('.').nth(1).unwrap().to_owned());
    }
    let counts = wait_for(&cloud, 40).await;
    let names: BTreeSet<_> = counts.iter().map(name).collect();
    assert_eq!((counts.len(), names.len(), ids.len()), (40, 40, 20));
    cloud.shut_down().await;
}

#[tokio::test]
async fn post_beacons_pass_a_caching_cdn_and_pages_refuse_post() {
    let laboratory = Laboratory::new(&definition("", ""));
    let cloud = start(Options { caching: Caching::On, ..laboratory.options(&[("experiments_path", "/track")]) }).await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let mut browser = Browser::new();
        browser.navigate(&cloud, "/").await;
        let beacon = send(&cloud, &mut browser, Method::POST, "/track/goal/order?value=12.50").await;
        assert_eq!(beacon.0, StatusCode::NO_CONTENT);
        assert_eq!(
            send(&cloud, &mut browser, Method::PUT, "/track/goal/order").await.0,
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(send(&cloud, &mut browser, Method::POST, "/page.html").await.0, StatusCode::FORBIDDEN);
        ids.insert(browser.cookie(ID).split('.').nth(1).unwrap().to_owned());
    }
    let counts = wait_for(&cloud, 6).await;
    let of_goals: Vec<_> = counts.iter().filter(|count| count["goal"] == "order" && count["value"] == 12.5).collect();
    assert_eq!((of_goals.len(), ids.len()), (3, 3), "{counts:#?}");
    cloud.shut_down().await;
}

/// What one visitor has been told.
struct Told {
    id: String,
    variation: String,
    converts: bool,
}

/// A visitor who returns, reloads, and reaches the goal with a planted probability.
async fn visit(cloud: &TestCloud, number: usize) -> Told {
    let mut browser = Browser::new();
    // Retries, as a browser's user does: what fails has counted nothing.
    let mut steps = vec!["/", "/index.html", "/"];
    let navigate = async |browser: &mut Browser, path: &str| {
        while browser.navigate(cloud, path).await.status.is_server_error() {}
    };
    for path in steps.drain(..) {
        navigate(&mut browser, path).await;
    }
    let variation = browser.variation("checkout").to_owned();
    // 20 and 30 of 100 visitors.
    let converts = number % 100 < if variation == "control" { 20 } else { 30 };
    if converts {
        navigate(&mut browser, "/page.html").await;
        navigate(&mut browser, "/page.html").await;
    }
    let id = browser.cookie(ID).split('.').nth(1).unwrap_or_default().to_owned();
    Told { id, variation, converts }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_count_is_lost_or_doubled_while_environments_freeze_and_end() {
    // .ci/run counting sends 10,000.
    let visitors = std::env::var("VISITORS").map_or(500, |visitors| visitors.parse().unwrap());
    let laboratory = Laboratory::new(&definition("", ""));
    // Every second, Lambda replaces all four environments; between two events, it freezes them.
    let options = Options { environments: 4, ..laboratory.options(&[("cache_ttl_secs", "60")]) };
    let faults = Faults::default();
    faults.set(vec![Fault::Lambda(LambdaFault::Sigterm)]);
    let cloud = Arc::new(start_with(options, faults).await);
    let visits = futures_util::stream::iter(0..visitors).map(|number| {
        let cloud = cloud.clone();
        async move { visit(&cloud, number).await }
    });
    let told: Vec<Told> = visits.buffer_unordered(16).collect().await;
    let expected = told.len() + told.iter().filter(|told| told.converts).count();
    let counts = wait_for(&cloud, expected).await;
    let journal = cloud.journal.clone();
    let Ok(cloud) = Arc::try_unwrap(cloud) else { panic!("another task holds the cloud") };
    cloud.shut_down().await;
    let environment =
        |line: &String| line.split_once("env ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    let environments: BTreeSet<u64> = journal.lines().iter().filter_map(environment).collect();
    assert!(environments.len() >= 8, "expected environments to end, found {environments:?}");
    let mut by_name: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
    for count in &counts {
        by_name.entry(name(count)).or_default().push(count["variation_id"].as_str().unwrap().to_owned());
    }
    for Told { id, variation, converts } in &told {
        let of = |message: &str, goal: &str| by_name.remove(&(id.clone(), message.to_owned(), goal.to_owned()));
        let mut of = of;
        assert_eq!(of("exposure", ""), Some(vec![variation.clone()]), "{id}");
        assert_eq!(of("conversion", "signup"), converts.then(|| vec![variation.clone()]), "{id}");
    }
    assert_eq!(by_name, BTreeMap::new(), "no other counts");
    check_report(&journal.lines(), &told);
}

/// Checks the report of the lines, which arrive twice, the last ones first.
#[allow(clippy::print_stdout, reason = "CI shows the figures")]
fn check_report(lines: &[String], told: &[Told]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let delivered: String = lines.iter().chain(lines).rev().flat_map(|line| [line, "\n"]).collect();
    std::fs::write(file.path(), delivered).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nearedge"));
    let output = command.args(["experiment", "report", "--format", "json"]).arg(file.path()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["goals"]["signup"].as_array().unwrap();
    for (row, key) in rows.iter().zip(["control", "treatment"]) {
        let of_variation: Vec<&Told> = told.iter().filter(|told| told.variation == key).collect();
        let converted = of_variation.iter().filter(|told| told.converts).count();
        let expected = (&json!(key), &json!(of_variation.len()), &json!(converted));
        assert_eq!((&row["variation"], &row["visitors"], &row["conversions"]), expected, "{report:#}");
    }
    // The planted rates of 20 and 30 % are an uplift of 50 %.
    let interval = rows[1]["sequential_interval"].as_array().unwrap();
    let [low, high] = [&interval[0], &interval[1]].map(|end| end.as_f64().unwrap());
    assert!((low..high).contains(&0.5), "{report:#}");
    println!("{} visitors; uplift between {low:+.3} and {high:+.3} at any look; {}", told.len(), rows[1]);
}
