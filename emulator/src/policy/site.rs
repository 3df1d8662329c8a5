//! The function's files of rules: `access`, `redirects` and `headers`.

use std::path::Path;

use nearedge_core::access::rules::{AccessRules, RuleKind, Target, Versions};
use nearedge_core::problem::{Problem, Severity};
use nearedge_core::rules::headers::Headers;
use nearedge_core::rules::redirects::Redirects;
use nearedge_core::rules::{LineProblem, Severity as LineSeverity};

use crate::policy::json::is_unknown;

/// A file of rules.
#[derive(Debug, Clone)]
pub struct RulesFile<T> {
    /// The setting that names it.
    pub setting: &'static str,
    /// The key of the object, if the function has the setting; unknown for the configuration of a distribution.
    pub key: Option<Option<String>>,
    /// The rules, if the file is given.
    pub rules: Option<T>,
}

impl<T> RulesFile<T> {
    fn new(name: &'static str) -> Self {
        Self { setting: name, key: None, rules: None }
    }

    /// Whether the file is given, although the function does not load one.
    pub fn is_off(&self) -> bool {
        self.rules.is_some() && self.key == Some(None)
    }

    /// Whether the function loads the file, or will: it is given.
    pub fn is_in_use(&self) -> bool {
        self.rules.is_some() || matches!(self.key, Some(Some(_)))
    }
}

/// The function's files of rules.
#[derive(Debug, Clone)]
pub struct Site {
    /// The rules of access.
    pub access: RulesFile<AccessRules>,
    /// The list of redirects.
    pub redirects: RulesFile<Redirects>,
    /// The list of headers.
    pub headers: RulesFile<Headers>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            access: RulesFile::new("access"),
            redirects: RulesFile::new("redirects"),
            headers: RulesFile::new("headers"),
        }
    }
}

impl Site {
    /// Reads the settings of a template's function; `setting` returns a setting by its name.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Self {
        let mut site = Self::default();
        let key = |name: &str| Some(setting(name).filter(|key| !key.trim().is_empty()));
        site.access.key = key("access");
        site.redirects.key = key("redirects");
        site.headers.key = key("headers");
        site
    }

    /// Reads the rules of access.
    ///
    /// # Errors
    /// With one line per error of the file, which the function would refuse too.
    pub fn load_access(&mut self, file: &Path) -> Result<(), String> {
        let key = self.access.key.iter().flatten().find(|key| !is_unknown(key));
        let (rules, _) = AccessRules::parse(&text(file)?, key.map(String::as_str)).map_err(|problems| {
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
            lines(file, errors.map(Problem::to_string))
        })?;
        self.access.rules = Some(rules);
        Ok(())
    }

    /// Reads the list of redirects.
    ///
    /// # Errors
    /// With one line per error: the function would leave out these lines, so that the check would not be about all rules.
    pub fn load_redirects(&mut self, file: &Path) -> Result<(), String> {
        let (redirects, problems) = Redirects::parse(&text(file)?);
        self.redirects.rules = Some(redirects);
        checked(file, &problems)
    }

    /// Reads the list of headers.
    ///
    /// # Errors
    /// As for the list of redirects.
    pub fn load_headers(&mut self, file: &Path) -> Result<(), String> {
        let (headers, problems) = Headers::parse(&text(file)?);
        self.headers.rules = Some(headers);
        checked(file, &problems)
    }

    /// Whether a path is guarded. `versions` are the folders of versions; none lists them if it is `None`.
    pub fn guards(&self, path: &str, versions: Option<&[String]>) -> bool {
        let is_version = |segment: &str| versions.into_iter().flatten().any(|version| version == segment);
        let versions = if versions.is_some() { Versions::Listed(&is_version) } else { Versions::Any };
        self.access.rules.as_ref().is_some_and(|rules| !rules.guards(Target::from(path), versions).is_empty())
    }

    /// The patterns of guarded paths, as path patterns of CloudFront, with what guards them.
    pub fn guarded_patterns(&self) -> impl Iterator<Item = (&str, &RuleKind)> {
        let rules = self.access.rules.iter().flat_map(|rules| rules.rules());
        rules.filter(|rule| !matches!(rule.kind, RuleKind::Open)).map(|rule| (&*rule.path, &rule.kind))
    }
}

fn text(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

fn lines(file: &Path, problems: impl Iterator<Item = String>) -> String {
    problems.map(|problem| format!("{}: {problem}", file.display())).collect::<Vec<_>>().join("\n")
}

fn checked(file: &Path, problems: &[LineProblem]) -> Result<(), String> {
    let is_error = |problem: &&LineProblem| problem.severity == LineSeverity::Error;
    let errors: Vec<String> = problems.iter().filter(is_error).map(ToString::to_string).collect();
    if errors.is_empty() { Ok(()) } else { Err(lines(file, errors.into_iter())) }
}
