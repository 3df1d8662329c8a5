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
use super::sample::Sample;

/// The tails beyond this many standard errors are below 1e-16.
const REACH: f64 = 8.5;

/// A panel of the quadrature is this wide, in units of the narrowest distribution in it.
const PANEL: f64 = 3.0;

/// Bounds the work if one distribution is far narrower than the others.
const PANELS: f64 = 60.0;

/// The positive nodes of the Gauss-Legendre rule of order 16, and their weights (Abramowitz and Stegun, table 25.4).
const NODES: [(f64, f64); 8] = [
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_6),
    (0.458_016_777_657_227_4, 0.169_156_519_395_002_54),
    (0.617_876_244_402_643_7, 0.149_595_988_816_576_73),
    (0.755_404_408_355_003, 0.124_628_971_255_533_87),
    (0.865_631_202_387_831_7, 0.095_158_511_682_492_78),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_894),
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_095),
];

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
    let narrowest = uplifts.iter().map(|uplift| uplift.own).fold(f64::INFINITY, f64::min);
    over_noise(uplifts, |z| {
        let middle = treatment.estimate - treatment.shared * z;
        let (low, high) = ((middle - REACH * treatment.own).max(0.0), middle + REACH * treatment.own);
        integrate(low, high, narrowest, |u| {
            let others = uplifts.iter().filter(|other| !std::ptr::eq(*other, treatment));
            let density = normal_density((u - middle) / treatment.own) / treatment.own;
            density * others.map(|other| other.below(u, z)).product::<f64>()
        })
    })
}

/// Integrates over the noise of the control.
fn over_noise(uplifts: &[Uplift], given: impl Fn(f64) -> f64) -> f64 {
    let narrowest = uplifts.iter().map(|uplift| uplift.own / uplift.shared.abs()).fold(1.0, f64::min);
    integrate(-REACH, REACH, narrowest, |z| normal_density(z) * given(z)).clamp(0.0, 1.0)
}

/// The integral of `f`, which changes over distances of `scale` and more.
fn integrate(low: f64, high: f64, scale: f64, f: impl Fn(f64) -> f64) -> f64 {
    if high <= low {
        return 0.0;
    }
    let panels = ((high - low) / (PANEL * scale)).ceil().clamp(1.0, PANELS);
    let half = 0.5 * (high - low) / panels;
    let panel = |index: u32| {
        let middle = low + (2.0 * f64::from(index) + 1.0) * half;
        NODES.iter().map(|(node, weight)| weight * (f(middle - half * node) + f(middle + half * node))).sum::<f64>()
    };
    half * (0..panels as u32).map(panel).sum::<f64>()
}

fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
