//! The subcommand `experiment`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

use crate::experiment::evaluate::evaluate;

/// The subcommands of `experiment`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Evaluate features, experiments and conditions, one JSON object per line of standard input
    ///
    /// Each line is one of these objects, with GrowthBook's names:
    ///
    ///   {"context": {"attributes": {"id": "1"}, "features": {…}}, "feature": "test_version"}
    ///   {"context": {…}, "experiment": {"key": "new-checkout", "variations": ["v1", "v2"]}}
    ///   {"context": {"url": "https://example.com/", "experiments": […], …}, "redirects": true}
    ///   {"condition": {"country": "CN"}, "attributes": {"country": "CN"}, "savedGroups": {…}}
    ///   {"queryStringOverride": ["new-checkout", "https://example.com/?new-checkout=1", 2]}
    ///
    /// Each line of the output is the result for the line of the input, or {"error": "…"}.
    #[command(verbatim_doc_comment)]
    Evaluate,
}

/// Runs a subcommand.
pub fn run(command: &Command) -> ExitCode {
    let result = match command {
        Command::Evaluate => evaluate(io::stdin().lock(), io::BufWriter::new(io::stdout().lock())),
    };
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
