//! The chance to be best: the probability that a variation has the highest mean.
//!
//! The posterior of GrowthBook's Bayesian test with a flat prior (gbstats: `EffectBayesianABTest`, relative). The relative
//! uplifts `u_i` of the treatments are normal; they share the noise of the control, `z`:
//!
//! ```text
//! u_i = (m_i − m_0) / m_0  −  (m_i s_0 / m_0²) z  +  (s_i / |m_0|) ε_i        z, ε_i ~ N(0, 1)
//! ```
//!
//! with the means `m` and their standard errors `s`. The control is best if all uplifts are below 0; a treatment is best if
//! its uplift is above 0 and above the others'. With one treatment this is gbstats' chance to win. With more, the
//! probability is integrated over `z` and over the treatment's uplift by Gauss-Legendre quadrature, so that it is
//! deterministic, unlike draws from the posterior.

use super::distribution::normal_cdf;
use super::quadrature::{Change, integrate, normal_density};
use super::sample::Sample;

/// The uplift of a treatment, given the control's noise `z`: normal with the mean `estimate - shared * z`.
#[derive(Debug, Clone, Copy)]
struct Uplift {
    estimate: f64,
    /// How far a standard error of the control moves the uplift.
    shared: f64,
    /// The standard error that the treatment adds.
    own: f64,
}

impl Uplift {
    fn of(control: &Sample, treatment: &Sample) -> Option<Self> {
        let base = control.mean;
        let error = |sample: &Sample| (sample.variance / sample.visitors).sqrt();
        let uplift = Self {
            estimate: (treatment.mean - base) / base,
            shared: treatment.mean * error(control) / (base * base),
            own: error(treatment) / base.abs(),
        };
        let usable = treatment.varies() && uplift.own > 0.0;
        let finite = uplift.estimate.is_finite() && uplift.shared.is_finite() && uplift.own.is_finite();
        (usable && finite).then_some(uplift)
    }

    /// The noise at which this uplift starts to exceed another one.
    fn exceeds(&self, other: &Self) -> Change {
        let slope = self.shared - other.shared;
        if slope == 0.0 {
            // The noise does not matter.
            return Change { middle: 0.0, width: f64::INFINITY };
        }
        Change { middle: (self.estimate - other.estimate) / slope, width: self.own.hypot(other.own) / slope.abs() }
    }

    /// The probability that the uplift is below `u`, given `z`.
    fn below(&self, u: f64, z: f64) -> f64 {
        normal_cdf((u - self.estimate + self.shared * z) / self.own)
    }
}

/// The chance to be best of each sample; the first one is the control.
///
/// `None` for a sample that cannot be compared, and for all if the control cannot, or if no treatment can.
pub fn to_be_best(samples: &[Sample]) -> Vec<Option<f64>> {
    let nothing = vec![None; samples.len()];
    let Some((control, treatments)) = samples.split_first() else { return nothing };
    if control.mean == 0.0 || !control.varies() {
        return nothing;
    }
    let compared: Vec<Option<Uplift>> = treatments.iter().map(|treatment| Uplift::of(control, treatment)).collect();
    let uplifts: Vec<Uplift> = compared.iter().copied().flatten().collect();
    match &*uplifts {
        [] => nothing,
        [only] => {
            let z = only.estimate / only.own.hypot(only.shared);
            let treatment = |compared: &Option<Uplift>| compared.map(|_| normal_cdf(z));
            std::iter::once(Some(normal_cdf(-z))).chain(compared.iter().map(treatment)).collect()
        }
        _ => {
            // `best` has an element for each of `uplifts`: the treatments that can be compared, in their order.
            let mut best = uplifts.iter().map(|uplift| treatment_is_best(uplift, &uplifts));
            let chances: Vec<Option<f64>> =
                compared.iter().map(|compared| compared.and_then(|_| best.next())).collect();
            std::iter::once(Some(control_is_best(&uplifts))).chain(chances).collect()
        }
    }
}

fn control_is_best(uplifts: &[Uplift]) -> f64 {
    over_noise(uplifts, |z| uplifts.iter().map(|uplift| uplift.below(0.0, z)).product())
}

fn treatment_is_best(treatment: &Uplift, uplifts: &[Uplift]) -> f64 {
    over_noise(uplifts, |z| {
        let given = |uplift: &Uplift| Change { middle: uplift.estimate - uplift.shared * z, width: uplift.own };
        let changes: Vec<Change> = uplifts.iter().map(given).collect();
        let this = given(treatment);
        integrate(this.low().max(0.0), this.high(), &changes, |u| {
            let density = normal_density((u - this.middle) / this.width) / this.width;
            let others = uplifts.iter().filter(|other| !std::ptr::eq(*other, treatment));
            density * others.map(|other| other.below(u, z)).product::<f64>()
        })
    })
}

/// Integrates over the noise of the control.
///
/// The noise at which one uplift starts to exceed another one, or 0: there, the best variation changes.
fn over_noise(uplifts: &[Uplift], given: impl Fn(f64) -> f64) -> f64 {
    let noise = Change { middle: 0.0, width: 1.0 };
    let control = Uplift { estimate: 0.0, shared: 0.0, own: 0.0 };
    let mut changes = vec![noise];
    for (index, uplift) in uplifts.iter().enumerate() {
        changes.push(uplift.exceeds(&control));
        changes.extend(uplifts.iter().skip(index + 1).map(|other| uplift.exceeds(other)));
    }
    integrate(noise.low(), noise.high(), &changes, |z| normal_density(z) * given(z)).clamp(0.0, 1.0)
}
