//! The CPU time for copies: a small part of what the function has.

use std::time::{Duration, SystemTime};

/// One in so many nanoseconds of the function's CPU time may be spent on copies.
const SHARE: u32 = 50;

/// The most time to work at once, if the function had a whole core: a slice then delays an event by as much with any memory.
const CREDIT_MAX: Duration = Duration::from_millis(5);

/// How much CPU time may be spent on copies now.
#[derive(Debug)]
pub(in crate::storage) struct Budget {
    /// The CPU time that the function has, in thousandths of a core.
    cpu_millis: u32,
    /// The time that is left; negative after a slice that took longer.
    credit_nanos: i64,
    /// When the credit last grew, by the wall clock: the monotonic clock may stop while the environment is frozen.
    at: Option<SystemTime>,
}

impl Budget {
    pub(in crate::storage) fn new(cpu_millis: u32) -> Self {
        Self { cpu_millis: cpu_millis.min(1000), credit_nanos: 0, at: None }
    }

    /// Adds the function's CPU time since the last call; of the first call nothing.
    pub(in crate::storage) fn earn(&mut self, now: SystemTime) {
        let passed = now.duration_since(self.at.unwrap_or(now)).unwrap_or_default();
        self.at = Some(now);
        let earned = self.of_function(passed) / i64::from(SHARE);
        self.credit_nanos = self.credit_nanos.saturating_add(earned).min(self.of_function(CREDIT_MAX));
    }

    /// Whether another slice may start.
    pub(in crate::storage) fn is_left(&self) -> bool {
        self.credit_nanos > 0
    }

    /// Subtracts the CPU time of a slice.
    pub(in crate::storage) fn spend(&mut self, cpu_time: Duration) {
        self.credit_nanos = self.credit_nanos.saturating_sub(nanos(cpu_time));
    }

    /// The CPU time that the function has in such a time.
    fn of_function(&self, time: Duration) -> i64 {
        nanos(time) / 1000 * i64::from(self.cpu_millis)
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_idle_function_earns_one_burst_and_no_more() {
        let start = SystemTime::now();
        let mut budget = Budget::new(72);
        budget.earn(start);
        assert!(!budget.is_left(), "nothing is earned before the first event");
        budget.earn(start + Duration::from_secs(3600));
        assert!(budget.is_left());
        budget.spend(Duration::from_micros(361));
        assert!(!budget.is_left(), "5 ms of 72 thousandths of a core");
    }

    proptest! {
        #[test]
        fn slices_take_a_fiftieth_of_the_cpu_time_at_most(
            cpu_millis in 10_u32..2000,
            gaps in prop::collection::vec(1_u64..200_000, 1..60),
            slice_micros in 50_u64..1000,
        ) {
            let start = SystemTime::now();
            let mut budget = Budget::new(cpu_millis);
            budget.earn(start);
            let (mut passed, mut spent) = (0, 0);
            for gap in gaps {
                passed += gap;
                budget.earn(start + Duration::from_micros(passed));
                while budget.is_left() {
                    budget.spend(Duration::from_micros(slice_micros));
                    spent += slice_micros;
                }
            }
            let available = passed * u64::from(cpu_millis.min(1000)) / 1000;
            // The last slice may exceed the credit.
            prop_assert!(spent <= available / u64::from(SHARE) + slice_micros, "{spent} of {available}");
        }
    }
}
