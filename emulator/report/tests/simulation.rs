//! Error rates and power of the statistics, by simulated experiments; docs/statistics.md quotes the figures.
//!
//! `cargo test -p nearedge-report --test simulation -- --nocapture` prints them.

// clippy.toml allows this in tests, but not in their functions.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use fastrand::Rng;
use nearedge_report::statistics::comparison::{ALPHA, Effect, Scale};
use nearedge_report::statistics::distribution::normal_quantile;
use nearedge_report::statistics::plan::{Goal, Looks};
use nearedge_report::statistics::ratio::{self, MISMATCH};
use nearedge_report::statistics::sample::Sample;
use nearedge_report::statistics::sequential::critical_deviate;

/// The visitors between two looks.
const STEP: u64 = 1_000;

/// The looks at an experiment.
const LOOKS: u64 = 100;

/// The number of `trials` that succeed, with one random number per success: the gaps are geometric.
fn binomial(random: &mut Rng, trials: u64, rate: f64) -> u64 {
    let per_gap = (1.0 - rate).ln();
    let (mut position, mut successes) = (0, 0);
    loop {
        // From 0 (exclusive) to 1 (inclusive), because of the logarithm.
        let uniform = 1.0 - random.f64();
        position += 1 + (uniform.ln() / per_gap) as u64;
        if position > trials {
            return successes;
        }
        successes += 1;
    }
}

/// The visitors and conversions of a variation.
#[derive(Clone, Copy, Default)]
struct Counted {
    visitors: u64,
    conversions: u64,
}

impl Counted {
    fn add(&mut self, random: &mut Rng, visitors: u64, rate: f64) {
        self.visitors += visitors;
        self.conversions += binomial(random, visitors, rate);
    }

    fn sample(&self) -> Sample {
        Sample::proportion(self.visitors, self.conversions)
    }
}

/// Experiments without a difference, and those that ever show one.
#[derive(Default)]
struct FalseDifferences {
    fixed: u32,
    sequential: u32,
    /// By the sequential p-value once both variations are large, as the verdict requires.
    verdict: u32,
}

/// Simulates 1,000 experiments without a difference, with a look after every 1,000 visitors.
fn without_difference(rate: f64) -> FalseDifferences {
    let mut random = Rng::with_seed(18);
    let mut shown = FalseDifferences::default();
    for _ in 0..1_000 {
        let (mut control, mut treatment) = (Counted::default(), Counted::default());
        let (mut fixed, mut sequential, mut verdict) = (false, false, false);
        for _ in 0..LOOKS {
            let visitors = binomial(&mut random, STEP, 0.5);
            control.add(&mut random, visitors, rate);
            treatment.add(&mut random, STEP - visitors, rate);
            let (a, b) = (control.sample(), treatment.sample());
            let Some(effect) = Effect::of(&a, &b, Scale::Relative) else { continue };
            let deviate = effect.estimate.abs() / effect.variance.sqrt();
            // Far below this, Student's p-value is above 0.05 too, and need not be computed.
            fixed = fixed || deviate > 1.9 && effect.fixed(ALPHA).1 < ALPHA;
            let significant = effect.sequential(ALPHA).1 < ALPHA;
            sequential |= significant;
            verdict |= significant && a.is_large() && b.is_large();
        }
        shown.fixed += u32::from(fixed);
        shown.sequential += u32::from(sequential);
        shown.verdict += u32::from(verdict);
    }
    shown
}

#[test]
fn looking_daily_shows_no_more_differences_than_promised() {
    for rate in [0.03, 0.01, 0.003] {
        let FalseDifferences { fixed, sequential, verdict } = without_difference(rate);
        println!(
            "rate {} %: of 1,000 experiments without a difference, {LOOKS} looks each, show one: \
             one-look test {fixed}, sequential test {sequential}, verdict {verdict}",
            rate * 100.0
        );
        assert!(verdict <= 50, "rate {rate}: {verdict} verdicts");
        assert!(fixed > 150, "rate {rate}: looking often at a test for one look shows {fixed} only");
        if rate == 0.03 {
            assert!(sequential <= 50, "rate {rate}: {sequential} sequential p-values");
        }
    }
}

/// The part of 4,000 experiments in which a look after so many visitors of each variation finds the difference.
fn found(goal: Goal, looks: Looks, visitors: u64) -> f64 {
    let mut random = Rng::with_seed(19);
    let critical = match looks {
        Looks::One => normal_quantile(ALPHA / 2.0),
        Looks::Every => critical_deviate(2.0 * visitors as f64, ALPHA),
    };
    let trials = 4_000;
    let mut significant = 0;
    for _ in 0..trials {
        let (mut control, mut treatment) = (Counted::default(), Counted::default());
        control.add(&mut random, visitors, goal.rate);
        treatment.add(&mut random, visitors, goal.rate * (1.0 + goal.uplift));
        let effect = Effect::of(&control.sample(), &treatment.sample(), Scale::Relative).unwrap();
        significant += u32::from(effect.estimate / effect.variance.sqrt() * goal.uplift.signum() > critical);
    }
    f64::from(significant) / f64::from(trials)
}

#[test]
fn the_planned_visitors_give_the_planned_power() {
    for (rate, uplift, power) in [(0.03, 0.1, 0.8), (0.03, -0.2, 0.8), (0.1, 0.1, 0.9), (0.4, 0.05, 0.8)] {
        let goal = Goal { rate, uplift, alpha: ALPHA };
        for looks in [Looks::One, Looks::Every] {
            let visitors = goal.visitors(looks, power).unwrap();
            let found = found(goal, looks, visitors);
            println!(
                "rate {rate}, uplift {uplift}, {looks:?} look: {visitors} visitors per variation, planned power {power}, \
                 found {found:.4}"
            );
            assert!((found - power).abs() < 0.02, "rate {rate}, uplift {uplift}, {looks:?}: power {found}");
        }
    }
}

/// How many of 1,000 splits of 20,000 visitors have a p-value below `limit`, if the first variation gets a part `share`.
fn rejected(share: f64, limit: f64) -> u32 {
    let mut random = Rng::with_seed(20);
    let rejects = |_| {
        let first = binomial(&mut random, 20_000, share);
        let test = ratio::test([(first, 0.5), (20_000 - first, 0.5)].into_iter()).unwrap();
        u32::from(test.p_value < limit)
    };
    (0..1_000).map(rejects).sum()
}

#[test]
fn a_split_of_52_to_48_is_a_mismatch() {
    let found = rejected(0.52, MISMATCH);
    println!("a split of 52 to 48 of 20,000 visitors: {found} of 1,000 are a mismatch");
    assert!(found > 975, "{found}");
}

#[test]
fn a_split_as_the_weights_is_a_mismatch_as_rarely_as_promised() {
    let (five_percent, mismatches) = (rejected(0.5, 0.05), rejected(0.5, MISMATCH));
    println!("a split of 50 to 50: {five_percent} of 1,000 have p < 0.05, and {mismatches} have p < 0.001");
    assert!((30..=70).contains(&five_percent), "{five_percent}");
    assert!(mismatches <= 5, "{mismatches}");
}
