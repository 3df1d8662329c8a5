//! Integrals of normal densities and distributions, by Gauss-Legendre quadrature.

/// The tails beyond this many standard errors are below 1e-16.
const REACH: f64 = 8.5;

/// A panel of the quadrature is at most this wide, in standard errors of the narrowest distribution in it.
const PANEL: f64 = 3.0;

/// The narrowest panel, as a part of the whole; it bounds the work.
const LEAST: f64 = 1e-4;

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

/// The range in which an integrand changes, as a normal distribution does: around `middle`, over distances of `width`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) middle: f64,
    pub(super) width: f64,
}

impl Change {
    pub(super) fn low(&self) -> f64 {
        self.middle - REACH * self.width
    }

    pub(super) fn high(&self) -> f64 {
        self.middle + REACH * self.width
    }
}

/// The integral of `f`, in panels as narrow as the changes in them demand.
pub(super) fn integrate(low: f64, high: f64, changes: &[Change], f: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 0.0;
    let mut start = low;
    while start < high {
        let here = changes.iter().filter(|change| change.low() <= start && start < change.high());
        let width = here.map(|change| PANEL * change.width).fold(high - start, f64::min);
        let next = changes.iter().map(Change::low).filter(|begin| *begin > start).fold(high, f64::min);
        // A width that rounding loses in `start` cannot be resolved, and would not end.
        let end = (start + width).min(next).max(start + (high - low) * LEAST);
        let (middle, half) = (0.5 * (start + end), 0.5 * (end - start));
        let pairs = NODES.iter().map(|(node, weight)| weight * (f(middle - half * node) + f(middle + half * node)));
        sum += half * pairs.sum::<f64>();
        start = end;
    }
    sum
}

/// The density of the normal distribution.
pub(super) fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
