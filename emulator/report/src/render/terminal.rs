//! A report of log lines for the terminal, with colours.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::lines::scan::Summary;
use crate::lines::timestamp::minutes;
use crate::plain::plain;
use crate::render::text;
use crate::results::report::Report;
use crate::results::table::VariationResult;
use crate::tally::guardrail::Guardrail;
use crate::tally::result::{LeftOut, Segment};

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The report of an experiment; `by` is the attribute that splits it.
pub fn page(report: &Report, by: Option<&str>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut out, report, by);
    out
}

fn write_page(out: &mut String, report: &Report, by: Option<&str>) -> fmt::Result {
    let tally = &report.tally;
    if report.results.srm.is_mismatch() {
        writeln!(
            out,
            "{RED}SAMPLE-RATIO MISMATCH: visitors are not split as the weights say. Do not use these results.{RED:#}"
        )?;
        writeln!(
            out,
            "{RED}Next: find out which visitors are missing. docs/experiments.md lists the usual causes.{RED:#}"
        )?;
    }
    for line in text::table(&tally.counts, &report.results).lines() {
        let trimmed = line.trim_start();
        let style = match () {
            () if line.starts_with("experiment ") || line.starts_with("goal ") => BOLD,
            () if trimmed.starts_with("SAMPLE-RATIO MISMATCH") || trimmed.starts_with("mismatch:") => RED,
            () => Style::new(),
        };
        writeln!(out, "{style}{line}{style:#}")?;
        if line.starts_with("experiment ") {
            write!(out, "  phase {}", tally.phase)?;
            if let Some((start, end)) = tally.span {
                let days = (end - start) as f64 / 86_400_000.0;
                write!(out, ", {} to {} UTC ({days:.1} days)", minutes(start), minutes(end))?;
            }
            writeln!(out)?;
            for (phase, first) in &tally.other_phases {
                writeln!(out, "  {DIM}earlier phase {phase}, from {}: --phase {phase}{DIM:#}", minutes(*first))?;
            }
        }
    }
    if !report.cautions.is_empty() {
        writeln!(out, "\n{BOLD}before you decide{BOLD:#}")?;
        for caution in &report.cautions {
            let style = if caution.is_serious() { RED } else { YELLOW };
            writeln!(out, "  {style}{caution}{style:#}")?;
        }
    }
    guardrails(out, &tally.guardrails, tally.forced_requests)?;
    if let Some(by) = by {
        split(out, report, by)?;
    }
    left_out(out, &tally.left_out)
}

fn guardrails(out: &mut String, guardrails: &[Guardrail], forced: u64) -> fmt::Result {
    if guardrails.iter().all(|guardrail| guardrail.requests == 0 && guardrail.obstacle.is_none()) {
        return writeln!(out, "\n{DIM}no guardrails: the lines contain no requests of this time{DIM:#}");
    }
    writeln!(out, "\n{BOLD}guardrails{BOLD:#}, of all requests with the variation's version")?;
    writeln!(
        out,
        "  {:<20} {:>12} {:>10} {:>12} {:>22} {:>12}",
        "variation", "requests", "5xx", "p90", "95 % interval", "body"
    )?;
    for guardrail in guardrails {
        let Guardrail { variation, requests, failures, .. } = guardrail;
        if let Some(obstacle) = guardrail.obstacle {
            writeln!(out, "  {variation:<20} not known: {obstacle}")?;
            continue;
        }
        let millis = |millis: f64| format!("{millis:.2} ms");
        writeln!(
            out,
            "  {variation:<20} {requests:>12} {:>10} {:>12} {:>22} {:>12}",
            percent(*failures as f64 / (*requests).max(1) as f64),
            guardrail.p90_millis.map_or("-".to_owned(), millis),
            guardrail.p90_interval.map_or("-".to_owned(), |[low, high]| format!("{low:.2} … {high:.2} ms")),
            guardrail.body_bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0} B")),
        )?;
    }
    if forced > 0 {
        writeln!(out, "  {DIM}without {forced} requests that stated their version themselves{DIM:#}")?;
    }
    Ok(())
}

/// The segment in words.
pub(super) fn segment(segment: &Segment) -> String {
    match segment {
        Segment::Value(value) => value.clone(),
        Segment::Missing => "(not logged)".to_owned(),
        Segment::Others(number) => format!("({number} others)"),
    }
}

fn split(out: &mut String, report: &Report, by: &str) -> fmt::Result {
    writeln!(out, "\n{BOLD}by {by}{BOLD:#}, at the exposure")?;
    writeln!(out, "  {DIM}Of many values, some differ by chance: decide by the total.{DIM:#}")?;
    for (value, results) in &report.split {
        let mismatch = if results.srm.is_mismatch() { " sample-ratio mismatch" } else { "" };
        writeln!(out, "  {}{RED}{mismatch}{RED:#}", plain(&segment(value)))?;
        for (goal, rows) in &results.goals {
            for row in rows {
                let VariationResult { variation, visitors, conversions, .. } = row;
                write!(out, "    {goal:<16} {variation:<20} {visitors:>10} visitors {conversions:>10} conversions")?;
                if let (Some(uplift), Some(interval)) = (row.uplift, row.sequential_interval) {
                    let (low, high) = (interval.lower * 100.0, interval.upper * 100.0);
                    write!(out, " {:>+8.2} % ({low:+.2} … {high:+.2} % at any look)", uplift * 100.0)?;
                }
                writeln!(out)?;
            }
        }
    }
    Ok(())
}

fn left_out(out: &mut String, left_out: &LeftOut) -> fmt::Result {
    if *left_out == LeftOut::default() {
        return Ok(());
    }
    writeln!(out, "\n{BOLD}not counted{BOLD:#}")?;
    for (number, what) in sentences(left_out) {
        writeln!(out, "  {number:>12} {}", plain(&what))?;
    }
    Ok(())
}

/// The numbers of what does not count, in words.
pub(super) fn sentences(left_out: &LeftOut) -> Vec<(u64, String)> {
    let mut found = vec![
        (left_out.visitors_in_two_variations, "visitors seen in two variations".to_owned()),
        (left_out.visitors_before_from, "visitors whose first exposure is before --from".to_owned()),
    ];
    for (variation, visitors) in &left_out.visitors_of_unknown_variations {
        found.push((*visitors, format!("visitors of {variation}, which the definition does not have")));
    }
    for (goal, conversions) in &left_out.conversions {
        found.push((conversions.without_exposure, format!("visitors who reached {goal} without an exposure")));
        found.push((conversions.before_exposure, format!("visitors who reached {goal} before their exposure only")));
        found.push((conversions.of_left_out_visitors, format!("visitors above who reached {goal}")));
    }
    found.push((left_out.repeated_exposures, "lines that repeat an exposure".to_owned()));
    found.push((left_out.repeated_conversions, "lines that repeat a conversion".to_owned()));
    found.retain(|(number, _)| *number > 0);
    found
}

/// A summary of the records in one line, and the inputs that failed; `inputs` are the names of the inputs.
pub fn summary(summary: &Summary, inputs: &[String]) -> String {
    let found = summary.found;
    let mut out = format!(
        "{DIM}{} lines: {} exposures, {} conversions, {} requests{DIM:#}\n",
        summary.lines, found.exposures, found.conversions, found.accesses
    );
    let name = |index: usize| inputs.get(index).map_or("the input", |name| name);
    if let Some(first) = &summary.first_broken {
        let (name, line, reason) = (name(first.input), first.line, &first.reason);
        let lines = if summary.broken == 1 { "line is" } else { "lines are" };
        let _ = writeln!(
            out,
            "{YELLOW}{} {lines} broken and not counted. The first: {}, line {line}: {}{YELLOW:#}",
            summary.broken,
            plain(name),
            plain(reason)
        );
    }
    for (index, error) in &summary.failed {
        let _ =
            writeln!(out, "{YELLOW}{} could not be read to its end: {}{YELLOW:#}", plain(name(*index)), plain(error));
    }
    out
}

fn percent(part: f64) -> String {
    format!("{:.3} %", part * 100.0)
}
