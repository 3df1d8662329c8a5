//! The subcommand `policy`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nearedge_core::experiment::attribute::is_attribute;
use nearedge_core::request::header_names::parse_header_name;
use serde_json::json;

use crate::policy::document::{self, Documents};
use crate::policy::experiment::consent_cookie;
use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::check;
use crate::policy::subject::Subject;

/// The subcommands of `policy`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a distribution's configuration for this origin
    ///
    /// FILE is the output of `aws cloudfront get-distribution-config --id ID`, or a CloudFormation template, as JSON or
    /// YAML. The exit code is 0 without findings, 1 with findings and 2 for invalid input.
    Check(Box<Check>),
}

/// The arguments of `policy check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration or template; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A policy that the configuration names by id, as the output of `aws cloudfront get-cache-policy` or
    /// `get-origin-request-policy`; repeatable
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// The value of a template parameter; repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    parameters: Vec<(String, String)>,
    /// The variants [default: test_versions of the template's function, otherwise v1,v2]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    variants: Vec<String>,
    /// The function's auth_header, the name of the header with the secret [default: that of the template's function,
    /// otherwise lambda_auth]
    #[arg(long, value_name = "NAME", value_parser = header_name)]
    auth_header: Option<String>,
    /// The function's version_header, the name of the header with the variant [default: that of the template's
    /// function, otherwise test_version]
    #[arg(long, value_name = "NAME", value_parser = header_name)]
    version_header: Option<String>,
    /// The function's redirect_path [default: that of the template's function]
    #[arg(long, value_name = "URL")]
    redirect_path: Option<String>,
    /// The definition of the experiments: checks what it needs from the distribution
    #[arg(long, value_name = "FILE")]
    experiments: Option<PathBuf>,
    /// The function's experiments_feature [default: that of the template's function, otherwise test_version]
    #[arg(long, value_name = "NAME", requires = "experiments")]
    experiments_feature: Option<String>,
    /// The function's experiments_cookie [default: that of the template's function, otherwise nearedge]
    #[arg(long, value_name = "NAME", requires = "experiments")]
    experiments_cookie: Option<String>,
    /// The function's experiments_consent [default: that of the template's function]
    #[arg(long, value_name = "NAME[=VALUE]", requires = "experiments")]
    experiments_consent: Option<String>,
    /// The function's experiments_cache_key [default: that of the template's function]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = attribute, requires = "experiments")]
    experiments_cache_key: Vec<String>,
    /// Assume the function's experiments_preview [default: that of the template's function]
    #[arg(long, requires = "experiments")]
    experiments_preview: bool,
    /// The function's experiments_path [default: that of the template's function, otherwise /.nearedge]
    #[arg(long, value_name = "PATH", requires = "experiments")]
    experiments_path: Option<String>,
    /// The rules of access: checks that no guarded path leads past the function, and that tokens arrive
    #[arg(long, value_name = "FILE")]
    access: Option<PathBuf>,
    /// The list of redirects: checks that what its rules test arrives
    #[arg(long, value_name = "FILE")]
    redirects: Option<PathBuf>,
    /// The list of headers: checks what requests from other origins need
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// The region of the deployment; regions that start with cn- are AWS China
    #[arg(long, value_name = "REGION", default_value = "us-east-1", value_parser = region)]
    region: String,
    /// Print one JSON object per finding, one per line
    #[arg(long)]
    json: bool,
}

/// Parses `NAME=VALUE`; the value may be empty.
///
/// # Errors
/// If the name is missing.
pub fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Parses the name of a header as the function does.
///
/// # Errors
/// If the function does not accept the name.
fn header_name(text: &str) -> Result<String, String> {
    parse_header_name(text).map_err(|error| error.to_string())
}

/// Parses the name of a request's attribute as the function does.
///
/// # Errors
/// If no request has this attribute.
fn attribute(text: &str) -> Result<String, String> {
    let text = text.trim();
    let expected = || "expected an attribute of requests, such as country or deviceType".to_owned();
    is_attribute(text).then(|| text.to_owned()).ok_or_else(expected)
}

/// Parses a region's code: a misspelt one would silently be checked as a region outside AWS China.
///
/// # Errors
/// If the text does not have the form of a code.
pub fn region(text: &str) -> Result<String, String> {
    let mut parts = text.split('-').rev();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |part: &str| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    if parts.next().is_some_and(is_number) && parts.clone().count() >= 2 && parts.all(is_word) {
        Ok(text.to_owned())
    } else {
        Err("expected a region's code in lower case, such as eu-west-1 or cn-north-1".to_owned())
    }
}

/// Runs the command; prints findings to standard output and errors to standard error.
pub fn run(command: &Command) -> ExitCode {
    let Command::Check(arguments) = command;
    match arguments.findings() {
        Ok(findings) => {
            let written = arguments.write(&findings);
            if findings.is_empty() && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            drop(writeln!(std::io::stderr(), "policy check: {error}"));
            ExitCode::from(2)
        }
    }
}

impl Check {
    fn findings(&self) -> Result<Vec<Finding>, String> {
        let Self { file, policies, parameters, region, .. } = self;
        let mut subjects = document::subjects(&Documents { file, policies, parameters, region })?;
        let mut findings = Vec::new();
        for (_, subject) in &mut subjects {
            if !self.variants.is_empty() {
                subject.variants.clone_from(&self.variants);
            }
            if let Some(name) = &self.auth_header {
                subject.auth_header.clone_from(name);
            }
            if let Some(name) = &self.version_header {
                subject.version_header.clone_from(name);
            }
            if self.redirect_path.is_some() {
                subject.redirect_path.clone_from(&self.redirect_path);
            }
            self.read_experiments(subject)?;
            self.read_rules(subject)?;
            // The distributions of a template share its resources.
            for finding in check(subject) {
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
        Ok(findings)
    }

    /// Reads the definition and the options of experiments.
    fn read_experiments(&self, subject: &mut Subject) -> Result<(), String> {
        let Some(file) = &self.experiments else { return Ok(()) };
        let experiments = &mut subject.experiments;
        if let Some(name) = &self.experiments_feature {
            experiments.feature.clone_from(name);
        }
        if let Some(name) = &self.experiments_cookie {
            experiments.cookie.clone_from(name);
        }
        if let Some(path) = &self.experiments_path {
            experiments.path.clone_from(path);
        }
        if let Some(consent) = &self.experiments_consent {
            experiments.consent = Some(consent_cookie(consent));
        }
        if !self.experiments_cache_key.is_empty() {
            experiments.cache_key.clone_from(&self.experiments_cache_key);
        }
        experiments.preview |= self.experiments_preview;
        let listed = Some(&self.variants).filter(|variants| !variants.is_empty()).or(subject.test_versions.as_ref());
        experiments.load(file, listed.map(Vec::as_slice))
    }

    /// Reads the files of rules.
    fn read_rules(&self, subject: &mut Subject) -> Result<(), String> {
        let Self { access, redirects, headers, .. } = self;
        access.iter().try_for_each(|file| subject.site.load_access(file))?;
        redirects.iter().try_for_each(|file| subject.site.load_redirects(file))?;
        headers.iter().try_for_each(|file| subject.site.load_headers(file))
    }

    fn write(&self, findings: &[Finding]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for finding in findings {
            if self.json {
                let Finding { severity, id, place, why, fix } = finding;
                let severity = if *severity == Severity::Error { "error" } else { "warning" };
                let line = json!({"severity": severity, "id": id, "place": place, "why": why, "fix": fix});
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{finding}\n")?;
            }
        }
        if !self.json {
            let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
            let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
            writeln!(out, "{}: {errors} errors, {warnings} warnings", self.file.display())?;
        }
        Ok(())
    }
}
