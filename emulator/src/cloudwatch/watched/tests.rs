use std::collections::HashMap;

use nearedge_core::experiment::definition::{Constraints, FEATURE};
use serde_json::{Value, json};

use super::*;
use crate::cloudwatch::dashboard::{all, evaluate};
use crate::cloudwatch::metric_math::{MathResult, Scope};
use crate::cloudwatch::{CloudWatch, MetricName};

fn watched(members: &str) -> Option<Watched> {
    let rule = format!(r#"{{"key": "checkout", "variations": ["v1", "v2"]{members}}}"#);
    let text = format!(
        r#"{{"features": {{"test_version": {{"rules": [{{"force": "v1", "condition": {{"country": "CN"}}}}, {rule}]}}}},
            "goals": [{{"key": "signup", "path": "/a"}}, {{"key": "order"}}]}}"#
    );
    let constraints = Constraints { feature: FEATURE, test_versions: None, cache_key: &[] };
    Watched::first(&Definition::parse(&text, constraints).unwrap().0)
}

const META: &str = r#", "meta": [{"key": "control"}, {"key": "treatment"}]"#;

fn counted(cloudwatch: &CloudWatch, second: u64, variation: &str, goal: Option<&str>, count: f64) {
    let mut dimensions = vec![("service", "f"), ("experiment_id", "checkout"), ("variation_id", variation)];
    dimensions.extend(goal.map(|goal| ("goal", goal)));
    let name = if goal.is_some() { "Conversions" } else { "Exposures" };
    cloudwatch.put_at(second, MetricName::new("nearedge", name, &dimensions), count);
}

/// The last value of each visible series of the widget with this title, by label.
fn last<'a>(widgets: &'a [Value], title: &str) -> HashMap<&'a str, f64> {
    let widget = widgets.iter().find(|widget| widget["title"] == title);
    let widget = widget.unwrap_or_else(|| panic!("expected {title} among {widgets:#?}"));
    let series = widget["series"].as_array().unwrap().iter();
    let value = |series: &'a Value| {
        let last = series["v"].as_array().unwrap().iter().rev().find_map(Value::as_f64);
        Some((series["label"].as_str()?, last?))
    };
    series.filter_map(value).collect()
}

#[test]
fn the_band_and_the_ratio_equal_those_of_gbstats_and_scipy() {
    let cloudwatch = CloudWatch::default();
    // Counts of two seconds, which the graphs add up.
    for (second, part) in [(1_010, 0.25), (1_060, 0.75)] {
        counted(&cloudwatch, second, "control", None, 6_000.0 * part);
        counted(&cloudwatch, second, "treatment", None, 5_900.0 * part);
        counted(&cloudwatch, second, "control", Some("signup"), 180.0 * part);
        counted(&cloudwatch, second, "treatment", Some("signup"), 236.0 * part);
    }
    let boards = all(&["v1".to_owned()], watched(META).as_ref(), &[("FunctionName", "f")]);
    let board = boards.iter().find(|board| board.name == "results").unwrap();
    let widgets = evaluate(&board.body, &cloudwatch, 1_000, 1_100).unwrap();
    assert!(widgets.iter().all(|widget| widget["problem"].is_null()), "{widgets:#?}");
    for (title, expected) in [
        ("Visitors", &[("control", 6_000.0), ("treatment", 5_900.0)][..]),
        ("Share of the visitors", &[("control", 100.0 * 60.0 / 119.0), ("treatment", 100.0 * 59.0 / 119.0)]),
        ("Visitors since the left edge", &[("control", 6_000.0), ("treatment", 5_900.0)]),
        // scipy.stats.chisquare([6000, 5900])
        ("Sample ratio: chi-squared statistic", &[("chi-squared", 0.8403361344537815)]),
        ("Conversions of signup", &[("control", 180.0), ("treatment", 236.0)]),
        ("Conversion rate of signup", &[("control", 3.0), ("treatment", 4.0)]),
        // SequentialTwoSidedTTest(ProportionStatistic(n=6000, sum=180), ProportionStatistic(n=5900, sum=236)), absolute
        (
            "signup: treatment − control, always valid",
            &[("treatment − control", 1.0), ("lower bound", -0.036427676520447635), ("upper bound", 2.036427676520448)],
        ),
        ("order: treatment − control, always valid", &[("treatment − control", 0.0)]),
    ] {
        let found = last(&widgets, title);
        assert_eq!(found.len(), expected.len(), "{title}: {found:?}");
        for (label, value) in expected {
            assert!((found[label] - value).abs() <= 1e-6 * value.abs().max(1e-3), "{title}: {label}: {found:?}");
        }
    }
}

#[test]
fn the_weights_of_the_definition_decide_the_expected_split() {
    let cloudwatch = CloudWatch::default();
    counted(&cloudwatch, 1_010, "0", None, 9_000.0);
    counted(&cloudwatch, 1_010, "1", None, 1_000.0);
    let watched = watched(r#", "weights": [0.9, 0.1]"#);
    let boards = all(&["v1".to_owned()], watched.as_ref(), &[("FunctionName", "f")]);
    let widgets = evaluate(&boards.last().unwrap().body, &cloudwatch, 1_000, 1_100).unwrap();
    let statistic = last(&widgets, "Sample ratio: chi-squared statistic")["chi-squared"];
    // Shares are counted in 10,000 buckets.
    assert!(statistic < 1e-6, "{statistic}");
    assert_eq!(super::Watched::first(&Definition::default()), None);
    assert!(all(&["v1".to_owned()], None, &[]).iter().all(|board| board.name != "results"));
}

/// Evaluates an alarm over one period: its value and its threshold.
fn alarm(cloudwatch: &CloudWatch, id: &str, weights: [&str; 2]) -> (Option<f64>, f64) {
    let mut text = dashboards::alarm::all(dashboards::partition::Partition::Aws)[id]["Properties"].to_string();
    for (name, value) in [
        ("FunctionName", "f"),
        ("WatchExperiment", "checkout"),
        ("VariationA", "control"),
        ("VariationB", "treatment"),
        ("WeightA", weights[0]),
        ("WeightB", weights[1]),
        ("VariantA", "v1"),
        ("VariantB", "v2"),
    ] {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    let properties: Value = serde_json::from_str(&text).unwrap();
    let plain = |value: &Value| value["Fn::Sub"].as_str().or(value.as_str()).unwrap_or_default().to_owned();
    let mut scope = Scope { cloudwatch, start: 1_000, end: 1_100, period: 100, results: HashMap::new() };
    let mut result = None;
    for query in properties["Metrics"].as_array().unwrap() {
        let value = match &query["MetricStat"] {
            Value::Null => scope.evaluate(&plain(&query["Expression"])).unwrap(),
            stat => {
                let metric = &stat["Metric"];
                let dimensions: Vec<(String, String)> = metric["Dimensions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| (plain(&one["Name"]), plain(&one["Value"])))
                    .collect();
                let dimensions: Vec<(&str, &str)> =
                    dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let name = MetricName::new("nearedge", metric["MetricName"].as_str().unwrap(), &dimensions);
                MathResult::Series(scope.metric(&name, stat["Stat"].as_str().unwrap()))
            }
        };
        if query["ReturnData"] == json!(true) {
            result = Some(value.clone());
        }
        scope.results.insert(query["Id"].as_str().unwrap().to_owned(), value);
    }
    let Some(MathResult::Series(points)) = result else { panic!("expected a time series, found {result:?}") };
    (points[0], properties["Threshold"].as_f64().unwrap())
}

#[test]
fn the_alarm_of_the_sample_ratio_fires_for_a_mismatch_only() {
    for (control, treatment, weights, expected) in [
        (5_200.0, 4_800.0, ["1", "1"], Some(16.0)),
        (5_050.0, 4_950.0, ["1", "1"], Some(1.0)),
        (5_000.0, 10_000.0, ["1", "2"], Some(0.0)),
        (10_400.0, 9_600.0, ["0.5", "0.5"], Some(32.0)),
        (300.0, 0.0, ["1", "1"], Some(300.0)),
        (120.0, 60.0, ["1", "1"], Some(0.0)),
    ] {
        let cloudwatch = CloudWatch::default();
        counted(&cloudwatch, 1_010, "control", None, control);
        if treatment > 0.0 {
            counted(&cloudwatch, 1_010, "treatment", None, treatment);
        }
        let (value, threshold) = alarm(&cloudwatch, "AlarmSampleRatioB", weights);
        assert!((value.unwrap() - expected.unwrap()).abs() < 1e-9, "{control} {treatment}: {value:?}");
        assert_eq!(threshold, 10.828);
    }
}

fn responses(cloudwatch: &CloudWatch, variant: &str, outcome: &str, count: usize, duration: f64) {
    let name = MetricName::new("nearedge", "Duration", &[("service", "f"), ("variant", variant), ("outcome", outcome)]);
    for _ in 0..count {
        cloudwatch.put_at(1_010, name.clone(), duration);
    }
}

#[test]
fn a_variant_that_fails_more_than_the_control_raises_an_alarm() {
    for (failed, fires) in [([2, 50], true), ([50, 50], false), ([50, 2], false), ([2, 8], false)] {
        let cloudwatch = CloudWatch::default();
        for (variant, failed) in ["v1", "v2"].into_iter().zip(failed) {
            responses(&cloudwatch, variant, "found", 1_000 - failed, 1.0);
            responses(&cloudwatch, variant, "unavailable", failed / 2, 1.0);
            responses(&cloudwatch, variant, "timed_out", failed - failed / 2, 1.0);
        }
        let (value, threshold) = alarm(&cloudwatch, "AlarmVariantFailingB", ["1", "1"]);
        assert_eq!(value.is_some_and(|value| value > threshold), fires, "{failed:?}: {value:?}");
    }
    let alone = CloudWatch::default();
    responses(&alone, "v1", "found", 1_000, 1.0);
    assert_eq!(alarm(&alone, "AlarmVariantFailingB", ["1", "1"]).0, None, "no data: not breaching");
}

#[test]
fn a_variant_that_is_slower_than_the_control_raises_an_alarm() {
    for (count, durations, fires) in [
        (200, [10.0, 200.0], true),
        (200, [200.0, 10.0], false),
        (200, [10.0, 90.0], false),
        (200, [1_000.0, 1_150.0], false),
        (50, [10.0, 200.0], false),
    ] {
        let cloudwatch = CloudWatch::default();
        for (variant, duration) in ["v1", "v2"].into_iter().zip(durations) {
            responses(&cloudwatch, variant, "found", count, duration);
        }
        let (value, threshold) = alarm(&cloudwatch, "AlarmVariantSlowB", ["1", "1"]);
        assert_eq!(value.is_some_and(|value| value > threshold), fires, "{count} {durations:?}: {value:?}");
    }
}
