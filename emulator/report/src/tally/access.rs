//! Requests per version and hour.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::tally::interner::Interner;

/// Milliseconds of an hour, the resolution of requests.
pub(super) const HOUR_MILLIS: i64 = 3_600_000;

/// Steps of a doubling of the duration: a step is at most 3 % wide.
const STEPS: u32 = 32;

/// The requests of a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// All of them.
    pub requests: u64,
    /// Those with a status from 500 on.
    pub failures: u64,
    /// The size of the bodies.
    pub body_bytes: u64,
}

/// The requests of all versions.
#[derive(Debug, Clone, Default)]
pub(super) struct AccessTally {
    /// By version and hour.
    requests: HashMap<(u16, i32), Requests>,
    /// By version, hour and step of the duration.
    durations: HashMap<(u16, i32, u16), u32>,
    /// The requests that stated their version themselves.
    pub(super) forced: u64,
}

impl AccessTally {
    pub(super) fn add(&mut self, version: u16, at: i64, status: u16, duration_millis: f64, body_bytes: u64) {
        let hour = hour(at);
        let requests = self.requests.entry((version, hour)).or_default();
        requests.requests += 1;
        requests.failures += u64::from(status >= 500);
        requests.body_bytes = requests.body_bytes.saturating_add(body_bytes);
        let count = self.durations.entry((version, hour, step(duration_millis))).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn merge(&mut self, other: Self, names: &[u16]) {
        let new = |number: u16| names.get(usize::from(number)).copied().unwrap_or(number);
        for ((version, hour), added) in other.requests {
            let requests = self.requests.entry((new(version), hour)).or_default();
            requests.requests += added.requests;
            requests.failures += added.failures;
            requests.body_bytes = requests.body_bytes.saturating_add(added.body_bytes);
        }
        for ((version, hour, step), added) in other.durations {
            let count = self.durations.entry((new(version), hour, step)).or_default();
            *count = count.saturating_add(added);
        }
        self.forced += other.forced;
    }

    /// The requests of the versions, and their durations, in the hours that the time from `start` to `end` touches.
    pub(super) fn of(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        names: &Interner,
        (start, end): (i64, i64),
    ) -> (Requests, Durations) {
        let hours = hour(start)..=hour(end);
        let mut sum = Requests::default();
        for ((version, hour), requests) in &self.requests {
            if hours.contains(hour) && is_wanted(names.name(*version)) {
                sum.requests += requests.requests;
                sum.failures += requests.failures;
                sum.body_bytes = sum.body_bytes.saturating_add(requests.body_bytes);
            }
        }
        let mut durations = Durations::default();
        for ((version, hour, step), count) in &self.durations {
            if hours.contains(hour) && is_wanted(names.name(*version)) {
                *durations.0.entry(*step).or_default() += u64::from(*count);
            }
        }
        (sum, durations)
    }
}

/// The number of durations in each step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations(BTreeMap<u16, u64>);

impl Durations {
    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The duration with a rank, from 1, in milliseconds; exact to 1.6 %.
    pub fn at_rank(&self, rank: u64) -> Option<f64> {
        let mut before = 0;
        self.0.iter().find_map(|(step, count)| {
            before += count;
            (before >= rank).then(|| middle(*step))
        })
    }
}

fn hour(at: i64) -> i32 {
    i32::try_from(at.div_euclid(HOUR_MILLIS)).unwrap_or(i32::MAX)
}

/// The step of a duration: of its microseconds, the place of the highest bit and the five bits after it.
fn step(millis: f64) -> u16 {
    let micros = (millis * 1000.0) as u64;
    if micros < u64::from(STEPS) {
        return micros as u16;
    }
    let shift = micros.ilog2() - STEPS.ilog2();
    (shift * STEPS + (micros >> shift) as u32) as u16
}

/// The middle of a step, in milliseconds.
fn middle(step: u16) -> f64 {
    let step = u32::from(step);
    if step < 2 * STEPS {
        return f64::from(step) / 1000.0;
    }
    let shift = step / STEPS - 1;
    let first = f64::from(STEPS + step % STEPS) * 2_f64.powi(shift as i32);
    (first + (2_f64.powi(shift as i32) - 1.0) / 2.0) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_is_kept_to_two_percent(micros in 0_u64..1_000_000_000) {
            let millis = micros as f64 / 1000.0;
            let kept = middle(step(millis));
            prop_assert!((kept - millis).abs() <= 0.016 * millis + 1e-9, "{} {}", millis, kept);
        }

        #[test]
        fn steps_keep_the_order(one in 0.0..1e6, other in 0.0..1e6) {
            prop_assert!(one > other || step(one) <= step(other));
        }
    }

    #[test]
    fn a_rank_finds_its_duration() {
        let mut tally = AccessTally::default();
        let mut names = Interner::default();
        let version = names.intern("v1").unwrap();
        for millis in 1..=100 {
            tally.add(version, 1000, if millis > 98 { 503 } else { 200 }, f64::from(millis), 10);
        }
        tally.add(version, 10 * HOUR_MILLIS, 200, 1e5, 10);
        let (requests, durations) = tally.of(|name| name == "v1", &names, (0, HOUR_MILLIS));
        assert_eq!(requests, Requests { requests: 100, failures: 2, body_bytes: 1000 });
        let p90 = durations.at_rank(90).unwrap();
        assert!((p90 - 90.0).abs() < 1.5, "{p90}");
        assert_eq!((durations.count(), durations.at_rank(101)), (100, None));
    }
}
