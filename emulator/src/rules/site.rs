//! The files that configure a site, read together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearedge_core::access::definition::BYTES_MAX as JSON_BYTES_MAX;
use nearedge_core::access::rules::{AccessRules, Guards, Rule, RuleKind, Target, Versions};
use nearedge_core::experiment::definition::{Constraints, Definition, FEATURE};
use nearedge_core::experiment::problem::Problem;
use nearedge_core::object::is_version;
use nearedge_core::problem::{Step, position};
use nearedge_core::rules::headers::Headers;
use nearedge_core::rules::redirects::Redirects;
use serde::de::IgnoredAny;

use crate::rules::finding::{Finding, Severity};
use crate::rules::object::Objects;
use crate::rules::trial::Trial;
use crate::site_file::{ACCESS, EXPERIMENTS, HEADERS, REDIRECTS, SiteFile};

/// The files, in the order of their checks.
const FILES: [SiteFile; 4] = [REDIRECTS, HEADERS, ACCESS, EXPERIMENTS];

/// A file of the site.
#[derive(Debug)]
pub(super) struct File<T> {
    /// The name, as the command line leads to it.
    pub(super) name: String,
    /// The content.
    pub(super) text: String,
    /// The part of it that can be used; `None` if it is refused as a whole.
    pub(super) parsed: Option<T>,
}

/// The files of a site, and its objects.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) objects: Arc<Objects>,
    pub(super) redirects: Option<File<Redirects>>,
    pub(super) headers: Option<File<Headers>>,
    pub(super) access: Option<File<AccessRules>>,
    pub(super) experiments: Option<File<Definition>>,
    /// The function's `test_versions`.
    pub(super) listed: Option<Vec<String>>,
    /// The real origin with these files and objects.
    pub(super) trial: Trial,
}

/// The site's usual address, if nothing else is known.
pub(super) const ADDRESS: &str = "https://site.example";

/// Files that cannot be read: the exit code is 2.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) String);

/// The folder and the files of a command line.
#[derive(Debug, Default)]
pub(super) struct Sources {
    folder: Option<PathBuf>,
    /// Files, with their roles and texts.
    files: Vec<(SiteFile, String, String)>,
    /// Files that cannot be used at all.
    pub(super) findings: Vec<Finding>,
}

impl Sources {
    /// Reads a folder, or files.
    ///
    /// # Errors
    /// If a path does not exist, is of an unknown kind, or if a folder has none of the files.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Unreadable> {
        let mut sources = Self::default();
        for path in paths {
            let name = path.display();
            if path.is_dir() {
                if sources.folder.is_some() {
                    return Err(Unreadable(format!("{name}: expected one folder, found a second one")));
                }
                sources.folder = Some(path.clone());
                continue;
            }
            let text = read(path)?;
            let file = role(path, &text).ok_or_else(|| match serde_json::from_str::<IgnoredAny>(&text) {
                Err(error) if text.trim_start().starts_with('{') => {
                    Unreadable(format!("{name}: invalid JSON: {error}: correct the syntax"))
                }
                _ => Unreadable(format!(
                    "{name}: expected redirects, headers, rules of access or a definition of experiments: rename it to \
                     _redirects, _headers, access.json or experiments.json"
                )),
            })?;
            if sources.files.iter().any(|(known, ..)| *known == file) {
                return Err(Unreadable(format!("{name}: expected one {}, found a second one", file.name)));
            }
            sources.files.push((file, name.to_string(), text));
        }
        let Some(folder) = sources.folder.clone() else { return Ok(sources) };
        for file in FILES {
            let path = folder.join(file.name);
            if path.exists() && !sources.files.iter().any(|(known, ..)| *known == file) {
                let name = path.strip_prefix(".").unwrap_or(&path).display().to_string();
                sources.files.push((file, name, read(&path)?));
            }
        }
        Ok(sources)
    }

    /// Leaves the folder out of the names of its files.
    pub(super) fn shorten_names(&mut self, folder: &Path) {
        for (_, name, _) in &mut self.files {
            if let Ok(rest) = Path::new(&*name).strip_prefix(folder) {
                *name = rest.display().to_string();
            }
        }
    }

    /// Whether there is no file to check.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Parses the files, and prepares the origin; returns their problems too. `site` is the site's usual address.
    ///
    /// # Errors
    /// If the folder cannot be read, or a setting is invalid.
    pub(super) fn parse(self, site: &str, settings: &[(String, String)]) -> Result<(Site, Vec<Finding>), Unreadable> {
        let setting = |name: &str| {
            let value = settings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.trim());
            value.filter(|value| !value.is_empty())
        };
        let listed: Option<Vec<String>> =
            setting("test_versions").map(|list| list.split(',').map(|version| version.trim().to_owned()).collect());
        let mut objects = Objects::open(self.folder.as_deref()).map_err(Unreadable)?;
        let mut findings = self.findings;
        let (mut redirects, mut headers, mut access, mut experiments) = (None, None, None, None);
        let mut all: Vec<(String, String)> = Vec::new();
        for (role, name, text) in self.files {
            all.push((role.setting.to_owned(), role.name.to_owned()));
            objects.add(role.name, text.clone());
            match role {
                REDIRECTS => {
                    let parsed = parse_redirects(&name, &text, &mut findings);
                    redirects = Some(File { name, text, parsed });
                }
                HEADERS => {
                    let (parsed, problems) = Headers::parse(&text);
                    findings.extend(problems.into_iter().map(|problem| Finding::of_line(&name, problem)));
                    headers = Some(File { name, text, parsed: Some(parsed) });
                }
                ACCESS => {
                    let parsed = keep(&name, AccessRules::parse(&text, Some(role.name)), &mut findings);
                    access = Some(File { name, text, parsed });
                }
                _ => {
                    let feature = setting("experiments_feature").unwrap_or(FEATURE);
                    let constraints = Constraints { feature, test_versions: listed.as_deref(), cache_key: &[] };
                    let parsed = keep(&name, Definition::parse(&text, constraints), &mut findings);
                    experiments = Some(File { name, text, parsed });
                }
            }
        }
        if let Some(file) = &mut access {
            add_keys(file, &objects, &mut findings);
        }
        let literal = redirects.iter().filter_map(|file| file.parsed.as_ref()).flat_map(Redirects::rules);
        for target in literal.filter_map(|rule| rule.to.split(['?', '#']).next()?.strip_prefix('/')) {
            if target.ends_with(".html") {
                objects.assume(target.to_owned());
            }
        }
        all.extend_from_slice(settings);
        let objects = Arc::new(objects);
        let trial = Trial::new(&objects, site, &all).map_err(Unreadable)?;
        Ok((Site { objects, redirects, headers, access, experiments, listed, trial }, findings))
    }
}

impl Site {
    /// The versions: those that are listed or that experiments give.
    pub(super) fn versions(&self) -> Vec<String> {
        let mut versions = self.listed.clone().unwrap_or_default();
        for version in self.definition().into_iter().flat_map(|definition| &definition.versions) {
            if !versions.iter().any(|known| **known == **version) {
                versions.push(version.to_string());
            }
        }
        versions
    }

    /// The folders that can be versions: every folder of the site, if nothing lists the versions.
    pub(super) fn possible_versions(&self) -> Vec<String> {
        let versions = self.versions();
        if self.listed.is_some() || !versions.is_empty() {
            return versions;
        }
        let keys = self.objects.keys();
        let mut folders: Vec<String> = keys.iter().filter_map(|key| Some(key.split_once('/')?.0.to_owned())).collect();
        folders.dedup();
        folders.retain(|folder| is_version(folder));
        folders
    }

    /// The redirects that can be used.
    pub(super) fn redirects(&self) -> Option<(&File<Redirects>, &Redirects)> {
        self.redirects.as_ref().and_then(|file| Some((file, file.parsed.as_ref()?)))
    }

    /// The rules of headers that can be used.
    pub(super) fn headers(&self) -> Option<(&File<Headers>, &Headers)> {
        self.headers.as_ref().and_then(|file| Some((file, file.parsed.as_ref()?)))
    }

    /// The rules of access, if they can be used.
    pub(super) fn access(&self) -> Option<(&File<AccessRules>, &AccessRules)> {
        self.access.as_ref().and_then(|file| Some((file, file.parsed.as_ref()?)))
    }

    /// The definition of experiments, if it can be used.
    pub(super) fn definition(&self) -> Option<&Definition> {
        self.experiments.as_ref().and_then(|file| file.parsed.as_ref())
    }

    /// The rules that guard a path, as the origin selects them.
    pub(super) fn guards(&self, target: Target<'_>) -> Guards<'_> {
        self.with_versions(|versions| match self.access() {
            Some((_, rules)) => rules.guards(target, versions),
            None => Guards::new(),
        })
    }

    /// Calls `found` with the versions, as the origin distinguishes them.
    pub(super) fn with_versions<T>(&self, found: impl FnOnce(Versions<'_>) -> T) -> T {
        let known = self.versions();
        let is_version = |segment: &str| known.iter().any(|version| version == segment);
        found(if self.listed.is_some() { Versions::Listed(&is_version) } else { Versions::Any })
    }

    /// Whether a rule of access requires a token.
    pub(super) fn has_tokens(&self) -> bool {
        let rules = self.access().map(|(_, rules)| rules.rules()).unwrap_or_default();
        rules.iter().any(|rule| matches!(rule.kind, RuleKind::Token(_)))
    }

    /// Whether a request of a path needs credentials.
    pub(super) fn is_guarded(&self, path: &str) -> bool {
        !self.guards(path.into()).is_empty()
    }

    /// The name of the file of access, and the line of a rule in it.
    pub(super) fn place_of(&self, rule: &Rule) -> (&str, usize) {
        let Some((file, _)) = self.access() else { return ("", 0) };
        let Some(index) = rule.position else { return (&file.name, 0) };
        let steps = [Step::Member("rules".to_owned()), Step::Element(index), Step::Member("path".to_owned())];
        (&file.name, position(&file.text, &steps).0)
    }
}

fn read(path: &Path) -> Result<String, Unreadable> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| Unreadable(format!("cannot read {name}: {error}")))?;
    String::from_utf8(bytes).map_err(|_| Unreadable(format!("{name} is not UTF-8: save it as UTF-8")))
}

/// The kind of a file, by its name or else by its content.
fn role(path: &Path, text: &str) -> Option<SiteFile> {
    let name = path.file_name()?.to_string_lossy();
    if let Some(file) = FILES.into_iter().find(|file| *name == *file.name) {
        return Some(file);
    }
    let start = text.trim_start();
    if start.starts_with('{') {
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        return match (json.get("rules"), json.get("features"), json.get("RoutingRules")) {
            (Some(_), None, _) => Some(ACCESS),
            (_, Some(_), _) => Some(EXPERIMENTS),
            (_, _, Some(_)) => Some(REDIRECTS),
            _ => None,
        };
    }
    if start.starts_with(['<', '[']) {
        return Some(REDIRECTS);
    }
    let is_path = |line: &&str| line.starts_with('/') || line.starts_with("http");
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let first = lines.next().filter(is_path)?;
    // A rule of headers has its path alone on a line, and fields below it.
    let has_fields = lines.next().is_some_and(|line| line.starts_with([' ', '\t']) && line.contains(':'));
    Some(if first.split_whitespace().count() == 1 && has_fields { HEADERS } else { REDIRECTS })
}

fn parse_redirects(name: &str, text: &str, findings: &mut Vec<Finding>) -> Option<Redirects> {
    // As the function distinguishes them.
    let parsed = match text.trim_start().starts_with(['<', '{', '[']) {
        true => Redirects::of_s3_routing_rules(text),
        false => Ok(Redirects::parse(text)),
    };
    match parsed {
        Ok((redirects, problems)) => {
            findings.extend(problems.into_iter().map(|problem| Finding::of_line(name, problem)));
            Some(redirects)
        }
        Err(reason) => {
            findings.push(Finding::new((name, 0), Severity::Error, reason, "correct the routing rules"));
            None
        }
    }
}

/// The parsed file, and its problems.
fn keep<T>(name: &str, parsed: Result<(T, Vec<Problem>), Vec<Problem>>, findings: &mut Vec<Finding>) -> Option<T> {
    let (parsed, problems) = match parsed {
        Ok((parsed, warnings)) => (Some(parsed), warnings),
        Err(problems) => (None, problems),
    };
    findings.extend(problems.iter().map(|problem| Finding::of_json(name, problem)));
    parsed
}

/// Adds the keys of the JWK Sets that the rules name.
fn add_keys(file: &mut File<AccessRules>, objects: &Objects, findings: &mut Vec<Finding>) {
    let Some(mut rules) = file.parsed.take() else { return };
    let names: Vec<String> = rules.jwks_objects().into_iter().map(str::to_owned).collect();
    for name in names {
        let (reason, fix) = match objects.text(&name) {
            Ok(Some(text)) if text.len() <= JSON_BYTES_MAX => match rules.with_jwks(&name, &text) {
                Ok(with_keys) => {
                    rules = with_keys;
                    continue;
                }
                Err(problems) => {
                    findings.extend(problems.iter().map(|problem| Finding::of_json(&name, problem)));
                    continue;
                }
            },
            Ok(Some(_)) => (format!("the JWK Set {name} has more than {JSON_BYTES_MAX} bytes"), "remove retired keys"),
            Ok(None) if !objects.is_complete() => continue,
            Ok(None) => (
                format!("the JWK Set {name} does not exist: what its rules guard is answered with 503"),
                "add the object, or write the keys into the rule as keys",
            ),
            Err(reason) => (format!("the JWK Set {name} {reason}"), "replace it"),
        };
        let line = file.text.lines().position(|line| line.contains(&format!("\"{name}\""))).map_or(0, |at| at + 1);
        findings.push(Finding::new((&file.name, line), Severity::Error, reason, fix));
    }
    file.parsed = Some(rules);
}
