//! The definition of the site's experiments, as the cloud finds it in the bucket.

use std::time::SystemTime;

use nearedge_core::experiment::definition::{Constraints, Definition, FEATURE};
use nearedge_core::experiment::problem::{Problem, Severity};
use nearedge_core::experiment::value::Value;
use percent_encoding::utf8_percent_encode;

use crate::cloudwatch::watched::Watched;
use crate::contents::PATH_ENCODED;
use crate::s3::site::{Content, Site, Stored};

/// The key of the definition of a site.
pub const KEY: &str = "experiments.json";

/// The most problems of a definition that are reported.
const PROBLEMS_MAX: usize = 10;

/// The definition that the function loads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SiteDefinition {
    /// The key of the object.
    pub(crate) key: String,
    /// Its ETag without quotes, if it exists.
    pub(crate) etag: Option<String>,
    /// The time of its last change.
    pub(crate) modified: Option<SystemTime>,
    /// The versions that it can give; those of variations first, in their order.
    pub(crate) versions: Vec<String>,
    /// The experiments.
    pub(crate) experiments: Vec<SiteExperiment>,
    /// The experiment of the dashboard `results`.
    pub(crate) watched: Option<Watched>,
    /// The keys of the goals.
    pub(crate) goals: Vec<String>,
    /// What is wrong with it, and how to fix it, in one line each.
    pub(crate) problems: Vec<String>,
    /// The problems of its content, without their effect on a function that starts.
    pub(crate) reasons: Vec<String>,
    /// Whether the function can use it, in spite of its problems.
    pub(crate) is_usable: bool,
    /// Whether the address of a page selects a variation.
    pub(crate) preview: bool,
}

/// An experiment of a definition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SiteExperiment {
    /// The key.
    pub(crate) key: String,
    /// The run of the experiment.
    pub(crate) phase: String,
    /// The variations; the first is the control.
    pub(crate) variations: Vec<SiteVariation>,
}

/// A variation of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SiteVariation {
    /// The key in the lines of visitors.
    pub(crate) key: String,
    /// The name for people, if there is one.
    pub(crate) name: Option<String>,
    /// The part of all visitors that it receives, from 0 to 1.
    pub(crate) share: f64,
}

impl SiteDefinition {
    /// Reads the definition that the function's variables name; `None` if they name none.
    pub(crate) fn read(site: &Site, variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let key = set("experiments")?;
        let preview = set("experiments_preview").is_some_and(|preview| preview == "true");
        let failure = |key: &str, reason: &str| format!("{key} {reason}, so no visitor is assigned");
        let stored = match site.find(&key) {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                let problems = vec![failure(&key, "does not exist")];
                return Some(Self { key, problems, ..Self::default() });
            }
            Err(error) => {
                let problems = vec![failure(&key, &format!("cannot be read ({error})"))];
                return Some(Self { key, problems, ..Self::default() });
            }
        };
        let (etag, modified) = (Some(stored.etag.clone()), Some(stored.modified));
        let text = match text(&stored) {
            Ok(text) => text,
            Err(reason) => {
                let problems = vec![failure(&key, &reason)];
                return Some(Self { key, etag, modified, problems, ..Self::default() });
            }
        };
        let feature = set("experiments_feature").unwrap_or_else(|| FEATURE.to_owned());
        let test_versions: Option<Vec<String>> = set("test_versions")
            .map(|list| list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect());
        let constraints = Constraints { feature: &feature, test_versions: test_versions.as_deref(), cache_key: &[] };
        let (definition, problems) = match Definition::parse(&text, constraints) {
            Ok((definition, warnings)) => (definition, warnings),
            Err(problems) => (Definition::default(), problems),
        };
        Some(Self { preview, etag, modified, ..Self::new(key, &definition, &problems) })
    }

    fn new(key: String, definition: &Definition, problems: &[Problem]) -> Self {
        let is_version = |text: &str| definition.versions.iter().any(|version| **version == *text);
        let of_variations = definition.experiments().flat_map(|experiment| &experiment.variations);
        let of_variations = of_variations.filter_map(|value| match value {
            Value::Text(text) if is_version(text) => Some(text.as_str()),
            _ => None,
        });
        let mut versions: Vec<String> = Vec::new();
        for version in of_variations.chain(definition.versions.iter().map(AsRef::as_ref)) {
            if !versions.iter().any(|known| known == version) {
                versions.push(version.to_string());
            }
        }
        let mut experiments: Vec<SiteExperiment> = Vec::new();
        for experiment in definition.experiments().filter(|experiment| experiment.variations.len() > 1) {
            if !experiments.iter().any(|known| *known.key == *experiment.key) {
                let shares = experiment.shares().into_iter().enumerate();
                let variation = |(index, share)| SiteVariation {
                    key: experiment.variation_key(index).into_owned(),
                    name: experiment.meta.get(index).and_then(|meta| meta.name.as_deref()).map(str::to_owned),
                    share,
                };
                experiments.push(SiteExperiment {
                    key: experiment.key.to_string(),
                    phase: experiment.phase.to_string(),
                    variations: shares.map(variation).collect(),
                });
            }
        }
        let effect = |problem: &Problem| match problem.severity {
            Severity::Error => format!("{key} cannot be used, and no visitor is assigned: {problem}"),
            Severity::Warning => format!("{key}: {problem}"),
        };
        let is_usable = problems.iter().all(|problem| problem.severity != Severity::Error);
        let goals = definition.counting.goals.iter().map(|goal| goal.key.to_string()).collect();
        let reasons = problems.iter().map(Problem::to_string).take(PROBLEMS_MAX).collect();
        let mut problems: Vec<String> = problems.iter().map(effect).collect();
        if problems.len() > PROBLEMS_MAX {
            problems.truncate(PROBLEMS_MAX);
            problems.push(format!("{key} has more problems: `nearedge experiment check` lists all"));
        }
        let watched = Watched::first(definition);
        Self { key, versions, experiments, goals, watched, problems, reasons, is_usable, ..Self::default() }
    }

    /// What the test does, and how to see its other side; `None` without a test. `page` is the address of a page.
    pub(crate) fn explanation(&self, page: &str) -> Option<String> {
        let first = self.experiments.first()?;
        let keys: Vec<&str> = self.experiments.iter().map(|experiment| &*experiment.key).collect();
        let (is, keys) = (if keys.len() == 1 { "A test is running" } else { "Tests are running" }, keys.join(", "));
        let effect = match self.versions.as_slice() {
            [] => "new visitors are assigned at random, and stay assigned".to_owned(),
            versions => format!("each new visitor gets {} at random, and keeps it", either(versions)),
        };
        let preview = if self.preview {
            let key = utf8_percent_encode(&first.key, PATH_ENCODED).to_string();
            let addresses: Vec<String> =
                (0..first.variations.len()).map(|variation| format!("{page}?{key}={variation}")).collect();
            format!(", or\n{}", either(&addresses))
        } else {
            String::new()
        };
        Some(format!(
            "{is} ({keys} in {}): {effect}.\nTo see the other side, open a private window, several times if necessary{preview}.",
            self.key
        ))
    }
}

/// `a`, `a or b`, `a, b or c`.
fn either(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [several @ .., last] => format!("{} or {last}", several.join(", ")),
    }
}

/// The text of an object, or why there is none.
pub(crate) fn text(stored: &Stored) -> Result<String, String> {
    let bytes = match &stored.content {
        Content::Memory(bytes) => bytes.to_vec(),
        Content::File(path) => std::fs::read(path).map_err(|error| format!("cannot be read ({error})"))?,
    };
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;

    fn read(text: Option<&str>, settings: &[(&str, &str)]) -> Option<SiteDefinition> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            std::fs::write(folder.path().join(KEY), text).unwrap();
        }
        let site = Site::open(folder.path(), Journal::in_memory()).unwrap();
        SiteDefinition::read(&site, &|name| {
            settings.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const ON: (&str, &str) = ("experiments", KEY);

    const RULE: &str = r#"{"features": {"test_version": {"defaultValue": "old", "rules": [
        {"key": "a b", "variations": ["red", "green"]}, {"force": "blue", "condition": {"country": "CN"}}]}}}"#;

    #[test]
    fn the_control_is_the_first_version() {
        let definition = read(Some(RULE), &[ON]).unwrap();
        assert_eq!(definition.versions, ["red", "green", "blue", "old"]);
        let variation = |key: &str| SiteVariation { key: key.to_owned(), name: None, share: 0.5 };
        let variations = vec![variation("0"), variation("1")];
        let (key, phase) = ("a b".to_owned(), String::new());
        assert_eq!(definition.experiments, [SiteExperiment { key, phase, variations }]);
        assert!(definition.is_usable && definition.etag.is_some() && definition.modified.is_some());
        assert_eq!(definition.problems, [""; 0]);
        let explanation = definition.explanation("http://cdn/").unwrap();
        assert!(explanation.contains("(a b in experiments.json): each new visitor gets red, green, blue or old"));
        assert!(!explanation.contains('?'), "preview is off: {explanation}");
    }

    #[test]
    fn the_explanation_names_the_addresses_of_a_preview() {
        let explanation =
            read(Some(RULE), &[ON, ("experiments_preview", "true")]).unwrap().explanation("http://cdn/").unwrap();
        assert!(explanation.ends_with("http://cdn/?a%20b=0 or http://cdn/?a%20b=1."), "{explanation}");
        let force = r#"{"features": {"test_version": {"defaultValue": "v1"}}}"#;
        assert_eq!(read(Some(force), &[ON]).unwrap().explanation("http://cdn/"), None);
    }

    #[test]
    fn problems_say_what_happens_and_where() {
        let problems = |text, settings: &[(&str, &str)]| read(text, settings).unwrap().problems;
        let missing = problems(None, &[ON]);
        assert_eq!(missing, ["experiments.json does not exist, so no visitor is assigned"]);
        let broken = problems(Some("{\n  \"features\": {,}}"), &[ON]);
        assert!(broken[0].contains("cannot be used, and no visitor is assigned: line 2, column 16"), "{broken:?}");
        let unlisted = problems(Some(RULE), &[ON, ("test_versions", "red, green,blue")]);
        assert!(unlisted[0].contains("old"), "{unlisted:?}");
    }

    #[test]
    fn an_empty_setting_disables_the_definition() {
        assert_eq!(read(Some(RULE), &[]), None);
        assert_eq!(read(Some(RULE), &[("experiments", "")]), None);
    }
}
