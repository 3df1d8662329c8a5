//! Log lines, JSON, one an event, as Lambda's JSON log format has them; and what collects spans.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::TracesConfig;
use crate::exporter::{Enqueue, SpanQueue};
use crate::stdout::Stdout;
use crate::trace::TracePolicy;

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

/// Starts writing log lines to standard output, and collecting spans in `traces`.
///
/// # Errors
/// When this process writes log lines already.
pub fn init(filter: &LogFilter, traces: Option<&Traces>) -> Result<(), TryInitError> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Stdout)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    // Spans are not for the log: what they say, the invocation's line says.
    let filter = filter.0.clone().and(filter_fn(is_safe)).and(filter_fn(|metadata| metadata.is_event()));
    // What a span is told is all that it says: neither lines of code nor threads.
    let spans = traces.map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.provider.tracer("nearedge"))
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && is_ours(metadata)).with_max_level_hint(Level::INFO))
    });
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init()
}

/// Where the spans of this process gather.
#[derive(Debug)]
pub struct Traces {
    /// Which invocations are sampled.
    pub policy: TracePolicy,
    /// What is said of the function with every batch.
    pub resource: Resource,
    /// What waits to be sent.
    pub queue: Arc<SpanQueue>,
    provider: SdkTracerProvider,
}

impl Traces {
    /// Prepares to make spans.
    pub fn new(config: &TracesConfig) -> Self {
        let attributes = config.resource.iter().map(|(name, value)| match value.parse::<i64>() {
            Ok(bytes) if name == "faas.max_memory" => KeyValue::new(name.clone(), bytes),
            _ if name == "aws.log.group.names" => {
                KeyValue::new(name.clone(), Value::Array(Array::String(vec![value.clone().into()])))
            }
            _ => KeyValue::new(name.clone(), value.clone()),
        });
        let resource = Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector));
        let resource = resource.with_attributes(attributes).build();
        let queue = Arc::new(SpanQueue::new(&config.export));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Enqueue(queue.clone()))
            .with_sampler(config.policy.sampler.clone())
            .with_resource(resource.clone())
            .build();
        Self { policy: config.policy.clone(), resource, queue, provider }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == env!("CARGO_CRATE_NAME") || metadata.target().starts_with("nearedge::")
}

/// Lets one of a kind through in so many seconds, and counts the others.
#[derive(Debug)]
pub(crate) struct Once {
    every: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Once {
    pub(crate) const fn every(every: Duration) -> Self {
        Self { every, state: Mutex::new((None, 0)) }
    }

    /// Whether it is time to say it again, and how often it has not been said since.
    pub(crate) fn may(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unsaid) = &mut *state;
        if last.is_some_and(|last| now.duration_since(last) < self.every) {
            *unsaid += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

/// The libraries below us write whole events, requests and signatures at DEBUG and TRACE: the secret,
/// the session token. What they say at those levels is never written, whatever the level asked for.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_all_the_time_is_said_now_and_then_with_a_count() {
        let (once, start) = (Once::every(Duration::from_secs(10)), Instant::now());
        let at = |seconds| once.may(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(9), at(10), at(11), at(30)], [Some(0), None, None, Some(2), None, Some(1)]);
    }

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
