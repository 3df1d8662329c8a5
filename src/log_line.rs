//! The line that each invocation leaves in the log: its metrics in CloudWatch's Embedded Metric Format, and with them
//! what a person looks for. One write serves both.
//!
//! [Specification](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use metrique_writer_core::format::Format;
use metrique_writer_core::unit::{NegativeScale, PositiveScale};
use metrique_writer_core::value::{FlagConstructor, MetricFlags};
use metrique_writer_core::{Entry, EntryWriter, Observation, Value, ValueWriter};
use metrique_writer_format_emf::{Emf, MetricDefinition, MetricDirective, NoMetricCtor};

use crate::metric::{Dimensions, Measured, Metric, OUTCOME, SERVICE, Unit, VARIANT, Variants};
use crate::store::Source;

/// How the metrics are named and told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// CloudWatch's namespace.
    pub namespace: String,
    /// The dimension `service`.
    pub service: String,
    /// The values that the dimension `variant` may have.
    pub variants: Variants,
}

/// What a line says.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// The invocation.
    pub request_id: &'a str,
    /// The trace that it is part of, as its header has it.
    pub trace_id: Option<&'a str>,
    /// What became of it.
    pub measured: Measured<'a>,
    /// When it was answered.
    pub at: SystemTime,
}

/// Writes lines to standard output.
pub struct LineWriter {
    config: MetricsConfig,
    /// One line at a time, in a buffer that is used again.
    format: Mutex<(Emf, Vec<u8>)>,
}

impl LineWriter {
    /// A writer of lines with these names.
    pub fn new(config: MetricsConfig) -> Self {
        let by_variant = Metric::ALL.iter().filter(|metric| metric.dimensions() == Dimensions::VariantToo);
        let by_variant = MetricDirective {
            dimensions: vec![vec![SERVICE, VARIANT, OUTCOME]],
            metrics: by_variant
                .map(|metric| MetricDefinition {
                    name: metric.name(),
                    unit: unit(metric.unit()),
                    storage_resolution: None,
                })
                .collect(),
            namespace: &config.namespace,
        };
        let emf = Emf::builder(config.namespace.clone(), vec![vec![SERVICE.to_owned()]]).directive(by_variant).build();
        Self { format: Mutex::new((emf, Vec::with_capacity(2048))), config }
    }

    /// Writes a line with one write.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub fn write(&self, line: &LogLine<'_>) -> io::Result<()> {
        self.format(line, |written| io::stdout().lock().write_all(written))
    }

    fn format<T>(&self, line: &LogLine<'_>, take: impl FnOnce(&[u8]) -> io::Result<T>) -> io::Result<T> {
        let mut format = self.format.lock().unwrap_or_else(PoisonError::into_inner);
        let (emf, buffer) = &mut *format;
        buffer.clear();
        emf.format(&Written { line, config: &self.config }, buffer)
            .map_err(|error| io::Error::other(error.to_string()))?;
        take(buffer)
    }
}

impl fmt::Debug for LineWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter").field("config", &self.config).finish_non_exhaustive()
    }
}

struct Written<'a> {
    line: &'a LogLine<'a>,
    config: &'a MetricsConfig,
}

impl Entry for Written<'_> {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        let LogLine { request_id, trace_id, measured, at } = self.line;
        let record = measured.record;
        let asked = record.variant.as_deref();
        let variant = self.config.variants.dimension(asked);
        writer.timestamp(*at);
        measured.each(|metric, value| writer.value(metric.name(), &Measure(value, unit(metric.unit()))));
        for (name, text) in [
            (SERVICE, Some(self.config.service.as_str())),
            (VARIANT, Some(variant)),
            (OUTCOME, Some(record.outcome)),
            ("message", Some("answered")),
            ("request_id", Some(*request_id)),
            ("trace_id", *trace_id),
            ("key", record.key.as_ref().map(|key| key.as_str())),
            // What the dimension does not say.
            ("test_version", asked.filter(|asked| *asked != variant)),
            ("cache", record.source.map(Source::name)),
            ("missing", record.missing.map(|missing| missing.name())),
            ("secret", record.secret.map(|secret| secret.name())),
            ("trouble", record.trouble.as_deref()),
        ] {
            if let Some(text) = text {
                writer.value(name, text);
            }
        }
        writer.value("status", &Property(record.status));
    }
}

/// A value that makes a metric.
struct Measure(f64, metrique_writer_core::Unit);

impl Value for Measure {
    fn write(&self, writer: impl ValueWriter) {
        let Self(value, unit) = *self;
        writer.metric([observation(value)], unit, [], MetricFlags::empty());
    }
}

/// A number that makes none.
struct Property(u16);

impl Value for Property {
    fn write(&self, writer: impl ValueWriter) {
        let flags = NoMetricCtor::construct();
        writer.metric([Observation::Unsigned(self.0.into())], metrique_writer_core::Unit::None, [], flags);
    }
}

/// Whole numbers are written as such: they are shorter.
fn observation(value: f64) -> Observation {
    // Far below 2^53 every count and every byte is exact.
    if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
        Observation::Unsigned(value as u64)
    } else {
        Observation::Floating(value)
    }
}

fn unit(unit: Unit) -> metrique_writer_core::Unit {
    match unit {
        Unit::Milliseconds => metrique_writer_core::Unit::Second(NegativeScale::Milli),
        Unit::Bytes => metrique_writer_core::Unit::Byte(PositiveScale::One),
        Unit::Count => metrique_writer_core::Unit::Count,
    }
}
