//! The span exporter: ended spans → a collector over OTLP/HTTP, or the X-Ray daemon over UDP.
//!
//! Spans wait in a queue until the response is posted. The exporter then sends them before the next event is requested,
//! so that no freeze loses them. A slow or unreachable collector costs at most one timeout per `BACKOFF`, and never a
//! response. No batch is sent twice, except after an error on an established connection.
//!
//! opentelemetry-otlp is not used: docs/performance.md compares it with this exporter.
//!
//! - `config`: settings; `queue`: ended spans; `http`: OTLP over HTTP; `udp`: packets for the X-Ray daemon

mod config;
pub(super) mod http;
mod queue;
mod udp;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::config::SharedCredentialsProvider;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use rustls::RootCertStore;
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use tracing::warn;

use crate::moment::Moment;
use crate::telemetry::exporter::http::HttpSender;
use crate::telemetry::exporter::udp::UdpSender;

pub use crate::telemetry::exporter::config::{Destination, ExportConfig};
pub(super) use crate::telemetry::exporter::config::{header_names, redacted};
pub(crate) use crate::telemetry::exporter::queue::Enqueue;
pub use crate::telemetry::exporter::queue::SpanQueue;

/// How long the exporter backs off after the collector fails. Meanwhile, spans wait in the queue.
pub(super) const BACKOFF: Duration = Duration::from_secs(5);

/// Sends queued spans to a collector.
pub struct Exporter {
    queue: Arc<SpanQueue>,
    resource: ResourceAttributesWithSchema,
    sender: Sender,
    timeout: Duration,
    delay: Duration,
    /// When the current backoff began. The lock is held during a flush, so that batches are sent one at a time.
    backoff: Mutex<Option<Moment>>,
}

/// Why spans are sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushReason {
    /// Between a response and the next event, which waits.
    BetweenEvents,
    /// In the background, beside the invocations.
    Background,
    /// At shutdown: ignores the backoff.
    Shutdown,
}

/// The transport to the destination.
enum Sender {
    Http(Box<HttpSender>),
    Udp(UdpSender),
}

impl Exporter {
    /// An exporter of the spans in `queue`. It trusts `anchors`, and signs requests to AWS with `credentials`.
    ///
    /// # Errors
    /// If no socket is available or TLS cannot be set up: one line.
    pub fn new(
        config: &ExportConfig,
        queue: Arc<SpanQueue>,
        resource: &Resource,
        anchors: RootCertStore,
        credentials: Option<&SharedCredentialsProvider>,
    ) -> Result<Self, String> {
        let sender = match &config.destination {
            Destination::Udp(daemon) => {
                let sender = UdpSender::new(daemon);
                Sender::Udp(sender.map_err(|error| format!("cannot open a socket to {daemon}: {error}"))?)
            }
            Destination::Http { endpoint, headers } => {
                Sender::Http(Box::new(HttpSender::new(endpoint, headers, anchors, config.timeout, credentials)?))
            }
        };
        Ok(Self {
            queue,
            resource: resource.into(),
            sender,
            timeout: config.timeout,
            delay: config.delay,
            backoff: Mutex::default(),
        })
    }

    /// The number of spans dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Exports the spans queued by now, until the timeout has passed or `latest` is reached.
    ///
    /// Unsent spans stay queued. Spans of a batch that the collector does not accept are dropped and counted.
    pub async fn flush(&self, reason: FlushReason, latest: Instant) {
        let mut left = self.queue.len();
        let started = tokio::time::Instant::now();
        let deadline = (started + self.timeout).min(latest.into());
        if left == 0 || deadline <= started {
            return;
        }
        let Ok(mut backoff) = timeout_at(deadline, self.backoff.lock()).await else { return };
        let is_backing_off = backoff.is_some_and(|since| Moment::now().is_within(BACKOFF, since));
        if is_backing_off && reason != FlushReason::Shutdown {
            return;
        }
        *backoff = None;
        // Otherwise the end of the invocation cuts the timeout short.
        let has_full_timeout = deadline >= started + self.timeout;
        let mut is_first = true;
        while left > 0 {
            let spans = self.queue.take_batch();
            let count = spans.len();
            left = left.saturating_sub(count);
            // If a batch with less than the full timeout times out, the collector may be healthy: keep the spans.
            let copy = (!(is_first && has_full_timeout)).then(|| spans.clone());
            is_first = false;
            let problem = match (timeout_at(deadline, self.send(spans)).await, copy) {
                (Ok(Ok(())), _) => continue,
                (Ok(Err(problem)), _) => problem,
                (Err(_), None) => format!("no response within {} ms", self.timeout.as_millis()),
                (Err(_), Some(copy)) => {
                    self.queue.requeue(copy);
                    break;
                }
            };
            self.queue.count_dropped(count);
            *backoff = Some(Moment::now());
            warn!(
                spans = count,
                "spans were dropped: {problem}; the next attempt is in {} s. Check OTEL_EXPORTER_OTLP_ENDPOINT and the \
                 collector, or turn traces off with OTEL_TRACES_EXPORTER=none",
                BACKOFF.as_secs()
            );
            return;
        }
        // Otherwise a slow collector would delay every event.
        if reason == FlushReason::BetweenEvents && has_full_timeout && started.elapsed() > self.timeout / 2 {
            *backoff = Some(Moment::now());
        }
    }

    /// Exports full batches, or all spans after the delay, forever. For environments that run several invocations at
    /// once and are never frozen.
    pub(crate) async fn run(&self) {
        loop {
            let _ = tokio::time::timeout(self.delay, self.queue.batch_ready()).await;
            // No invocation's deadline applies, only the timeout.
            self.flush(FlushReason::Background, Instant::now() + 2 * self.timeout).await;
        }
    }

    async fn send(&self, spans: Vec<SpanData>) -> Result<(), String> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let batch = ExportTraceServiceRequest { resource_spans };
        match &self.sender {
            Sender::Http(sender) => {
                let body = batch.encode_to_vec();
                drop(batch);
                sender.post(body).await.map_err(|error| error.problem)
            }
            Sender::Udp(sender) => sender.send(batch, &self.queue),
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
