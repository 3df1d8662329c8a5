//! Distributions by `statrs`, where they are accurate to 1e-9 in the tails.

use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, StudentsT};
use statrs::function::erf::{erfc, erfc_inv};

/// Above this many degrees of freedom, t is mapped to a normal deviate.
///
/// The incomplete beta function subtracts logarithms of the gamma function, which loses a digit with each power of ten.
/// Wallace's mapping has a relative error of the order of 1/freedom².
const WALLACE: f64 = 50_000.0;

/// Newton's method needs fewer steps than this from every start used here.
const STEPS: usize = 100;

/// The probability that a normal deviate is below `z`.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// The normal deviate that is exceeded with the probability `tail`.
pub fn normal_quantile(tail: f64) -> f64 {
    std::f64::consts::SQRT_2 * erfc_inv(2.0 * tail)
}

/// The probability that a t deviate is further from 0 than `t`, on both sides.
pub fn student_two_sided(t: f64, freedom: f64) -> f64 {
    if t.is_nan() || freedom.is_nan() || freedom <= 0.0 {
        return f64::NAN;
    }
    if freedom > WALLACE {
        return erfc(wallace(t.abs(), freedom) / std::f64::consts::SQRT_2);
    }
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::NAN, |student| (2.0 * student.sf(t.abs())).min(1.0))
}

/// The t deviate that is exceeded with the probability `tail`, which is below 0.5.
///
/// statrs searches it to fewer digits, by its quantile of the beta distribution.
pub fn student_quantile(tail: f64, freedom: f64) -> f64 {
    let normal = normal_quantile(tail);
    if freedom > WALLACE {
        // The inverse of `wallace`.
        let scaled = normal / wallace_factor(freedom);
        return (freedom * (scaled * scaled / freedom).exp_m1()).sqrt();
    }
    let Ok(student) = StudentsT::new(0.0, 1.0, freedom) else { return f64::NAN };
    // The tail is convex and above the normal one: Newton's method from the left never overshoots.
    let mut t = normal;
    for _ in 0..STEPS {
        let step = (student.sf(t) - tail) / student.pdf(t);
        t += step;
        if step.abs() <= t * 1e-14 {
            break;
        }
    }
    t
}

/// A normal deviate with nearly the tail of `t` (Wallace 1959, formula 4.2).
fn wallace(t: f64, freedom: f64) -> f64 {
    wallace_factor(freedom) * (freedom * (t * t / freedom).ln_1p()).sqrt()
}

fn wallace_factor(freedom: f64) -> f64 {
    (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
}

/// The probability that a chi-squared deviate exceeds `x`.
pub fn chi_squared_tail(x: f64, freedom: f64) -> f64 {
    ChiSquared::new(freedom).map_or(f64::NAN, |distribution| distribution.sf(x))
}

/// The chi-squared deviate that is exceeded with the probability `tail`.
pub fn chi_squared_quantile(tail: f64, freedom: f64) -> f64 {
    let Ok(distribution) = ChiSquared::new(freedom) else { return f64::NAN };
    let (mut low, mut high) = (0.0, 1.0);
    while distribution.sf(high) > tail {
        high *= 2.0;
    }
    // Bisection to the last bit: statrs searches to fewer digits.
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if distribution.sf(middle) > tail { low = middle } else { high = middle }
    }
}
