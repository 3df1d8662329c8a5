//! A report of log lines as a JSON document: the members of the counts' results, and what the lines add.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lines::scan::Summary;
use crate::lines::timestamp::rfc3339;
use crate::results::report::{Look, Report};
use crate::results::table::{SampleRatio, VariationResult};
use crate::tally::guardrail::Guardrail;
use crate::tally::result::{LeftOut, Segment};

#[derive(Serialize)]
struct Document<'r> {
    experiment: &'r str,
    phase: &'r str,
    other_phases: BTreeMap<&'r str, String>,
    first: Option<String>,
    last: Option<String>,
    /// Whether weights and order are those of a definition.
    defined: bool,
    variations: Vec<Variation<'r>>,
    srm: &'r SampleRatio,
    goals: &'r BTreeMap<String, Vec<VariationResult>>,
    verdicts: BTreeMap<&'r str, String>,
    cautions: Vec<String>,
    guardrails: &'r [Guardrail],
    forced_requests: u64,
    left_out: &'r LeftOut,
    by: Option<By<'r>>,
    running: &'r BTreeMap<String, Vec<Look>>,
    lines: Lines<'r>,
}

#[derive(Serialize)]
struct Variation<'r> {
    key: &'r str,
    name: Option<&'r str>,
    weight: f64,
    visitors: u64,
}

#[derive(Serialize)]
struct By<'r> {
    attribute: &'r str,
    values: Vec<Part<'r>>,
}

/// The visitors with a value. `others` is the number of values if it is not a single one.
#[derive(Serialize)]
struct Part<'r> {
    value: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<u64>,
    srm: &'r SampleRatio,
    goals: &'r BTreeMap<String, Vec<VariationResult>>,
}

#[derive(Serialize)]
struct Lines<'r> {
    read: u64,
    exposures: u64,
    conversions: u64,
    requests: u64,
    broken: u64,
    first_broken: Option<FirstBroken<'r>>,
    unread: BTreeMap<&'r str, &'r str>,
}

#[derive(Serialize)]
struct FirstBroken<'r> {
    input: &'r str,
    line: u64,
    reason: &'r str,
}

/// The document of an experiment, on one line.
///
/// # Errors
/// If a number is not finite, which the statistics exclude.
pub fn document(
    report: &Report,
    by: Option<&str>,
    summary: &Summary,
    inputs: &[String],
) -> Result<String, serde_json::Error> {
    let tally = &report.tally;
    let name = |index: usize| inputs.get(index).map_or("", |name| name);
    let variations = tally.counts.variations.iter().zip(&tally.names).map(|(variation, name)| Variation {
        key: &variation.key,
        name: name.as_deref(),
        weight: variation.weight,
        visitors: variation.visitors,
    });
    let values = report.split.iter().map(|(segment, results)| {
        let (value, others) = match segment {
            Segment::Value(value) => (Some(&**value), None),
            Segment::Missing => (None, None),
            Segment::Others(number) => (None, Some(*number)),
        };
        Part { value, others, srm: &results.srm, goals: &results.goals }
    });
    serde_json::to_string(&Document {
        experiment: &tally.counts.experiment,
        phase: &tally.phase,
        other_phases: tally.other_phases.iter().map(|(phase, first)| (&**phase, rfc3339(*first))).collect(),
        first: tally.span.map(|(first, _)| rfc3339(first)),
        last: tally.span.map(|(_, last)| rfc3339(last)),
        defined: tally.is_defined,
        variations: variations.collect(),
        srm: &report.results.srm,
        goals: &report.results.goals,
        verdicts: report.verdicts.iter().map(|(goal, verdict)| (&**goal, verdict.to_string())).collect(),
        cautions: report.cautions.iter().map(ToString::to_string).collect(),
        guardrails: &tally.guardrails,
        forced_requests: tally.forced_requests,
        left_out: &tally.left_out,
        by: by.map(|attribute| By { attribute, values: values.collect() }),
        running: &report.running,
        lines: Lines {
            read: summary.lines,
            exposures: summary.found.exposures,
            conversions: summary.found.conversions,
            requests: summary.found.accesses,
            broken: summary.broken,
            first_broken: summary.first_broken.as_ref().map(|first| FirstBroken {
                input: name(first.input),
                line: first.line,
                reason: &first.reason,
            }),
            unread: summary.failed.iter().map(|(input, error)| (name(*input), &**error)).collect(),
        },
    })
}
