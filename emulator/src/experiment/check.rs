//! `experiment check`: the problems of a definition, and of a site that it assigns visitors to.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nearedge_core::experiment::definition::{Constraints, Definition, FEATURE};
use nearedge_core::experiment::problem::{Problem, Severity};
use serde_json::json;

use crate::experiment::against::{moves, report_moves};
use crate::experiment::names::resembling;
use crate::experiment::site::check_site;

/// The arguments of `experiment check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The definition
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The definition that is active now: reports how many visitors the new one would move to another variation
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
    /// The folder of the site: reports versions without a folder, and pages that refer to assets which their version
    /// lacks or which another rule decides
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    /// The function's experiments_feature
    #[arg(long, value_name = "NAME", default_value = FEATURE)]
    feature: String,
    /// The function's test_versions: the versions that may occur [default: any]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    test_versions: Vec<String>,
    /// The function's variant_fallback is true: an asset that a version lacks is served from the folder above
    #[arg(long)]
    variant_fallback: bool,
    /// Print one JSON object per problem, one per line
    #[arg(long)]
    json: bool,
}

/// A definition that cannot be read at all: the exit code is 2.
pub(super) struct Unreadable(pub(super) String);

/// Reads and parses a definition.
pub(super) fn read(file: &PathBuf, constraints: Constraints<'_>) -> Result<Parsed, Unreadable> {
    let name = file.display();
    let bytes = fs::read(file).map_err(|error| Unreadable(format!("cannot read {name}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Unreadable(format!("{name} is not UTF-8: save it as UTF-8")))?;
    match Definition::parse(&text, constraints) {
        Ok((definition, warnings)) => Ok(Parsed { definition: Some(definition), problems: warnings, text }),
        Err(problems) if problems.iter().any(|problem| problem.reason.starts_with("invalid JSON")) => {
            Err(Unreadable(format!("{name}: {}", problems.first().map(Problem::to_string).unwrap_or_default())))
        }
        Err(problems) => Ok(Parsed { definition: None, problems, text }),
    }
}

/// A definition, or what is wrong with it.
pub(super) struct Parsed {
    /// The definition, if it can be used.
    pub(super) definition: Option<Definition>,
    pub(super) problems: Vec<Problem>,
    text: String,
}

/// Runs the command.
pub(super) fn run(arguments: &Check) -> ExitCode {
    match arguments.check() {
        Ok(problems) => match arguments.write(&problems) {
            Ok(()) if problems.is_empty() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(Unreadable(reason)) => {
            drop(writeln!(io::stderr(), "experiment check: {reason}"));
            ExitCode::from(2)
        }
    }
}

impl Check {
    fn check(&self) -> Result<Vec<Problem>, Unreadable> {
        let listed = (!self.test_versions.is_empty()).then_some(&*self.test_versions);
        let constraints = Constraints { feature: &self.feature, test_versions: listed, cache_key: &[] };
        let Parsed { definition, mut problems, text } = read(&self.file, constraints)?;
        problems.extend(resembling(&text));
        let Some(definition) = definition else { return Ok(problems) };
        if let Some(old) = &self.against {
            let Parsed { definition: old_definition, .. } = read(old, constraints)?;
            let unusable = || Unreadable(format!("{} cannot be used: run `experiment check` on it", old.display()));
            let moves = moves(&old_definition.ok_or_else(unusable)?, &definition);
            if !self.json {
                // A reader may have closed the pipe.
                drop(report_moves(&moves, io::stdout().lock()));
            }
            problems.extend(moves.iter().filter_map(|moved| moved.problem()));
        }
        if let Some(site) = &self.site {
            if !site.is_dir() {
                return Err(Unreadable(format!("{} is not a folder", site.display())));
            }
            problems.extend(check_site(site, &definition, &self.feature, self.variant_fallback));
        }
        Ok(problems)
    }

    fn write(&self, problems: &[Problem]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for problem in problems {
            let Problem { severity, path, line, column, reason, fix, .. } = problem;
            let severity = if *severity == Severity::Error { "error" } else { "warning" };
            if self.json {
                let position = |number: &usize| (*number > 0).then_some(*number);
                let line = json!({
                    "severity": severity, "path": path, "line": position(line), "column": position(column),
                    "reason": reason, "fix": fix,
                });
                writeln!(out, "{line}")?;
            } else {
                let place = match line {
                    0 => String::new(),
                    _ => format!(":{line}:{column}"),
                };
                writeln!(
                    out,
                    "{severity:7} {}{place}  {path}\n        why  {reason}\n        fix  {fix}\n",
                    self.file.display()
                )?;
            }
        }
        if !self.json {
            let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
            let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
            writeln!(out, "{}: {errors} errors, {warnings} warnings", self.file.display())?;
        }
        Ok(())
    }
}
