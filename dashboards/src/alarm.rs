//! The alarms, the same in AWS China, as CloudFormation's `AWS::CloudWatch::Alarm` has them, each with the reason for its threshold.

use nearedge_core::metric::{Metric, NAMESPACE, SERVICE};
use serde_json::{Map, Value, json};

/// All alarms, by their logical id: what can be pasted under `Resources`.
pub fn all() -> Value {
    let mut alarms = Map::new();
    let mut add = |id: &str, why: &str, properties: Value| {
        let mut properties = properties;
        properties["AlarmDescription"] = why.into();
        properties["AlarmName"] = format!("${{FunctionName}}-{id}").into();
        properties["AlarmActions"] = json!([{"Ref": "AlarmTopic"}]);
        properties["TreatMissingData"] = "notBreaching".into();
        properties["AlarmName"] = json!({"Fn::Sub": properties["AlarmName"]});
        alarms.insert(format!("Alarm{id}"), json!({"Type": "AWS::CloudWatch::Alarm", "Properties": properties}));
    };
    add(
        "Failing",
        "More than 1 % of the answers are 5xx in three of five minutes, of at least 20 a minute: S3 or its permissions. A \
         stale copy hides an outage for stale_if_error_secs, so what is seen here is seen by viewers. Runbook: S3 outage.",
        ratio(
            "IF(requests > 20, 100 * FILL(failed, 0) / requests, 0)",
            &[("failed", Metric::Status5xx, "Sum"), ("requests", Metric::Duration, "SampleCount")],
            1.0,
        ),
    );
    add(
        "Slow",
        "p99 of nearedge's own time is above 1 s in three of five minutes. A hit takes well under a millisecond and a miss \
         tens of milliseconds; a second is what a stale copy waits for S3.",
        percentile(own(Metric::Duration), "p99", 1_000.0),
    );
    add(
        "ServedStale",
        "More than 5 % of the answers were stale in three of five minutes: S3 is in trouble and the cache covers for it, for \
         stale_if_error_secs and no longer. With stale_while_revalidate_secs set, raise it or leave it out.",
        ratio(
            "IF(requests > 20, 100 * FILL(stale, 0) / requests, 0)",
            &[("stale", Metric::CacheStale, "Sum"), ("requests", Metric::Duration, "SampleCount")],
            5.0,
        ),
    );
    add(
        "Unauthorised",
        "More than 100 requests a minute without the secret in three of five minutes: somebody asks the API past the \
         distribution, or a rotation went wrong (then SecretCurrent and SecretNext fall at the same time).",
        simple(own(Metric::AuthFailure), "Sum", 100.0),
    );
    add(
        "AccessDenied",
        "S3 denied access to more than 50 keys a minute in three of five minutes. To a role without s3:ListBucket that is any \
         missing key; to one with it, it is a bucket policy or a key of KMS.",
        simple(own(Metric::AccessDenied), "Sum", 50.0),
    );
    add(
        "Crashing",
        "Lambda counts an error at all in three of five minutes: an invocation that panicked, timed out or could not start. \
         nearedge answers its own failures, so none of these is usual.",
        simple(aws("AWS/Lambda", "Errors", &[("FunctionName", "${FunctionName}")]), "Sum", 0.0),
    );
    add(
        "Throttled",
        "Lambda refuses invocations in three of five minutes: the account's or the function's concurrency is used up. \
         Viewers see 503. Raise the quota, or lower Duration.",
        simple(aws("AWS/Lambda", "Throttles", &[("FunctionName", "${FunctionName}")]), "Sum", 0.0),
    );
    add(
        "ApiFailing",
        "The HTTP API answers 5xx more than 10 times a minute in three of five minutes: the function's 5xx are among them, \
         and what the function never saw.",
        simple(aws("AWS/ApiGateway", "5xx", &[("ApiId", "${ApiId}")]), "Sum", 10.0),
    );
    add(
        "SpansLost",
        "Spans are dropped in three of five minutes: the collector is slow or gone. No answer is harmed by it.",
        simple(own(Metric::SpansDropped), "Sum", 0.0),
    );
    add(
        "ColdStarts",
        "More than 5 % of the invocations are cold starts in three of five minutes, of at least 20 a minute: traffic comes in \
         bursts, or environments die. Provisioned concurrency helps the first, the log the second.",
        ratio(
            "IF(requests > 20, 100 * FILL(cold, 0) / requests, 0)",
            &[("cold", Metric::ColdStart, "Sum"), ("requests", Metric::Duration, "SampleCount")],
            5.0,
        ),
    );
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

/// Three of five minutes: a single bad one wakes nobody, and lines that come late do not hide it.
fn window(mut properties: Value, threshold: f64) -> Value {
    properties["EvaluationPeriods"] = 5.into();
    properties["DatapointsToAlarm"] = 3.into();
    properties["ComparisonOperator"] = "GreaterThanThreshold".into();
    properties["Threshold"] = threshold.into();
    properties
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
