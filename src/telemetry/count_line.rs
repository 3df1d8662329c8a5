//! The lines of exposures and conversions: one JSON object each, with the names of GrowthBook's warehouse
//! ([assignment queries](https://docs.growthbook.io/app/datasources#experiment-assignment-queries)).
//!
//! With metrics, a line is in CloudWatch's Embedded Metric Format too, and counts itself.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use nearedge_core::experiment::count::{Count, CountKind, Counts};
use nearedge_core::metric::{EXPERIMENT, GOAL, Metric, NO_VARIANT, SERVICE, VARIATION};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

/// The namespace and the service of the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountMetrics {
    /// The namespace in CloudWatch.
    pub namespace: String,
    /// The dimension `service`.
    pub service: String,
}

/// Writes the lines of a request, in the order of its counts.
pub fn write(counts: &Counts, metrics: Option<&CountMetrics>, request_id: &str, at: SystemTime) -> Vec<u8> {
    let mut lines = Vec::with_capacity(1024);
    for count in &counts.counted {
        let line = Line { counts, count, metrics: metrics.filter(|_| count.in_metrics), request_id, at };
        // Neither a Vec nor these values can fail.
        if serde_json::to_writer(&mut lines, &line).is_ok() {
            lines.push(b'\n');
        }
    }
    lines
}

struct Line<'a> {
    counts: &'a Counts,
    count: &'a Count,
    metrics: Option<&'a CountMetrics>,
    request_id: &'a str,
    at: SystemTime,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { counts, count, metrics, request_id, at } = self;
        let mut map = serializer.serialize_map(None)?;
        let (metric, message, dimensions): (_, _, &[&str]) = match &count.kind {
            CountKind::Exposure { .. } => (Metric::Exposures, "exposure", &[SERVICE, EXPERIMENT, VARIATION]),
            CountKind::Conversion { .. } => {
                (Metric::Conversions, "conversion", &[SERVICE, EXPERIMENT, VARIATION, GOAL])
            }
        };
        if let Some(CountMetrics { namespace, service }) = metrics {
            let unit = json!([{"Name": metric.name(), "Unit": metric.unit().name()}]);
            let directive = json!([{"Namespace": namespace, "Dimensions": [dimensions], "Metrics": unit}]);
            let timestamp = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            map.serialize_entry("_aws", &json!({"Timestamp": timestamp, "CloudWatchMetrics": directive}))?;
            map.serialize_entry(metric.name(), &1)?;
            map.serialize_entry(SERVICE, service)?;
        }
        map.serialize_entry("message", message)?;
        map.serialize_entry("timestamp", &timestamp(*at))?;
        map.serialize_entry(EXPERIMENT, &*count.experiment)?;
        map.serialize_entry(VARIATION, &*count.variation)?;
        map.serialize_entry("anonymous_id", &*counts.visitor)?;
        map.serialize_entry("phase", &*count.phase)?;
        match &count.kind {
            CountKind::Exposure { version } => {
                map.serialize_entry("variant", version.as_deref().unwrap_or(NO_VARIANT))?;
            }
            CountKind::Conversion { goal, value } => {
                map.serialize_entry(GOAL, goal)?;
                if let Some(value) = value {
                    map.serialize_entry("value", value)?;
                }
            }
        }
        map.serialize_entry("request_id", request_id)?;
        for (name, value) in &counts.attributes {
            map.serialize_entry(&**name, &**value)?;
        }
        map.end()
    }
}

/// The time in UTC with milliseconds (RFC 3339), which Athena and Logs Insights read.
fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = DateTime::from_millis(since.as_millis() as i64);
    let text = millis.fmt(Format::DateTime).unwrap_or_default();
    // The format leaves out zeros at the end.
    match text.trim_end_matches('Z').split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{fraction:0<3}Z"),
        None => format!("{}.000Z", text.trim_end_matches('Z')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::time::Duration;

    fn counts() -> Counts {
        let count = |in_metrics, kind| Count {
            experiment: "new-checkout".into(),
            variation: "treatment".into(),
            phase: "1".into(),
            in_metrics,
            kind,
        };
        Counts {
            visitor: "AAECAwQFBgcICQoLDA0ODw".into(),
            attributes: vec![("cookie.plan".into(), "\"<\n".into())],
            counted: vec![
                count(true, CountKind::Exposure { version: Some("v2".into()) }),
                count(true, CountKind::Conversion { goal: "signup".into(), value: serde_json::from_str("12.5").ok() }),
                count(false, CountKind::Exposure { version: None }),
            ],
        }
    }

    fn lines(metrics: Option<&CountMetrics>) -> Vec<Value> {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_438_490_550);
        let lines = String::from_utf8(write(&counts(), metrics, "8476a536", at)).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_an_event_of_the_warehouse_and_a_metric() {
        let metrics = CountMetrics { namespace: "nearedge".to_owned(), service: "lambdaapi".to_owned() };
        let lines = lines(Some(&metrics));
        let aws = |name: &str, dimensions: Value| {
            let unit = json!([{"Name": name, "Unit": "Count"}]);
            let directive = json!([{"Namespace": "nearedge", "Dimensions": [dimensions], "Metrics": unit}]);
            json!({"Timestamp": 1_795_438_490_550_u64, "CloudWatchMetrics": directive})
        };
        assert_eq!(
            lines[0],
            json!({
                "_aws": aws("Exposures", json!(["service", "experiment_id", "variation_id"])), "Exposures": 1,
                "service": "lambdaapi", "message": "exposure", "timestamp": "2026-11-23T12:54:50.550Z",
                "experiment_id": "new-checkout", "variation_id": "treatment", "phase": "1", "variant": "v2",
                "anonymous_id": "AAECAwQFBgcICQoLDA0ODw", "request_id": "8476a536", "cookie.plan": "\"<\n",
            })
        );
        assert_eq!(
            lines[1],
            json!({
                "_aws": aws("Conversions", json!(["service", "experiment_id", "variation_id", "goal"])),
                "Conversions": 1, "service": "lambdaapi", "message": "conversion", "goal": "signup", "value": 12.5,
                "timestamp": "2026-11-23T12:54:50.550Z", "experiment_id": "new-checkout", "variation_id": "treatment",
                "phase": "1", "anonymous_id": "AAECAwQFBgcICQoLDA0ODw", "request_id": "8476a536", "cookie.plan": "\"<\n",
            })
        );
        assert_eq!((&lines[2]["_aws"], &lines[2]["variant"]), (&Value::Null, &json!("none")));
    }

    #[test]
    fn without_metrics_a_line_is_an_event_only() {
        let lines = lines(None);
        assert!(lines.iter().all(|line| line["_aws"].is_null() && line["service"].is_null()));
        assert_eq!(lines[0]["experiment_id"], "new-checkout");
    }

    #[test]
    fn a_timestamp_has_milliseconds() {
        for (millis, expected) in [(0, "1970-01-01T00:00:00.000Z"), (1_010, "1970-01-01T00:00:01.010Z")] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(millis)), expected);
        }
    }
}
