//! CloudWatch: metrics, from Embedded Metric Format and from the other parts of the cloud, and the log lines that
//! Lambda itself writes. In memory, for as long as a local run is looked at.
//!
//! [Embedded Metric Format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).

pub mod dashboard;
pub mod insights;
pub mod metric_math;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use serde_json::Value;

use crate::identity;

/// How long values are kept, in seconds.
pub const RETENTION_SECS: u64 = 1_800;

/// How many of Lambda's own log lines are kept.
const REPORTS_MAX: usize = 50_000;

/// What a metric is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricName {
    /// Such as `AWS/Lambda`.
    pub namespace: String,
    /// Such as `Duration`.
    pub name: String,
    /// Names and values, sorted.
    pub dimensions: Vec<(String, String)>,
}

impl MetricName {
    /// A metric's name; the order of its dimensions does not matter.
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

/// Values by the second that they were measured in.
type Values = BTreeMap<u64, Vec<f64>>;

#[derive(Debug, Default)]
struct Kept {
    metrics: HashMap<MetricName, Values>,
    reports: VecDeque<(u64, Value)>,
    pruned: u64,
}

/// The metrics and logs of the local cloud.
#[derive(Debug, Clone, Default)]
pub struct CloudWatch(Arc<Mutex<Kept>>);

impl CloudWatch {
    /// Takes a value of now.
    pub fn put(&self, name: MetricName, value: f64) {
        self.put_at(identity::now_ms() / 1000, name, value);
    }

    fn put_at(&self, second: u64, name: MetricName, value: f64) {
        let mut kept = self.0.lock();
        kept.metrics.entry(name).or_default().entry(second).or_default().push(value);
        // Now and then, not for every value.
        if second >= kept.pruned + 60 {
            kept.pruned = second;
            let oldest = second.saturating_sub(RETENTION_SECS);
            kept.metrics.retain(|_, values| {
                *values = values.split_off(&oldest);
                !values.is_empty()
            });
        }
    }

    /// Takes the metrics of a log line, if it has any; `false` if it is none of Embedded Metric Format.
    pub fn put_line(&self, line: &Value) -> bool {
        let Some(directives) = line["_aws"]["CloudWatchMetrics"].as_array() else { return false };
        let second = line["_aws"]["Timestamp"].as_u64().unwrap_or_else(identity::now_ms) / 1000;
        for directive in directives {
            let namespace = directive["Namespace"].as_str().unwrap_or_default();
            let sets = directive["Dimensions"].as_array().map_or(&[][..], Vec::as_slice);
            for set in sets.iter().filter_map(Value::as_array) {
                // A set that names what the line does not have makes no metric.
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

    /// Takes a line of Lambda's own, such as a `platform.report`.
    pub fn report(&self, line: Value) {
        let mut kept = self.0.lock();
        kept.reports.push_back((identity::now_ms() / 1000, line));
        if kept.reports.len() > REPORTS_MAX {
            kept.reports.pop_front();
        }
    }

    /// Lambda's own lines of `start..end`, in seconds since 1970.
    pub fn reports(&self, start: u64, end: u64) -> Vec<(u64, Value)> {
        self.0.lock().reports.iter().filter(|(second, _)| (start..end).contains(second)).cloned().collect()
    }

    /// Every metric that there is.
    pub fn names(&self) -> Vec<MetricName> {
        let mut names: Vec<_> = self.0.lock().metrics.keys().cloned().collect();
        names.sort();
        names
    }

    /// The second of the oldest value that is kept.
    pub fn first(&self) -> Option<u64> {
        self.0.lock().metrics.values().filter_map(|values| values.keys().next().copied()).min()
    }

    /// The values of each period of `start..end`, in seconds since 1970.
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

/// A statistic of some values, by CloudWatch's name of it: `Average`, `Sum`, `Minimum`, `Maximum`, `SampleCount` or a
/// percentile such as `p99`. `None` if there are no values, or no such statistic.
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
            // The nearest rank.
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
    fn a_line_makes_a_metric_of_each_dimension_set_that_it_has_values_for() {
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
    fn a_percentile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (name, wanted) in [("p50", 50.0), ("p99", 99.0), ("p100", 100.0), ("Sum", 5050.0), ("SampleCount", 100.0)] {
            assert_eq!(statistic(&values, name), Some(wanted), "{name}");
        }
        assert_eq!(statistic(&[], "Sum"), None);
        assert_eq!(statistic(&values, "Median"), None);
    }
}
