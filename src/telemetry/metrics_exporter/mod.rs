//! The metrics exporter (`metrics=otlp`): the metrics of invocations → a collector or CloudWatch, over OTLP/HTTP.
//!
//! Invocations are collected as in batches of lines. What is due waits in a queue until the response is posted. The
//! exporter then sends it before the next event is requested, so that no freeze delays it. A slow or unreachable collector
//! costs at most one timeout per `BACKOFF`, and never a response.
//!
//! Sums have delta temporality, so that an invocation that is sent twice counts twice. The queue therefore keeps only what
//! was not accepted: without a connection, or with a status that asks to try again. After a timeout, which leaves that open, and
//! after any other status it is dropped and counted in a log line. As with spans, a request is sent once more at once after an
//! error on an established connection, because the collector has usually closed an idle one.
//!
//! - `config`: settings; `batch`: metrics of an interval, and their message; `histogram`: exponential histograms

mod batch;
mod config;
mod histogram;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::config::SharedCredentialsProvider;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use parking_lot::Mutex;
use prost::Message;
use rustls::RootCertStore;
use tokio::sync::Notify;
use tokio::time::timeout_at;
use tracing::warn;

use crate::moment::Moment;
use crate::telemetry::exporter::http::HttpSender;
use crate::telemetry::exporter::{BACKOFF, FlushReason};
use crate::telemetry::metrics_exporter::batch::{Batch, Counted, Interval, message};
use crate::telemetry::metrics_group::{Due, Group, Groups};
use crate::telemetry::metrics_line::{LogLine, MetricsConfig};
use crate::telemetry::spans;
use crate::telemetry::throttle::LogThrottle;

pub use crate::telemetry::metrics_exporter::config::MetricsExport;

/// How many data points a request has at most: CloudWatch's limit
/// ([OTLP endpoints](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html)).
const REQUEST_POINTS_MAX: usize = 1_000;

/// How many data points the queue holds: a few megabytes at most.
const QUEUE_POINTS_MAX: usize = 2_000;

/// The interval of warnings about a collector that fails.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// What to do about a collector that fails.
const ADVICE: &str = "Check OTEL_EXPORTER_OTLP_METRICS_ENDPOINT and the collector, or for CloudWatch whether the role has \
                      cloudwatch:PutMetricData, or set metrics to batch";

/// Collects the metrics of invocations, and sends them to a collector.
pub struct MetricsExporter {
    config: MetricsConfig,
    sender: HttpSender,
    resource: ResourceAttributesWithSchema,
    timeout: Duration,
    state: Mutex<State>,
    /// Notified when the queue has a batch.
    queued: Notify,
    /// When the current backoff began. The lock is held during a flush, so that requests are sent one at a time.
    backoff: tokio::sync::Mutex<Option<Moment>>,
    /// Invocations whose metrics were dropped.
    dropped: AtomicU64,
    /// The part of `dropped` that a warning has reported.
    reported: AtomicU64,
    warnings: LogThrottle,
}

#[derive(Default)]
struct State {
    groups: Groups,
    counted: Counted,
    /// The size of the cache after the last invocation.
    cache_bytes: u64,
    /// The start of the first invocation that waits, and the end of the last one.
    interval: Option<Interval>,
    /// The end of the last batch, before which the next one does not start.
    last_end: Option<SystemTime>,
    /// The oldest batch first.
    queue: VecDeque<Batch>,
}

impl MetricsExporter {
    /// An exporter with an empty queue. It trusts `anchors`, and signs requests to AWS with `credentials`.
    ///
    /// # Errors
    /// If TLS cannot be set up: one line.
    pub fn new(
        config: MetricsConfig,
        export: &MetricsExport,
        anchors: RootCertStore,
        credentials: Option<&SharedCredentialsProvider>,
    ) -> Result<Self, String> {
        let MetricsExport { endpoint, headers, timeout, certificate: _, resource } = export;
        Ok(Self {
            config,
            sender: HttpSender::new(endpoint, headers, anchors, *timeout, credentials)?,
            resource: (&spans::resource(resource)).into(),
            timeout: *timeout,
            state: Mutex::default(),
            queued: Notify::new(),
            backoff: tokio::sync::Mutex::default(),
            dropped: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            warnings: LogThrottle::new(WARNING_INTERVAL),
        })
    }

    /// Adds the metrics of an invocation, and queues those that are due.
    pub fn add(&self, line: &LogLine<'_>, now: Instant) {
        let mut state = self.state.lock();
        if state.groups.enter_minute(line.at) {
            self.queue(&mut state);
        }
        let measured = &line.measured;
        if let Some(counts) = &measured.record.counts {
            counts.counted.iter().for_each(|count| state.counted.add(count));
        }
        state.cache_bytes = measured.stats.cached_bytes;
        state.extend_interval(line.at, measured.duration);
        // One full group makes all due, because they share the metrics without attributes.
        if state.groups.add(line, &self.config, now) != Due::Nothing {
            self.queue(&mut state);
        }
    }

    /// Queues everything that waits.
    pub fn collect(&self) {
        self.queue(&mut self.state.lock());
    }

    /// Whether a batch waits for a flush.
    pub fn has_queued(&self) -> bool {
        !self.state.lock().queue.is_empty()
    }

    fn queue(&self, state: &mut State) {
        let Some(mut interval) = state.interval.take() else { return };
        interval.end = interval.end.max(interval.start + Duration::from_micros(1));
        let groups: Vec<Group> = state.groups.drain().collect();
        let batch = Batch::new(&groups, std::mem::take(&mut state.counted), state.cache_bytes, interval);
        state.last_end = Some(interval.end);
        state.queue.push_back(batch);
        self.limit(state);
        self.queued.notify_one();
    }

    /// Drops the oldest batches of a queue that is too long.
    fn limit(&self, state: &mut State) {
        let mut points: usize = state.queue.iter().map(Batch::len).sum();
        while points > QUEUE_POINTS_MAX
            && let Some(oldest) = state.queue.pop_front()
        {
            points -= oldest.len();
            self.dropped.fetch_add(oldest.invocations as u64, Ordering::Relaxed);
        }
    }

    /// Takes the oldest batches that fit in a request.
    fn take_request(&self) -> Vec<Batch> {
        let mut state = self.state.lock();
        let (mut taken, mut points) = (Vec::new(), 0);
        while let Some(oldest) = state.queue.front() {
            points += oldest.len();
            if points > REQUEST_POINTS_MAX && !taken.is_empty() {
                break;
            }
            taken.extend(state.queue.pop_front());
        }
        taken
    }

    /// Returns batches that were not accepted to the front of the queue.
    fn requeue(&self, batches: Vec<Batch>) {
        let mut state = self.state.lock();
        for batch in batches.into_iter().rev() {
            state.queue.push_front(batch);
        }
        self.limit(&mut state);
    }

    /// Exports what is queued, at most until `latest`: one request between events, otherwise the whole queue. Each request
    /// has the timeout.
    pub async fn flush(&self, reason: FlushReason, latest: Instant) {
        if !self.has_queued() && reason != FlushReason::Shutdown {
            return;
        }
        let problem = self.export(reason, latest).await;
        if reason == FlushReason::Shutdown {
            let unsent: Vec<Batch> = self.state.lock().queue.drain(..).collect();
            self.count_dropped(&unsent);
        }
        let unreported = self.dropped.load(Ordering::Relaxed) > self.reported.load(Ordering::Relaxed);
        match (problem, reason) {
            (problem, FlushReason::Shutdown) if unreported => {
                let problem = problem.unwrap_or_else(|| "the process ends".to_owned());
                warn!(dropped = self.unreported(), "metrics were dropped: {problem}. {ADVICE}");
            }
            (Some(problem), FlushReason::BetweenEvents | FlushReason::Background)
                if self.warnings.admit(Instant::now()).is_some() =>
            {
                let waiting: usize = self.state.lock().queue.iter().map(|batch| batch.invocations).sum();
                warn!(
                    dropped = self.unreported(),
                    waiting,
                    "metrics were not exported: {problem}; the next attempt is in {} s. {ADVICE}",
                    BACKOFF.as_secs()
                );
            }
            _ => {}
        }
    }

    /// The invocations whose metrics were dropped since the last warning.
    fn unreported(&self) -> u64 {
        let dropped = self.dropped.load(Ordering::Relaxed);
        // Another flush may have counted and reported more.
        dropped.saturating_sub(self.reported.swap(dropped, Ordering::Relaxed))
    }

    /// Sends requests. Returns why one failed; then the backoff has begun.
    async fn export(&self, reason: FlushReason, latest: Instant) -> Option<String> {
        let started = tokio::time::Instant::now();
        let latest: tokio::time::Instant = latest.into();
        // A timeout loses the metrics. If there is less time for other reasons, they rather wait.
        let has_time = |now| match reason {
            FlushReason::Shutdown => now < latest,
            FlushReason::BetweenEvents | FlushReason::Background => {
                latest.saturating_duration_since(now) >= self.timeout / 2
            }
        };
        if !has_time(started) {
            return None;
        }
        let first_deadline = (started + self.timeout).min(latest);
        let Ok(mut backoff) = timeout_at(first_deadline, self.backoff.lock()).await else { return None };
        let is_backing_off = backoff.is_some_and(|since| Moment::now().is_within(BACKOFF, since));
        if is_backing_off && reason != FlushReason::Shutdown {
            return None;
        }
        *backoff = None;
        loop {
            let now = tokio::time::Instant::now();
            let batches = if has_time(now) { self.take_request() } else { Vec::new() };
            if batches.is_empty() {
                return None;
            }
            let deadline = (now + self.timeout).min(latest);
            let body = message(&batches, &self.config.namespace, &self.resource).encode_to_vec();
            let problem = match timeout_at(deadline, self.sender.post(body)).await {
                Ok(Ok(())) if reason == FlushReason::BetweenEvents => {
                    // Otherwise a slow collector would delay every event.
                    if started.elapsed() > self.timeout / 2 {
                        *backoff = Some(Moment::now());
                    }
                    return None;
                }
                Ok(Ok(())) => continue,
                Ok(Err(error)) if error.is_temporary => {
                    self.requeue(batches);
                    error.problem
                }
                Ok(Err(error)) => {
                    self.count_dropped(&batches);
                    error.problem
                }
                Err(_) => {
                    self.count_dropped(&batches);
                    format!("no response within {} ms", (deadline - now).as_millis())
                }
            };
            *backoff = Some(Moment::now());
            return Some(problem);
        }
    }

    /// Exports batches when they are queued, forever. For environments that run several invocations at once and are never
    /// frozen.
    pub(crate) async fn run(&self) {
        loop {
            // Batches that were not accepted wait for the end of the backoff.
            let _ = tokio::time::timeout(BACKOFF, self.queued.notified()).await;
            // No invocation's deadline applies, only the timeout.
            self.flush(FlushReason::Background, Instant::now() + 2 * self.timeout).await;
        }
    }

    fn count_dropped(&self, batches: &[Batch]) {
        let invocations: usize = batches.iter().map(|batch| batch.invocations).sum();
        self.dropped.fetch_add(invocations as u64, Ordering::Relaxed);
    }
}

impl State {
    /// Extends the interval by an invocation that ended at `end`.
    fn extend_interval(&mut self, end: SystemTime, duration: Duration) {
        let interval = self.interval.get_or_insert_with(|| {
            let start = end.checked_sub(duration).unwrap_or(end);
            // Intervals do not overlap, unless the clock was set back.
            let start = self.last_end.filter(|last| *last <= end).map_or(start, |last| last.max(start));
            Interval { start, end }
        });
        interval.end = interval.end.max(end);
    }
}

impl fmt::Debug for MetricsExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, timeout, .. } = self;
        f.debug_struct("MetricsExporter").field("config", config).field("timeout", timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
