//! A treatment compared with the control.

use super::distribution::{student_quantile, student_two_sided};
use super::interval::Interval;
use super::sample::Sample;
use super::sequential;

/// The error rate of intervals and verdicts: 95 % confidence.
pub const ALPHA: f64 = 0.05;

/// How a difference of two means is expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// As a part of the control's mean.
    Relative,
    /// In the unit of the means.
    Absolute,
}

/// A difference between two samples, with its variance by the delta method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// The difference.
    pub estimate: f64,
    /// The variance of the estimate.
    pub variance: f64,
    /// The degrees of freedom of Welch and Satterthwaite.
    pub freedom: f64,
    /// The visitors in both samples.
    pub visitors: f64,
}

impl Effect {
    /// The difference of `treatment` from `control`; `None` where gbstats refuses to compare.
    ///
    /// gbstats refuses if the control's mean is 0, on both scales, or if a variance is not above 0.
    pub fn of(control: &Sample, treatment: &Sample, scale: Scale) -> Option<Self> {
        if control.mean == 0.0 || !control.varies() || !treatment.varies() {
            return None;
        }
        let (a, b) = (control.variance / control.visitors, treatment.variance / treatment.visitors);
        let difference = treatment.mean - control.mean;
        let (estimate, variance) = match scale {
            Scale::Absolute => (difference, a + b),
            Scale::Relative => {
                let square = control.mean * control.mean;
                (difference / control.mean, b / square + a * (treatment.mean * treatment.mean) / (square * square))
            }
        };
        let freedom = (a + b) * (a + b) / (b * b / (treatment.visitors - 1.0) + a * a / (control.visitors - 1.0));
        let effect = Self { estimate, variance, freedom, visitors: control.visitors + treatment.visitors };
        let finite = estimate.is_finite() && variance.is_finite() && freedom.is_finite();
        (finite && variance > 0.0).then_some(effect)
    }

    /// The interval for one look, and its p-value (gbstats: `TwoSidedTTest`).
    pub fn fixed(&self, alpha: f64) -> (Interval, f64) {
        let error = self.variance.sqrt();
        let width = student_quantile(alpha / 2.0, self.freedom) * error;
        (Interval::around(self.estimate, width), student_two_sided(self.estimate / error, self.freedom))
    }

    /// The interval for looks at any time, and its p-value (gbstats: `SequentialTwoSidedTTest`).
    pub fn sequential(&self, alpha: f64) -> (Interval, f64) {
        let Self { estimate, variance, visitors, .. } = *self;
        let p_value = sequential::p_value(estimate, variance, visitors, alpha);
        (sequential::interval(estimate, variance, visitors, alpha), p_value)
    }
}
