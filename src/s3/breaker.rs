//! A circuit breaker for an S3 that does not answer: whoever asked next would wait as long for nothing, and hold an execution
//! environment meanwhile that could answer others from memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::moment::Moment;
use crate::object::{FetchError, Fetched};

/// For how long S3 is not asked once it has not answered: what `Retry-After` asks of clients.
pub(super) const OPEN: Duration = Duration::from_secs(1);

/// How long it is waited for then: a first byte that comes late, and a moment. An S3 that is slow and no more closes the breaker.
pub(super) const PROBE: Duration = Duration::from_millis(super::FIRST_BYTE.as_millis() as u64 + 250);

/// Whether S3 may be asked.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// It answers.
    #[default]
    Closed,
    /// It did not answer, then.
    Open(Moment),
    /// It may not answer: nobody has waited for long.
    HalfOpen,
}

impl Breaker {
    /// Until when S3 may be waited for by whoever has until `deadline`; `None` when it is not to be asked at all.
    pub(super) fn until(&self, deadline: Instant) -> Option<Instant> {
        match *self.state() {
            State::Closed => Some(deadline),
            State::Open(since) if Moment::now().is_within(OPEN, since) => None,
            State::Open(_) | State::HalfOpen => Some(deadline.min(Instant::now() + PROBE)),
        }
    }

    /// Takes what came of a call. One that had less time than a first byte may take says nothing of an S3 that has not answered it.
    pub(super) fn heard(&self, fetched: &Result<Fetched, FetchError>, waited: Duration) {
        match fetched {
            Err(FetchError::TimedOut(_) | FetchError::Unavailable(_)) if waited < super::FIRST_BYTE => {}
            Err(FetchError::TimedOut(_) | FetchError::Unavailable(_)) => *self.state() = State::Open(Moment::now()),
            Ok(_) | Err(FetchError::Missing(_) | FetchError::Failed(_)) => *self.state() = State::Closed,
        }
    }

    /// Takes note that S3 has not answered in a time that was too short to be sure.
    pub(super) fn doubt(&self) {
        *self.state() = State::HalfOpen;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole: a panic of somebody else leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Missing;
    use tokio::time::advance;

    const LONG: Duration = Duration::from_secs(20);

    /// For how long S3 is waited for by somebody who has twenty seconds; 0 when it is not asked.
    fn patience(breaker: &Breaker) -> u64 {
        let now = Instant::now();
        breaker.until(now + LONG).map_or(0, |until| until.duration_since(now).as_millis() as u64 / 10 * 10)
    }

    fn silence() -> Result<Fetched, FetchError> {
        Err(FetchError::TimedOut("it hangs".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_s3_that_does_not_answer_is_let_alone_for_a_second_and_then_waited_for_less_long() {
        let breaker = Breaker::default();
        assert_eq!(patience(&breaker), 20_000);
        breaker.heard(&silence(), LONG);
        assert_eq!(patience(&breaker), 0);
        // By tokio's clock, which is one of the two that a moment goes by.
        advance(OPEN).await;
        assert_eq!(patience(&breaker), 3_250);
        breaker.heard(&silence(), PROBE);
        assert_eq!(patience(&breaker), 0, "and again");
        advance(OPEN).await;
        breaker.heard(&Err(FetchError::Missing(Missing::NoSuchKey)), Duration::ZERO);
        assert_eq!(patience(&breaker), 20_000, "whatever it answers");
    }

    #[test]
    fn who_has_no_time_to_wait_and_an_s3_that_refuses_at_once_close_no_door() {
        let breaker = Breaker::default();
        breaker.heard(&silence(), Duration::from_secs(1));
        breaker.heard(&Err(FetchError::Unavailable("503".into())), Duration::from_millis(200));
        breaker.heard(&Err(FetchError::Failed("500".into())), LONG);
        assert_eq!(patience(&breaker), 20_000);
        assert_eq!(
            breaker.until(Instant::now()).map(|until| until <= Instant::now()),
            Some(true),
            "no more than there is"
        );
    }

    #[test]
    fn a_doubt_costs_patience_and_refuses_nobody() {
        let breaker = Breaker::default();
        breaker.doubt();
        assert_eq!(patience(&breaker), 3_250);
        breaker.heard(&Err(FetchError::Failed("500".into())), Duration::ZERO);
        assert_eq!(patience(&breaker), 20_000);
    }
}
