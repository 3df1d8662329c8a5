//! The metrics line: one log line per invocation, in CloudWatch's Embedded Metric Format
//! ([specification](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html)).
//!
//! The line also contains the fields that an engineer searches for, so that no second log line is needed.

use std::fmt;
use std::io::{self, Write};
use std::time::SystemTime;

use metrique_writer_core::format::Format;
use metrique_writer_core::unit::{NegativeScale, PositiveScale};
use metrique_writer_core::value::{FlagConstructor, MetricFlags};
use metrique_writer_core::{Entry, EntryWriter, Observation, Value, ValueWriter};
use metrique_writer_format_emf::{Emf, MetricDefinition, MetricDirective, NoMetricCtor};
use nearedge_core::metric::{CODING, Dimensions, Measurement, Metric, OUTCOME, SERVICE, Unit, VARIANT, Variants};
use nearedge_core::object::KEY_BYTES_MAX;
use nearedge_core::store::{FetchError, Source};
use parking_lot::Mutex;

use crate::telemetry::count_line::CountMetrics;

/// The namespace and the dimensions of the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The namespace in CloudWatch.
    pub namespace: String,
    /// The dimension `service`.
    pub service: String,
    /// The variants that the dimension `variant` distinguishes.
    pub variants: Variants,
}

/// The content of a line.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// The id of the invocation.
    pub request_id: &'a str,
    /// The id of its trace.
    pub trace_id: Option<&'a str>,
    /// The result and its measurements.
    pub measured: Measurement<'a>,
    /// When the response was posted.
    pub at: SystemTime,
}

/// Writes lines.
pub struct LineWriter {
    config: MetricsConfig,
    format: Mutex<Formatters>,
}

/// The formatters, and a buffer that lines reuse, one at a time.
pub(super) struct Formatters {
    plain: Emf,
    /// For responses with a copy: each line repeats the formatter's list of metrics, and log lines are paid by the byte.
    of_copies: Emf,
    buffer: Vec<u8>,
}

impl Formatters {
    pub(super) fn new(config: &MetricsConfig) -> Self {
        let directive = |dimensions: Dimensions, names: Vec<&'static str>| {
            let metrics = Metric::ALL.iter().filter(|metric| metric.dimensions() == dimensions);
            let define = |metric: &Metric| MetricDefinition {
                name: metric.name(),
                unit: unit(metric.unit()),
                storage_resolution: None,
            };
            MetricDirective {
                dimensions: vec![names],
                metrics: metrics.map(define).collect(),
                namespace: &config.namespace,
            }
        };
        let builder = || {
            Emf::builder(config.namespace.clone(), vec![vec![SERVICE.to_owned()]])
                .directive(directive(Dimensions::ServiceAndVariant, vec![SERVICE, VARIANT, OUTCOME]))
        };
        Self {
            plain: builder().build(),
            of_copies: builder().directive(directive(Dimensions::Coding, vec![SERVICE, CODING])).build(),
            buffer: Vec::with_capacity(2048),
        }
    }

    /// The formatter for responses with or without a copy, and the buffer.
    pub(super) fn choose(&mut self, of_copy: bool) -> (&mut Emf, &mut Vec<u8>) {
        let Self { plain, of_copies, buffer } = self;
        (if of_copy { of_copies } else { plain }, buffer)
    }
}

impl LogLine<'_> {
    /// The value of the dimension `variant`.
    pub(super) fn variant<'a>(&'a self, config: &'a MetricsConfig) -> &'a str {
        let record = self.measured.record;
        match record.variant() {
            Some(requested) if record.is_defined => requested,
            requested => config.variants.dimension(requested),
        }
    }
}

impl LineWriter {
    /// A writer of lines for these settings.
    pub fn new(config: MetricsConfig) -> Self {
        Self { format: Mutex::new(Formatters::new(&config)), config }
    }

    /// The metrics in the lines of exposures and conversions.
    pub fn count_metrics(&self) -> CountMetrics {
        CountMetrics::new(&self.config.namespace, &self.config.service)
    }

    /// Writes a line in one write.
    ///
    /// # Errors
    /// If `out` is closed or full.
    pub fn write(&self, line: &LogLine<'_>, mut out: impl Write) -> io::Result<()> {
        let mut format = self.format.lock();
        let (emf, buffer) = format.choose(line.measured.record.copy.is_some());
        buffer.clear();
        let entry = LineEntry { line, config: &self.config };
        emf.format(&entry, buffer).map_err(|error| io::Error::other(error.to_string()))?;
        // Still under the lock, so that lines do not interleave.
        out.write_all(buffer)
    }
}

impl fmt::Debug for LineWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A line as an entry of the formatter.
struct LineEntry<'a> {
    line: &'a LogLine<'a>,
    config: &'a MetricsConfig,
}

impl Entry for LineEntry<'_> {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        let LogLine { request_id, trace_id, measured, at } = self.line;
        let record = measured.record;
        let requested = record.variant();
        let error = record.error.as_ref().and_then(FetchError::cause).map(ToString::to_string);
        let variant = self.line.variant(self.config);
        writer.timestamp(*at);
        measured.for_each(|metric, value| writer.value(metric.name(), &MetricValue(value, unit(metric.unit()))));
        for (name, text) in [
            (SERVICE, Some(self.config.service.as_str())),
            (VARIANT, Some(variant)),
            (OUTCOME, Some(record.outcome)),
            ("message", Some("answered")),
            ("request_id", Some(*request_id)),
            ("trace_id", *trace_id),
            // A longer path is not a valid key, and a viewer can send ten kilobytes.
            ("key", record.key.as_ref().map(|key| &key.as_str()[..key.as_str().floor_char_boundary(KEY_BYTES_MAX)])),
            // Only if the dimension is `other`.
            ("test_version", requested.filter(|requested| *requested != variant)),
            ("assigned", record.forced.then_some("forced")),
            ("rule", record.rule.as_deref()),
            (CODING, record.copy.map(|(kind, _)| kind.name())),
            ("cache", record.source.map(Source::name)),
            ("missing", record.missing.map(|missing| missing.name())),
            ("secret", record.secret.map(|secret| secret.name())),
            ("error", error.as_deref()),
        ] {
            if let Some(text) = text {
                writer.value(name, text);
            }
        }
        writer.value("status", &Property(record.status));
    }
}

/// A value that is a metric.
struct MetricValue(f64, metrique_writer_core::Unit);

impl Value for MetricValue {
    fn write(&self, writer: impl ValueWriter) {
        let Self(value, unit) = *self;
        writer.metric([observation(value)], unit, [], MetricFlags::empty());
    }
}

/// A number that is not a metric.
struct Property(u16);

impl Value for Property {
    fn write(&self, writer: impl ValueWriter) {
        let flags = NoMetricCtor::construct();
        writer.metric([Observation::Unsigned(self.0.into())], metrique_writer_core::Unit::None, [], flags);
    }
}

/// Writes whole numbers as integers, which are shorter.
pub(super) fn observation(value: f64) -> Observation {
    // Counts and sizes are far below 2^53, up to which `f64` is exact.
    if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
        Observation::Unsigned(value as u64)
    } else {
        Observation::Floating(value)
    }
}

pub(super) fn unit(unit: Unit) -> metrique_writer_core::Unit {
    match unit {
        Unit::Milliseconds => metrique_writer_core::Unit::Second(NegativeScale::Milli),
        Unit::Bytes => metrique_writer_core::Unit::Byte(PositiveScale::One),
        Unit::Count => metrique_writer_core::Unit::Count,
    }
}

#[cfg(test)]
mod tests {
    use nearedge_core::record::RequestedVariant;

    use super::*;
    use nearedge_core::access::secret::SecretMatch;
    use nearedge_core::object::{CopyKind, ObjectKey};
    use nearedge_core::record::Record;
    use nearedge_core::store::StoreStats;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Duration;

    fn writer() -> LineWriter {
        let variants = Variants(vec!["v1".to_owned(), "v2".to_owned()]);
        LineWriter::new(MetricsConfig { namespace: "nearedge".to_owned(), service: "lambdaapi".to_owned(), variants })
    }

    fn record(key: &str, variant: &str, error: Option<&str>) -> Record {
        Record {
            status: 200,
            outcome: "found",
            key: Some(ObjectKey::new(key.to_owned())),
            variant: RequestedVariant::new(Some(variant), None),
            secret: Some(SecretMatch::Current),
            body_bytes: 5_120,
            error: error.map(|text| FetchError::Failed(std::io::Error::other(text.to_owned()).into())),
            source: Some(Source::Hit),
            ..Record::warm_up()
        }
    }

    fn written(writer: &LineWriter, record: &Record) -> String {
        let duration = Duration::from_micros(93);
        let measured = Measurement {
            record,
            duration,
            stats: StoreStats::default(),
            spans_dropped: 0,
            definition_errors: 0,
            init: None,
            rotating: false,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_438_490_551);
        let line = LogLine { request_id: "8476a536", trace_id: Some("1-65-01"), measured, at };
        let mut out = Vec::new();
        writer.write(&line, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_contains_the_metrics_and_the_log_fields() {
        let line = written(&writer(), &record("v1/test.html", "v1", None));
        assert!(line.ends_with("}\n") && line.len() < 1_024, "{} {line}", line.len());
        let unit = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
        let (duration, bytes) = (unit("Duration", "Milliseconds"), unit("BodyBytes", "Bytes"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap(),
            json!({
                "_aws": {
                    "Timestamp": 1_795_438_490_551_u64,
                    "CloudWatchMetrics": [
                        {
                            "Namespace": "nearedge",
                            "Dimensions": [["service"]],
                            "Metrics": [duration, bytes, unit("Status2xx", "Count"), unit("CacheHit", "Count")],
                        },
                        {
                            "Namespace": "nearedge",
                            "Dimensions": [["service", "variant", "outcome"]],
                            "Metrics": [duration, bytes],
                        },
                    ],
                },
                "Duration": 0.093, "BodyBytes": 5_120, "Status2xx": 1, "CacheHit": 1,
                "service": "lambdaapi", "variant": "v1", "outcome": "found", "message": "answered",
                "request_id": "8476a536", "trace_id": "1-65-01", "key": "v1/test.html", "cache": "hit",
                "secret": "current", "status": 200,
            })
        );
    }

    #[test]
    fn a_line_of_a_copy_has_its_sizes_by_coding() {
        let mut copied = record("v1/test.html", "v1", None);
        copied.copy = Some((CopyKind::Br, 20_000));
        let line: serde_json::Value = serde_json::from_str(&written(&writer(), &copied)).unwrap();
        assert_eq!(
            (&line["coding"], &line["SourceBytes"], &line["CopyBytes"]),
            (&json!("br"), &json!(20_000), &json!(5_120))
        );
        let directive = &line["_aws"]["CloudWatchMetrics"][2];
        assert_eq!(directive["Dimensions"], json!([["service", "coding"]]));
        let names: Vec<_> =
            directive["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].clone()).collect();
        assert_eq!(names, ["SourceBytes", "CopyBytes"]);
    }

    #[test]
    fn an_unlisted_variant_is_a_property_and_not_a_dimension() {
        let line = written(&writer(), &record("made-up/x", "made-up", None));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["variant"], &line["test_version"]), (&json!("other"), &json!("made-up")));
    }

    proptest! {
        #[test]
        fn a_key_that_is_too_long_is_truncated(key in "(a|\u{65e5}){1024,1400}") {
            let line = written(&writer(), &record(&key, "v1", None));
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let logged = line["key"].as_str().unwrap();
            prop_assert!(key.starts_with(logged) && (KEY_BYTES_MAX - 3..=KEY_BYTES_MAX).contains(&logged.len()));
        }

        // A viewer chooses the key: no character in it breaks a line, and the line contains it unchanged.
        #[test]
        fn no_key_and_no_error_breaks_a_line(key in "(?s:.){1,60}", error in "(?s:.){0,60}") {
            let writer = writer();
            // The second line reuses the buffer of the first.
            written(&writer, &record("first", "v1", Some("first")));
            let line = written(&writer, &record(&key, "v2", Some(&error)));
            prop_assert_eq!(line.matches('\n').count(), 1);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(line["key"].as_str(), Some(key.as_str()));
            prop_assert_eq!(line["error"].as_str(), Some(error.as_str()));
        }
    }
}
