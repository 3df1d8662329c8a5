//! Finishes the invocations in flight before the process ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Counts the invocations in flight, and refuses new ones once the process is to end.
#[derive(Debug, Default)]
pub(super) struct Drain {
    in_flight: AtomicUsize,
    draining: AtomicBool,
    ended: Notify,
}

/// An invocation in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Drain);

impl Drain {
    /// Registers an invocation; `None` if the process is to end.
    pub(super) fn begin(&self) -> Option<InFlight<'_>> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let guard = InFlight(self);
        // After the count, so that `finish` either sees this invocation or prevents it.
        (!self.draining.load(Ordering::SeqCst)).then_some(guard)
    }

    /// Whether the process is to end.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Refuses new invocations, and waits for those in flight, at most for `timeout`. Returns the number that is left.
    pub(super) async fn finish(&self, timeout: Duration) -> usize {
        self.draining.store(true, Ordering::SeqCst);
        let all_ended = async {
            while self.in_flight.load(Ordering::SeqCst) > 0 {
                self.ended.notified().await;
            }
        };
        let _ = tokio::time::timeout(timeout, all_ended).await;
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.0.draining.load(Ordering::SeqCst) {
            // Stored if `finish` does not wait yet.
            self.0.ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const TIMEOUT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_invocations_in_flight() {
        let drain = Arc::new(Drain::default());
        let first = drain.begin().unwrap();
        let finishing = tokio::spawn({
            let drain = drain.clone();
            async move { drain.finish(TIMEOUT).await }
        });
        tokio::task::yield_now().await;
        assert!(!finishing.is_finished());
        assert!(drain.begin().is_none(), "no new invocation");
        drop(first);
        assert_eq!(finishing.await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_after_its_timeout() {
        let drain = Drain::default();
        let _stuck = drain.begin().unwrap();
        assert_eq!(drain.finish(TIMEOUT).await, 1);
    }
}
