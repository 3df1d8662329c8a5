//! Statistics of experiments as metric math: the test of the sample ratio, and the sequential band.
//!
//! CloudWatch's metric math has LOG, the natural logarithm, and no square root, which `^ 0.5` replaces
//! ([functions](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html)).

/// Critical values of the chi-squared distribution at p = 0.001, for 1 to 19 degrees of freedom.
///
/// From `scipy.stats.chi2.isf(0.001, df)`. An experiment on a dashboard has at most 20 variations.
pub const CRITICAL_CHI_SQUARED: [f64; 19] = [
    10.828, 13.816, 16.266, 18.467, 20.515, 22.458, 24.322, 26.124, 27.877, 29.588, 31.264, 32.909, 34.528, 36.123,
    37.697, 39.252, 40.790, 42.312, 43.820,
];

/// The error rate of the bands, both sides together.
pub const ALPHA: f64 = 0.05;

/// GrowthBook's tuning parameter: the number of visitors of both variations at which the band is tightest.
pub const TUNING: f64 = 5_000.0;

/// The steps of Pearson's chi-squared statistic for counts `n…` and relative weights: ids and expressions, of which the last
/// is `statistic`.
///
/// `counts` are the parts of the ids after `n`, with the weights.
pub fn sample_ratio(counts: &[(String, &str)]) -> Vec<(String, String)> {
    let all: Vec<String> = counts.iter().map(|(id, _)| format!("n{id}")).collect();
    let weights: Vec<&str> = counts.iter().map(|(_, weight)| *weight).collect();
    let mut steps = vec![("total".to_owned(), all.join(" + "))];
    for (id, weight) in counts {
        steps.push((format!("x{id}"), format!("total * {weight} / ({})", weights.join(" + "))));
    }
    let terms: Vec<String> = counts.iter().map(|(id, _)| format!("(n{id} - x{id}) ^ 2 / x{id}")).collect();
    steps.push(("statistic".to_owned(), terms.join(" + ")));
    steps
}

/// ρ² of the sequential band, equation 161 of [Waudby-Smith et al.](https://arxiv.org/pdf/2103.06476v7.pdf).
pub fn rho_squared() -> f64 {
    let log = -2.0 * ALPHA.ln();
    (log + log.ln_1p()) / TUNING
}

/// The half-width of the asymptotic confidence sequence of a difference with this variance, of `visitors` in total.
///
/// Equation 9 of [Waudby-Smith et al.](https://arxiv.org/pdf/2103.06476v7.pdf), as `SequentialTwoSidedTTest` of gbstats 0.8
/// computes it, simplified: √(σ² (nρ² + 1) (ln(nρ² + 1) − 2 ln α) / (nρ²)). Both arguments are ids.
pub fn sequential_half_width(variance: &str, visitors: &str) -> String {
    let (rho, log) = (rho_squared(), -2.0 * ALPHA.ln());
    let scaled = format!("{rho:.12} * {visitors}");
    format!("({variance} * ({scaled} + 1) * (LOG({scaled} + 1) + {log:.12}) / ({scaled})) ^ 0.5")
}
