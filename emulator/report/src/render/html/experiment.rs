//! The sections of an experiment.

use maud::{Markup, html};

use crate::lines::timestamp::minutes;
use crate::render::html::plot::{self, Row};
use crate::render::html::wording::{number, probability, rate, signed, wording};
use crate::render::terminal;
use crate::results::report::Report;
use crate::results::table::VariationResult;
use crate::results::verdict::Verdict;
use crate::statistics::interval::Interval;

/// The usual causes of a mismatch.
const CAUSES: [&str; 4] = [
    "The weights were changed without a new phase.",
    "One variation redirects, loads slowly or fails, so that its visitors leave before they are counted.",
    "A cache answers for one variation, or bots see one of them only.",
    "Log lines are missing: of some days, or of one log group.",
];

/// An experiment. `index` is its number in the file.
pub(super) fn article(report: &Report, by: Option<&str>, index: usize) -> Markup {
    let tally = &report.tally;
    let visitors: u64 = tally.counts.variations.iter().map(|variation| variation.visitors).sum();
    html! {
        article {
            h1 { (tally.counts.experiment) }
            p.sub {
                "Phase " (tally.phase) ", " (number(visitors)) " visitors"
                @if let Some((start, end)) = tally.span {
                    ", " (minutes(start)) " to " (minutes(end)) " UTC ("
                    (format!("{:.1}", (end - start) as f64 / 86_400_000.0)) " days)"
                }
            }
            @for (phase, first) in &tally.other_phases {
                p.sub { "The lines have an earlier phase too: " (phase) ", from " (minutes(*first)) " UTC." }
            }
            @if report.results.srm.is_mismatch() { (alarm(report)) }
            @if report.results.goals.is_empty() { p { "No visitor has reached a goal yet." } }
            @for (number, goal) in report.results.goals.keys().enumerate() {
                (section(report, goal, index * 1000 + number))
            }
            (split(report))
            @if !report.cautions.is_empty() {
                h2 { "Before you decide" }
                ul.list {
                    @for caution in &report.cautions {
                        li class=(if caution.is_serious() { "serious" } else { "" }) { (caution) }
                    }
                }
            }
            (guardrails(report))
            @if let Some(by) = by { (segments(report, by)) }
            (left_out(report))
        }
    }
}

/// The name of a variation for people.
fn name(report: &Report, key: &str) -> String {
    let position = report.tally.counts.variations.iter().position(|variation| variation.key == key);
    let name = position.and_then(|index| report.tally.names.get(index)?.clone());
    name.unwrap_or_else(|| key.to_owned())
}

fn alarm(report: &Report) -> Markup {
    html! {
        section.alarm role="alert" {
            h2 { "Do not use these results" }
            p {
                "The visitors are not split as planned (sample-ratio mismatch"
                @if let Some(p_value) = report.results.srm.p_value { ", p " (probability(p_value)) }
                "). Chance does this in less than one of 1,000 experiments, so visitors of some kind are missing, and the \
                 comparison is not fair."
            }
            p { "Next: find the cause, repair it, and start a new phase. It usually is one of these:" }
            ul { @for cause in CAUSES { li { (cause) } } }
        }
    }
}

fn section(report: &Report, goal: &str, id: usize) -> Markup {
    let (Some(rows), Some(verdict)) = (report.results.goals.get(goal), report.verdicts.get(goal)) else {
        return html! {};
    };
    let wording = wording(verdict, rows, &report.cautions, |key| name(report, key));
    let has_values = rows.iter().any(|row| row.has_values);
    let plotted: Vec<Row> = rows
        .iter()
        .zip(report.rates.get(goal).into_iter().flatten())
        .filter_map(|(row, interval)| {
            let value = row.rate?;
            let text = rate(value, has_values);
            Some(Row { label: name(report, &row.variation), value, interval: *interval, text, expected: None })
        })
        .collect();
    let treatments: Vec<(String, String)> =
        rows.iter().skip(1).map(|row| (row.variation.clone(), name(report, &row.variation))).collect();
    let treatments: Vec<(&str, &str)> = treatments.iter().map(|(key, name)| (&**key, &**name)).collect();
    let looks = report.running.get(goal).map_or(&[][..], |looks| looks);
    let what = if has_values { "Value per visitor" } else { "Visitors who reach the goal" };
    let described: Vec<String> = plotted.iter().map(|row| format!("{} {}", row.label, row.text)).collect();
    html! {
        h2 { "Goal: " (goal) }
        div class=(format!("verdict {}", wording.tone)) {
            strong { (wording.headline) }
            // A number here would be read as a result.
            @for row in rows.iter().skip(1).filter(|_| *verdict != Verdict::Mismatch) {
                @if let (Some(uplift), Some(interval)) = (row.uplift, row.sequential_interval) {
                    p.effect {
                        (name(report, &row.variation)) ": " b { (signed(uplift)) } " against "
                        (rows.first().map(|control| name(report, &control.variation)).unwrap_or_default())
                        " (between " (signed(interval.lower)) " and " (signed(interval.upper)) ")"
                    }
                }
            }
            p { (wording.next) }
        }
        div.plots {
            figure {
                figcaption { (what) p { "Dot: measured. Line: where the true value probably is (95 %)." } }
                (plot::intervals(&plotted, &format!("{what}: {}", described.join(", ")), |tick| rate(tick, has_values)))
            }
            @if !looks.is_empty() && !treatments.is_empty() {
                figure {
                    figcaption {
                        "Difference to the control over time"
                        p { "When the whole band is above or below 0 %, the difference is certain, on whatever day you look." }
                    }
                    (plot::running(looks, &treatments, "Difference to the control over time; the table has its last value", id))
                }
            }
        }
        (table(report, rows, has_values))
    }
}

fn table(report: &Report, rows: &[VariationResult], has_values: bool) -> Markup {
    let percent = |part: Option<f64>| part.map_or("–".to_owned(), signed);
    let range = |interval: Option<Interval>| {
        interval
            .map_or("–".to_owned(), |interval| format!("{} to {}", signed(interval.lower), signed(interval.upper)))
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Numbers of this goal" {
            table {
                thead {
                    tr {
                        th scope="col" { "Variation" }
                        th scope="col" { "Visitors" }
                        th scope="col" { "Reached" }
                        th scope="col" { (if has_values { "Mean" } else { "Rate" }) }
                        th scope="col" { "Difference" }
                        th scope="col" { "Range, any day" }
                        th scope="col" { "p, any day" }
                        th scope="col" { "Range, one look" }
                        th scope="col" { "p, one look" }
                        th scope="col" { "Chance to be best" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { (name(report, &row.variation)) }
                            td { (number(row.visitors)) }
                            td { (number(row.conversions)) }
                            td { (row.rate.map_or("–".to_owned(), |value| rate(value, has_values))) }
                            td { (percent(row.uplift)) }
                            td { (range(row.sequential_interval)) }
                            td { (row.sequential_p_value.map_or("–".to_owned(), probability)) }
                            td { (range(row.interval)) }
                            td { (row.p_value.map_or("–".to_owned(), probability)) }
                            td { (row.chance_to_be_best.map_or("–".to_owned(), |chance| format!("{:.0} %", chance * 100.0))) }
                        }
                    }
                }
            }
        }
    }
}

fn split(report: &Report) -> Markup {
    let variations = &report.tally.counts.variations;
    let visitors: u64 = variations.iter().map(|variation| variation.visitors).sum();
    let weights: f64 = variations.iter().map(|variation| variation.weight).sum();
    let rows: Vec<Row> = variations
        .iter()
        .map(|variation| {
            let (part, expected) = (variation.visitors as f64 / visitors.max(1) as f64, variation.weight / weights);
            let text = format!("{:.2} % (planned {:.2} %)", part * 100.0, expected * 100.0);
            let label = name(report, &variation.key);
            Row { label, value: part, interval: None, text, expected: Some(expected).filter(|part| part.is_finite()) }
        })
        .collect();
    let described: Vec<String> = rows.iter().map(|row| format!("{} {}", row.label, row.text)).collect();
    html! {
        h2 { "Split of the visitors" }
        @match (report.results.srm.is_mismatch(), report.results.srm.p_value) {
            (_, None) => { p { "No test is possible." } }
            (true, Some(p_value)) => { p.serious { "The split is not as planned (p " (probability(p_value)) ")." } }
            (false, Some(p_value)) => { p { "The split is as planned: differences of this size are chance (p " (probability(p_value)) ")." } }
        }
        div.plots {
            figure {
                figcaption { "Visitors" p { "Bar: measured. Mark: planned." } }
                (plot::bars(&rows, &described.join(", ")))
            }
        }
    }
}

fn guardrails(report: &Report) -> Markup {
    let guardrails = &report.tally.guardrails;
    html! {
        h2 { "Guardrails" }
        @if guardrails.iter().all(|guardrail| guardrail.requests == 0 && guardrail.obstacle.is_none()) {
            p { "The lines contain no requests of this time, so errors and speed are not known." }
        } @else {
            p.note {
                "Of all requests that were answered with the variation's version, also those of bots and of visitors who do \
                 not count. Answers of the CDN's cache are not included."
            }
            div.scroll tabindex="0" role="region" aria-label="Guardrails" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Variation" }
                            th scope="col" { "Requests" }
                            th scope="col" { "Errors (5xx)" }
                            th scope="col" { "90 % are faster than" }
                            th scope="col" { "95 % interval" }
                            th scope="col" { "Average size" }
                        }
                    }
                    tbody {
                        @for guardrail in guardrails {
                            tr {
                                th scope="row" { (name(report, &guardrail.variation)) }
                                @if let Some(obstacle) = guardrail.obstacle {
                                    td.words colspan="5" { "Not known: " (obstacle) "." }
                                } @else {
                                    td { (number(guardrail.requests)) }
                                    td { (format!("{:.3} %", guardrail.failures as f64 * 100.0 / guardrail.requests.max(1) as f64)) }
                                    td { (guardrail.p90_millis.map_or("–".to_owned(), |millis| format!("{millis:.1} ms"))) }
                                    td { (guardrail.p90_interval.map_or("–".to_owned(), |[low, high]| format!("{low:.1} to {high:.1} ms"))) }
                                    td { (guardrail.body_bytes.map_or("–".to_owned(), |bytes| format!("{:.1} kB", bytes / 1000.0))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn segments(report: &Report, by: &str) -> Markup {
    html! {
        h2 { "By " (by) }
        p.note { "The value at the exposure. Of many groups, some differ by chance: decide by the total, and use this to find questions." }
        div.scroll tabindex="0" role="region" aria-label=(format!("By {by}")) {
            table {
                thead {
                    tr {
                        th scope="col" { (by) }
                        th scope="col" { "Goal" }
                        th scope="col" { "Variation" }
                        th scope="col" { "Visitors" }
                        th scope="col" { "Rate" }
                        th scope="col" { "Difference" }
                        th scope="col" { "Range, any day" }
                    }
                }
                tbody {
                    @for (segment, results) in &report.split {
                        @for (goal, rows) in &results.goals {
                            @for row in rows {
                                tr {
                                    th scope="row" { (terminal::segment(segment)) @if results.srm.is_mismatch() { " (split not as planned)" } }
                                    td { (goal) }
                                    td { (name(report, &row.variation)) }
                                    td { (number(row.visitors)) }
                                    td { (row.rate.map_or("–".to_owned(), |value| rate(value, row.has_values))) }
                                    td { (row.uplift.map_or("–".to_owned(), signed)) }
                                    td { (row.sequential_interval.map_or("–".to_owned(), |interval| format!("{} to {}", signed(interval.lower), signed(interval.upper)))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn left_out(report: &Report) -> Markup {
    let sentences = terminal::sentences(&report.tally.left_out);
    html! {
        @if !sentences.is_empty() {
            h2 { "Not counted" }
            ul.list { @for (count, what) in sentences { li { (number(count)) " " (what) } } }
        }
    }
}

/// The meaning of the terms in the file.
pub(super) fn explanations() -> Markup {
    html! {
        details {
            summary { "What the words mean" }
            dl {
                dt { "Control" } dd { "The variation that all others are compared with: usually the site as it was." }
                dt { "Difference" } dd { "How much higher the rate is, relative to the control's: from 3.0 % to 3.3 % is +10 %." }
                dt { "Range, any day; p, any day" } dd {
                    "They stay valid however often you look, so you may stop on any day. The verdict uses them. A p below 0.05 \
                     is a difference that chance alone rarely makes."
                }
                dt { "Range, one look; p, one look" } dd {
                    "Narrower, and valid only if you decide once, at a date planned in advance. Looking every day makes them \
                     wrong."
                }
                dt { "Chance to be best" } dd { "The probability that the variation has the highest true rate." }
                dt { "Sample-ratio mismatch" } dd { "The variations have other shares of visitors than planned. Then the result is not fair." }
            }
        }
    }
}
