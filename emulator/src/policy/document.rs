//! Reads distributions and policies from files: the output of the AWS CLI, or a CloudFormation template.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::policy::policies::Policies;
use crate::policy::subject::Subject;
use crate::policy::template::{Template, read};

/// The files of a distribution.
#[derive(Debug, Clone, Copy)]
pub struct Documents<'a> {
    /// The configuration or template; `-` is standard input.
    pub file: &'a Path,
    /// The policies that the configuration names by id.
    pub policies: &'a [PathBuf],
    /// The values of the template's parameters.
    pub parameters: &'a [(String, String)],
    /// The region of the deployment.
    pub region: &'a str,
}

/// The distributions of the files, with their logical ids in a template.
///
/// # Errors
/// If a file cannot be read or is invalid: the file and the reason, in one line.
pub fn subjects(documents: &Documents<'_>) -> Result<Vec<(String, Subject)>, String> {
    let Documents { file, policies: files, parameters, region } = *documents;
    let china = region.starts_with("cn-");
    let mut policies = Policies::default();
    for path in files {
        let (id, policy) = policy_of(&load(path)?).map_err(|error| in_file(path, error))?;
        policies.add(&id, &policy).map_err(|error| in_file(path, error))?;
    }
    let document = load(file)?;
    if document.get("Resources").is_some() {
        let template = Template::new(document, region, parameters).map_err(|error| in_file(file, error.to_string()))?;
        return Subject::from_template(&template, policies, china).map_err(|error| in_file(file, error));
    }
    if let Some((name, _)) = parameters.first() {
        return Err(in_file(file, format!("--set {name} requires a template, found no Resources")));
    }
    let subject = Subject::from_config(&document, &policies, china).map_err(|error| in_file(file, error))?;
    Ok(vec![(String::new(), subject)])
}

fn in_file(path: &Path, error: String) -> String {
    format!("{}: {error}", path.display())
}

fn load(path: &Path) -> Result<Value, String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(|error| in_file(path, error.to_string()))?;
    } else {
        text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    }
    read(&text).map_err(|error| in_file(path, error.to_string()))
}

/// The id and the policy in the output of the AWS CLI.
fn policy_of(document: &Value) -> Result<(String, Value), String> {
    let policy = ["CachePolicy", "OriginRequestPolicy"].iter().find_map(|name| document.get(name)).cloned();
    let policy = policy.ok_or(
        "expected the output of `aws cloudfront get-cache-policy` or `get-origin-request-policy`, found no policy",
    )?;
    match policy["Id"].as_str() {
        Some(id) => Ok((id.to_owned(), policy)),
        None => Err("expected a policy with an Id, found none".to_owned()),
    }
}
