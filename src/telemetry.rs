//! Log lines: JSON, one an event, as Lambda's JSON log format has them.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Which log lines are written.
#[derive(Debug, Clone)]
pub struct LogFilter(Targets);

impl Default for LogFilter {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl LogFilter {
    /// Reads a level, as Lambda's `AWS_LAMBDA_LOG_LEVEL` has it, or `RUST_LOG`'s list of `target=level`.
    pub fn parse(text: &str) -> Option<Self> {
        // Lambda knows one level more than tracing.
        let text = if text.eq_ignore_ascii_case("fatal") { "error" } else { text };
        let targets: Targets = text.parse().ok()?;
        // A lone word that is no level would be read as a target: refuse it, it is a mistyped level.
        let means_something = |item: &str| item.contains('=') || item.parse::<LevelFilter>().is_ok();
        text.split(',').any(means_something).then_some(Self(targets))
    }
}

/// Starts writing log lines to standard output.
///
/// # Errors
/// When this process writes log lines already.
pub fn init(filter: &LogFilter) -> Result<(), TryInitError> {
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    let filter = filter.0.clone().and(filter_fn(is_safe));
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
}

/// The libraries below us write whole events, requests and signatures at DEBUG and TRACE: the secret,
/// the session token. What they say at those levels is never written, whatever the level asked for.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target() == env!("CARGO_CRATE_NAME") || metadata.target().starts_with("nearedge::");
    ours || *metadata.level() <= Level::INFO
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
