//! Counts compared, in the format of `nearedge experiment report --format json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::counts::{Counts, GoalCounts, VariationCounts};
use crate::statistics::chance;
use crate::statistics::comparison::{ALPHA, Effect, Scale};
use crate::statistics::interval::Interval;
use crate::statistics::ratio::{self, MISMATCH};
use crate::statistics::sample::Sample;

/// The results of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// The test of the sample ratio.
    pub srm: SampleRatio,
    /// The variations' results, the control first, for each goal.
    pub goals: BTreeMap<String, Vec<VariationResult>>,
}

/// The test of the sample ratio. Its members are null if it cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SampleRatio {
    /// The statistic.
    pub chi_squared: Option<f64>,
    /// The p-value.
    pub p_value: Option<f64>,
}

impl SampleRatio {
    /// Whether visitors are not split as the weights say. Then the other results mislead.
    pub fn is_mismatch(&self) -> bool {
        self.p_value.is_some_and(|p_value| p_value < MISMATCH)
    }
}

/// A variation's result for a goal. What compares it with the control is null for the control itself.
///
/// A comparison is null too if it cannot be computed: the control's mean is 0, or a variance is 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariationResult {
    /// The key of the variation.
    pub variation: String,
    /// Its visitors.
    pub visitors: u64,
    /// The visitors who reached the goal.
    pub conversions: u64,
    /// The mean per visitor: the part of visitors who reached the goal, or the mean of their values. Null without visitors.
    pub rate: Option<f64>,
    /// The relative difference from the control's rate: 0.1 is 10 % more.
    pub uplift: Option<f64>,
    /// The 95 % confidence interval of the uplift, for one look.
    pub interval: Option<Interval>,
    /// The p-value of the uplift, for one look.
    pub p_value: Option<f64>,
    /// The 95 % confidence interval of the uplift, for looks at any time.
    pub sequential_interval: Option<Interval>,
    /// The p-value of the uplift, for looks at any time.
    pub sequential_p_value: Option<f64>,
    /// The difference from the control's rate.
    pub difference: Option<f64>,
    /// The 95 % confidence interval of the difference, for one look.
    pub difference_interval: Option<Interval>,
    /// The probability that this variation has the highest rate of all.
    pub chance_to_be_best: Option<f64>,
    /// Whether there are enough conversions for a verdict. Not part of the format.
    #[serde(skip)]
    pub is_large: bool,
    /// Whether the goal has values, so that the rate is a mean. Not part of the format.
    #[serde(skip)]
    pub has_values: bool,
}

impl Results {
    /// Compares the variations of an experiment.
    pub fn of(counts: &Counts) -> Self {
        let variations = &counts.variations;
        let test = ratio::test(variations.iter().map(|variation| (variation.visitors, variation.weight)));
        let srm =
            SampleRatio { chi_squared: test.map(|test| test.chi_squared), p_value: test.map(|test| test.p_value) };
        let keys: BTreeSet<&String> = variations.iter().flat_map(|variation| variation.goals.keys()).collect();
        Self { srm, goals: keys.into_iter().map(|goal| (goal.clone(), compare(variations, goal))).collect() }
    }
}

/// The results of a goal. A variation that does not list the goal has no conversions.
fn compare(variations: &[VariationCounts], goal: &str) -> Vec<VariationResult> {
    let counted: Vec<GoalCounts> =
        variations.iter().map(|variation| variation.goals.get(goal).copied().unwrap_or_default()).collect();
    let has_values = counted.iter().any(|counts| counts.sum.is_some());
    let samples: Vec<Sample> = variations
        .iter()
        .zip(&counted)
        .map(|(variation, counts)| {
            if has_values {
                let (sum, sum_squares) = (counts.sum.unwrap_or(0.0), counts.sum_squares.unwrap_or(0.0));
                Sample::values(variation.visitors, counts.conversions, sum, sum_squares)
            } else {
                Sample::proportion(variation.visitors, counts.conversions)
            }
        })
        .collect();
    let chances = chance::to_be_best(&samples);
    let compared = samples.iter().enumerate().map(|(index, sample)| {
        let control = samples.first().filter(|_| index > 0);
        let effect = |scale| control.and_then(|control| Effect::of(control, sample, scale));
        (effect(Scale::Relative), effect(Scale::Absolute))
    });
    let rows = variations.iter().zip(&counted).zip(&samples).zip(compared).zip(chances);
    rows.map(|((((variation, counts), sample), (relative, absolute)), chance_to_be_best)| {
        let fixed = relative.map(|effect| effect.fixed(ALPHA));
        let sequential = relative.map(|effect| effect.sequential(ALPHA));
        VariationResult {
            variation: variation.key.clone(),
            visitors: variation.visitors,
            conversions: counts.conversions,
            rate: Some(sample.mean).filter(|mean| variation.visitors > 0 && mean.is_finite()),
            uplift: relative.map(|effect| effect.estimate),
            interval: fixed.map(|(interval, _)| interval),
            p_value: fixed.map(|(_, p_value)| p_value),
            sequential_interval: sequential.map(|(interval, _)| interval),
            sequential_p_value: sequential.map(|(_, p_value)| p_value),
            difference: absolute.map(|effect| effect.estimate),
            difference_interval: absolute.map(|effect| effect.fixed(ALPHA).0),
            chance_to_be_best,
            is_large: sample.is_large(),
            has_values,
        }
    })
    .collect()
}
