//! A circuit breaker for an S3 that does not respond.
//!
//! Without it, each request would wait for a timeout of its own, and occupy an execution environment that could serve
//! cached objects meanwhile.

use std::time::Duration;

use parking_lot::Mutex;

use crate::moment::Moment;
use crate::storage::s3::limits::FIRST_BYTE_TIMEOUT;

/// How long the breaker stays open after a timeout: as long as `Retry-After` asks of clients.
const OPEN_TIME: Duration = Duration::from_secs(1);

/// How long a probe waits for response headers: the timeout of the first byte, and a margin.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(FIRST_BYTE_TIMEOUT.as_millis() as u64 + 250);

/// How long a timeout keeps the breaker half-open. After that, an idle connection may simply have died, so a normal
/// attempt (with one retry) is better than a short probe.
const HALF_OPEN_TIME: Duration = Duration::from_secs(10);

/// Decides whether a request may go to S3.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker(Mutex<State>);

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// S3 responds.
    #[default]
    Closed,
    /// S3 timed out at this moment.
    Open(Moment),
    /// A probe has been under way since this moment.
    Probing(Moment),
    /// S3 may be down since this moment; the next request is a probe.
    HalfOpen(Moment),
}

/// The permit for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// The call may use its whole budget.
    Normal,
    /// The call must see response headers within [`PROBE_TIMEOUT`].
    Probe,
    /// The call must not be made.
    Rejected,
}

/// The outcome of a call, as far as S3's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallOutcome {
    /// S3 sent a response, good or bad.
    Responded,
    /// S3 had time to respond and did not.
    TimedOut,
    /// S3 was not reached, or had too little time.
    Inconclusive,
}

impl CircuitBreaker {
    /// Returns the permit for a call. The caller must [`record`](Self::record) the outcome.
    pub(super) fn acquire(&self) -> Permit {
        let now = Moment::now();
        let mut state = self.0.lock();
        match *state {
            State::Open(since) if now.is_within(OPEN_TIME, since) => Permit::Rejected,
            // One probe at a time. If its invocation was killed, the next probe may start after its timeout.
            State::Probing(since) if now.is_within(PROBE_TIMEOUT, since) => Permit::Rejected,
            State::Open(since) | State::Probing(since) | State::HalfOpen(since)
                if now.is_within(HALF_OPEN_TIME, since) =>
            {
                *state = State::Probing(now);
                Permit::Probe
            }
            _ => {
                *state = State::Closed;
                Permit::Normal
            }
        }
    }

    /// Records the outcome of a call.
    pub(super) fn record(&self, outcome: CallOutcome) {
        let mut state = self.0.lock();
        *state = match (outcome, *state) {
            (CallOutcome::Responded, _) => State::Closed,
            (CallOutcome::TimedOut, _) => State::Open(Moment::now()),
            (CallOutcome::Inconclusive, State::Probing(_)) => State::HalfOpen(Moment::now()),
            (CallOutcome::Inconclusive, state) => state,
        }
    }

    /// Makes the next call a probe: S3 did not respond, but had too little time to be sure.
    pub(super) fn suspect(&self) {
        let mut state = self.0.lock();
        if let State::Closed = *state {
            *state = State::HalfOpen(Moment::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    // Moment reads tokio's clock besides the wall clock, so these tests can advance it.
    #[tokio::test(start_paused = true)]
    async fn after_a_timeout_one_probe_at_a_time_is_sent() {
        let breaker = CircuitBreaker::default();
        assert_eq!([breaker.acquire(), breaker.acquire()], [Permit::Normal; 2]);
        breaker.record(CallOutcome::TimedOut);
        assert_eq!([breaker.acquire(), breaker.acquire()], [Permit::Rejected; 2]);
        advance(OPEN_TIME).await;
        assert_eq!([breaker.acquire(), breaker.acquire()], [Permit::Probe, Permit::Rejected]);
        breaker.record(CallOutcome::TimedOut);
        assert_eq!(breaker.acquire(), Permit::Rejected, "for another second");
        advance(OPEN_TIME).await;
        assert_eq!(breaker.acquire(), Permit::Probe);
        breaker.record(CallOutcome::Responded);
        assert_eq!([breaker.acquire(), breaker.acquire()], [Permit::Normal; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_probe_follows_an_inconclusive_or_lost_one() {
        let breaker = CircuitBreaker::default();
        breaker.record(CallOutcome::TimedOut);
        advance(OPEN_TIME).await;
        assert_eq!(breaker.acquire(), Permit::Probe);
        breaker.record(CallOutcome::Inconclusive);
        assert_eq!([breaker.acquire(), breaker.acquire()], [Permit::Probe, Permit::Rejected]);
        advance(PROBE_TIMEOUT).await;
        assert_eq!(breaker.acquire(), Permit::Probe);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_forgotten_after_ten_seconds() {
        let breaker = CircuitBreaker::default();
        breaker.record(CallOutcome::TimedOut);
        advance(HALF_OPEN_TIME).await;
        assert_eq!([breaker.acquire(), breaker.acquire()], [Permit::Normal; 2]);
    }

    #[test]
    fn a_suspicion_shortens_the_next_call_but_rejects_none() {
        let breaker = CircuitBreaker::default();
        breaker.record(CallOutcome::Inconclusive);
        assert_eq!(breaker.acquire(), Permit::Normal);
        breaker.suspect();
        assert_eq!(breaker.acquire(), Permit::Probe);
        breaker.record(CallOutcome::TimedOut);
        breaker.suspect();
        assert_eq!(breaker.acquire(), Permit::Rejected, "a suspicion does not close an open breaker");
    }
}
