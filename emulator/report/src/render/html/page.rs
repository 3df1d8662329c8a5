//! The file.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::lines::scan::Summary;
use crate::render::html::experiment;
use crate::render::html::wording::number;
use crate::results::report::Report;

/// The reports of experiments as one file. `by` is the attribute that splits them; `inputs` are the names of the inputs.
pub fn page(reports: &[Report], by: Option<&str>, summary: &Summary, inputs: &[String]) -> String {
    let title = match reports {
        [report] => format!("Experiment {}", report.tally.counts.experiment),
        _ => format!("{} experiments", reports.len()),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // The file loads and runs nothing, even if lines contain HTML.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                main {
                    @for (index, report) in reports.iter().enumerate() {
                        (experiment::article(report, by, index))
                    }
                    (experiment::explanations())
                    (footer(summary, inputs))
                }
            }
        }
    };
    // Viewers choose parts of the text, and control characters are not valid in HTML.
    page.into_string().chars().map(|char| if char.is_control() && char != '\n' { '\u{fffd}' } else { char }).collect()
}

fn footer(summary: &Summary, inputs: &[String]) -> Markup {
    let found = summary.found;
    let name = |index: usize| inputs.get(index).map_or("the input", |name| name);
    html! {
        footer {
            p {
                "From " (number(summary.lines)) " log lines: " (number(found.exposures)) " exposures, "
                (number(found.conversions)) " conversions, " (number(found.accesses)) " requests."
            }
            @if let Some(first) = &summary.first_broken {
                p.serious {
                    (number(summary.broken)) " broken lines are not counted. The first: " (name(first.input)) ", line "
                    (first.line) ": " (first.reason)
                }
            }
            @for (index, error) in &summary.failed {
                p.serious { (name(*index)) " could not be read to its end: " (error) }
            }
        }
    }
}
