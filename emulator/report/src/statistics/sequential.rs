//! P-values and intervals that hold at every look.
//!
//! The asymptotic confidence sequence of Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence
//! sequences" (arXiv 2103.06476v7), as gbstats' `SequentialTwoSidedTTest` computes it.

use super::interval::Interval;

/// The number of visitors at which the interval is narrowest in relation to the fixed-horizon one (GrowthBook's default).
pub const TUNING: f64 = 5_000.0;

/// ρ² (equation 161 of the paper).
fn rho_squared(alpha: f64) -> f64 {
    let twice = -2.0 * alpha.ln();
    (twice + (twice + 1.0).ln()) / TUNING
}

/// The interval of an estimate that has `variance` after `visitors` visitors in both variations (equation 9).
///
/// With the probability 1 − `alpha`, the intervals of all looks contain the true value.
pub fn interval(estimate: f64, variance: f64, visitors: f64, alpha: f64) -> Interval {
    Interval::around(estimate, critical_deviate(visitors, alpha) * variance.sqrt())
}

/// The number of standard errors that an estimate must be away from 0 after `visitors` visitors.
pub fn critical_deviate(visitors: f64, alpha: f64) -> f64 {
    let rho_squared = rho_squared(alpha);
    let growth = visitors * rho_squared + 1.0;
    (2.0 * growth * (growth.sqrt() / alpha).ln() / (visitors * rho_squared)).sqrt()
}

/// The p-value of an estimate against 0 (equation 155). It is valid whenever one looks.
pub fn p_value(estimate: f64, variance: f64, visitors: f64, alpha: f64) -> f64 {
    let rho_squared = rho_squared(alpha);
    let growth = visitors * rho_squared + 1.0;
    let deviation = estimate * estimate * visitors / variance;
    // Not 1 / exp(…), which would overflow.
    (growth.sqrt() * (-rho_squared * deviation / (2.0 * growth)).exp()).min(1.0)
}
