//! Metrics of many invocations in one line (`metrics=batch`), because CloudWatch charges log lines by the byte.
//!
//! A line has the values of up to 100 invocations with the same dimensions, as lists of values and their counts,
//! so that percentiles stay those of the invocations. All of them belong to one minute, the resolution of these metrics.
//!
//! Lines are written when a list is full, with the first invocation of the next minute, and before the process ends. An environment
//! that has been idle for ten seconds writes its invocation at once: then a batch would only delay the metrics. A process that is
//! killed loses what its unwritten lists hold: at most a minute's invocations, and fewer than 100 of each
//! combination of dimensions.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use metrique_writer_core::format::Format;
use metrique_writer_core::value::MetricFlags;
use metrique_writer_core::{Entry, EntryWriter, Observation, Value, ValueWriter};
use nearedge_core::metric::{CODING, OUTCOME, SERVICE, VARIANT};
use nearedge_core::object::CopyKind;
use nearedge_core::record::Record;
use parking_lot::Mutex;

use crate::telemetry::count_line::CountMetrics;
use crate::telemetry::metrics_group::{Due, Group, Groups, Values};
use crate::telemetry::metrics_line::{Formatters, LogLine, MetricsConfig, observation, unit};

/// Which invocations have a log line of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccessLines {
    /// The share of the others, from 0 to 1.
    pub ratio: f64,
    /// The least duration of those that always have one. Failures always have one too.
    pub slow: Duration,
}

impl AccessLines {
    /// Whether an invocation has a line. The random part of its id decides, so that other samplers can agree.
    pub fn includes(&self, record: &Record, duration: Duration, request_id: &str) -> bool {
        record.status >= 500 || record.error.is_some() || duration >= self.slow || self.is_sampled(request_id)
    }

    fn is_sampled(&self, request_id: &str) -> bool {
        if self.ratio <= 0.0 {
            return false;
        }
        // The last digits of a UUID (RFC 9562 §5.4) are random.
        let digits = request_id.len().checked_sub(8).and_then(|start| request_id.get(start..));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
        f64::from(number) < self.ratio * 4_294_967_296.0
    }
}

/// Collects metrics and writes them in lines.
pub struct BatchWriter {
    config: MetricsConfig,
    state: Mutex<State>,
}

struct State {
    formatters: Formatters,
    groups: Groups,
}

impl BatchWriter {
    /// A writer of lines for these settings.
    pub fn new(config: MetricsConfig) -> Self {
        let formatters = Formatters::new(&config);
        Self { state: Mutex::new(State { formatters, groups: Groups::default() }), config }
    }

    /// The metrics in the lines of exposures and conversions.
    pub fn count_metrics(&self) -> CountMetrics {
        CountMetrics::new(&self.config.namespace, &self.config.service)
    }

    /// Adds the metrics of an invocation, and writes the lines that are due.
    ///
    /// # Errors
    /// If `out` is closed or full.
    pub fn add(&self, line: &LogLine<'_>, now: Instant, mut out: impl Write) -> io::Result<()> {
        let mut state = self.state.lock();
        let written = match state.groups.enter_minute(line.at) {
            true => state.write_all(&self.config, &mut out),
            false => Ok(()),
        };
        match state.groups.add(line, &self.config, now) {
            Due::Nothing => written,
            // An argument of `and` is evaluated even if the write before has failed.
            Due::Full(index) => {
                let full = state.groups.take(index);
                written.and(state.formatters.write(&full, &self.config, &mut out))
            }
            Due::All => written.and(state.write_all(&self.config, &mut out)),
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn flush(&self, mut out: impl Write) -> io::Result<()> {
        self.state.lock().write_all(&self.config, &mut out)
    }
}

impl fmt::Debug for BatchWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchWriter").field("config", &self.config).finish_non_exhaustive()
    }
}

impl State {
    fn write_all(&mut self, config: &MetricsConfig, out: &mut impl Write) -> io::Result<()> {
        let Self { formatters, groups, .. } = self;
        let mut written = Ok(());
        for group in groups.drain() {
            // All of them, even if one fails.
            written = written.and(formatters.write(&group, config, out));
        }
        written
    }
}

impl Formatters {
    fn write(&mut self, group: &Group, config: &MetricsConfig, out: &mut impl Write) -> io::Result<()> {
        let (emf, buffer) = self.choose(group.coding.is_some());
        buffer.clear();
        let entry = GroupEntry { group, config };
        emf.format(&entry, buffer).map_err(|error| io::Error::other(error.to_string()))?;
        out.write_all(buffer)
    }
}

/// A line of a batch as an entry of the formatter.
struct GroupEntry<'a> {
    group: &'a Group,
    config: &'a MetricsConfig,
}

impl Entry for GroupEntry<'_> {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        let Group { variant, outcome, coding, at, metrics, .. } = self.group;
        writer.timestamp(*at);
        for (metric, values) in metrics {
            writer.value(metric.name(), &ValueList(merged(values), unit(metric.unit())));
        }
        for (name, text) in [
            (SERVICE, Some(self.config.service.as_str())),
            (VARIANT, Some(&**variant)),
            (OUTCOME, Some(*outcome)),
            (CODING, coding.map(CopyKind::name)),
            ("message", Some("batch")),
        ] {
            if let Some(text) = text {
                writer.value(name, text);
            }
        }
    }
}

/// The values in ascending order, equal ones merged.
fn merged(values: &Values) -> Values {
    let mut values = values.clone();
    values.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    values.dedup_by(|next, kept| {
        let is_equal = next.0.to_bits() == kept.0.to_bits();
        kept.1 += if is_equal { next.1 } else { 0 };
        is_equal
    });
    values
}

/// Values of a metric.
struct ValueList(Values, metrique_writer_core::Unit);

impl Value for ValueList {
    fn write(&self, writer: impl ValueWriter) {
        let Self(values, unit) = self;
        let repeated = values.iter().flat_map(|&(value, count)| {
            let total = value * count as f64;
            // The formatter divides again: it must get the same value.
            let is_exact = count == 1 || (total / count as f64).to_bits() == value.to_bits();
            let (times, each) = match (is_exact, count) {
                (_, 1) => (1, observation(value)),
                (true, _) => (1, Observation::Repeated { total, occurrences: count }),
                (false, _) => (count, observation(value)),
            };
            (0..times).map(move |_| each)
        });
        writer.metric(repeated, *unit, [], MetricFlags::empty());
    }
}

#[cfg(test)]
pub(super) mod tests;
