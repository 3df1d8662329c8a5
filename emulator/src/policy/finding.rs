//! Findings: what is wrong with a configuration, and what to do.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a change.
    Warning,
    /// Viewers will get something wrong, or nothing.
    Error,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its rule, for scripts.
    pub id: &'static str,
    /// Where in the configuration.
    pub place: String,
    /// What will happen.
    pub why: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity:7} {}  {}\n        why   {}\n        cure  {}", self.id, self.place, self.why, self.cure)
    }
}
