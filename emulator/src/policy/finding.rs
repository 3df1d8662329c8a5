//! Findings: faults of a configuration, with their consequences and fixes.

use std::fmt;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration works, but should be changed.
    Warning,
    /// Viewers get wrong responses, or none.
    Error,
}

/// A fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How serious it is.
    pub severity: Severity,
    /// The id of the rule, stable for scripts.
    pub id: &'static str,
    /// The affected part of the configuration.
    pub place: String,
    /// The consequence.
    pub why: String,
    /// The change that removes it.
    pub fix: String,
}

/// An error; the caller sets its id.
pub(super) fn error(place: String, why: String, fix: impl Into<String>) -> Finding {
    Finding { severity: Severity::Error, id: Default::default(), place, why, fix: fix.into() }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity:7} {}  {}\n        why  {}\n        fix  {}", self.id, self.place, self.why, self.fix)
    }
}
