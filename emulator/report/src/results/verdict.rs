//! The verdict: the action that the results of a goal suggest.

use std::fmt;

use super::table::{SampleRatio, VariationResult};
use crate::statistics::comparison::ALPHA;
use crate::statistics::sample::ENOUGH;

/// A verdict on a goal. `Display` writes it in words.
///
/// It uses the sequential p-value, so that it holds whenever one looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The visitors are not split as the weights say: no other verdict is possible.
    Mismatch,
    /// The control, or each treatment, has too few conversions.
    TooFew,
    /// A treatment is better than the control.
    Ship {
        /// The key of the treatment; of several, the one that is most probably best.
        variation: String,
    },
    /// Each treatment is worse than the control.
    Keep {
        /// The key of the control.
        variation: String,
    },
    /// The data do not yet show whether a treatment is better.
    Wait,
}

impl Verdict {
    /// The verdict on a goal, from its variations' results with the control first.
    pub fn of(srm: &SampleRatio, variations: &[VariationResult]) -> Self {
        if srm.is_mismatch() {
            return Self::Mismatch;
        }
        let Some((control, treatments)) = variations.split_first().filter(|(control, _)| control.is_large) else {
            return Self::TooFew;
        };
        if !treatments.iter().any(|treatment| treatment.is_large) {
            return Self::TooFew;
        }
        let better = treatments.iter().filter(|treatment| shown(treatment).is_some_and(|difference| difference > 0.0));
        // With a negative mean of the control, the uplift and the chance have the other direction.
        let is_reversed = control.rate.is_some_and(|rate| rate < 0.0);
        let rank = |treatment: &VariationResult| {
            if is_reversed { treatment.difference } else { treatment.chance_to_be_best }.unwrap_or(0.0)
        };
        if let Some(best) = better.max_by(|a, b| rank(a).total_cmp(&rank(b))) {
            return Self::Ship { variation: best.variation.clone() };
        }
        if treatments.iter().all(|treatment| shown(treatment).is_some_and(|difference| difference < 0.0)) {
            return Self::Keep { variation: control.variation.clone() };
        }
        Self::Wait
    }
}

/// The difference from the control, if the data show that there is one.
fn shown(treatment: &VariationResult) -> Option<f64> {
    let is_shown = treatment.is_large && treatment.sequential_p_value.is_some_and(|p_value| p_value < ALPHA);
    treatment.difference.filter(|_| is_shown)
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch => {
                write!(
                    formatter,
                    "mismatch: visitors are not split as the weights say; find the cause before reading results"
                )
            }
            Self::TooFew => write!(formatter, "too few: wait for {ENOUGH} conversions in each variation"),
            Self::Ship { variation } => write!(formatter, "ship {variation}: it is better than the control"),
            Self::Keep { variation } => write!(formatter, "keep {variation}: it is better than every other variation"),
            Self::Wait => write!(formatter, "wait: no difference is shown yet"),
        }
    }
}
