//! The console's page of experiments: its results are those of `nearedge experiment report`, and it shows the definition.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use emulator::cloud::Options;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{TestCloud, nearedge, options, start, wait_until};
use crate::visitor::{Browser, Fetch, Laboratory, eventually};

/// A test of three variants with unequal weights, a goal with a page, one with values, and one that no visitor reaches.
const DEFINITION: &str = r#"{"features": {"test_version": {"defaultValue": "v1", "rules": [
    {"key": "buttons", "variations": ["v1", "v2", "v3"], "weights": [0.5, 0.25, 0.25], "hashVersion": 2, "phase": "2",
     "meta": [{"key": "red", "name": "Red button"}, {"key": "green"}, {"key": "blue"}]}]}},
    "goals": [{"key": "signup", "path": "/page.html"}, {"key": "order"}, {"key": "never"}]}"#;

async fn page(cloud: &TestCloud) -> Value {
    let url = format!("http://{}/api/experiments", cloud.cloud.console);
    let response = cloud.send(Method::GET, &url, &[]).await;
    assert_eq!(response.status, StatusCode::OK);
    serde_json::from_slice(&response.body).unwrap()
}

/// The state of the page once it contains all counts, and every request that the handlers have logged.
async fn page_with(cloud: &TestCloud, exposures: u64, conversions: u64) -> Value {
    let mut state = Value::Null;
    eventually("the page has all lines", async || {
        state = page(cloud).await;
        let lines = cloud.journal.lines();
        let requests = lines.iter().filter(|line| line.contains("\"message\":\"answered\"")).count() as u64;
        let numbers = ["exposures", "conversions", "requests"].map(|name| state["counted"][name].as_u64().unwrap());
        numbers == [exposures, conversions, requests]
    })
    .await;
    state
}

fn report(arguments: &[&str]) -> Output {
    Command::new(nearedge()).args(["experiment", "report"]).args(arguments).output().unwrap()
}

/// Visitors with planted conversions. Returns what they did, as `experiment report --counts` reads it.
async fn visit(cloud: &TestCloud, visitors: usize) -> (Value, u64) {
    let mut counts: BTreeMap<String, (u64, u64, u64, f64, f64)> = BTreeMap::new();
    let mut conversions = 0;
    for number in 0..visitors {
        let mut browser = Browser::new();
        browser.navigate(cloud, "/").await;
        let (visitors, signups, orders, sum, squares) =
            counts.entry(browser.variation("buttons").to_owned()).or_default();
        *visitors += 1;
        if number % 3 == 0 {
            browser.navigate(cloud, "/page.html").await;
            *signups += 1;
            conversions += 1;
        }
        if number % 4 == 0 {
            // Integers, whose sums are exact in any order.
            let value = number as f64;
            browser.get(cloud, &format!("/.nearedge/goal/order?value={value}"), Fetch::Script).await;
            *orders += 1;
            (*sum, *squares) = (*sum + value, *squares + value * value);
            conversions += 1;
        }
    }
    let variations: Vec<Value> = [("red", 0.5), ("green", 0.25), ("blue", 0.25)]
        .iter()
        .map(|(key, weight)| {
            let (visitors, signups, orders, sum, squares) = counts.get(*key).copied().unwrap_or_default();
            let order = json!({"conversions": orders, "sum": sum, "sum_squares": squares});
            let goals = json!({"signup": {"conversions": signups}, "order": order});
            json!({"key": key, "weight": weight, "visitors": visitors, "goals": goals})
        })
        .collect();
    (json!({"experiment": "buttons", "variations": variations}), conversions)
}

#[tokio::test]
async fn the_page_shows_the_report_of_what_visitors_did() {
    let laboratory = Laboratory::new(DEFINITION);
    let cloud = start(Options { environments: 2, ..laboratory.options(&[("cache_ttl_secs", "60")]) }).await;
    let state = page(&cloud).await;
    assert_eq!(
        (&state["experiments"][0]["report"], &state["experiments"][0]["key"]),
        (&Value::Null, &json!("buttons"))
    );
    let (counts, conversions) = visit(&cloud, 120).await;
    cloud.wait_for_logs(120 + 40 + 30, |line| line.contains("\"message\":\"answered\"")).await;
    let state = page_with(&cloud, 120, conversions).await;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("counts.json");
    std::fs::write(&file, counts.to_string()).unwrap();
    let output = report(&["--counts", file.to_str().unwrap(), "--format", "json"]);
    let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    let experiment = &state["experiments"][0];
    for member in ["srm", "goals"] {
        assert_eq!(experiment["report"][member], expected[member]);
    }

    // The lines of the terminal, as a file.
    let lines = folder.path().join("lines.txt");
    std::fs::write(&lines, cloud.journal.lines().join("\n")).unwrap();
    let definition = folder.path().join("experiments.json");
    std::fs::write(&definition, DEFINITION).unwrap();
    let [lines, definition] = [lines, definition].map(|path| path.to_str().unwrap().to_owned());
    let output = report(&[&lines, "--definition", &definition, "--format", "json"]);
    let mut of_lines: Value = serde_json::from_slice(&output.stdout).unwrap();
    let read = of_lines.as_object_mut().unwrap().remove("lines").unwrap();
    assert_eq!((&read["exposures"], &read["broken"]), (&json!(120), &json!(0)));
    assert_eq!(experiment["report"], of_lines);
    assert!(of_lines["running"]["signup"].as_array().unwrap().len() > 60, "{}", of_lines["running"]);
    assert_eq!(experiment["report"]["goals"]["signup"].as_array().unwrap().len(), 3, "all variations");
    assert!(experiment["report"]["goals"]["signup"][1]["sequential_interval"].is_array(), "{expected}");

    let goals = experiment["goals"].as_array().unwrap();
    let keys: Vec<&Value> = goals.iter().map(|goal| &goal["key"]).collect();
    assert_eq!(keys, ["signup", "order", "never"], "the order of the definition");
    assert_eq!((&goals[0]["values"], &goals[1]["values"]), (&json!(false), &json!(true)));
    assert!(goals[0]["verdict"]["text"].is_string() && goals[2]["verdict"].is_null(), "{goals:#?}");
    assert_eq!((&experiment["phase"], &experiment["mismatch"]), (&json!("2"), &json!(false)));
    assert_eq!(experiment["variations"][0]["name"], "Red button");
    assert_eq!(experiment["variations"][1]["share"], 0.25);
    for guardrail in experiment["guardrails"].as_array().unwrap() {
        assert!(guardrail["requests"].as_u64().unwrap() > 0 && guardrail["p90_millis"].is_number(), "{guardrail}");
        assert_eq!((&guardrail["failures"], &guardrail["obstacle"]), (&json!(0), &Value::Null));
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_page_follows_the_definition() {
    let laboratory = Laboratory::new(DEFINITION);
    let cloud = start(Options { environments: 1, ..laboratory.options(&[]) }).await;
    let mut browser = Browser::new();
    // Loads follow requests.
    let mut until = async |wanted: &str| {
        let mut definition = Value::Null;
        eventually(wanted, async || {
            browser.navigate(&cloud, "/").await;
            definition = page(&cloud).await["definition"].clone();
            definition["state"] == wanted
        })
        .await;
        definition
    };
    let active = until("active").await;
    let etag = |definition: &Value| definition["active"][0]["etag"].clone();
    assert_eq!((&active["key"], etag(&active)), (&json!("experiments.json"), active["stored"]["etag"].clone()));
    assert_eq!((&active["problems"], &active["failures"]), (&json!([]), &json!([])));

    laboratory.define("{\n \"features\": {,}}");
    let broken = until("failing").await;
    assert_eq!((etag(&broken), &broken["stored"]["usable"]), (etag(&active), &json!(false)));
    let reason = "line 2, column 15: invalid JSON: key must be a string: correct the syntax";
    assert_eq!(broken["problems"], json!([reason]));
    let failure = broken["failures"][0]["message"].as_str().unwrap();
    assert!(failure.contains("the last good definition stays active") && failure.ends_with(reason), "{failure}");
    assert_eq!(page(&cloud).await["experiments"][0]["key"], "buttons", "the last good one");

    laboratory.undefine();
    let mut missing = until("failing").await;
    while !missing["failures"][0]["message"].as_str().unwrap().contains("does not exist") {
        missing = until("failing").await;
    }
    assert_eq!(missing["stored"]["etag"], Value::Null);

    laboratory.define(DEFINITION);
    // The version is the one that was active before the errors, and the handler says so.
    let recovered = until("active").await;
    assert_eq!(etag(&recovered), etag(&active));
    assert!(recovered["failures"].as_array().unwrap().iter().all(|failure| failure["persists"] == false));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_start_without_a_usable_definition_says_so() {
    let laboratory = Laboratory::new("{");
    let cloud = start(Options { environments: 1, ..laboratory.options(&[]) }).await;
    cloud.wait_for_log(|line| line.contains("the definition cannot be used")).await;
    let state = page(&cloud).await;
    assert_eq!((&state["definition"]["state"], &state["experiments"]), (&json!("unusable"), &json!([])));
    cloud.shut_down().await;

    let cloud = start(options()).await;
    let state = page(&cloud).await;
    assert_eq!((&state["definition"], &state["experiments"]), (&Value::Null, &json!([])));
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_environment_that_ends_is_forgotten() {
    let laboratory = Laboratory::new(DEFINITION);
    let cloud = start(Options { environments: 1, ..laboratory.options(&[]) }).await;
    Browser::new().navigate(&cloud, "/").await;
    let environments = async || page(&cloud).await["definition"]["active"][0]["environments"].clone();
    eventually("the definition is active", async || environments().await == 1).await;
    // Its environments end, and the next request starts another.
    cloud.cloud.lambda.configure(&[("cache_ttl_secs", "5")]);
    Browser::new().navigate(&cloud, "/").await;
    wait_until(|| cloud.cloud.lambda.started() == 2).await;
    eventually("one environment has an active definition", async || environments().await == 1).await;
    cloud.shut_down().await;
}
