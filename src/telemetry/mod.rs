//! Log lines, the metrics line of each invocation, and spans.
//!
//! - [`log`]: JSON log lines; `throttle`: their rate limiter; `stdout`: standard output that never blocks a response
//! - [`metrics_line`]: the line of an invocation, in CloudWatch's Embedded Metric Format; [`metrics_batch`]: a line of many;
//!   [`metrics_exporter`]: metrics to a collector; `metrics_group`: the invocations that wait for both
//! - [`trace`]: parents, sampling and spans; [`spans`]: their pipeline; [`exporter`]: spans to a collector

pub mod count_line;
pub mod exporter;
pub mod log;
pub mod metrics_batch;
pub mod metrics_exporter;
mod metrics_group;
pub mod metrics_line;
pub mod spans;
pub(crate) mod stdout;
pub(crate) mod throttle;
pub mod trace;

use self::metrics_batch::AccessLines;
use self::metrics_exporter::MetricsExport;
use self::metrics_line::MetricsConfig;
use self::spans::TracesConfig;

/// The settings of metrics and traces.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// Metrics; `None` if they are off.
    pub metrics: Option<MetricsConfig>,
    /// How metrics are written.
    pub mode: MetricsMode,
    /// Traces; `None` without a destination.
    pub traces: Option<TracesConfig>,
}

/// How metrics are written.
#[derive(Debug, Clone)]
pub enum MetricsMode {
    /// A line for each invocation.
    Line,
    /// A line for many invocations, and log lines of some.
    Batch(AccessLines),
    /// Messages to a collector, and log lines of some.
    Otlp(AccessLines, Box<MetricsExport>),
}
