//! `policy check` on the command line.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::policy::distribution::Policies;
use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::check;
use crate::policy::subject::Subject;
use crate::policy::template::{Template, read};

/// What is done with a distribution's configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what is wrong with a distribution's configuration for this origin
    ///
    /// FILE is what `aws cloudfront get-distribution-config --id ID` prints, or a CloudFormation template, as JSON or YAML.
    /// The exit code is 0 when nothing is wrong, 1 when something is, 2 when the file makes no sense.
    Check(Check),
}

/// What to check.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration or the template; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A policy that the configuration names by id: what `get-cache-policy` or `get-origin-request-policy` prints; can be
    /// repeated
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// A parameter of the template; can be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    parameters: Vec<(String, String)>,
    /// The variants, where the template's function does not say
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    variants: Vec<String>,
    /// The function's redirect_path, where no template says it
    #[arg(long, value_name = "URL")]
    redirect_path: Option<String>,
    /// The region that it is for: one that begins with cn- is AWS China
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,
    /// One JSON object a finding, a line each
    #[arg(long)]
    json: bool,
}

/// `NAME=VALUE`, where the value may be empty.
///
/// # Errors
/// When there is no name.
pub fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("use NAME=VALUE".to_owned()),
    }
}

/// Runs it; findings go to standard output, trouble to standard error.
pub fn run(command: &Command) -> ExitCode {
    let Command::Check(arguments) = command;
    match arguments.findings() {
        Ok(findings) => {
            let written = arguments.write(&findings);
            if findings.is_empty() && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            drop(writeln!(std::io::stderr(), "policy check: {problem}"));
            ExitCode::from(2)
        }
    }
}

impl Check {
    fn findings(&self) -> Result<Vec<Finding>, String> {
        let china = self.region.starts_with("cn-");
        let mut policies = Policies::default();
        for path in &self.policies {
            let (id, policy) = policy_of(load(path)?).map_err(|problem| format!("{}: {problem}", path.display()))?;
            policies.add(&id, &policy).map_err(|problem| format!("{}: {problem}", path.display()))?;
        }
        let document = load(&self.file)?;
        let failed = |problem: String| format!("{}: {problem}", self.file.display());
        let mut subjects = if document.get("Resources").is_some() {
            let template =
                Template::new(document, &self.region, &self.parameters).map_err(|error| failed(error.to_string()))?;
            Subject::of_template(&template, policies, china).map_err(failed)?
        } else {
            if let Some((name, _)) = self.parameters.first() {
                return Err(failed(format!("--set {name}: it is no template")));
            }
            vec![(String::new(), Subject::of_config(&document, &policies, china).map_err(failed)?)]
        };
        let mut findings = Vec::new();
        for (_, subject) in &mut subjects {
            if !self.variants.is_empty() {
                subject.variants.clone_from(&self.variants);
            }
            if self.redirect_path.is_some() {
                subject.redirect_path.clone_from(&self.redirect_path);
            }
            findings.extend(check(subject));
        }
        Ok(findings)
    }

    fn write(&self, findings: &[Finding]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for finding in findings {
            if self.json {
                let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
                let line = json!({"severity": severity, "id": finding.id, "place": finding.place, "why": finding.why, "cure": finding.cure});
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{finding}\n")?;
            }
        }
        if !self.json {
            let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
            match (count(Severity::Error), count(Severity::Warning)) {
                (0, 0) => writeln!(out, "{}: nothing is wrong with it for this origin", self.file.display())?,
                (errors, warnings) => writeln!(out, "{}: {errors} errors, {warnings} warnings", self.file.display())?,
            }
        }
        Ok(())
    }
}

fn load(path: &Path) -> Result<Value, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(|error| failed(&error))?;
    } else {
        text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    }
    read(&text).map_err(|error| failed(&error))
}

/// The id of a policy and its config, as the CLI prints them.
fn policy_of(document: Value) -> Result<(String, Value), String> {
    let policy = ["CachePolicy", "OriginRequestPolicy"].iter().find_map(|name| document.get(name)).cloned();
    let policy = policy.ok_or(
        "it holds no policy: give what `aws cloudfront get-cache-policy` or `get-origin-request-policy` prints",
    )?;
    match policy["Id"].as_str() {
        Some(id) => Ok((id.to_owned(), policy)),
        None => Err("the policy has no Id".to_owned()),
    }
}
