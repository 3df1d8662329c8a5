//! The subcommand `rules`.

use std::process::ExitCode;

use clap::Subcommand;

use crate::rules::check::{self, Check};
use crate::rules::explain::{self, Explain};

/// The subcommands of `rules`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check _redirects, _headers, access.json and experiments.json before they are uploaded
    ///
    /// Each file is checked alone, and all of them together: shadowed rules, loops, targets that do not exist, rules of
    /// headers that match nothing, guarded paths, login pages, and versions. Prints one line for each problem. The exit code
    /// is 0 without errors and warnings, 1 with some, and 2 if a file cannot be read. A note is no problem.
    Check(Box<Check>),
    /// Explain what happens to a request: each stage, and the line of the file that decides
    ///
    /// Sends the request to the real origin in this process, over the objects of a folder. Uses no network. The exit code is
    /// 0, and 2 if the folder, a setting or the URL cannot be used.
    Explain(Box<Explain>),
}

/// Runs a subcommand.
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
    }
}
