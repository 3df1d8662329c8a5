//! `experiment report`: the results of an experiment.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use nearedge_report::counts::{self, Counts};
use nearedge_report::render::text;
use nearedge_report::results::table::Results;

use crate::experiment::logs::{Logs, Output};

/// The arguments of `experiment report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The counts of an experiment, or of several one after another; - is standard input
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
    #[command(flatten)]
    logs: Logs,
    /// How to print the results: a table, or one JSON object per experiment and line
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// One JSON object per experiment
    Json,
}

/// Runs the command.
pub(super) fn run(arguments: &Report) -> ExitCode {
    let fail = |reason: String| {
        drop(writeln!(io::stderr(), "experiment report: {reason}"));
        ExitCode::from(2)
    };
    let Some(counts) = &arguments.counts else {
        let output = match arguments.format {
            Format::Text => Output::Text,
            Format::Json => Output::Json,
        };
        return arguments.logs.run(output).map_or_else(fail, |()| ExitCode::SUCCESS);
    };
    let experiments = match read(counts) {
        Ok(experiments) => experiments,
        Err(reason) => return fail(reason),
    };
    match write(&experiments, arguments.format, io::BufWriter::new(io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the pipe early, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "experiment report: cannot write the results: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads counts from a file or standard input.
fn read(file: &Path) -> Result<Vec<Counts>, String> {
    let mut text = String::new();
    let (name, read) = if file == Path::new("-") {
        ("standard input".to_owned(), io::stdin().lock().read_to_string(&mut text))
    } else {
        (file.display().to_string(), fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)))
    };
    read.map_err(|error| format!("cannot read {name}: {error}"))?;
    let experiments: Result<Vec<Counts>, _> = counts::parse(&text).collect();
    let experiments = experiments.map_err(|error| format!("{name}: {error}"))?;
    if experiments.is_empty() {
        return Err(format!(r#"{name} is empty: expected {{"experiment": …, "variations": [{{…}}, {{…}}]}}"#));
    }
    Ok(experiments)
}

fn write(experiments: &[Counts], format: Format, mut out: impl Write) -> io::Result<()> {
    for (index, counts) in experiments.iter().enumerate() {
        let results = Results::of(counts);
        match format {
            Format::Json => {
                serde_json::to_writer(&mut out, &results)?;
                writeln!(out)?;
            }
            Format::Text => {
                let separator = if index > 0 { "\n" } else { "" };
                write!(out, "{separator}{}", text::table(counts, &results))?;
            }
        }
    }
    out.flush()
}
