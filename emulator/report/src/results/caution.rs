//! Cautions: facts to check before a decision.

use std::fmt;

use crate::statistics::comparison::{Effect, Scale};
use crate::statistics::sample::Sample;
use crate::tally::guardrail::Guardrail;
use crate::tally::result::Tally;

/// A p-value below this makes a difference of guardrails a caution. It is lower than that of a verdict: there are several
/// guardrails, and requests of one visitor are not independent.
const SURE: f64 = 0.001;

/// The part of the visitors above which those who are left out may change the result.
const MANY: f64 = 0.01;

/// The days below which the result may be that of some days of the week only.
const WEEK_MILLIS: i64 = 7 * 86_400_000;

/// Something to look at. `Display` says it in words.
#[derive(Debug, Clone, PartialEq)]
pub enum Caution {
    /// A treatment fails more often than the control.
    Failures {
        /// The key of the treatment.
        variation: String,
        /// The part of its requests.
        rate: f64,
        /// The part of the control's requests.
        control: f64,
    },
    /// A treatment is slower than the control.
    Latency {
        /// The key of the treatment.
        variation: String,
        /// Its 90th percentile, in milliseconds.
        p90_millis: f64,
        /// The control's.
        control: f64,
    },
    /// Many visitors have seen two variations.
    TwoVariations {
        /// The part of the visitors.
        part: f64,
    },
    /// Many conversions have no exposure.
    WithoutExposure {
        /// The key of the goal.
        goal: String,
        /// The part of the visitors who reached the goal.
        part: f64,
    },
    /// The lines cover less than a week.
    Short,
    /// There is one variation only.
    Alone,
    /// The weights are assumed.
    Undefined,
}

/// The cautions of an experiment, the most important ones first.
pub(super) fn cautions(tally: &Tally) -> Vec<Caution> {
    let mut found = Vec::new();
    if tally.counts.variations.len() < 2 {
        found.push(Caution::Alone);
    }
    if let Some((control, treatments)) = tally.guardrails.split_first() {
        for treatment in treatments {
            found.extend(failures(control, treatment));
            found.extend(latency(control, treatment));
        }
    }
    let visitors: u64 = tally.counts.variations.iter().map(|variation| variation.visitors).sum();
    let two = tally.left_out.visitors_in_two_variations as f64;
    let part = two / (visitors as f64 + two).max(1.0);
    if part > MANY {
        found.push(Caution::TwoVariations { part });
    }
    for (goal, left_out) in &tally.left_out.conversions {
        let goals = tally.counts.variations.iter().filter_map(|variation| variation.goals.get(goal));
        let counted: u64 = goals.map(|counts| counts.conversions).sum();
        let part = left_out.without_exposure as f64 / (counted + left_out.without_exposure).max(1) as f64;
        if part > MANY {
            found.push(Caution::WithoutExposure { goal: goal.clone(), part });
        }
    }
    if tally.span.is_some_and(|(start, end)| end - start < WEEK_MILLIS) {
        found.push(Caution::Short);
    }
    if !tally.is_defined {
        found.push(Caution::Undefined);
    }
    found
}

fn failures(control: &Guardrail, treatment: &Guardrail) -> Option<Caution> {
    let sample = |guardrail: &Guardrail| Sample::proportion(guardrail.requests, guardrail.failures);
    let (before, after) = (sample(control), sample(treatment));
    // Without a failure of the control, no test is possible; ten failures are more than chance.
    let is_worse = match Effect::of(&before, &after, Scale::Absolute) {
        Some(effect) => effect.estimate > 0.0 && effect.fixed(SURE).1 < SURE,
        None => control.failures == 0 && control.requests > 0 && treatment.failures >= 10,
    };
    is_worse.then(|| Caution::Failures {
        variation: treatment.variation.clone(),
        rate: after.mean,
        control: before.mean,
    })
}

fn latency(control: &Guardrail, treatment: &Guardrail) -> Option<Caution> {
    let (Some(before), Some(after)) = (control.p90_interval, treatment.p90_interval) else { return None };
    let (Some(control), Some(p90_millis)) = (control.p90_millis, treatment.p90_millis) else { return None };
    // 5 % more are no reason to decide otherwise, however certain they are.
    let is_worse = after[0] > before[1] && p90_millis > control * 1.05;
    is_worse.then(|| Caution::Latency { variation: treatment.variation.clone(), p90_millis, control })
}

impl Caution {
    /// Whether it speaks against a variation.
    pub fn is_serious(&self) -> bool {
        matches!(self, Self::Failures { .. } | Self::Latency { .. })
    }
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: &f64| format!("{:.2} %", part * 100.0);
        match self {
            Self::Failures { variation, rate, control } => write!(
                f,
                "{variation} fails more often: {} of its requests, {} of the control's. Find the errors before you ship it.",
                percent(rate),
                percent(control)
            ),
            Self::Latency { variation, p90_millis, control } => write!(
                f,
                "{variation} is slower: 90 % of its responses take up to {p90_millis:.1} ms, the control's up to \
                 {control:.1} ms."
            ),
            Self::TwoVariations { part } => write!(
                f,
                "{} of the visitors have seen two variations and do not count. A change of weights without a new phase \
                 causes this.",
                percent(part)
            ),
            Self::WithoutExposure { goal, part } => write!(
                f,
                "{} of the visitors who reached {goal} have no exposure and do not count. Often the lines of the first days \
                 are missing, or visitors use another device.",
                percent(part)
            ),
            Self::Short => f.write_str(
                "The lines cover less than a week. Visitors differ between days: let it run for whole weeks.",
            ),
            Self::Alone => f.write_str("There is only one variation: nothing can be compared."),
            Self::Undefined => f.write_str(
                "The weights of this phase are unknown and taken as equal: with other weights, the test of the split is wrong. \
                 --definition FILE with the definition of this phase states them, and the control.",
            ),
        }
    }
}
