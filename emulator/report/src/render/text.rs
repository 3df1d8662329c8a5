//! Results as a table for the terminal.

use std::fmt::Write;

use crate::counts::Counts;
use crate::plain::plain;
use crate::results::table::{Results, VariationResult};
use crate::results::verdict::Verdict;
use crate::statistics::interval::Interval;

/// Instead of a value that cannot be computed.
const NONE: &str = "-";

/// The results of an experiment: the sample ratio first, then a table and a verdict for each goal.
pub fn table(counts: &Counts, results: &Results) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, counts, results);
    text
}

fn write(out: &mut String, counts: &Counts, results: &Results) -> std::fmt::Result {
    writeln!(out, "experiment {}", plain(&counts.experiment))?;
    let total: f64 = counts.variations.iter().map(|variation| variation.weight).sum();
    let visitors: u64 = counts.variations.iter().map(|variation| variation.visitors).sum();
    for variation in &counts.variations {
        let share = variation.visitors as f64 / visitors.max(1) as f64;
        let (key, weight, count) = (plain(&variation.key), variation.weight / total, variation.visitors);
        writeln!(out, "  {key:<20} {count:>12} visitors {:>6}, weight {:>6}", percent(share), percent(weight))?;
    }
    match (results.srm.is_mismatch(), results.srm.p_value) {
        (_, None) => writeln!(out, "  sample ratio: no test")?,
        (true, Some(p_value)) => writeln!(out, "  SAMPLE-RATIO MISMATCH: p-value {}", probability(p_value))?,
        (false, Some(p_value)) => writeln!(out, "  sample ratio: as the weights, p-value {}", probability(p_value))?,
    }
    if results.goals.is_empty() {
        writeln!(out, "\nno goals")?;
    }
    for (goal, variations) in &results.goals {
        let rate = if variations.iter().any(|variation| variation.has_values) { "mean" } else { "rate" };
        writeln!(out, "\ngoal {}", plain(goal))?;
        writeln!(
            out,
            "  {:<20} {:>12} {:>10} {:>9} {:>20} {:>8} {:>20} {:>8} {:>8}",
            "variation",
            "conversions",
            rate,
            "uplift",
            "95 % at one look",
            "p-value",
            "95 % at any look",
            "p-value",
            "best"
        )?;
        for row in variations {
            writeln!(
                out,
                "  {:<20} {:>12} {:>10} {:>9} {:>20} {:>8} {:>20} {:>8} {:>8}",
                plain(&row.variation),
                row.conversions,
                self::rate(row),
                row.uplift.map_or(NONE.to_owned(), signed_percent),
                row.interval.map_or(NONE.to_owned(), interval),
                row.p_value.map_or(NONE.to_owned(), probability),
                row.sequential_interval.map_or(NONE.to_owned(), interval),
                row.sequential_p_value.map_or(NONE.to_owned(), probability),
                row.chance_to_be_best.map_or(NONE.to_owned(), chance),
            )?;
        }
        writeln!(out, "  {}", plain(&Verdict::of(&results.srm, variations).to_string()))?;
    }
    Ok(())
}

fn rate(row: &VariationResult) -> String {
    match row.rate {
        None => NONE.to_owned(),
        Some(mean) if row.has_values => format!("{mean:.4}"),
        Some(rate) => format!("{:.3} %", rate * 100.0),
    }
}

fn chance(chance: f64) -> String {
    match chance * 100.0 {
        low if low < 0.1 => "< 0.1 %".to_owned(),
        high if high > 99.9 => "> 99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

fn signed_percent(part: f64) -> String {
    format!("{:+.2} %", part * 100.0)
}

fn interval(interval: Interval) -> String {
    format!("{:+.2} … {:+.2} %", interval.lower * 100.0, interval.upper * 100.0)
}

fn probability(p_value: f64) -> String {
    if p_value < 0.0001 { "< 0.0001".to_owned() } else { format!("{p_value:.4}") }
}
