//! The subcommand `experiment`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

use crate::experiment::check::{self, Check};
use crate::experiment::evaluate::evaluate;
use crate::experiment::plan::{self, Plan};
use crate::experiment::report::{self, Report};
use crate::experiment::simulate::{self, Simulate};

/// The subcommands of `experiment`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Evaluate features, experiments and conditions, one JSON object per line of standard input
    ///
    /// Each line is one of these objects, with GrowthBook's names:
    ///
    ///   {"context": {"attributes": {"id": "1"}, "features": {…}}, "feature": "test_version"}
    ///   {"context": {…}, "experiment": {"key": "new-checkout", "variations": ["v1", "v2"]}}
    ///   {"context": {"url": "…", "experiments": […], …}, "redirects": true}
    ///   {"condition": {"country": "CN"}, "attributes": {"country": "CN"}, "savedGroups": {…}}
    ///   {"queryStringOverride": ["new-checkout", "/?new-checkout=1", 2]}
    ///
    /// Each line of the output is the result for the line of the input, or {"error": "…"}.
    #[command(verbatim_doc_comment)]
    Evaluate,
    /// Check a definition before it is uploaded
    ///
    /// Prints each problem with its place, its reason and its fix. The exit code is 0 without problems, 1 with problems and
    /// 2 if the definition cannot be read.
    Check(Check),
    /// Simulate visitors, and compare their split with the weights
    ///
    /// Visitors have random ids, and no other attribute than those of --set. The exit code is 0, 1 if the definition cannot
    /// be used, and 2 if it cannot be read.
    Simulate(Simulate),
    /// Report the results of an experiment: comparisons, intervals, chances, the sample ratio and a verdict
    ///
    /// The counts have this format; the first variation is the control, and weights need not sum to 1:
    ///
    ///   {"experiment": "new-checkout", "variations": [
    ///     {"key": "control", "weight": 0.5, "visitors": 10000, "goals": {"signup": {"conversions": 300}}},
    ///     {"key": "treatment", "weight": 0.5, "visitors": 10021, "goals": {"signup": {"conversions": 342}}}]}
    ///
    /// A goal with values adds "sum" and "sum_squares", over its visitors; it is compared by the mean per visitor.
    /// docs/statistics.md explains the methods. The exit code is 0, and 2 if the counts cannot be read.
    #[command(verbatim_doc_comment)]
    Report(Box<Report>),
    /// Calculate the visitors and days that an experiment needs
    ///
    /// For example, to detect 10 % more sign-ups than 3 of 100 visitors, with 5,000 visitors a day:
    ///
    ///   nearedge experiment plan --rate 0.03 --uplift 0.10 --power 0.8 --visitors-per-day 5000
    ///
    /// The exit code is 0, and 2 if the arguments are not possible.
    #[command(verbatim_doc_comment)]
    Plan(Plan),
}

/// Runs a subcommand.
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::Evaluate => exit_code(evaluate(io::stdin().lock(), io::BufWriter::new(io::stdout().lock()))),
        Command::Check(arguments) => check::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Plan(arguments) => plan::run(arguments),
    }
}

fn exit_code(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the pipe early, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "nearedge: {error}"));
            ExitCode::from(2)
        }
    }
}
