//! Rows of a metric widget: metrics and expressions with their options, such as `stat` and `label`.

use nearedge_core::metric::{
    CODING, Dimensions, EXPERIMENT, GOAL, Metric, NAMESPACE, OUTCOME, SERVICE, VARIANT, VARIATION,
};
use serde_json::{Value, json};

use crate::partition::Partition;

/// The percentiles of latency graphs.
pub const PERCENTILES: [&str; 3] = ["p50", "p90", "p99"];

/// A metric of nearedge by service.
pub fn own(metric: Metric, options: Value) -> Value {
    json!([NAMESPACE, metric.name(), SERVICE, "${FunctionName}", options])
}

/// A metric of nearedge by service, variant and outcome.
pub fn own_of(metric: Metric, variant: &str, outcome: &str, options: Value) -> Value {
    debug_assert_eq!(metric.dimensions(), Dimensions::ServiceAndVariant);
    json!([NAMESPACE, metric.name(), SERVICE, "${FunctionName}", VARIANT, variant, OUTCOME, outcome, options])
}

/// A metric of nearedge by service and coding.
pub fn own_of_coding(metric: Metric, coding: &str, options: Value) -> Value {
    debug_assert_eq!(metric.dimensions(), Dimensions::Coding);
    json!([NAMESPACE, metric.name(), SERVICE, "${FunctionName}", CODING, coding, options])
}

/// The exposures of a variation.
pub fn exposures(experiment: &str, variation: &str, options: Value) -> Value {
    let name = Metric::Exposures.name();
    json!([NAMESPACE, name, SERVICE, "${FunctionName}", EXPERIMENT, experiment, VARIATION, variation, options])
}

/// The conversions of a variation for a goal.
pub fn conversions(experiment: &str, variation: &str, goal: &str, options: Value) -> Value {
    let (name, service) = (Metric::Conversions.name(), "${FunctionName}");
    json!([NAMESPACE, name, SERVICE, service, EXPERIMENT, experiment, VARIATION, variation, GOAL, goal, options])
}

/// A SEARCH over the conversions of a variation for all goals.
pub fn search_conversions(experiment: &str, variation: &str, period: u64) -> String {
    format!(
        "SEARCH('{{{NAMESPACE},{SERVICE},{EXPERIMENT},{VARIATION},{GOAL}}} MetricName=\"{}\" {SERVICE}=\"${{FunctionName}}\" \
         {EXPERIMENT}=\"{experiment}\" {VARIATION}=\"{variation}\"', 'Sum', {period})",
        Metric::Conversions.name()
    )
}

/// A metric math expression.
pub fn expression(expression: &str, mut options: Value) -> Value {
    options["expression"] = expression.into();
    json!([options])
}

/// A SEARCH over a metric of nearedge by service, variant and outcome; `terms` restrict the last two.
pub fn search(metric: Metric, terms: &[(&str, &str)], stat: &str, period: u64) -> String {
    let terms: String = terms.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
    format!(
        "SEARCH('{{{NAMESPACE},{SERVICE},{VARIANT},{OUTCOME}}} MetricName=\"{}\" {SERVICE}=\"${{FunctionName}}\"{terms}', '{stat}', {period})",
        metric.name()
    )
}

/// A metric of the HTTP API.
pub fn api(name: &str, options: Value) -> Value {
    aws("AWS/ApiGateway", name, &[("ApiId", "${ApiId}")], options)
}

/// A metric of the function.
pub fn function(name: &str, options: Value) -> Value {
    aws("AWS/Lambda", name, &[("FunctionName", "${FunctionName}")], options)
}

/// A metric of the function's URL. AWS China has no function URLs.
pub fn url(name: &str, options: Value) -> Value {
    aws("AWS/Lambda", name, &[("FunctionName", "${FunctionName}"), ("Resource", "${FunctionName}:live")], options)
}

/// A metric of the distribution, from CloudFront's region.
pub fn distribution(partition: Partition, name: &str, mut options: Value) -> Value {
    options["region"] = partition.cloudfront_region().into();
    aws("AWS/CloudFront", name, &[("DistributionId", "${DistributionId}"), ("Region", "Global")], options)
}

fn aws(namespace: &str, name: &str, dimensions: &[(&str, &str)], options: Value) -> Value {
    let mut row = vec![json!(namespace), json!(name)];
    row.extend(dimensions.iter().flat_map(|(name, value)| [json!(name), json!(value)]));
    row.push(options);
    row.into()
}
