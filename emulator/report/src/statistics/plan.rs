//! The visitors that an experiment needs.

use super::comparison::{Effect, Scale};
use super::distribution::{normal_cdf, normal_quantile};
use super::quadrature::{Change, integrate, normal_density};
use super::sample::{ENOUGH, Sample};
use super::sequential;

/// No experiment gets more visitors.
const MOST: f64 = 1e15;

/// The effect that an experiment must detect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// The rate of the control.
    pub rate: f64,
    /// The relative difference of the treatment's rate.
    pub uplift: f64,
    /// The probability of a difference without one: the significance level.
    pub alpha: f64,
}

/// When the results are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// Once, when all visitors have come.
    One,
    /// At any time.
    Every,
}

impl Goal {
    /// The visitors of each variation with which the test finds the difference with a probability of `power`.
    ///
    /// They suffice for the conversions that a verdict needs. With looks at any time, the difference may show earlier.
    /// `None` if no number of visitors suffices.
    pub fn visitors(&self, looks: Looks, power: f64) -> Option<u64> {
        let treatment = self.treatment();
        let rarest = self.rate.min(treatment).min(1.0 - self.rate).min(1.0 - treatment);
        if self.uplift == 0.0 || !(rarest > 0.0 && self.alpha > 0.0 && self.alpha < 1.0 && power < 1.0) {
            return None;
        }
        let mut enough = (ENOUGH as f64 / rarest).ceil();
        if self.power(looks, enough) < power {
            let mut few = enough;
            while self.power(looks, enough) < power {
                few = enough;
                enough *= 2.0;
                if enough > MOST {
                    return None;
                }
            }
            while enough - few > 1.0 {
                let middle = (0.5 * (few + enough)).floor();
                if self.power(looks, middle) < power { few = middle } else { enough = middle }
            }
        }
        Some(enough as u64)
    }

    /// The probability that the test finds the difference at a look after so many visitors of each variation.
    ///
    /// The rates that the variations will show are normal. For each rate of the control, the test's statistic gives the rate
    /// of the treatment from which on a difference is found. The statistic itself would be a poor normal deviate: its
    /// standard error changes with the rates.
    pub fn power(&self, looks: Looks, visitors: f64) -> f64 {
        let critical = match looks {
            // So many degrees of freedom that Student's distribution is normal.
            Looks::One => normal_quantile(self.alpha / 2.0),
            Looks::Every => sequential::critical_deviate(2.0 * visitors, self.alpha),
        };
        let error = |rate: f64| (rate * (1.0 - rate) / visitors).sqrt();
        let (control, treatment) = (error(self.rate), error(self.treatment()));
        let noise = Change { middle: 0.0, width: 1.0 };
        let power = integrate(noise.low(), noise.high(), &[noise], |z| {
            let rate = self.rate + z * control;
            if rate <= 0.0 || rate >= 1.0 {
                return 0.0;
            }
            let limit = self.limit(rate, visitors, critical);
            normal_density(z) * normal_cdf((self.treatment() - limit) / treatment * self.uplift.signum())
        });
        power.clamp(0.0, 1.0)
    }

    fn treatment(&self) -> f64 {
        self.rate * (1.0 + self.uplift)
    }

    /// The treatment's rate from which on a difference is found, in the direction of the uplift.
    fn limit(&self, control: f64, visitors: f64, critical: f64) -> f64 {
        let (mut same, mut different) = (control, if self.uplift > 0.0 { 1.0 } else { 0.0 });
        // To half of the digits of a float, because it is compared with a standard error.
        for _ in 0..40 {
            let middle = 0.5 * (same + different);
            let samples = (Sample::at_rate(visitors, control), Sample::at_rate(visitors, middle));
            let effect = Effect::of(&samples.0, &samples.1, Scale::Relative);
            let found = effect.is_some_and(|effect| effect.estimate.abs() > critical * effect.variance.sqrt());
            if found { different = middle } else { same = middle }
        }
        different
    }
}
