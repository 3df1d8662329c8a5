//! The counts of an experiment, and the records that do not count.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::counts::Counts;
use crate::tally::guardrail::Guardrail;

/// The counts of an experiment's phase, from log lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// The visitors and conversions.
    pub counts: Counts,
    /// The run of the experiment.
    pub phase: String,
    /// The other runs in the lines, with the times of their first exposures, in milliseconds since 1970.
    pub other_phases: Vec<(String, i64)>,
    /// The names of the variations for people, as far as the definition has them.
    pub names: Vec<Option<String>>,
    /// Whether weights and order are those of a definition.
    pub is_defined: bool,
    /// The times of the first and the last event that counts, in milliseconds since 1970.
    pub span: Option<(i64, i64)>,
    /// The counts per value of the attribute at the exposure, most visitors first. `None`: exposures without the attribute,
    /// or those of values that are too many.
    pub split: Vec<(Segment, Counts)>,
    /// The records that do not count.
    pub left_out: LeftOut,
    /// The counts up to some times, in milliseconds since 1970. The last ones are the result.
    pub series: Vec<(i64, Counts)>,
    /// The requests of each variation.
    pub guardrails: Vec<Guardrail>,
    /// The requests that stated their version themselves, of all experiments.
    pub forced_requests: u64,
}

/// The visitors with a value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Those with this value.
    Value(String),
    /// Those whose exposures do not have the attribute.
    Missing,
    /// Those with one of so many further values.
    Others(u64),
}

/// The records that do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Lines that repeat an exposure of the same visitor.
    pub repeated_exposures: u64,
    /// Lines that repeat a conversion of the same visitor and goal.
    pub repeated_conversions: u64,
    /// Visitors seen in two variations.
    pub visitors_in_two_variations: u64,
    /// Visitors whose first exposure is before `--from`.
    pub visitors_before_from: u64,
    /// Visitors of variations that the definition does not have, by key.
    pub visitors_of_unknown_variations: BTreeMap<String, u64>,
    /// Conversions, by goal.
    pub conversions: BTreeMap<String, LeftOutConversions>,
}

/// Visitors whose completion of a goal does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOutConversions {
    /// Visitors without an exposure in this phase: another device, deleted cookies, or lines that are missing.
    pub without_exposure: u64,
    /// Visitors who reached the goal before their exposure only.
    pub before_exposure: u64,
    /// Visitors who are left out for another reason.
    pub of_left_out_visitors: u64,
}
