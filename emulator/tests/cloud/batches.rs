//! Metrics of many invocations in one line: their sums are those of the responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use emulator::cloud::Options;
use emulator::fault::{Fault, Faults, LambdaFault};
use futures_util::StreamExt;
use http::Method;
use serde_json::Value;

use crate::support::{SECRET, TestCloud, start_with, with_env};

/// The responses by outcome: their number, and the bytes of their bodies.
type Sums = BTreeMap<String, (u64, u64)>;

const BATCH: [(&str, &str); 3] = [("metrics", "batch"), ("log_ratio", "0"), ("cache_ttl_secs", "60")];

fn invocations() -> usize {
    std::env::var("INVOCATIONS").map_or(1_000, |number| number.parse().unwrap())
}

/// Sends one of several requests. Returns its outcome and the size of its body.
async fn send(cloud: &TestCloud, number: usize) -> (&'static str, u64) {
    let (outcome, status, path, headers) = [
        ("found", 200, "/test.html", vec![SECRET, ("test_version", "v1")]),
        ("found", 200, "/test.png", vec![SECRET, ("test_version", "v2")]),
        ("missing", 404, "/none", vec![SECRET, ("test_version", "v2")]),
        ("forbidden", 403, "/test.html", vec![]),
        ("redirected", 302, "/test.html", vec![SECRET, ("test_version", "v1"), ("redirect", "true")]),
    ][number % 5]
        .clone();
    let response = cloud.send(Method::GET, &format!("http://{}{path}", cloud.cloud.gateway), &headers).await;
    assert_eq!(response.status.as_u16(), status, "{path} {headers:?}");
    (outcome, response.body.len() as u64)
}

/// Sends so many requests. Returns their sums, and the function's log lines after its end.
async fn run(environments: usize, faults: Faults) -> (Sums, Vec<String>) {
    let cloud = Arc::new(start_with(Options { environments, ..with_env(&BATCH) }, faults).await);
    let requests = futures_util::stream::iter(0..invocations()).map(|number| {
        let cloud = cloud.clone();
        async move { send(&cloud, number).await }
    });
    let sent: Vec<_> = requests.buffer_unordered(4 * environments).collect().await;
    let mut sums = Sums::new();
    for (outcome, bytes) in sent {
        let sum = sums.entry(outcome.to_owned()).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes);
    }
    let journal = cloud.journal.clone();
    let Ok(cloud) = Arc::try_unwrap(cloud) else { panic!("another task holds the cloud") };
    cloud.shut_down().await;
    let json = |line: String| line.find('{').map(|start| line[start..].to_owned());
    (sums, journal.lines().into_iter().filter_map(json).collect())
}

/// The sum of a metric's values in a line, and how many they are.
fn sum(line: &Value, metric: &str) -> (u64, u64) {
    let numbers =
        |list: &Value| -> Vec<u64> { list.as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as u64).collect() };
    match &line[metric] {
        Value::Null => (0, 0),
        Value::Number(number) => (1, number.as_f64().unwrap() as u64),
        list => {
            let (values, counts) = (numbers(&list["Values"]), numbers(&list["Counts"]));
            (counts.iter().sum(), values.iter().zip(&counts).map(|(value, count)| value * count).sum())
        }
    }
}

fn logged(lines: &[String]) -> Sums {
    let mut sums = Sums::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        if line["message"] != "batch" {
            continue;
        }
        let outcome = line["outcome"].as_str().unwrap().to_owned();
        let bytes = sum(&line, "BodyBytes");
        assert_eq!(bytes.0, sum(&line, "Duration").0, "one duration for each body: {line}");
        let statuses: u64 = ["Status2xx", "Status3xx", "Status4xx"].map(|metric| sum(&line, metric).1).iter().sum();
        assert_eq!(bytes.0, statuses, "one status for each body: {line}");
        let entry = sums.entry(outcome).or_default();
        *entry = (entry.0 + bytes.0, entry.1 + bytes.1);
    }
    sums
}

#[tokio::test]
async fn no_metric_is_lost_or_doubled_while_environments_freeze_and_end() {
    let faults = Faults::default();
    // Every second, Lambda replaces all environments; between two events, it freezes them.
    faults.set(vec![Fault::Lambda(LambdaFault::Sigterm)]);
    let (sent, lines) = run(4, faults).await;
    assert_eq!(logged(&lines), sent);
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "CI shows the figures")]
async fn an_invocation_costs_at_most_60_log_bytes() {
    let (sent, lines) = run(1, Faults::default()).await;
    assert_eq!(logged(&lines), sent);
    let bytes: usize = lines
        .iter()
        .filter(|line| line.starts_with("{\"_aws\"") || line.contains("\"timestamp\""))
        .map(|line| line.len() + 1)
        .sum();
    let each = bytes as f64 / invocations() as f64;
    println!("{each:.1} log bytes for each of {} invocations", invocations());
    assert!(each <= 60.0, "{each:.1} log bytes for each invocation");
}
