use std::collections::BTreeMap;
use std::time::SystemTime;

use nearedge_core::access::secret::SecretMatch;
use nearedge_core::metric::{Measurement, Variants};
use nearedge_core::object::ObjectKey;
use nearedge_core::record::RequestedVariant;
use nearedge_core::store::{Source, StoreStats};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::telemetry::metrics_group::INVOCATIONS_MAX;

fn writer() -> BatchWriter {
    let variants = Variants(vec!["v1".to_owned(), "v2".to_owned()]);
    BatchWriter::new(MetricsConfig { namespace: "nearedge".to_owned(), service: "lambdaapi".to_owned(), variants })
}

pub(in crate::telemetry) fn record(variant: &str, outcome: &'static str, status: u16, body_bytes: u64) -> Record {
    Record {
        status,
        outcome,
        key: Some(ObjectKey::new(format!("{variant}/test.html"))),
        variant: RequestedVariant::new(Some(variant), None),
        secret: Some(SecretMatch::Current),
        body_bytes,
        source: Some(Source::Hit),
        ..Record::warm_up()
    }
}

/// An environment whose lines are collected.
struct Environment {
    writer: BatchWriter,
    start: Instant,
    out: Vec<u8>,
}

impl Environment {
    fn new() -> Self {
        Self { writer: writer(), start: Instant::now(), out: Vec::new() }
    }

    /// An environment that has served a request at 0 s, and has written its metrics.
    fn warm() -> Self {
        let mut environment = Self::new();
        environment.add(&record("v1", "found", 200, 1), 1.0, 0);
        environment.out.clear();
        environment
    }

    /// Adds an invocation of so many microseconds, `ms` after the start of a minute.
    fn add(&mut self, record: &Record, micros: f64, ms: u64) {
        let measured = Measurement {
            record,
            duration: Duration::from_nanos((micros * 1e3) as u64),
            stats: StoreStats::default(),
            spans_dropped: 0,
            definition_errors: 0,
            init: None,
            rotating: false,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_438_440_000 + ms);
        let line = LogLine { request_id: "id", trace_id: None, measured, at };
        self.writer.add(&line, self.start + Duration::from_millis(ms), &mut self.out).unwrap();
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn flushed(mut self) -> Vec<Value> {
        self.writer.flush(&mut self.out).unwrap();
        self.lines()
    }
}

/// The values of a metric in a line, in ascending order, and how many they are.
fn values(line: &Value, metric: &str) -> Vec<f64> {
    let numbers = |list: &Value| -> Vec<f64> { list.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect() };
    match &line[metric] {
        Value::Null => Vec::new(),
        Value::Number(number) => vec![number.as_f64().unwrap()],
        list => {
            let (values, counts) = (numbers(&list["Values"]), numbers(&list["Counts"]));
            assert!(values.len() == counts.len() && values.len() <= INVOCATIONS_MAX, "{list}");
            values.iter().zip(&counts).flat_map(|(value, count)| vec![*value; *count as usize]).collect()
        }
    }
}

#[test]
fn a_hundred_invocations_are_one_line() {
    let mut environment = Environment::warm();
    for index in 0..250 {
        environment.add(&record("v1", "found", 200, 5_120), f64::from(90 + index % 50), 10);
    }
    let lines = environment.flushed();
    let counts: Vec<usize> = lines.iter().map(|line| values(line, "Duration").len()).collect();
    assert_eq!(counts, [100, 100, 50]);
    let first = &lines[0];
    assert_eq!(first["BodyBytes"], json!({"Values": [5_120], "Counts": [100]}));
    assert_eq!(first["Status2xx"], json!({"Values": [1], "Counts": [100]}));
    assert_eq!(first["Duration"]["Values"][0], json!(0.09));
    assert_eq!(
        (&first["service"], &first["variant"], &first["outcome"]),
        (&json!("lambdaapi"), &json!("v1"), &json!("found"))
    );
    assert_eq!(first["_aws"]["CloudWatchMetrics"][1]["Dimensions"], json!([["service", "variant", "outcome"]]));
}

#[test]
fn the_metrics_of_a_minute_have_its_timestamp() {
    let mut environment = Environment::warm();
    environment.add(&record("v1", "found", 200, 1), 1.0, 5_000);
    environment.add(&record("v2", "found", 200, 1), 1.0, 8_000);
    assert_eq!(environment.lines(), Vec::<Value>::new());
    environment.add(&record("v1", "found", 200, 1), 1.0, 60_000);
    let times = |lines: &[Value]| -> Vec<u64> {
        lines.iter().map(|line| line["_aws"]["Timestamp"].as_u64().unwrap() - 1_795_438_440_000).collect()
    };
    // 60 s is 52 s after 8 s: the environment was idle, so that its last invocation is written too.
    assert_eq!(times(&environment.lines()), [5_000, 8_000, 60_000]);
}

#[test]
fn an_idle_environment_writes_its_invocation_at_once() {
    let mut environment = Environment::new();
    environment.add(&record("v1", "found", 200, 1), 1.0, 0);
    assert_eq!(environment.lines().len(), 1, "the first invocation");
    environment.add(&record("v1", "found", 200, 1), 1.0, 9_999);
    assert_eq!(environment.lines().len(), 1);
    environment.add(&record("v1", "found", 200, 1), 1.0, 19_999);
    assert_eq!(environment.lines().len(), 2);
    assert_eq!(values(&environment.lines()[1], "Duration").len(), 2);
}

#[test]
fn the_first_failure_of_a_minute_is_written_at_once() {
    let mut environment = Environment::warm();
    environment.add(&record("v1", "found", 200, 1), 1.0, 10);
    assert_eq!(environment.lines().len(), 0);
    environment.add(&record("v1", "failed", 502, 1), 1.0, 20);
    assert_eq!(environment.lines().len(), 2, "the hit before it, too");
    environment.add(&record("v1", "failed", 502, 1), 1.0, 30);
    assert_eq!(environment.lines().len(), 2);
}

#[test]
fn a_hundred_hits_of_a_test_cost_at_most_60_bytes_each() {
    let mut environment = Environment::warm();
    let mut added = 0;
    for index in 0_u32..4_800 {
        let variant = ["v1", "v2"][index as usize % 2];
        let (outcome, status, bytes) =
            [("found", 200, 10_000), ("found", 200, 51_234), ("not_modified", 304, 0)][index as usize % 3];
        // No two durations are equal.
        environment.add(&record(variant, outcome, status, bytes), 80.0 + f64::from(index), 10);
        added += 1;
    }
    let lines = environment.flushed();
    let bytes: usize = lines.iter().map(|line| line.to_string().len() + 1).sum();
    assert!(bytes <= 60 * added, "{} bytes for each", bytes / added);
}

#[test]
fn failures_and_slow_requests_always_have_a_line() {
    let lines = AccessLines { ratio: 0.0, slow: Duration::from_millis(1_000) };
    let fast = Duration::from_millis(999);
    let found = record("v1", "found", 200, 1);
    assert!(!lines.includes(&found, fast, "ffffffff"));
    assert!(lines.includes(&found, Duration::from_millis(1_000), "ffffffff"));
    assert!(lines.includes(&record("v1", "failed", 502, 1), fast, "ffffffff"));
    let hidden = nearedge_core::store::FetchError::Unavailable(io::Error::other("down").into());
    assert!(lines.includes(&Record { error: Some(hidden), ..found.clone() }, fast, "ffffffff"));
    let all = AccessLines { ratio: 1.0, ..lines };
    assert!(all.includes(&found, fast, "8476a536-e9f4-11e8-9739-2dfeffffffff") && all.includes(&found, fast, "odd"));
}

#[test]
fn the_share_of_lines_is_the_ratio() {
    let lines = AccessLines { ratio: 0.25, slow: Duration::MAX };
    let found = record("v1", "found", 200, 1);
    let ids = (0..4_096_u32).map(|index| format!("8476a536-e9f4-11e8-9739-{:08x}", index << 20));
    let included = ids.filter(|id| lines.includes(&found, Duration::ZERO, id)).count();
    assert_eq!(included, 1_024);
}

proptest! {
    // The sums and the percentiles of a dashboard are those of the invocations.
    #[test]
    fn no_value_is_lost_or_changed(
        invocations in prop::collection::vec((0..3_usize, 0..3_usize, 0..400_000_u64, 0..4_u64), 1..400),
    ) {
        let mut environment = Environment::new();
        let mut expected: BTreeMap<(String, String, &str), Vec<f64>> = BTreeMap::new();
        let mut ms = 0;
        for (variant, outcome, micros, pause) in invocations {
            ms += pause * 1_500;
            let variant = ["v1", "v2", "made-up"][variant];
            let (outcome, status, bytes) = [("found", 200, 7), ("not_modified", 304, 0), ("missing", 404, 9)][outcome];
            environment.add(&record(variant, outcome, status, bytes), micros as f64, ms);
            let dimension = if variant == "made-up" { "other" } else { variant };
            let key = |metric| (dimension.to_owned(), outcome.to_owned(), metric);
            expected.entry(key("Duration")).or_default().push(micros as f64 / 1e3);
            expected.entry(key("BodyBytes")).or_default().push(bytes as f64);
            expected.entry(key("CacheHit")).or_default().push(1.0);
        }
        let mut found: BTreeMap<(String, String, &str), Vec<f64>> = BTreeMap::new();
        for line in environment.flushed() {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            for metric in ["Duration", "BodyBytes", "CacheHit"] {
                found.entry((text("variant"), text("outcome"), metric)).or_default().extend(values(&line, metric));
            }
        }
        for list in expected.values_mut().chain(found.values_mut()) {
            list.sort_by(f64::total_cmp);
        }
        prop_assert_eq!(found, expected);
    }
}
