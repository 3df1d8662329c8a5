//! Reads single settings by type and collects the invalid ones.

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use nearedge_core::object::KEY_BYTES_MAX;

use crate::http_client::read_anchors;

/// A setting that is invalid or missing. It never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The environment variable.
    pub name: &'static str,
    /// The error and its fix: the rest of a sentence that starts with the name.
    pub problem: String,
}

/// Every invalid or missing setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<InvalidSetting>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration: ")?;
        for (index, setting) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", setting.name, setting.problem)?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

/// Whether a path can lead to an object with this key.
pub(super) fn is_key(key: &str) -> bool {
    !(key.is_empty() || key.starts_with('/') || key.ends_with('/') || key.contains('\0') || key.len() > KEY_BYTES_MAX)
}

/// Reads settings and collects the invalid ones. For an invalid setting, a method returns the default or `None`.
pub(super) struct Reader<'a, E> {
    env: &'a E,
    invalid: Vec<InvalidSetting>,
}

impl<'a, E: Fn(&str) -> Option<String>> Reader<'a, E> {
    /// A reader of `env`, which returns the value of a variable.
    pub(super) fn new(env: &'a E) -> Self {
        Self { env, invalid: Vec::new() }
    }

    /// The invalid settings so far.
    pub(super) fn into_invalid(self) -> Vec<InvalidSetting> {
        self.invalid
    }

    /// Whether all settings so far are valid.
    pub(super) fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }

    /// Records an invalid setting; `problem` continues a sentence that starts with its name.
    pub(super) fn reject(&mut self, name: &'static str, problem: impl Into<String>) {
        let invalid = InvalidSetting { name, problem: problem.into() };
        // Spans and metrics share variables.
        if !self.invalid.contains(&invalid) {
            self.invalid.push(invalid);
        }
    }

    /// The value of a variable, even if it is empty.
    pub(super) fn raw_text(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    /// The value of a variable. An empty value counts as unset, because templates set omitted parameters to it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.raw_text(name).filter(|value| !value.is_empty())
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        match self.text(name).as_deref() {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                self.reject(name, format!("is {other:?}: use true or false"));
                default
            }
        }
    }

    /// A whole number.
    pub(super) fn number<N>(&mut self, name: &'static str, default: N, range: RangeInclusive<N>) -> N
    where
        N: PartialOrd + FromStr + fmt::Display,
    {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let problem = format!("is {text:?}: use a whole number from {} to {}", range.start(), range.end());
                self.reject(name, problem);
                default
            }
        }
    }

    /// A ratio from 0 to 1.
    pub(super) fn ratio(&mut self, name: &'static str, default: f64) -> f64 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.reject(name, format!("is {text:?}: use a number from 0 to 1, such as 0.05"));
                default
            }
        }
    }

    /// The key of an object, without a leading `/`.
    pub(super) fn key(&mut self, name: &'static str) -> Option<String> {
        let key = self.text(name)?;
        if !is_key(&key) {
            self.reject(
                name,
                format!("is {key:?}: use the key of an object, such as index.html, without a / at either end"),
            );
            return None;
        }
        Some(key)
    }

    /// The content of a PEM file with certificates. The variable holds its path.
    pub(super) fn certificates(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let path = self.text(name)?;
        let pem = std::fs::read(&path).map_err(|error| format!("the file cannot be read: {error}"));
        match pem.and_then(|pem| read_anchors(&pem).map(|_| pem)) {
            Ok(pem) => Some(pem),
            Err(problem) => {
                self.reject(name, format!("is {path:?}: {problem}; use a PEM file with the certificates to trust"));
                None
            }
        }
    }
}
