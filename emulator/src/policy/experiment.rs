//! The function's settings of experiments, and what their definition needs from a distribution.

use std::path::Path;

use nearedge_core::experiment::attribute::Field;
use nearedge_core::experiment::definition::{Constraints, Definition, FEATURE};

use crate::policy::json::is_unknown;

/// The default of `experiments_cookie`.
const COOKIE: &str = "nearedge";

/// The default of `experiments_path`.
const PATH: &str = "/.nearedge";

/// The headers that experiments read with any definition, in lower case, and the effect of their absence.
pub const BASE_HEADERS: [(&str, &str); 4] = [
    ("accept", "a browser that sends no Sec-Fetch-Dest never takes part in an experiment"),
    ("sec-fetch-dest", "the origin has to guess from Accept which requests are visits of a page"),
    ("sec-purpose", "a prefetched page counts as a visit"),
    ("user-agent", "CloudFront sends \"Amazon CloudFront\" instead, so that bots count as visitors"),
];

/// The function's settings of experiments, and the definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiments {
    /// Whether the function has the setting `experiments`; unknown for the configuration of a distribution.
    pub enabled: Option<bool>,
    /// `experiments_feature`: the feature whose value is the version.
    pub feature: String,
    /// `experiments_cookie`: the name of the cookie with the visitor's id.
    pub cookie: String,
    /// The name of the cookie in `experiments_consent`.
    pub consent: Option<String>,
    /// `experiments_cache_key`: the attributes that the function believes to be in the cache key.
    pub cache_key: Vec<String>,
    /// `experiments_preview`.
    pub preview: bool,
    /// `experiments_path`: the prefix of the paths of beacons, without a slash at its end.
    pub path: String,
    /// The definition, if it is given.
    pub definition: Option<Definition>,
}

impl Default for Experiments {
    fn default() -> Self {
        Self::from_settings(|_| None)
    }
}

impl Experiments {
    /// Reads the settings of a template's function; `setting` returns a setting by its name.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| setting(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Self {
            enabled: None,
            feature: text("experiments_feature").unwrap_or_else(|| FEATURE.to_owned()),
            cookie: text("experiments_cookie").unwrap_or_else(|| COOKIE.to_owned()),
            consent: text("experiments_consent").map(|consent| consent_cookie(&consent)),
            cache_key: text("experiments_cache_key").map(|list| attributes(&list)).unwrap_or_default(),
            preview: text("experiments_preview").as_deref() == Some("true"),
            path: text("experiments_path").unwrap_or_else(|| PATH.to_owned()),
            definition: None,
        }
    }

    /// Reads the definition. `test_versions` lists the existing versions, if they are known.
    ///
    /// # Errors
    /// With one line per problem, if the definition cannot be used.
    pub fn load(&mut self, file: &Path, test_versions: Option<&[String]>) -> Result<(), String> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {name}: {error}"))?;
        let feature = if is_unknown(&self.feature) { FEATURE } else { &self.feature };
        let test_versions = test_versions.filter(|versions| !versions.iter().any(|version| is_unknown(version)));
        match Definition::parse(&text, Constraints { feature, test_versions, cache_key: &[] }) {
            Ok((definition, _)) => {
                self.definition = Some(definition);
                Ok(())
            }
            Err(problems) => {
                Err(problems.iter().map(|problem| format!("{name}: {problem}")).collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// Whether the function has experiments, or will have: a definition is given.
    pub fn are_in_use(&self) -> bool {
        self.enabled == Some(true) || self.definition.is_some()
    }

    /// The name of the cookie with the assignments.
    pub fn assignments_cookie(&self) -> String {
        format!("{}_v", self.cookie)
    }

    /// The attributes that the definition uses.
    pub fn fields(&self) -> &[Field] {
        self.definition.as_ref().map_or(&[], |definition| &definition.fields)
    }

    /// Whether only AWS knows a part of `experiments_cache_key`.
    pub fn has_unknown_cache_key(&self) -> bool {
        self.cache_key.iter().any(|name| is_unknown(name))
    }
}

/// The attributes of a list that is separated by commas.
pub fn attributes(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The name of the cookie in `NAME` or `NAME=VALUE`.
pub fn consent_cookie(consent: &str) -> String {
    consent.split('=').next().unwrap_or_default().to_owned()
}
