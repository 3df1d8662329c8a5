//! The counts over time, at a limited number of times.

use crate::counts::Counts;

/// The number of times.
pub const POINTS: usize = 60;

/// Equal periods from the first event to the last one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Periods {
    start: i64,
    end: i64,
}

impl Periods {
    pub(super) fn new((start, end): (i64, i64)) -> Self {
        Self { start, end }
    }

    /// The period of a time.
    pub(super) fn index(self, at: i64) -> usize {
        let (length, offset) =
            (i128::from(self.end - self.start) + 1, i128::from(at.clamp(self.start, self.end) - self.start));
        (offset * POINTS as i128 / length) as usize
    }

    /// The last millisecond of a period.
    pub(super) fn end(self, index: usize) -> i64 {
        let length = i128::from(self.end - self.start) + 1;
        let end = (length * (index as i128 + 1) + POINTS as i128 - 1) / POINTS as i128 - 1;
        self.start + end as i64
    }
}

/// Adds to each period's counts those of the periods before it.
pub(super) fn accumulate(periods: &mut [Counts]) {
    for index in 1..periods.len() {
        let (before, rest) = periods.split_at_mut(index);
        let (Some(before), Some(counts)) = (before.last(), rest.first_mut()) else { return };
        for (variation, before) in counts.variations.iter_mut().zip(&before.variations) {
            variation.visitors += before.visitors;
            for (goal, before) in variation.goals.values_mut().zip(before.goals.values()) {
                goal.conversions += before.conversions;
                goal.sum = goal.sum.zip(before.sum).map(|(sum, before)| before + sum);
                goal.sum_squares = goal.sum_squares.zip(before.sum_squares).map(|(sum, before)| before + sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_in_the_first_period_that_ends_after_it(start in 0_i64..1_000_000, length in 0_i64..10_000_000, part in 0.0..1.0) {
            let periods = Periods::new((start, start + length));
            let at = start + (length as f64 * part) as i64;
            let index = periods.index(at);
            prop_assert!(index < POINTS && at <= periods.end(index));
            prop_assert!(index == 0 || periods.end(index - 1) < at);
            prop_assert_eq!(periods.end(POINTS - 1), start + length);
        }
    }
}
