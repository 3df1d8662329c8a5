//! The test of the sample ratio: whether visitors are split as the weights say.

use super::distribution::{chi_squared_quantile, chi_squared_tail};

/// A p-value below this is a sample-ratio mismatch (GrowthBook's threshold).
pub const MISMATCH: f64 = 0.001;

/// The result of Pearson's chi-squared test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioTest {
    /// The statistic.
    pub chi_squared: f64,
    /// The probability of this statistic or a larger one, if the split is as the weights say.
    pub p_value: f64,
}

/// Tests visitors, per variation, against weights (`scipy.stats.chisquare`).
///
/// Variations without a weight get no visitors from the experiment and are left out. `None` without visitors, or with
/// fewer than two weights above 0.
pub fn test(variations: impl Iterator<Item = (u64, f64)> + Clone) -> Option<RatioTest> {
    let weighted = variations.filter(|(_, weight)| *weight > 0.0);
    let possible = weighted.clone().count();
    let visitors: f64 = weighted.clone().map(|(visitors, _)| visitors as f64).sum();
    let weights: f64 = weighted.clone().map(|(_, weight)| weight).sum();
    if possible < 2 || visitors == 0.0 {
        return None;
    }
    let terms = weighted.map(|(observed, weight)| {
        let expected = weight / weights * visitors;
        (observed as f64 - expected).powi(2) / expected
    });
    let chi_squared: f64 = terms.sum();
    let p_value = if chi_squared.is_finite() { chi_squared_tail(chi_squared, (possible - 1) as f64) } else { 0.0 };
    (!chi_squared.is_nan()).then_some(RatioTest { chi_squared, p_value })
}

/// The statistic above which a split of `variations` is a mismatch; 0 for fewer than two.
pub fn critical_value(variations: usize) -> f64 {
    if variations < 2 { 0.0 } else { chi_squared_quantile(MISMATCH, (variations - 1) as f64) }
}
