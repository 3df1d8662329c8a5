//! A point in time by two clocks. The monotonic clock may stop while the environment is frozen, and the wall clock may be
//! set.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A point in time by two clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    ticks: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { ticks: Instant::now(), wall: SystemTime::now() }
    }

    /// The wall-clock time.
    pub(crate) fn wall(self) -> SystemTime {
        self.wall
    }

    /// Whether less than `time` has passed since `start` by both clocks; `false` if the wall clock was set back.
    pub(crate) fn is_within(self, time: Duration, start: Self) -> bool {
        self.ticks.duration_since(start.ticks) < time
            && self.wall.duration_since(start.wall).is_ok_and(|passed| passed < time)
    }

    /// Whether this is later than `other` by the monotonic clock.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.ticks > other.ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    #[test]
    fn time_passes_if_either_clock_advances() {
        let start = Moment::now();
        let later = |ticks, wall| Moment {
            ticks: start.ticks + Duration::from_secs(ticks),
            wall: start.wall + Duration::from_secs(wall),
        };
        assert!(start.is_within(TIME, start) && later(9, 9).is_within(TIME, start));
        assert!(!later(10, 10).is_within(TIME, start));
        assert!(!later(0, 3_600).is_within(TIME, start), "frozen for an hour");
        assert!(!later(10, 0).is_within(TIME, start), "a wall clock that stands still");
        let set_back = Moment { wall: start.wall - TIME, ..start };
        assert!(!set_back.is_within(TIME, start), "a wall clock that was set back");
        assert!(!start.is_within(Duration::ZERO, start), "no time is over at once");
    }
}
