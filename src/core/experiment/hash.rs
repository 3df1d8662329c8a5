//! Hashes a visitor into a bucket, and selects a variation by ranges of buckets
//! ([SDK specification, Hashing](https://docs.growthbook.io/lib/build-your-own#hashing)).
//!
//! Buckets and the ends of ranges are integers: thousandths or ten-thousandths, by the version of the hash. The integers
//! are chosen so that every comparison gives the result of the specification's floating-point numbers.

/// The version of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashVersion {
    /// A thousand buckets; biased, and kept for old experiments.
    One,
    /// Ten thousand buckets.
    Two,
}

impl HashVersion {
    /// The version with this number, if it exists.
    pub fn new(version: f64) -> Option<Self> {
        match version {
            1.0 => Some(Self::One),
            2.0 => Some(Self::Two),
            _ => None,
        }
    }

    /// The number of buckets.
    pub fn buckets(self) -> u32 {
        match self {
            Self::One => 1_000,
            Self::Two => 10_000,
        }
    }
}

/// A bucket, from 0 to the version's number of buckets.
pub type Bucket = u32;

/// A seed, hashed as far as it comes before the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    text: Box<str>,
    state: u32,
}

impl Seed {
    /// Prepares a seed.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), state: fnv1a(OFFSET, text) }
    }

    /// Hashes `value` into a bucket.
    pub fn bucket(&self, value: &str, version: HashVersion) -> Bucket {
        match version {
            HashVersion::One => fnv1a(fnv1a(OFFSET, value), &self.text) % 1_000,
            HashVersion::Two => {
                let mut digits = [0; 10];
                fnv1a(OFFSET, decimal(fnv1a(self.state, value), &mut digits)) % 10_000
            }
        }
    }
}

/// A bucket as the fraction that the specification states.
pub fn fraction(bucket: Bucket, version: HashVersion) -> f64 {
    f64::from(bucket) / f64::from(version.buckets())
}

const OFFSET: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// FNV-1a over UTF-16 code units, as GrowthBook's JavaScript SDK hashes, from a state.
fn fnv1a(state: u32, text: &str) -> u32 {
    let step = |state: u32, unit: u32| (state ^ unit).wrapping_mul(PRIME);
    if text.is_ascii() {
        text.bytes().fold(state, |state, byte| step(state, byte.into()))
    } else {
        text.encode_utf16().fold(state, |state, unit| step(state, unit.into()))
    }
}

/// A short name for texts, which tells experiments apart in cookies.
pub(super) fn fingerprint(texts: &[&str]) -> u32 {
    texts.iter().fold(OFFSET, |state, text| fnv1a(state, text))
}

/// The decimal digits of `number`.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[start..]).unwrap_or_default()
}

/// A half-open range of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    start: u32,
    end: u32,
}

impl Range {
    /// The buckets whose fraction is at least `start` and less than `end`.
    pub fn new(start: f64, end: f64, version: HashVersion) -> Self {
        Self { start: first_bucket(start, version), end: first_bucket(end, version) }
    }

    /// Whether the range contains a bucket.
    pub fn contains(self, bucket: Bucket) -> bool {
        (self.start..self.end).contains(&bucket)
    }

    /// The number of buckets.
    pub fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether no bucket is in the range.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The first bucket whose fraction is at least `bound`.
fn first_bucket(bound: f64, version: HashVersion) -> u32 {
    let buckets = version.buckets();
    let mut first = (bound * f64::from(buckets)).clamp(0.0, f64::from(buckets)) as u32;
    // The product can be rounded to either side.
    while first > 0 && fraction(first - 1, version) >= bound {
        first -= 1;
    }
    while first < buckets && fraction(first, version) < bound {
        first += 1;
    }
    // No bucket is at least NaN.
    if bound.is_nan() { buckets } else { first }
}

/// The ranges of `weights` at a coverage
/// ([Bucket ranges](https://docs.growthbook.io/lib/build-your-own#getbucketranges)).
///
/// Weights that are not one for each variation, that are negative, or whose sum is not about 1 count as equal weights.
pub fn ranges(variations: usize, coverage: f64, weights: Option<&[f64]>, version: HashVersion) -> Vec<Range> {
    let coverage = coverage.clamp(0.0, 1.0);
    let equal;
    let weights = match weights.filter(|weights| are_usable(weights, variations)) {
        Some(weights) => weights,
        None => {
            equal = vec![1.0 / variations as f64; variations];
            &equal
        }
    };
    let mut cumulative = 0.0;
    let mut range = |weight: f64| {
        let start = cumulative;
        cumulative += weight;
        Range::new(start, start + coverage * weight, version)
    };
    weights.iter().map(|weight| range(*weight)).collect()
}

/// Whether there is one weight for each variation, none is negative, and their sum is about 1.
pub(super) fn are_usable(weights: &[f64], variations: usize) -> bool {
    let sum: f64 = weights.iter().sum();
    let is_weight = |weight: &f64| weight.is_finite() && *weight >= 0.0;
    weights.len() == variations && weights.iter().all(is_weight) && (0.99..=1.01).contains(&sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_hashed_over_utf_16_code_units() {
        // Computed from the definition of FNV-1a: one step for each code unit, two for a character above U+FFFF.
        let units = |units: &[u32]| units.iter().fold(OFFSET, |state, unit| (state ^ unit).wrapping_mul(PRIME));
        assert_eq!(fnv1a(OFFSET, "é"), units(&[0xe9]));
        assert_eq!(fnv1a(OFFSET, "😀"), units(&[0xd83d, 0xde00]));
        assert_eq!(fnv1a(OFFSET, "ab"), units(&[0x61, 0x62]));
    }

    #[test]
    fn unusable_weights_count_as_equal_ones() {
        let version = HashVersion::Two;
        let halves = ranges(2, 1.0, None, version);
        for weights in [&[0.4, 0.1][..], &[0.7, 0.6], &[1.0], &[1.2, -0.2], &[f64::NAN, 0.5]] {
            assert_eq!(ranges(2, 1.0, Some(weights), version), halves, "{weights:?}");
        }
        assert_ne!(ranges(2, 1.0, Some(&[0.4, 0.6]), version), halves);
    }

    proptest! {
        #[test]
        fn integer_ranges_compare_as_the_fractions_do(
            start in 0.0..=1.0f64, end in 0.0..=1.0f64, bucket in 0..10_000u32, one in any::<bool>(),
        ) {
            let version = if one { HashVersion::One } else { HashVersion::Two };
            let bucket = bucket % version.buckets();
            let is_in = fraction(bucket, version) >= start && fraction(bucket, version) < end;
            prop_assert_eq!(Range::new(start, end, version).contains(bucket), is_in);
        }

        #[test]
        fn raising_the_coverage_moves_no_participant(
            id in "[a-z0-9]{1,12}", low in 0.0..=1.0f64, high in 0.0..=1.0f64, weight in 0.0..=1.0f64,
        ) {
            let weights = [weight, 1.0 - weight];
            let bucket = Seed::new("seed").bucket(&id, HashVersion::Two);
            let choose = |coverage| {
                let ranges = ranges(2, coverage, Some(&weights), HashVersion::Two);
                ranges.iter().position(|range| range.contains(bucket))
            };
            if let Some(variation) = choose(low.min(high)) {
                prop_assert_eq!(choose(low.max(high)), Some(variation));
            }
        }
    }
}
