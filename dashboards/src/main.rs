//! Writes the dashboards and alarms: `dashboards/aws`, `dashboards/aws-cn`, and the generated part of the templates in
//! `deploy/`.
//!
//! `--print FILE NAME=VALUE…` prints one of the files with values for its placeholders.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use dashboards::partition::Partition;
use dashboards::template;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] => write_all(),
        ["--print", file, values @ ..] => print(file, values),
        _ => Err("usage: dashboards [--print FILE NAME=VALUE…], such as --print aws/cache.json FunctionName=lambdaapi"
            .to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "dashboards: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn write_all() -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in dashboards::files() {
        let path = folder.join(name);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        std::fs::write(&path, text).map_err(failed)?;
        drop(writeln!(std::io::stdout(), "{}", path.display()));
    }
    for partition in Partition::ALL {
        let path = folder.join("../deploy").join(format!("{}.yaml", partition.name()));
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let template = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let template = template::complete(partition, &template).map_err(|error| failed(&error))?;
        std::fs::write(&path, template).map_err(|error| failed(&error))?;
        drop(writeln!(std::io::stdout(), "{}", path.display()));
    }
    Ok(())
}

fn print(file: &str, values: &[&str]) -> Result<(), String> {
    let (_, mut text) = dashboards::files()
        .into_iter()
        .find(|(name, _)| name == file)
        .ok_or_else(|| format!("expected a file of dashboards/, such as aws/latency.json, found {file}"))?;
    for value in values {
        let (name, value) = value.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, found {value}"))?;
        text = text.replace(&format!("${{{name}}}"), value);
    }
    if let Some((_, rest)) = text.split_once("${") {
        return Err(format!(
            "expected a value for each placeholder: add {}=…",
            rest.split('}').next().unwrap_or_default()
        ));
    }
    drop(write!(std::io::stdout(), "{text}"));
    Ok(())
}
