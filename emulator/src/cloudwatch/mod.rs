//! CloudWatch: the metrics of a local run, and the log lines that Lambda itself writes.
//!
//! Metrics come from log lines in Embedded Metric Format, over OTLP and from the other parts of the local cloud. Everything
//! is in memory.
//!
//! [Embedded Metric Format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).

pub mod dashboard;
pub mod definition_log;
pub mod experiment_log;
pub mod insights;
pub mod metric_math;
mod otlp;
pub mod watched;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use serde_json::Value;

use crate::identity;

/// How long metric values are retained, in seconds.
pub const RETENTION_SECS: u64 = 1_800;

/// The maximum number of retained log lines of Lambda.
const REPORTS_MAX: usize = 50_000;

/// The identity of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricName {
    /// Such as `AWS/Lambda`.
    pub namespace: String,
    /// Such as `Duration`.
    pub name: String,
    /// Names and values, sorted by name.
    pub dimensions: Vec<(String, String)>,
}

impl MetricName {
    /// The identity of a metric; `dimensions` may have any order.
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let mut dimensions: Vec<_> =
            dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        dimensions.sort();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }

    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        self.dimensions.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The values of a metric by second.
type Values = BTreeMap<u64, Vec<f64>>;

#[derive(Debug, Default)]
struct State {
    metrics: HashMap<MetricName, Values>,
    reports: VecDeque<(u64, Value)>,
    /// When expired values were last removed, in seconds since 1970.
    pruned: u64,
}

/// The metrics and logs of the local cloud.
#[derive(Debug, Clone, Default)]
pub struct CloudWatch(Arc<Mutex<State>>);

impl CloudWatch {
    /// Records a value with the current time.
    pub fn put(&self, name: MetricName, value: f64) {
        self.put_at(identity::now_ms() / 1000, name, value);
    }

    fn put_at(&self, second: u64, name: MetricName, value: f64) {
        let mut state = self.0.lock();
        state.metrics.entry(name).or_default().entry(second).or_default().push(value);
        // Once a minute, because it visits every metric.
        if second >= state.pruned + 60 {
            state.pruned = second;
            let oldest = second.saturating_sub(RETENTION_SECS);
            state.metrics.retain(|_, values| {
                *values = values.split_off(&oldest);
                !values.is_empty()
            });
        }
    }

    /// Records the metrics of a log line; `false` if the line is not in Embedded Metric Format.
    pub fn put_line(&self, line: &Value) -> bool {
        let Some(directives) = line["_aws"]["CloudWatchMetrics"].as_array() else { return false };
        let second = line["_aws"]["Timestamp"].as_u64().unwrap_or_else(identity::now_ms) / 1000;
        for directive in directives {
            let namespace = directive["Namespace"].as_str().unwrap_or_default();
            let sets = directive["Dimensions"].as_array().map_or(&[][..], Vec::as_slice);
            for set in sets.iter().filter_map(Value::as_array) {
                // CloudWatch creates no metric for a dimension set with a dimension that the line lacks.
                let dimensions: Option<Vec<(&str, &str)>> =
                    set.iter().map(|name| Some((name.as_str()?, line[name.as_str()?].as_str()?))).collect();
                let Some(dimensions) = dimensions else { continue };
                for metric in directive["Metrics"].as_array().into_iter().flatten() {
                    if let Some(name) = metric["Name"].as_str()
                        && let Some(value) = line[name].as_f64()
                    {
                        self.put_at(second, MetricName::new(namespace, name, &dimensions), value);
                    }
                }
            }
        }
        true
    }

    /// Records a log line of Lambda, such as `platform.report`.
    pub fn report(&self, line: Value) {
        let mut state = self.0.lock();
        state.reports.push_back((identity::now_ms() / 1000, line));
        if state.reports.len() > REPORTS_MAX {
            state.reports.pop_front();
        }
    }

    /// The log lines of Lambda in `start..end`, in seconds since 1970.
    pub fn reports(&self, start: u64, end: u64) -> Vec<(u64, Value)> {
        self.0.lock().reports.iter().filter(|(second, _)| (start..end).contains(second)).cloned().collect()
    }

    /// All metrics, sorted.
    pub fn names(&self) -> Vec<MetricName> {
        let mut names: Vec<_> = self.0.lock().metrics.keys().cloned().collect();
        names.sort();
        names
    }

    /// The time of the oldest value, in seconds since 1970.
    pub fn oldest(&self) -> Option<u64> {
        self.0.lock().metrics.values().filter_map(|values| values.keys().next().copied()).min()
    }

    /// The values of a metric in each period of `start..end`, in seconds since 1970.
    pub fn values(&self, name: &MetricName, start: u64, end: u64, period: u64) -> Vec<Vec<f64>> {
        let periods = usize::try_from(end.saturating_sub(start).div_ceil(period.max(1))).unwrap_or(0);
        let mut all = vec![Vec::new(); periods];
        if let Some(values) = self.0.lock().metrics.get(name) {
            for (second, values) in values.range(start..end) {
                let index = usize::try_from((second - start) / period.max(1)).unwrap_or(usize::MAX);
                if let Some(period) = all.get_mut(index) {
                    period.extend_from_slice(values);
                }
            }
        }
        all
    }
}

/// Computes a statistic by its CloudWatch name.
///
/// The name is `Average`, `Sum`, `Minimum`, `Maximum`, `SampleCount` or a percentile such as `p99`. The result is `None`
/// for another name, or without values.
pub fn statistic(values: &[f64], name: &str) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let sum: f64 = values.iter().sum();
    match name {
        "Sum" => Some(sum),
        "SampleCount" => Some(values.len() as f64),
        "Average" => Some(sum / values.len() as f64),
        "Minimum" => values.iter().copied().reduce(f64::min),
        "Maximum" => values.iter().copied().reduce(f64::max),
        _ => {
            let percentile: f64 = name.strip_prefix('p')?.parse().ok().filter(|p| (0.0..=100.0).contains(p))?;
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            // By nearest rank.
            let rank = (percentile / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
            sorted.get(rank - 1).copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_complete_dimension_set_of_a_line_makes_a_metric() {
        let cloudwatch = CloudWatch::default();
        let line = json!({
            "_aws": {"Timestamp": 5_000, "CloudWatchMetrics": [
                {"Namespace": "n", "Dimensions": [["a"], ["a", "b"], ["c"]], "Metrics": [{"Name": "M"}, {"Name": "N"}]}
            ]},
            "a": "x", "b": "y", "M": 2.5, "O": 1,
        });
        assert!(cloudwatch.put_line(&line));
        let one = MetricName::new("n", "M", &[("a", "x")]);
        let both = MetricName::new("n", "M", &[("b", "y"), ("a", "x")]);
        assert_eq!(cloudwatch.names(), [one.clone(), both]);
        assert_eq!(cloudwatch.values(&one, 0, 10, 5), [vec![], vec![2.5]]);
        assert!(!cloudwatch.put_line(&json!({"level": "INFO"})));
    }

    #[test]
    fn a_percentile_is_by_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (name, expected) in [("p50", 50.0), ("p99", 99.0), ("p100", 100.0), ("Sum", 5050.0), ("SampleCount", 100.0)]
        {
            assert_eq!(statistic(&values, name), Some(expected), "{name}");
        }
        assert_eq!(statistic(&[], "Sum"), None);
        assert_eq!(statistic(&values, "Median"), None);
    }
}
