//! Lines as the handler writes them, and their counts.

use std::io::Cursor;

use nearedge_report::counts::{Counts, GoalCounts};
use nearedge_report::lines::scan::{Summary, scan};
use nearedge_report::lines::timestamp;
use nearedge_report::tally::collect::{Collection, Selection};
use nearedge_report::tally::count::count;
use nearedge_report::tally::outline::Outline;
use nearedge_report::tally::result::Tally;
use serde_json::{Value, json};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOON: i64 = 1_795_435_200_000;

/// A visitor's id.
pub(crate) fn id(number: u32) -> String {
    format!("{number:021}A")
}

fn line(metric: &str, at: i64, members: Value) -> Value {
    let unit = json!([{"Name": metric, "Unit": "Count"}]);
    let directive = json!([{"Namespace": "nearedge", "Dimensions": [["service", "experiment_id"]], "Metrics": unit}]);
    let mut line = json!({
        "_aws": {"Timestamp": at, "CloudWatchMetrics": directive}, metric: 1, "service": "lambdaapi",
        "timestamp": timestamp::rfc3339(at), "request_id": "8476a536",
    });
    line.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    line
}

/// The line of an exposure; control has version v1, treatment v2.
pub(crate) fn exposure(visitor: u32, variation: &str, at: i64) -> Value {
    let variant = if variation == "control" { "v1" } else { "v2" };
    line(
        "Exposures",
        at,
        json!({"message": "exposure", "experiment_id": "checkout", "variation_id": variation, "phase": "1",
               "anonymous_id": id(visitor), "variant": variant}),
    )
}

/// The line of a conversion.
pub(crate) fn conversion(visitor: u32, variation: &str, goal: &str, at: i64) -> Value {
    line(
        "Conversions",
        at,
        json!({"message": "conversion", "experiment_id": "checkout", "variation_id": variation, "phase": "1",
               "anonymous_id": id(visitor), "goal": goal}),
    )
}

/// The line of a request.
pub(crate) fn access(variant: &str, status: u16, millis: f64, at: i64) -> Value {
    json!({
        "_aws": {"Timestamp": at, "CloudWatchMetrics": [{"Namespace": "nearedge", "Dimensions": [["service"]], "Metrics": []}]},
        "Duration": millis, "BodyBytes": 5120, "service": "lambdaapi", "variant": variant, "outcome": "found",
        "message": "answered", "request_id": "8476a536", "key": "v1/test.html", "status": status,
    })
}

/// The line with another member.
pub(crate) fn with(mut line: Value, name: &str, value: Value) -> Value {
    line.as_object_mut().unwrap().insert(name.to_owned(), value);
    line
}

/// The lines as a file.
pub(crate) fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Reads and counts files.
pub(crate) fn tallies_of(
    inputs: &[&[u8]],
    selection: &Selection,
    outlines: &[Outline],
    by: Option<&str>,
) -> (Vec<Tally>, Summary) {
    let inputs = inputs.iter().map(|input| Cursor::new(*input));
    let (collections, summary) = scan(inputs, by, 2, || Collection::new(selection.clone()));
    let mut all = Collection::new(selection.clone());
    for collection in collections {
        all.merge(collection).unwrap();
    }
    (count(all, outlines, by.is_some()), summary)
}

/// The counts of the only experiment of lines without an error.
pub(crate) fn tally(lines: &[Value]) -> Tally {
    let (mut tallies, summary) = tallies_of(&[text(lines).as_bytes()], &Selection::default(), &[], None);
    assert_eq!((tallies.len(), summary.broken, summary.lines), (1, 0, lines.len() as u64), "{summary:?}");
    tallies.pop().unwrap()
}

/// The visitors of each variation, and their conversions for a goal.
pub(crate) fn numbers(counts: &Counts, goal: &str) -> Vec<(String, u64, u64)> {
    let conversions = |goals: Option<&GoalCounts>| goals.map_or(0, |goal| goal.conversions);
    let variations = counts.variations.iter();
    variations
        .map(|variation| (variation.key.clone(), variation.visitors, conversions(variation.goals.get(goal))))
        .collect()
}

/// The expected numbers of control and treatment.
pub(crate) fn expected(control: (u64, u64), treatment: (u64, u64)) -> Vec<(String, u64, u64)> {
    vec![("control".to_owned(), control.0, control.1), ("treatment".to_owned(), treatment.0, treatment.1)]
}
