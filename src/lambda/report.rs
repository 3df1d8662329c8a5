//! The log of invocations: metrics in lines of their own, in batches or to a collector, or plain log lines.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nearedge_core::metric::Measurement;
use nearedge_core::record::Record;
use nearedge_core::store::{FetchError, Source, Store, StoreStats};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::origin::Origin;
use crate::telemetry::count_line::{self, CountMetrics};
use crate::telemetry::metrics_batch::{AccessLines, BatchWriter};
use crate::telemetry::metrics_exporter::MetricsExporter;
use crate::telemetry::metrics_line::{LineWriter, LogLine};
use crate::telemetry::stdout::{STDOUT, Stdout};
use crate::telemetry::throttle::LogThrottle;

/// The interval of warnings about S3. The line of each invocation reports its error anyway.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Where metrics go.
#[derive(Debug)]
pub enum Metrics {
    /// A line for each invocation.
    Lines(LineWriter),
    /// Lines for many invocations, and log lines of some.
    Batches(BatchWriter, AccessLines),
    /// Messages to a collector, and log lines of some.
    Exported(Arc<MetricsExporter>, AccessLines),
}

impl Metrics {
    /// The metrics in the lines of exposures and conversions.
    fn count_metrics(&self) -> Option<CountMetrics> {
        match self {
            Self::Lines(lines) => Some(lines.count_metrics()),
            Self::Batches(batches, _) => Some(batches.count_metrics()),
            // The exporter counts them.
            Self::Exported(..) => None,
        }
    }
}

/// Writes the lines of invocations.
#[derive(Debug)]
pub(super) struct Reporter {
    metrics: Option<Metrics>,
    /// The metrics in the lines of exposures and conversions.
    count_metrics: Option<CountMetrics>,
    /// How long the start took.
    init: Duration,
    /// Whether a line has been written.
    reported: AtomicBool,
    /// The counters as of the last line.
    last: Mutex<Counters>,
    warnings: LogThrottle,
}

/// Counters since the start.
#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    stats: StoreStats,
    spans_dropped: u64,
    definition_errors: u64,
}

impl Reporter {
    pub(super) fn new(metrics: Option<Metrics>, init: Duration) -> Self {
        Self {
            count_metrics: metrics.as_ref().and_then(Metrics::count_metrics),
            metrics,
            init,
            reported: AtomicBool::new(false),
            last: Mutex::default(),
            warnings: LogThrottle::new(WARNING_INTERVAL),
        }
    }

    /// Whether no invocation has been reported yet: the first one is the cold start.
    pub(super) fn is_first(&self) -> bool {
        !self.reported.load(Ordering::Relaxed)
    }

    /// Writes the line of an invocation.
    pub(super) fn report<'a, S: Store>(
        &self,
        request_id: &str,
        trace_id: impl FnOnce() -> Option<Cow<'a, str>>,
        record: &Record,
        duration: Duration,
        origin: &Origin<S>,
        spans_dropped: u64,
    ) {
        let lost = STDOUT.lost();
        if lost > 0 {
            warn!(lost, "log lines were lost: standard output was not read in time");
            STDOUT.acknowledge_lost(lost);
        }
        // Whatever the log level is: these lines are results, not a log.
        if let Some(counts) = &record.counts {
            let written = count_line::write(counts, self.count_metrics.as_ref(), request_id, SystemTime::now());
            if let Err(error) = Stdout.write_all(&written) {
                warn!(request_id, %error, "cannot write the lines of exposures and conversions");
            }
        }
        if self.metrics.is_none() && record.error.is_none() && !tracing::event_enabled!(tracing::Level::INFO) {
            return;
        }
        let access = match &self.metrics {
            Some(Metrics::Batches(_, access) | Metrics::Exported(_, access)) => {
                Some(access.includes(record, duration, request_id))
            }
            _ => None,
        };
        let trace_id = if access == Some(false) { None } else { trace_id() };
        let trace_id = trace_id.as_deref();
        if let Some(cause) = record.error.as_ref().and_then(FetchError::cause)
            && let Some(suppressed) = self.warnings.admit(Instant::now())
        {
            let key = record.key.as_ref().map(|key| key.as_str());
            warn!(request_id, trace_id, key, variant = record.variant(), suppressed, "{cause}");
        }
        if access == Some(true) || self.metrics.is_none() {
            log_plainly(request_id, trace_id, record, origin.stats(), duration);
        }
        let Some(metrics) = &self.metrics else { return };
        let Counters { stats, spans_dropped, definition_errors } = self.since_last_line(origin, spans_dropped);
        let rotating = origin.is_rotating();
        let init = (!self.reported.swap(true, Ordering::Relaxed)).then_some(self.init);
        let measured = Measurement { record, duration, stats, spans_dropped, definition_errors, init, rotating };
        let line = LogLine { request_id, trace_id, measured, at: SystemTime::now() };
        let written = match metrics {
            Metrics::Lines(lines) => lines.write(&line, Stdout),
            Metrics::Batches(batches, _) => batches.add(&line, Instant::now(), Stdout),
            Metrics::Exported(exporter, _) => {
                exporter.add(&line, Instant::now());
                Ok(())
            }
        };
        if let Err(error) = written {
            // If standard output is closed, this warning is lost too.
            warn!(request_id, %error, "cannot write the metrics of an invocation");
        }
    }

    /// Writes the metrics that wait, or queues them for the exporter.
    pub(super) fn flush(&self) {
        match &self.metrics {
            Some(Metrics::Batches(batches, _)) => {
                if let Err(error) = batches.flush(Stdout) {
                    warn!(%error, "cannot write the metrics of the last invocations");
                }
            }
            Some(Metrics::Exported(exporter, _)) => exporter.collect(),
            Some(Metrics::Lines(_)) | None => {}
        }
    }

    /// The exporter of the metrics.
    pub(super) fn exporter(&self) -> Option<&Arc<MetricsExporter>> {
        match &self.metrics {
            Some(Metrics::Exported(exporter, _)) => Some(exporter),
            _ => None,
        }
    }

    /// The counts since the last line.
    fn since_last_line<S: Store>(&self, origin: &Origin<S>, spans_dropped: u64) -> Counters {
        let mut last = self.last.lock();
        // Read under the lock, so that concurrent lines count nothing twice.
        let now = Counters {
            stats: origin.stats(),
            spans_dropped: spans_dropped.max(last.spans_dropped),
            definition_errors: origin.definition_errors(),
        };
        let before = std::mem::replace(&mut *last, now);
        Counters {
            stats: now.stats.since(&before.stats),
            spans_dropped: now.spans_dropped.saturating_sub(before.spans_dropped),
            definition_errors: now.definition_errors.saturating_sub(before.definition_errors),
        }
    }
}

fn log_plainly(request_id: &str, trace_id: Option<&str>, record: &Record, stats: StoreStats, duration: Duration) {
    let error = record.error.as_ref().and_then(FetchError::cause).map(ToString::to_string);
    info!(
        request_id,
        trace_id,
        key = record.key.as_ref().map(|key| key.as_str()),
        variant = record.variant(),
        assigned = record.forced.then_some("forced"),
        rule = record.rule.as_deref(),
        status = record.status,
        outcome = record.outcome,
        missing = record.missing.map(|missing| missing.name()),
        secret = record.secret.map(|secret| secret.name()),
        body_bytes = record.body_bytes,
        cache = record.source.map(Source::name),
        cache_bytes = stats.cached_bytes,
        cache_evictions = stats.evictions,
        // Rounded to microseconds, as the metric is.
        duration_ms = (duration.as_nanos() as f64 / 1e3).round() / 1e3,
        error,
        "answered"
    );
}
