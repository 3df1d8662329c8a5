//! `experiment report` from log lines: reads files and standard input, and counts.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nearedge_core::experiment::definition::{Constraints, FEATURE};
use nearedge_report::lines::scan::{Summary, scan};
use nearedge_report::lines::timestamp;
use nearedge_report::render::html::page::page;
use nearedge_report::render::{json, terminal};
use nearedge_report::results::report::Report;
use nearedge_report::tally::collect::{Collection, Selection};
use nearedge_report::tally::count::count;
use nearedge_report::tally::outline::{Outline, VariationOutline};

use crate::experiment::check::{Parsed, Unreadable, read};
use crate::experiment::stack::StackLines;

/// The arguments for log lines.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Log lines: files, also compressed with gzip; - or nothing is standard input
    #[arg(value_name = "LINES", conflicts_with = "counts")]
    files: Vec<PathBuf>,
    /// Read exposures and conversions of this CloudFormation stack with the AWS CLI, from Logs Insights; prints the query.
    /// Requests, and with them guardrails, are not read
    #[arg(long, value_name = "NAME", conflicts_with_all = ["counts", "files"])]
    stack: Option<String>,
    /// Report this experiment only
    #[arg(long, value_name = "KEY", conflicts_with = "counts")]
    experiment: Option<String>,
    /// Report this phase [default: the one whose first exposure is the latest]
    #[arg(long, value_name = "PHASE", conflicts_with = "counts")]
    phase: Option<String>,
    /// Count visitors whose first exposure is not before this time: RFC 3339, or a date in UTC
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "counts")]
    from: Option<i64>,
    /// Count nothing from this time on: RFC 3339, or a date in UTC
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "counts")]
    to: Option<i64>,
    /// Split results by this attribute's value at the exposure, such as country
    #[arg(long, value_name = "ATTRIBUTE", conflicts_with = "counts")]
    by: Option<String>,
    /// The definition, for weights, order and names [default: equal weights; the control is "control", or the first by name]
    #[arg(long, value_name = "FILE", conflicts_with = "counts")]
    definition: Option<PathBuf>,
    /// The function's experiments_feature
    #[arg(long, value_name = "NAME", default_value = FEATURE, conflicts_with = "counts")]
    feature: String,
}

/// How to print reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// For people.
    Text,
    /// One document per experiment and line.
    Json,
    /// One file for people, with plots.
    Html,
}

fn time(text: &str) -> Result<i64, String> {
    timestamp::parse(text)
        .ok_or_else(|| "expected a date or a time in RFC 3339, such as 2026-11-23 or 2026-11-23T12:00:00Z".to_owned())
}

impl Logs {
    /// Reads, counts and prints.
    ///
    /// # Errors
    /// With the reason, if an input cannot be read or there is nothing to report.
    pub(super) fn run(&self, output: Output) -> Result<(), String> {
        let outlines = self.outlines()?;
        let selection =
            Selection { from: self.from, to: self.to, experiment: self.experiment.clone(), phase: self.phase.clone() };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let new = || Collection::new(selection.clone());
        let (names, (collections, summary)) = match &self.stack {
            Some(stack) => {
                let mut lines = StackLines::find(stack, self.from, self.to)?;
                let scanned = scan(&mut lines, self.by.as_deref(), threads, new);
                if let Some(error) = lines.error {
                    return Err(error);
                }
                (Vec::new(), scanned)
            }
            None => {
                let (names, inputs) = self.open()?;
                let progress = progress(inputs.iter().map(|(_, size)| *size).sum());
                let readers = inputs.into_iter().map(|(reader, _)| progress.wrap_read(reader));
                let scanned = scan(readers, self.by.as_deref(), threads, new);
                progress.finish_and_clear();
                (names, scanned)
            }
        };
        let mut all = Collection::new(selection.clone());
        for collection in collections {
            all.merge(collection).map_err(|error| format!("cannot count: {error}"))?;
        }
        let found = all.experiments();
        let reports: Vec<Report> = count(all, &outlines, self.by.is_some()).into_iter().map(Report::of).collect();
        if reports.is_empty() {
            return Err(self.nothing(&found, &summary, &names));
        }
        let written = match output {
            Output::Text => self.write_text(&reports, &summary, &names),
            Output::Json => self.write_json(&reports, &summary, &names),
            Output::Html => io::stdout().write_all(page(&reports, self.by.as_deref(), &summary, &names).as_bytes()),
        };
        match written {
            // The reader closed the pipe early, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(|error| format!("cannot write the results: {error}"))?,
        }
        if summary.failed.is_empty() {
            Ok(())
        } else {
            Err("an input could not be read to its end, so these results are of a part of the lines".to_owned())
        }
    }

    fn write_text(&self, reports: &[Report], summary: &Summary, names: &[String]) -> io::Result<()> {
        let mut out = BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
        for report in reports {
            writeln!(out, "{}", terminal::page(report, self.by.as_deref()))?;
        }
        write!(out, "{}", terminal::summary(summary, names))?;
        out.flush()
    }

    fn write_json(&self, reports: &[Report], summary: &Summary, names: &[String]) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for report in reports {
            writeln!(out, "{}", json::document(report, self.by.as_deref(), summary, names)?)?;
        }
        out.flush()
    }

    /// Why there is nothing to report.
    fn nothing(&self, found: &[(String, String)], summary: &Summary, names: &[String]) -> String {
        let mut reason = if found.is_empty() {
            let lines = summary.lines;
            format!("no exposures in {lines} lines: expected log lines of the function with \"message\":\"exposure\"")
        } else {
            let keys: Vec<String> =
                found.iter().map(|(experiment, phase)| format!("{experiment} (phase {phase})")).collect();
            format!("no exposures are selected; the lines have {}", keys.join(", "))
        };
        if summary.broken > 0 || !summary.failed.is_empty() {
            let lines = anstream::adapter::strip_str(&terminal::summary(summary, names)).to_string();
            reason = format!("{reason}\n{}", lines.trim_end());
        }
        reason
    }

    /// The experiments of the definition.
    fn outlines(&self) -> Result<Vec<Outline>, String> {
        let Some(file) = &self.definition else { return Ok(Vec::new()) };
        let constraints = Constraints { feature: &self.feature, test_versions: None, cache_key: &[] };
        let definition = match read(file, constraints) {
            Ok(Parsed { definition: Some(definition), .. }) => definition,
            Ok(Parsed { problems, .. }) => {
                return Err(problems.first().map(ToString::to_string).unwrap_or_default());
            }
            Err(Unreadable(reason)) => return Err(reason),
        };
        let outline = |experiment: &nearedge_core::experiment::spec::Experiment| {
            let variations = experiment.shares().into_iter().enumerate().map(|(index, weight)| VariationOutline {
                key: experiment.variation_key(index).into_owned(),
                name: experiment.meta.get(index).and_then(|meta| meta.name.as_deref()).map(str::to_owned),
                weight,
            });
            Outline {
                key: experiment.key.to_string(),
                phase: experiment.phase.to_string(),
                variations: variations.collect(),
            }
        };
        Ok(definition.experiments().map(outline).collect())
    }

    /// The inputs, with their names, and their sizes as far as they are known.
    #[allow(clippy::type_complexity, reason = "used once")]
    fn open(&self) -> Result<(Vec<String>, Vec<(Box<dyn Read>, u64)>), String> {
        let mut names = Vec::new();
        let mut inputs: Vec<(Box<dyn Read>, u64)> = Vec::new();
        let standard = [PathBuf::from("-")];
        let files = if self.files.is_empty() { &standard } else { &*self.files };
        for file in files {
            if file == Path::new("-") {
                if self.files.is_empty() && io::stdin().is_terminal() {
                    return Err(
                        "expected files, or log lines on standard input, such as from `aws logs tail`".to_owned()
                    );
                }
                names.push("standard input".to_owned());
                inputs.push((Box::new(io::stdin()), 0));
            } else {
                let name = file.display().to_string();
                let open = File::open(file).map_err(|error| format!("cannot read {name}: {error}"))?;
                let data = open.metadata().map_err(|error| format!("cannot read {name}: {error}"))?;
                if data.is_dir() {
                    return Err(format!("{name} is a folder: name its files, such as {name}/*"));
                }
                names.push(name);
                inputs.push((Box::new(open), data.len()));
            }
        }
        Ok((names, inputs))
    }
}

/// A progress bar on standard error, if that is a terminal; without a known size, a number of bytes.
fn progress(bytes: u64) -> ProgressBar {
    let (bar, template) = if bytes > 0 {
        (ProgressBar::new(bytes), "{wide_bar} {bytes} of {total_bytes}, {eta}")
    } else {
        (ProgressBar::no_length(), "{spinner} {bytes}")
    };
    // Draws on a terminal only.
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
