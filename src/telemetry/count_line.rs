//! The lines of exposures and conversions: one JSON object each, with the names of GrowthBook's warehouse
//! ([assignment queries](https://docs.growthbook.io/app/datasources#experiment-assignment-queries)).
//!
//! With metrics, a line is in CloudWatch's Embedded Metric Format too, and counts itself.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use nearedge_core::experiment::count::{Count, CountKind, Counts};
use nearedge_core::metric::{EXPERIMENT, GOAL, Metric, NO_VARIANT, SERVICE, VARIATION};

/// The metrics in the lines: what is the same in each, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountMetrics {
    exposures: String,
    conversions: String,
}

impl CountMetrics {
    /// Metrics of a service in a namespace.
    pub fn new(namespace: &str, service: &str) -> Self {
        let part = |metric: Metric, dimensions: &[&str]| {
            let directive = serde_json::json!({
                "Namespace": namespace,
                "Dimensions": [dimensions],
                "Metrics": [{"Name": metric.name(), "Unit": metric.unit().name()}],
            });
            let (name, service) = (metric.name(), serde_json::json!(service));
            format!("\"CloudWatchMetrics\":[{directive}]}},\"{name}\":1,\"{SERVICE}\":{service},")
        };
        Self {
            exposures: part(Metric::Exposures, &[SERVICE, EXPERIMENT, VARIATION]),
            conversions: part(Metric::Conversions, &[SERVICE, EXPERIMENT, VARIATION, GOAL]),
        }
    }
}

/// Writes the lines of a request, in the order of its counts.
///
/// By hand, because a serializer of the whole object costs several times as much as the rest of the count.
pub fn write(counts: &Counts, metrics: Option<&CountMetrics>, request_id: &str, at: SystemTime) -> Vec<u8> {
    let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let mut lines = Vec::with_capacity(768 * counts.counted.len());
    for count in &counts.counted {
        write_line(&mut lines, counts, count, metrics.filter(|_| count.in_metrics), request_id, millis);
    }
    lines
}

fn write_line(
    out: &mut Vec<u8>,
    counts: &Counts,
    count: &Count,
    metrics: Option<&CountMetrics>,
    request_id: &str,
    millis: u64,
) {
    let (message, metrics) = match &count.kind {
        CountKind::Exposure { .. } => ("exposure", metrics.map(|metrics| &metrics.exposures)),
        CountKind::Conversion { .. } => ("conversion", metrics.map(|metrics| &metrics.conversions)),
    };
    out.push(b'{');
    if let Some(metrics) = metrics {
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(out, "\"_aws\":{{\"Timestamp\":{millis},");
        out.extend_from_slice(metrics.as_bytes());
    }
    for part in ["\"message\":\"", message, "\",\"timestamp\":\""] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(&timestamp(millis));
    out.push(b'"');
    member(out, EXPERIMENT, &count.experiment);
    member(out, VARIATION, &count.variation);
    // An id is base64url, or hexadecimal digits: it needs no escapes.
    for part in [",\"anonymous_id\":\"", &counts.visitor, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
    member(out, "phase", &count.phase);
    match &count.kind {
        CountKind::Exposure { version } => member(out, "variant", version.as_deref().unwrap_or(NO_VARIANT)),
        CountKind::Conversion { goal, value } => {
            member(out, GOAL, goal);
            if let Some(value) = value {
                let _ = write!(out, ",\"value\":{value}");
            }
        }
    }
    member(out, "request_id", request_id);
    for (name, value) in &counts.attributes {
        out.push(b',');
        text(out, name);
        out.push(b':');
        text(out, value);
    }
    out.extend_from_slice(b"}\n");
}

/// Writes a member of an object, after another one. Its name needs no escapes.
fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [",\"", name, "\":"] {
        out.extend_from_slice(part.as_bytes());
    }
    text(out, value);
}

/// Writes a string.
fn text(out: &mut Vec<u8>, text: &str) {
    let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Without a branch for each byte, so that the compiler uses vectors.
    if text.bytes().fold(false, |any, byte| any | needs_escape(byte)) {
        let _ = serde_json::to_writer(&mut *out, text);
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

/// The time in UTC with milliseconds (RFC 3339), which Athena and Logs Insights read.
fn timestamp(millis: u64) -> [u8; 24] {
    let (secs, millis) = (millis / 1_000, millis % 1_000);
    let (days, second) = (secs / 86_400, secs % 86_400);
    // The date of a day, counted from 0000-03-01, in eras of 400 years
    // (civil_from_days of Howard Hinnant's chrono-Compatible Low-Level Date Algorithms).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (end, digits, number) in [
        (4, 4, year),
        (7, 2, month),
        (10, 2, day),
        (13, 2, second / 3_600),
        (16, 2, second / 60 % 60),
        (19, 2, second % 60),
        (23, 3, millis),
    ] {
        let mut rest = number;
        for digit in text[end - digits..end].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_types::DateTime;
    use aws_smithy_types::date_time::Format;
    use proptest::prelude::*;
    use serde_json::{Value, json};
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
        let metrics = CountMetrics::new("nearedge", "lambdaapi");
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

    proptest! {
        #[test]
        fn a_timestamp_is_that_of_the_sdk(millis in 0_u64..4_102_444_800_000) {
            let written = String::from_utf8(timestamp(millis).to_vec()).unwrap();
            let parsed = DateTime::from_str(&written, Format::DateTime).unwrap();
            prop_assert_eq!(parsed.to_millis().unwrap(), millis as i64, "{}", written);
        }

        #[test]
        fn no_name_breaks_a_line(name in "(?s:.){0,20}", value in "(?s:.){0,20}") {
            let mut counts = counts();
            counts.counted[0].experiment = name.clone().into();
            counts.attributes = vec![(name.clone().into(), value.clone().into())];
            let lines = String::from_utf8(write(&counts, None, "1", UNIX_EPOCH)).unwrap();
            let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
            prop_assert_eq!(line["experiment_id"].as_str(), Some(&*name));
            prop_assert_eq!(lines.matches('\n').count(), 3);
        }
    }
}
