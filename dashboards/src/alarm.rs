//! The alarms, as `AWS::CloudWatch::Alarm` of CloudFormation.
//!
//! They are the same in AWS China, except for that of the function URL. Each description gives the reason for the threshold.

mod comparison;
mod window;

use nearedge_core::metric::{Metric, NAMESPACE, SERVICE};
use serde_json::{Map, Value, json};

use self::window::window;
use crate::partition::Partition;

/// The condition of the templates in `deploy/` under which the alarm with this logical id exists.
pub fn condition(id: &str) -> &'static str {
    match id {
        "AlarmApiFailing" => "WatchesApi",
        "AlarmUrlFailing" => "WatchesUrl",
        _ => comparison::condition(id).unwrap_or("Watched"),
    }
}

/// All alarms by logical id, as entries of `Resources`.
pub fn all(partition: Partition) -> Value {
    let mut alarms = Map::new();
    let mut add = |id: &str, description: &str, mut properties: Value| {
        properties["AlarmDescription"] = description.into();
        properties["AlarmName"] = json!({"Fn::Sub": format!("${{FunctionName}}-{id}")});
        properties["AlarmActions"] = json!([{"Ref": "AlarmTopic"}]);
        properties["TreatMissingData"] = "notBreaching".into();
        alarms.insert(format!("Alarm{id}"), json!({"Type": "AWS::CloudWatch::Alarm", "Properties": properties}));
    };
    add(
        "Failing",
        "More than 1 % of the responses are 5xx in three of five minutes, each with more than 20 requests: S3 or its \
         permissions fail. Stale copies hide an outage for stale_if_error_secs, so viewers get these errors. \
         Runbook: S3 outage.",
        ratio(
            "IF(requests > 20, 100 * FILL(failed, 0) / requests, 0)",
            &[("failed", Metric::Status5xx, "Sum"), ("requests", Metric::Duration, "SampleCount")],
            1.0,
        ),
    );
    add(
        "Slow",
        "p99 of nearedge's own duration exceeds 1 s in three of five minutes. A hit takes well under a millisecond \
         and a miss tens of milliseconds. Before it serves a stale copy, nearedge waits one second for S3.",
        percentile(own(Metric::Duration), "p99", 1_000.0),
    );
    add(
        "ServedStale",
        "More than 5 % of the responses are stale in three of five minutes: S3 fails, and the cache replaces it for \
         at most stale_if_error_secs. If stale_while_revalidate_secs is set, raise the threshold or remove the \
         alarm.",
        ratio(
            "IF(requests > 20, 100 * FILL(stale, 0) / requests, 0)",
            &[("stale", Metric::CacheStale, "Sum"), ("requests", Metric::Duration, "SampleCount")],
            5.0,
        ),
    );
    add(
        "Unauthorised",
        "More than 100 requests per minute lack the secret in three of five minutes: a client bypasses the \
         distribution, or a rotation failed (then SecretCurrent and SecretNext fall at the same time).",
        simple(own(Metric::AuthFailure), "Sum", 100.0),
    );
    add(
        "AccessDenied",
        "S3 denies access to more than 50 keys per minute in three of five minutes. For a role without \
         s3:ListBucket, these are missing keys; for a role with it, the cause is a bucket policy or a KMS key.",
        simple(own(Metric::AccessDenied), "Sum", 50.0),
    );
    add(
        "Crashing",
        "Lambda counts an error in three of five minutes: an invocation that panicked, timed out or could not start. \
         nearedge responds to its other failures itself, so each of these errors is unusual.",
        simple(aws("AWS/Lambda", "Errors", &[("FunctionName", "${FunctionName}")]), "Sum", 0.0),
    );
    add(
        "Throttled",
        "Lambda throttles invocations in three of five minutes: the concurrency of the account or the function is \
         exhausted, and viewers get 503. Raise the quota, or lower Duration.",
        simple(aws("AWS/Lambda", "Throttles", &[("FunctionName", "${FunctionName}")]), "Sum", 0.0),
    );
    add(
        "ApiFailing",
        "The HTTP API responds with 5xx more than 10 times per minute in three of five minutes. This includes the \
         function's 5xx, and requests that did not reach the function.",
        simple(aws("AWS/ApiGateway", "5xx", &[("ApiId", "${ApiId}")]), "Sum", 10.0),
    );
    if partition == Partition::Aws {
        let url = [("FunctionName", "${FunctionName}"), ("Resource", "${FunctionName}:live")];
        add(
            "UrlFailing",
            "The function URL responds with 5xx more than 10 times per minute in three of five minutes. This includes the \
             function's 5xx, and requests that did not reach the function.",
            simple(aws("AWS/Lambda", "Url5xxCount", &url), "Sum", 10.0),
        );
    }
    add(
        "SpansLost",
        "Spans are dropped in three of five minutes: the collector is slow or unreachable. Responses are not affected.",
        simple(own(Metric::SpansDropped), "Sum", 0.0),
    );
    add(
        "DefinitionBroken",
        "A file that configures the origin (experiments, redirects, headers or access) cannot be loaded in three of five \
         minutes: it is missing, invalid or too large, or S3 fails. The last good one stays active, but new environments \
         have none: they assign no visitor, apply no rule, and respond with 503 without rules of access. The log says \
         what to correct. Environments load it every cache_ttl_secs, so a value above 60 delays the alarm. Runbook: \
         Broken definition.",
        simple(own(Metric::DefinitionErrors), "Sum", 0.0),
    );
    add(
        "ColdStarts",
        "More than 5 % of the invocations are cold starts in three of five minutes, each with more than 20 requests: \
         traffic comes in bursts, or environments die. Provisioned concurrency helps against bursts; the log shows \
         why environments die.",
        ratio(
            "IF(requests > 20, 100 * FILL(cold, 0) / requests, 0)",
            &[("cold", Metric::ColdStart, "Sum"), ("requests", Metric::Duration, "SampleCount")],
            5.0,
        ),
    );
    for (id, description, properties) in comparison::all() {
        add(&id, &description, properties);
    }
    alarms.into()
}

fn own(metric: Metric) -> Value {
    aws(NAMESPACE, metric.name(), &[(SERVICE, "${FunctionName}")])
}

fn aws(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Value {
    let dimensions: Vec<Value> =
        dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": {"Fn::Sub": value}})).collect();
    json!({"Namespace": namespace, "MetricName": name, "Dimensions": dimensions})
}

fn simple(mut metric: Value, statistic: &str, threshold: f64) -> Value {
    metric["Statistic"] = statistic.into();
    metric["Period"] = 60.into();
    window(metric, threshold)
}

fn percentile(mut metric: Value, statistic: &str, threshold: f64) -> Value {
    metric["ExtendedStatistic"] = statistic.into();
    metric["EvaluateLowSampleCountPercentile"] = "ignore".into();
    metric["Period"] = 60.into();
    window(metric, threshold)
}

fn ratio(expression: &str, metrics: &[(&str, Metric, &str)], threshold: f64) -> Value {
    let mut queries = vec![json!({"Id": "ratio", "Expression": expression, "ReturnData": true})];
    queries.extend(metrics.iter().map(|(id, metric, stat)| {
        json!({"Id": id, "ReturnData": false, "MetricStat": {"Metric": own(*metric), "Period": 60, "Stat": stat}})
    }));
    window(json!({"Metrics": queries}), threshold)
}
