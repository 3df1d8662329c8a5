//! `rules check`: the problems of the files of a site, alone and together.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::policy::command::{name_and_value, region};
use crate::policy::document::{self, Documents};
use crate::policy::subject::Subject;
use crate::rules::finding::{self, Finding, Severity};
use crate::rules::lint;
use crate::rules::site::{ADDRESS, Sources, Unreadable};

/// The arguments of `rules check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The folder of the site, or files, which are recognised by name or content. Only a folder tells which objects exist
    #[arg(value_name = "DIR|FILE", required = true)]
    paths: Vec<PathBuf>,
    /// Print a JSON list of objects with file, line, column, path, severity, reason and fix
    #[arg(long)]
    json: bool,
    /// The function's html_handling
    #[arg(
        long,
        value_name = "MODE",
        value_parser = PossibleValuesParser::new(["none", "auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash"])
    )]
    html_handling: Option<String>,
    /// The function's test_versions: the versions that may occur [default: any]
    #[arg(long, value_name = "LIST")]
    test_versions: Option<String>,
    /// Another setting of the function, such as variant_fallback=true; repeatable
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = name_and_value)]
    settings: Vec<(String, String)>,
    /// The distribution, as for `policy check`: reports guarded paths that it serves directly from S3
    #[arg(long, value_name = "FILE")]
    distribution: Option<PathBuf>,
    /// A policy that the distribution names by id; repeatable
    #[arg(long = "policy", value_name = "FILE", requires = "distribution")]
    policies: Vec<PathBuf>,
    /// The value of a parameter of the distribution's template; repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value, requires = "distribution")]
    parameters: Vec<(String, String)>,
    /// The region of the distribution's template
    #[arg(long, value_name = "REGION", default_value = "us-east-1", value_parser = region, requires = "distribution")]
    region: String,
}

/// Runs the command.
pub(super) fn run(arguments: &Check) -> ExitCode {
    match arguments.findings() {
        Ok(findings) => {
            let written = finding::write(&findings, arguments.json, io::stdout().lock());
            let is_unreadable = |finding: &Finding| finding.reason.starts_with("invalid JSON");
            if findings.iter().any(is_unreadable) {
                ExitCode::from(2)
            } else if written.is_ok() && findings.iter().all(|finding| finding.severity == Severity::Note) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(Unreadable(reason)) => {
            drop(writeln!(io::stderr(), "rules check: {reason}"));
            ExitCode::from(2)
        }
    }
}

impl Check {
    fn findings(&self) -> Result<Vec<Finding>, Unreadable> {
        let sources = Sources::read(&self.paths)?;
        if sources.is_empty() {
            let names = self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            let files = "_redirects, _headers, access.json or experiments.json";
            return Err(Unreadable(format!("{names}: expected {files} in the folder, found none")));
        }
        let mut settings = self.settings.clone();
        let mut set = |name: &str, value: &Option<String>| {
            settings.extend(value.iter().map(|value| (name.to_owned(), value.clone())));
        };
        set("html_handling", &self.html_handling);
        set("test_versions", &self.test_versions);
        let distributions = self.distributions()?;
        let (site, mut findings) = sources.parse(ADDRESS, &settings)?;
        findings.extend(lint::run(&site, &distributions));
        let files: Vec<String> = findings.iter().map(|finding| finding.file.clone()).collect();
        let order = |file: &str| files.iter().position(|known| known == file);
        findings.sort_by_key(|finding| (order(&finding.file), finding.line, finding.column, finding.severity));
        Ok(findings)
    }

    fn distributions(&self) -> Result<Vec<Subject>, Unreadable> {
        let Some(file) = &self.distribution else { return Ok(Vec::new()) };
        let Self { policies, parameters, region, .. } = self;
        let subjects = document::subjects(&Documents { file, policies, parameters, region }).map_err(Unreadable)?;
        Ok(subjects.into_iter().map(|(_, subject)| subject).collect())
    }
}
