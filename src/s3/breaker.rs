//! A circuit breaker for an S3 that does not answer: whoever asked next would wait as long for nothing, and hold an execution
//! environment meanwhile that could answer others from memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::moment::Moment;

/// For how long S3 is not asked once it has not answered: what `Retry-After` asks of clients.
const OPEN: Duration = Duration::from_secs(1);

/// How long a probe waits for the first sign of S3: a first byte that comes late, and a moment.
pub(super) const PROBE: Duration = Duration::from_millis(super::FIRST_BYTE.as_millis() as u64 + 250);

/// For how long it matters that S3 did not answer. After that its connections may just have died of idleness, and a try that costs the
/// time of two is a better one.
const REMEMBERED: Duration = Duration::from_secs(10);

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
    /// Somebody has been finding out since then.
    Probing(Moment),
    /// It may not answer: since then nobody has waited for long.
    HalfOpen(Moment),
}

/// How S3 may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// For as long as there is time.
    Free,
    /// For [`PROBE`], and longer only if there is a sign of it by then.
    Probe,
    /// Not at all.
    Shut,
}

/// What a call has told of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It answers, whatever.
    Answer,
    /// It had time to, and did not.
    Silence,
    /// Nothing: it was not reached, or there was no time.
    Nothing,
}

impl Breaker {
    /// Asks for a passage to S3; what came of it is to be [`heard`](Self::heard).
    pub(super) fn enter(&self) -> Passage {
        let now = Moment::now();
        let mut state = self.state();
        match *state {
            State::Open(since) if now.is_within(OPEN, since) => Passage::Shut,
            // One is enough. If its invocation was ended under it, another goes in its time.
            State::Probing(since) if now.is_within(PROBE, since) => Passage::Shut,
            State::Open(since) | State::Probing(since) | State::HalfOpen(since) if now.is_within(REMEMBERED, since) => {
                *state = State::Probing(now);
                Passage::Probe
            }
            _ => {
                *state = State::Closed;
                Passage::Free
            }
        }
    }

    /// Takes what a call has told.
    pub(super) fn heard(&self, told: Told) {
        let mut state = self.state();
        *state = match (told, *state) {
            (Told::Answer, _) => State::Closed,
            (Told::Silence, _) => State::Open(Moment::now()),
            (Told::Nothing, State::Probing(_)) => State::HalfOpen(Moment::now()),
            (Told::Nothing, state) => state,
        }
    }

    /// Takes note that S3 has not answered in a time that was too short to be sure.
    pub(super) fn doubt(&self) {
        let mut state = self.state();
        if let State::Closed = *state {
            *state = State::HalfOpen(Moment::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole: a panic of somebody else leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    // The clock is tokio's, one of the two that a moment goes by.
    #[tokio::test(start_paused = true)]
    async fn an_s3_that_does_not_answer_is_let_alone_for_a_second_and_then_asked_by_one_at_a_time() {
        let breaker = Breaker::default();
        assert_eq!([breaker.enter(), breaker.enter()], [Passage::Free; 2]);
        breaker.heard(Told::Silence);
        assert_eq!([breaker.enter(), breaker.enter()], [Passage::Shut; 2]);
        advance(OPEN).await;
        assert_eq!([breaker.enter(), breaker.enter()], [Passage::Probe, Passage::Shut]);
        breaker.heard(Told::Silence);
        assert_eq!(breaker.enter(), Passage::Shut, "for another second");
        advance(OPEN).await;
        assert_eq!(breaker.enter(), Passage::Probe);
        breaker.heard(Told::Answer);
        assert_eq!([breaker.enter(), breaker.enter()], [Passage::Free; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_tells_nothing_or_never_comes_back_is_followed_by_another() {
        let breaker = Breaker::default();
        breaker.heard(Told::Silence);
        advance(OPEN).await;
        assert_eq!(breaker.enter(), Passage::Probe);
        breaker.heard(Told::Nothing);
        assert_eq!([breaker.enter(), breaker.enter()], [Passage::Probe, Passage::Shut]);
        advance(PROBE).await;
        assert_eq!(breaker.enter(), Passage::Probe);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_forgotten_after_a_while() {
        let breaker = Breaker::default();
        breaker.heard(Told::Silence);
        advance(REMEMBERED).await;
        assert_eq!([breaker.enter(), breaker.enter()], [Passage::Free; 2]);
    }

    #[test]
    fn a_doubt_costs_patience_and_refuses_nobody() {
        let breaker = Breaker::default();
        breaker.heard(Told::Nothing);
        assert_eq!(breaker.enter(), Passage::Free);
        breaker.doubt();
        assert_eq!(breaker.enter(), Passage::Probe);
        breaker.heard(Told::Silence);
        breaker.doubt();
        assert_eq!(breaker.enter(), Passage::Shut, "what is known is no matter of doubt");
    }
}
