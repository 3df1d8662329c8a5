//! The measurements of a variation for a goal.

/// Fewer conversions than this are too few for a verdict.
///
/// The sequential test relies on the central limit theorem. docs/statistics.md has the simulation: with early looks at low
/// rates it shows more false differences than it promises.
pub const ENOUGH: u64 = 50;

/// The visitors of a variation, with the mean and the variance of what they did for a goal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The number of visitors.
    pub visitors: f64,
    /// The mean per visitor: of a goal without values, the rate.
    pub mean: f64,
    /// The variance of one visitor's value.
    pub variance: f64,
    /// The visitors that make the distribution of the mean normal: converted ones, or the others if those are fewer.
    rarer: u64,
}

impl Sample {
    /// A sample of visitors who convert or not (gbstats: `ProportionStatistic`).
    pub fn proportion(visitors: u64, conversions: u64) -> Self {
        let mean = if visitors == 0 { 0.0 } else { conversions as f64 / visitors as f64 };
        let rarer = conversions.min(visitors.saturating_sub(conversions));
        Self { visitors: visitors as f64, mean, variance: mean * (1.0 - mean), rarer }
    }

    /// A sample of visitors who convert at a rate, for calculations ahead.
    pub fn at_rate(visitors: f64, rate: f64) -> Self {
        let rarer = (visitors * rate.min(1.0 - rate)) as u64;
        Self { visitors, mean: rate, variance: rate * (1.0 - rate), rarer }
    }

    /// A sample of visitors with values, 0 for those without a conversion (gbstats: `SampleMeanStatistic`).
    pub fn values(visitors: u64, conversions: u64, sum: f64, sum_squares: f64) -> Self {
        let n = visitors as f64;
        let mean = if visitors == 0 { 0.0 } else { sum / n };
        let variance = if visitors <= 1 { 0.0 } else { (sum_squares - sum * sum / n) / (n - 1.0) };
        Self { visitors: n, mean, variance, rarer: conversions }
    }

    /// Whether the sample suffices for a verdict: `ENOUGH` conversions, and as many visitors without, if they have no values.
    pub fn is_large(&self) -> bool {
        self.rarer >= ENOUGH
    }

    /// Whether the sample has a variance above zero. Without it nothing can be compared.
    pub fn varies(&self) -> bool {
        self.variance > 0.0 && self.variance.is_finite() && self.mean.is_finite()
    }
}
