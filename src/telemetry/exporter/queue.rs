//! The queue of ended spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::telemetry::exporter::config::ExportConfig;

/// Ended spans that wait for the exporter. If the queue is full, it drops and counts new spans.
#[derive(Debug)]
pub struct SpanQueue {
    spans: Mutex<Vec<SpanData>>,
    capacity: usize,
    batch_spans: usize,
    dropped: AtomicU64,
    /// Notified when the queue holds a full batch.
    batch_ready: Notify,
}

impl SpanQueue {
    /// An empty queue.
    pub fn new(config: &ExportConfig) -> Self {
        Self {
            spans: Mutex::default(),
            capacity: config.queue_spans,
            // A batch larger than the queue would never be full.
            batch_spans: config.batch_spans.min(config.queue_spans),
            dropped: AtomicU64::new(0),
            batch_ready: Notify::new(),
        }
    }

    /// The number of spans dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The number of queued spans.
    pub(super) fn len(&self) -> usize {
        self.spans.lock().len()
    }

    /// Waits until the queue holds a full batch.
    pub(super) async fn batch_ready(&self) {
        self.batch_ready.notified().await;
    }

    /// Adds a span, or drops it if the queue is full.
    pub(super) fn push(&self, span: SpanData) {
        let mut spans = self.spans.lock();
        if spans.len() < self.capacity {
            spans.push(span);
            if spans.len() == self.batch_spans {
                self.batch_ready.notify_one();
            }
        } else {
            self.count_dropped(1);
        }
    }

    /// Takes the oldest spans, at most one batch.
    pub(super) fn take_batch(&self) -> Vec<SpanData> {
        let mut spans = self.spans.lock();
        if spans.len() <= self.batch_spans {
            return std::mem::take(&mut *spans);
        }
        let rest = spans.split_off(self.batch_spans);
        std::mem::replace(&mut *spans, rest)
    }

    /// Returns an unsent batch to the front of the queue. If the queue overflows, the newest spans are dropped.
    pub(super) fn requeue(&self, mut spans: Vec<SpanData>) {
        let mut queue = self.spans.lock();
        spans.append(&mut queue);
        let excess = spans.len().saturating_sub(self.capacity);
        spans.truncate(self.capacity);
        *queue = spans;
        drop(queue);
        self.count_dropped(excess);
    }

    /// Counts spans that were dropped here or on the way to the collector.
    pub(super) fn count_dropped(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A span processor that queues sampled spans when they end.
#[derive(Debug)]
pub(crate) struct Enqueue(pub(crate) Arc<SpanQueue>);

impl SpanProcessor for Enqueue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
