//! Alarms that compare each variant, and each variation of the watched experiment, with the control.
//!
//! An alarm allows ten metrics and ten expressions, and no SEARCH
//! ([MetricDataQuery](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html)).

use nearedge_core::metric::{EXPERIMENT, Metric, NAMESPACE, OUTCOME, SERVICE, VARIANT, VARIATION};
use serde_json::{Value, json};

use crate::alarm::window::window;
use crate::page::{EXPERIMENT as WATCHED, FAILED, VARIANTS, VARIATIONS};
use crate::statistic::{CRITICAL_CHI_SQUARED, sample_ratio};

/// The letters of the variants and variations after the control.
const TREATMENTS: [char; 3] = ['B', 'C', 'D'];

/// The kinds of alarms, and the conditions of their treatments in the templates.
const CONDITIONS: [(&str, [&str; 3]); 3] = [
    ("AlarmSampleRatio", ["WatchesExperiment", "WatchesVariationC", "WatchesVariationD"]),
    ("AlarmVariantFailing", ["Watched", "WatchesVariantC", "WatchesVariantD"]),
    ("AlarmVariantSlow", ["Watched", "WatchesVariantC", "WatchesVariantD"]),
];

/// The condition of an alarm of this module, by its logical id.
pub(super) fn condition(id: &str) -> Option<&'static str> {
    let (kind, treatments) = CONDITIONS.iter().find(|(kind, _)| id.starts_with(kind))?;
    TREATMENTS
        .iter()
        .zip(treatments)
        .find(|(letter, _)| id.strip_prefix(kind) == Some(&letter.to_string()))
        .map(|(_, condition)| *condition)
}

/// Id, description and properties of each alarm.
pub(super) fn all() -> Vec<(String, String, Value)> {
    let mut alarms = Vec::new();
    let [control, treatments @ ..] = VARIATIONS;
    for (letter, treatment) in TREATMENTS.iter().zip(treatments) {
        alarms.push((
            format!("SampleRatio{letter}"),
            SAMPLE_RATIO.replace("{}", &letter.to_string()),
            split(control, treatment),
        ));
    }
    let [control, treatments @ ..] = VARIANTS;
    for (letter, treatment) in TREATMENTS.iter().zip(treatments) {
        let text = |text: &str| text.replace("{}", &letter.to_string());
        alarms.push((format!("VariantFailing{letter}"), text(FAILING), failing(control, treatment)));
        alarms.push((format!("VariantSlow{letter}"), text(SLOW), slow(control, treatment)));
    }
    alarms
}

const SAMPLE_RATIO: &str = "The numbers of new visitors of VariationA and Variation{} during one day contradict their weights: \
    Pearson's chi-squared statistic exceeds 10.828, which happens by chance on one day in a thousand. Visitors of one \
    variation are lost or counted twice, so do not trust the results. It needs 200 new visitors a day; the dashboard results \
    shows the statistic since the start. Runbook: Sample-ratio mismatch.";

const FAILING: &str = "The share of failed responses (5xx) of Variant{} exceeds that of VariantA, the control, by more than one \
    percentage point and three standard errors, in three of five periods of five minutes in which each has more than 100 \
    responses. The variant itself fails, and viewers of the control do not notice. Runbook: A variant fails or is slow.";

const SLOW: &str = "The p90 of nearedge's own duration for objects of Variant{} exceeds that of VariantA, the control, by more than \
    100 ms and by half, in three of five periods of five minutes in which each has more than 100 responses: its objects are \
    larger, or more of them come from S3. Slower pages change what visitors do. Runbook: A variant fails or is slow.";

/// One day of exposures of both variations.
///
/// A day is the longest period of a metric in an alarm, and RUNNING_SUM starts anew in each evaluation. An alarm over more
/// days would therefore not test their sum.
fn split(control: (&str, &str), treatment: (&str, &str)) -> Value {
    let mut queries: Vec<Value> = [("a", control.0), ("b", treatment.0)]
        .map(|(id, variation)| {
            let dimensions = [(EXPERIMENT, WATCHED), (VARIATION, variation)];
            query(&format!("e{id}"), Metric::Exposures, &dimensions, "Sum", 86_400)
        })
        .into();
    queries.extend(["a", "b"].map(|id| expression(&format!("n{id}"), &format!("FILL(e{id}, 0)"))));
    let steps = sample_ratio(&[("a".to_owned(), control.1), ("b".to_owned(), treatment.1)]);
    queries.extend(steps.iter().map(|(id, step)| expression(id, step)));
    queries.push(result("IF(total >= 200, statistic, 0)"));
    let [threshold, ..] = CRITICAL_CHI_SQUARED;
    json!({
        "Metrics": queries, "EvaluationPeriods": 1, "DatapointsToAlarm": 1,
        "ComparisonOperator": "GreaterThanThreshold", "Threshold": threshold,
    })
}

fn failing(control: &str, treatment: &str) -> Value {
    let mut queries = Vec::new();
    for (id, variant) in [("a", control), ("b", treatment)] {
        let count = |metric: &str, outcome: &str| of_outcome(metric, variant, outcome, "SampleCount");
        let failed: Vec<String> = (1..=FAILED.len()).map(|number| format!("f{id}{number}")).collect();
        queries.extend(failed.iter().zip(FAILED).map(|(metric, outcome)| count(metric, outcome)));
        queries.push(count(&format!("g{id}"), "found"));
        let sum: Vec<String> = failed.iter().map(|metric| format!("FILL({metric}, 0)")).collect();
        queries.push(expression(&format!("k{id}"), &sum.join(" + ")));
        queries.push(expression(&format!("n{id}"), &format!("k{id} + FILL(g{id}, 0)")));
    }
    queries.push(expression("rate", "(ka + kb) / (na + nb)"));
    queries.push(expression("more", "kb / nb - ka / na"));
    // Both sides are squared, as metric math has no square root.
    queries.push(result(
        "IF(na > 100 AND nb > 100 AND more > 0 AND more ^ 2 > 9 * rate * (1 - rate) * (1 / na + 1 / nb), 100 * more, 0)",
    ));
    windows(queries, 1.0)
}

fn slow(control: &str, treatment: &str) -> Value {
    let mut queries = Vec::new();
    for (id, variant) in [("a", control), ("b", treatment)] {
        queries.push(of_outcome(&format!("n{id}"), variant, "found", "SampleCount"));
        queries.push(of_outcome(&format!("d{id}"), variant, "found", "p90"));
    }
    queries.push(result("IF(na > 100 AND nb > 100 AND db > 1.5 * da, db - da, 0)"));
    windows(queries, 100.0)
}

/// Three of five periods of five minutes.
fn windows(queries: Vec<Value>, threshold: f64) -> Value {
    window(json!({"Metrics": queries}), threshold)
}

fn of_outcome(id: &str, variant: &str, outcome: &str, stat: &str) -> Value {
    query(id, Metric::Duration, &[(VARIANT, variant), (OUTCOME, outcome)], stat, 300)
}

fn query(id: &str, metric: Metric, dimensions: &[(&str, &str)], stat: &str, period: u64) -> Value {
    let dimensions: Vec<Value> = [(SERVICE, "${FunctionName}")]
        .iter()
        .chain(dimensions)
        .map(|(name, value)| json!({"Name": name, "Value": text(value)}))
        .collect();
    let metric = json!({"Namespace": NAMESPACE, "MetricName": metric.name(), "Dimensions": dimensions});
    json!({"Id": id, "ReturnData": false, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}})
}

fn expression(id: &str, expression: &str) -> Value {
    json!({"Id": id, "Expression": text(expression), "ReturnData": false})
}

/// A text, whose placeholders CloudFormation replaces.
fn text(text: &str) -> Value {
    if text.contains("${") { json!({"Fn::Sub": text}) } else { text.into() }
}

fn result(expression: &str) -> Value {
    json!({"Id": "result", "Expression": expression, "ReturnData": true})
}
