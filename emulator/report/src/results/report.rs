//! The results of log lines: the counts compared, over time and by attribute.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::counts::{Counts, VariationCounts};
use crate::results::caution::{Caution, cautions};
use crate::results::table::Results;
use crate::results::verdict::Verdict;
use crate::statistics::interval::Interval;
use crate::statistics::sample::Sample;
use crate::tally::result::{Segment, Tally};

/// The results of an experiment from log lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The counts.
    pub tally: Tally,
    /// The counts compared.
    pub results: Results,
    /// The 95 % intervals of the variations' rates, for each goal.
    pub rates: BTreeMap<String, Vec<Option<Interval>>>,
    /// The verdict on each goal.
    pub verdicts: BTreeMap<String, Verdict>,
    /// The results per value of the attribute.
    pub split: Vec<(Segment, Results)>,
    /// The estimates over time, for each goal.
    pub running: BTreeMap<String, Vec<Look>>,
    /// The facts to check before a decision.
    pub cautions: Vec<Caution>,
}

/// A treatment's estimate at a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Look {
    /// The time, in milliseconds since 1970.
    #[serde(serialize_with = "crate::results::report::time")]
    pub at: i64,
    /// The key of the treatment.
    pub variation: String,
    /// The visitors of all variations.
    pub visitors: u64,
    /// The relative difference from the control.
    pub uplift: Option<f64>,
    /// Its interval, which holds at all times.
    pub sequential_interval: Option<Interval>,
}

/// Writes a time in RFC 3339.
///
/// # Errors
/// If the serializer fails.
pub fn time<S: serde::Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::lines::timestamp::rfc3339(*at))
}

impl Report {
    /// Compares what was counted.
    pub fn of(tally: Tally) -> Self {
        let results = Results::of(&tally.counts);
        let verdict = |rows: &Vec<_>| Verdict::of(&results.srm, rows);
        let verdicts = results.goals.iter().map(|(goal, rows)| (goal.clone(), verdict(rows))).collect();
        let split = tally.split.iter().map(|(segment, counts)| (segment.clone(), Results::of(counts))).collect();
        let mut running: BTreeMap<String, Vec<Look>> = BTreeMap::new();
        for (at, counts) in &tally.series {
            let visitors = counts.variations.iter().map(|variation| variation.visitors).sum();
            for (goal, rows) in Results::of(counts).goals {
                let looks = rows.into_iter().skip(1).map(|row| Look {
                    at: *at,
                    variation: row.variation,
                    visitors,
                    uplift: row.uplift,
                    sequential_interval: row.sequential_interval,
                });
                running.entry(goal).or_default().extend(looks);
            }
        }
        let cautions = cautions(&tally);
        let rates = results.goals.keys().map(|goal| (goal.clone(), rates(&tally.counts, goal))).collect();
        Self { results, rates, verdicts, split, running, cautions, tally }
    }
}

/// The 95 % intervals of the rates of a goal.
fn rates(counts: &Counts, goal: &str) -> Vec<Option<Interval>> {
    let interval = |variation: &VariationCounts| {
        let counts = variation.goals.get(goal).copied().unwrap_or_default();
        let visitors = variation.visitors as f64;
        if visitors < 2.0 {
            return None;
        }
        let Some((sum, sum_squares)) = counts.sum.zip(counts.sum_squares) else {
            return Some(wilson(counts.conversions as f64 / visitors, visitors));
        };
        let sample = Sample::values(variation.visitors, counts.conversions, sum, sum_squares);
        sample.varies().then(|| Interval::around(sample.mean, DEVIATE * (sample.variance / visitors).sqrt()))
    };
    counts.variations.iter().map(interval).collect()
}

/// The normal deviate of 95 %.
const DEVIATE: f64 = 1.959_963_984_540_054;

/// Wilson's score interval of a rate, which is never outside 0 to 1.
fn wilson(rate: f64, visitors: f64) -> Interval {
    let square = DEVIATE * DEVIATE / visitors;
    let middle = (rate + square / 2.0) / (1.0 + square);
    let width = DEVIATE / (1.0 + square) * (rate * (1.0 - rate) / visitors + square / (4.0 * visitors)).sqrt();
    Interval::around(middle, width)
}
