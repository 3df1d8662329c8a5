//! Findings: the problems of the files, with their places and fixes.

use std::io::{self, Write};

use nearedge_core::experiment::problem::{Problem, Severity as ProblemSeverity};
use nearedge_core::rules::{LineProblem, Severity as LineSeverity};
use serde_json::{Value, json};

/// The effect of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// A line is not used, a file is refused, or requests fail.
    Error,
    /// A part has no effect, or probably not the intended one.
    Warning,
    /// No problem, but easily overlooked.
    Note,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The name of the file.
    pub(super) file: String,
    /// The line, from 1; 0 for the whole file.
    pub(super) line: usize,
    /// The column, from 1; 0 if it is unknown.
    pub(super) column: usize,
    /// The place inside a JSON file, such as `rules[0].jwt`; otherwise empty.
    pub(super) path: String,
    /// The effect.
    pub(super) severity: Severity,
    /// The fault.
    pub(super) reason: String,
    /// The advice to the user.
    pub(super) fix: String,
}

impl Finding {
    /// A finding at a line of a file.
    pub(super) fn new(
        (file, line): (&str, usize),
        severity: Severity,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (reason, fix) = (reason.into(), fix.into());
        Self { file: file.to_owned(), line, column: 0, path: String::new(), severity, reason, fix }
    }

    /// The problem of a line.
    pub(super) fn of_line(file: &str, problem: LineProblem) -> Self {
        let LineProblem { severity, line, text, reason, fix } = problem;
        let severity = if severity == LineSeverity::Error { Severity::Error } else { Severity::Warning };
        let reason = if text.is_empty() { reason } else { format!("`{text}`: {reason}") };
        Self::new((file, line), severity, reason, fix)
    }

    /// The problem of a JSON file.
    pub(super) fn of_json(file: &str, problem: &Problem) -> Self {
        let severity = if problem.severity == ProblemSeverity::Error { Severity::Error } else { Severity::Warning };
        Self {
            column: problem.column,
            path: problem.path.clone(),
            ..Self::new((file, problem.line), severity, &*problem.reason, &*problem.fix)
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "file": self.file, "line": (self.line > 0).then_some(self.line), "severity": self.severity.name(),
            "reason": self.reason, "fix": self.fix,
        });
        if self.column > 0 {
            value["column"] = self.column.into();
        }
        if !self.path.is_empty() {
            value["path"] = (*self.path).into();
        }
        value
    }
}

/// Writes findings as lines of text, or as one JSON list.
pub(super) fn write(findings: &[Finding], as_json: bool, mut out: impl Write) -> io::Result<()> {
    if as_json {
        let list: Vec<Value> = findings.iter().map(Finding::json).collect();
        return writeln!(out, "{}", Value::from(list));
    }
    for finding in findings {
        let Finding { file, line, column, path, severity, reason, fix } = finding;
        let place = match (line, column) {
            (0, _) => file.clone(),
            (line, 0) => format!("{file}:{line}"),
            (line, column) => format!("{file}:{line}:{column}"),
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        writeln!(out, "{place}: {}: {path}{reason}: {fix}", severity.name())?;
    }
    let count = |wanted| findings.iter().filter(|finding| finding.severity == wanted).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    writeln!(out, "{errors} errors, {warnings} warnings, {notes} notes")
}
