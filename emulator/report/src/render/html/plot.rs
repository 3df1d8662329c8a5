//! Plots as inline SVG. Each one is drawn 460 wide, and scales to its column.

use maud::{Markup, html};

use crate::lines::timestamp::minutes;
use crate::render::html::axis::Axis;
use crate::render::html::wording::signed;
use crate::results::report::Look;
use crate::statistics::interval::Interval;

const WIDTH: f64 = 460.0;

/// The number of colours; further variations repeat them.
const COLORS: usize = 6;

/// A row of a plot.
pub(super) struct Row {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) interval: Option<Interval>,
    /// The value in words.
    pub(super) text: String,
    /// The position at which a value belongs.
    pub(super) expected: Option<f64>,
}

/// Draws values with their intervals, one below the other. `description` says the same in words.
pub(super) fn intervals(rows: &[Row], description: &str, tick: impl Fn(f64) -> String) -> Markup {
    let ends = rows.iter().flat_map(|row| {
        [Some(row.value), row.interval.map(|interval| interval.lower), row.interval.map(|interval| interval.upper)]
    });
    let ends: Vec<f64> = ends.flatten().filter(|end| end.is_finite()).collect();
    let (low, high) =
        ends.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| (low.min(*end), high.max(*end)));
    let margin = ((high - low) * 0.08).max(high.abs() * 1e-6);
    let axis = Axis::new((low - margin, high + margin), (12.0, WIDTH - 12.0));
    let height = rows.len() as f64 * 52.0 + 28.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(description) {
            @for number in axis.ticks(4) {
                @let x = axis.at(number);
                line.grid x1=(x) x2=(x) y1="4" y2=(height - 24.0) {}
                text.tick x=(x) y=(height - 6.0) text-anchor="middle" { (tick(number)) }
            }
            @for (index, row) in rows.iter().enumerate() {
                @let y = index as f64 * 52.0 + 40.0;
                g class=(color(index)) {
                    text.label x="12" y=(y - 18.0) { (row.label) }
                    text.value x=(WIDTH - 12.0) y=(y - 18.0) text-anchor="end" { (row.text) }
                    @if let Some(interval) = row.interval {
                        line.interval x1=(axis.at(interval.lower)) x2=(axis.at(interval.upper)) y1=(y) y2=(y) {}
                    }
                    circle.dot cx=(axis.at(row.value)) cy=(y) r="6" {}
                }
            }
        }
    }
}

/// Draws parts of a whole as bars, with the parts that are expected.
pub(super) fn bars(rows: &[Row], description: &str) -> Markup {
    let high = rows.iter().flat_map(|row| [row.value, row.expected.unwrap_or(0.0)]).fold(0.0, f64::max);
    let axis = Axis::new((0.0, high.max(0.01) * 1.1), (12.0, WIDTH - 12.0));
    let height = rows.len() as f64 * 52.0 + 6.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(description) {
            @for (index, row) in rows.iter().enumerate() {
                @let y = index as f64 * 52.0 + 28.0;
                g class=(color(index)) {
                    text.label x="12" y=(y - 8.0) { (row.label) }
                    text.value x=(WIDTH - 12.0) y=(y - 8.0) text-anchor="end" { (row.text) }
                    rect.bar x="12" y=(y) width=(axis.at(row.value) - 12.0) height="16" {}
                    @if let Some(expected) = row.expected {
                        line.expected x1=(axis.at(expected)) x2=(axis.at(expected)) y1=(y - 4.0) y2=(y + 20.0) {}
                    }
                }
            }
        }
    }
}

/// Draws the estimates of treatments over time with their bands. `treatments` are keys with names; `id` is unique in the
/// file.
pub(super) fn running(looks: &[Look], treatments: &[(&str, &str)], description: &str, id: usize) -> Markup {
    const HEIGHT: f64 = 250.0;
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return html! {} };
    let time = Axis::new((first.at as f64, last.at as f64), (58.0, WIDTH - 12.0));
    // The first estimates vary so much that they would hide the others.
    let late = looks.iter().filter(|look| look.visitors * 4 >= last.visitors);
    let ends = late.filter_map(|look| look.sequential_interval).flat_map(|interval| [interval.lower, interval.upper]);
    let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    let (low, high) = if low < high { (low.max(-2.0), high.min(5.0)) } else { (-0.1, 0.1) };
    let margin = (high - low) * 0.05;
    let uplift = Axis::new((low - margin, high + margin), (HEIGHT - 30.0, 8.0));
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(description) {
            clipPath id=(format!("clip{id}")) { rect x="58" y="8" width=(WIDTH - 70.0) height=(HEIGHT - 38.0) {} }
            @for number in uplift.ticks(5) {
                @let y = uplift.at(number);
                line class=(if number == 0.0 { "zero" } else { "grid" }) x1="58" x2=(WIDTH - 12.0) y1=(y) y2=(y) {}
                text.tick x="52" y=(y + 5.0) text-anchor="end" { (if number == 0.0 { "0 %".to_owned() } else { signed(number) }) }
            }
            @for (x, anchor, at) in [(58.0, "start", first.at), (WIDTH - 12.0, "end", last.at)] {
                text.tick x=(x) y=(HEIGHT - 6.0) text-anchor=(anchor) { (minutes(at)) }
            }
            g clip-path=(format!("url(#clip{id})")) {
                @for (index, (key, _)) in treatments.iter().enumerate() {
                    @let own: Vec<&Look> = looks.iter().filter(|look| look.variation == *key).collect();
                    g class=(color(index + 1)) {
                        path.band d=(band(&own, time, uplift)) {}
                        path.line d=(line(&own, time, uplift)) {}
                    }
                }
            }
        }
        @if treatments.len() > 1 {
            p.legend {
                @for (index, (_, name)) in treatments.iter().enumerate() {
                    span class=(color(index + 1)) { i {} (name) }
                }
            }
        }
    }
}

/// The outline of a band: its upper end, and back along its lower end.
fn band(looks: &[&Look], time: Axis, uplift: Axis) -> String {
    let ends = |look: &&Look| Some((time.at(look.at as f64), look.sequential_interval?));
    let ends: Vec<(f64, Interval)> = looks.iter().filter_map(ends).collect();
    let upper = ends.iter().map(|(x, interval)| (*x, uplift.at(interval.upper)));
    let lower = ends.iter().rev().map(|(x, interval)| (*x, uplift.at(interval.lower)));
    path(upper.chain(lower)) + if ends.is_empty() { "" } else { "Z" }
}

fn line(looks: &[&Look], time: Axis, uplift: Axis) -> String {
    path(looks.iter().filter_map(|look| Some((time.at(look.at as f64), uplift.at(look.uplift?)))))
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.enumerate() {
        path += &format!("{}{x} {y}", if index == 0 { 'M' } else { 'L' });
    }
    path
}

/// The class of a variation's colour.
fn color(index: usize) -> String {
    format!("c{}", index % COLORS)
}
