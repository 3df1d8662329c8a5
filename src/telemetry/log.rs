//! JSON log lines, one per event, in the shape of Lambda's JSON log format.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::telemetry::spans::Traces;
use crate::telemetry::stdout::Stdout;

/// Which log lines are written.
#[derive(Debug, Clone)]
pub struct LogFilter(Targets);

impl Default for LogFilter {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl LogFilter {
    /// Parses a level of Lambda's `AWS_LAMBDA_LOG_LEVEL`, or a list of `target=level` as in `RUST_LOG`.
    pub fn parse(text: &str) -> Option<Self> {
        // Lambda has one level more than tracing.
        let text = if text.eq_ignore_ascii_case("fatal") { "error" } else { text };
        let targets: Targets = text.parse().ok()?;
        // `Targets` reads a misspelt level as a target, so at least one item must be a level or an assignment.
        let is_valid = |item: &str| item.contains('=') || item.parse::<LevelFilter>().is_ok();
        text.split(',').any(is_valid).then_some(Self(targets))
    }
}

/// Starts writing log lines to standard output, and collecting spans in `traces`.
///
/// # Errors
/// If the process writes log lines already.
pub fn init(filter: &LogFilter, traces: Option<&Traces>) -> Result<(), TryInitError> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Stdout)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    // Log events only: the metrics line reports what the spans contain.
    let filter = filter.0.clone().and(filter_fn(is_safe)).and(filter_fn(|metadata| metadata.is_event()));
    // Export only explicit attributes: no file, line or thread.
    let spans = traces.map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && is_ours(metadata)).with_max_level_hint(Level::INFO))
    });
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init()
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == env!("CARGO_CRATE_NAME") || metadata.target().starts_with("nearedge::")
}

/// Whether a line cannot contain a secret, whatever the configured level. Libraries log whole events, requests and
/// signatures at DEBUG and TRACE, with the shared secret and the session token.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_target_lists_are_read_and_other_words_refused() {
        for good in ["INFO", "debug", "FATAL", "off", "nearedge=trace", "warn,nearedge=debug", "warn,hyper"] {
            assert!(LogFilter::parse(good).is_some(), "{good}");
        }
        for bad in ["LOUD", "nearedge=loud"] {
            assert!(LogFilter::parse(bad).is_none(), "{bad}");
        }
    }
}
