//! Intervals of a rate, a mean and a quantile.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use super::distribution::{normal_quantile, student_quantile};
use super::sample::Sample;

/// An interval. In JSON it is a list of its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "[f64; 2]", from = "[f64; 2]")]
pub struct Interval {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

impl Interval {
    /// The interval from `middle - width` to `middle + width`.
    pub fn around(middle: f64, width: f64) -> Self {
        Self { lower: middle - width, upper: middle + width }
    }

    /// Whether both ends are finite.
    pub fn is_finite(&self) -> bool {
        self.lower.is_finite() && self.upper.is_finite()
    }
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.lower, interval.upper]
    }
}

impl From<[f64; 2]> for Interval {
    fn from([lower, upper]: [f64; 2]) -> Self {
        Self { lower, upper }
    }
}

/// The interval of a rate: Wilson's score interval. `None` without visitors.
///
/// Unlike the estimate plus or minus its standard errors, it stays within 0 and 1 and is not empty at either end.
pub fn rate(conversions: u64, visitors: u64, alpha: f64) -> Option<Interval> {
    if visitors == 0 || conversions > visitors {
        return None;
    }
    let (n, z) = (visitors as f64, normal_quantile(alpha / 2.0));
    let (rate, square) = (conversions as f64 / n, z * z);
    let middle = (rate + square / (2.0 * n)) / (1.0 + square / n);
    let width = z / (1.0 + square / n) * (rate * (1.0 - rate) / n + square / (4.0 * n * n)).sqrt();
    let Interval { lower, upper } = Interval::around(middle, width);
    // Rounding leaves a difference from 0 and 1.
    let lower = if conversions == 0 { 0.0 } else { lower };
    let upper = if conversions == visitors { 1.0 } else { upper };
    Some(Interval { lower, upper })
}

/// The interval of a mean: Student's. `None` without a variance.
pub fn mean(sample: &Sample, alpha: f64) -> Option<Interval> {
    if !sample.varies() || sample.visitors <= 1.0 {
        return None;
    }
    let width = student_quantile(alpha / 2.0, sample.visitors - 1.0) * (sample.variance / sample.visitors).sqrt();
    Some(Interval::around(sample.mean, width))
}

/// A quantile of a sample, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// The quantile of the sample.
    pub estimate: f64,
    /// The interval; `None` if there are too few values for one.
    pub interval: Option<Interval>,
}

/// The quantile at `level` of a histogram: pairs of a value and its count, with ascending values. `None` without values.
///
/// Sorted values are a histogram with the counts 1. If the values are upper bounds of buckets, so are the results.
///
/// The interval is the distribution-free one between two order statistics (as `scipy.stats.quantile_test`): the number of
/// values below the true quantile is binomial.
pub fn quantile(histogram: &[(f64, u64)], level: f64, alpha: f64) -> Option<Quantile> {
    let count: u64 = histogram.iter().map(|(_, count)| count).sum();
    if count == 0 || !(level > 0.0 && level < 1.0) {
        return None;
    }
    let ranked = |rank: u64| {
        let mut before = 0;
        let found = histogram.iter().find(|(_, count)| {
            before += count;
            before >= rank
        });
        found.map(|(value, _)| *value)
    };
    let estimate = ranked(((count as f64 * level).ceil() as u64).clamp(1, count))?;
    let ends = ranks(count, level, alpha).and_then(|(low, high)| Some((ranked(low)?, ranked(high)?)));
    Some(Quantile { estimate, interval: ends.map(|(lower, upper)| Interval { lower, upper }) })
}

/// Above this many values, the binomial distribution is replaced by the normal one: the incomplete beta function of statrs
/// ends its continued fraction early there.
const EXACT: u64 = 1_000;

/// The ranks, from 1, of the order statistics at the ends of a quantile's interval.
fn ranks(count: u64, level: f64, alpha: f64) -> Option<(u64, u64)> {
    let tail = alpha / 2.0;
    if count > EXACT {
        let (middle, deviation) = (count as f64 * level, (count as f64 * level * (1.0 - level)).sqrt());
        let width = normal_quantile(tail) * deviation;
        // With the correction for continuity, and outwards, so that the interval is not too short.
        let (low, high) = ((middle - width + 0.5).floor(), (middle + width + 0.5).ceil());
        return (low >= 1.0 && high <= count as f64).then_some((low as u64, high as u64));
    }
    let binomial = Binomial::new(level, count).ok()?;
    // The largest rank whose value is above the quantile with at most the probability of the tail.
    let low = (1..=count).take_while(|rank| binomial.cdf(rank - 1) <= tail).last()?;
    let high = (1..=count).rev().take_while(|rank| binomial.sf(rank - 1) <= tail).last()?;
    Some((low, high))
}
