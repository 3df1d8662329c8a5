//! Problems of a file of rules, with reasons and fixes.

use std::fmt;

/// The effect of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The line is used, but a part of it has no effect.
    Warning,
    /// The line is not used; the other lines are.
    Error,
}

/// A problem of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// The effect.
    pub severity: Severity,
    /// The line, from 1. Routing rules of S3 have positions instead.
    pub line: usize,
    /// The line without surrounding blanks, at most 200 characters. Control characters are escaped.
    pub text: String,
    /// The expected and the found text.
    pub reason: String,
    /// The remedy.
    pub fix: String,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, text, reason, fix, .. } = self;
        write!(f, "line {line}: `{text}`: {reason}: {fix}")
    }
}

/// The reason and the fix of an invalid part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) fix: String,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: fix.into() }
    }
}

/// A result whose error explains a part of a line.
pub(super) type Checked<T> = Result<T, Fault>;

/// The most problems that are listed; one more counts the others.
const PROBLEMS_MAX: usize = 1_000;

/// The longest quoted line, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// The longest quoted part of a line, in characters.
const PART_CHARS_MAX: usize = 60;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<LineProblem>,
    unlisted: usize,
    /// The last line with an unlisted problem.
    last_line: usize,
}

impl Problems {
    /// Records a line that is not used.
    pub(super) fn reject(&mut self, line: usize, text: &str, fault: Fault) {
        self.push(Severity::Error, line, text, fault);
    }

    /// Records a line of which a part has no effect.
    pub(super) fn warn(&mut self, line: usize, text: &str, fault: Fault) {
        self.push(Severity::Warning, line, text, fault);
    }

    fn push(&mut self, severity: Severity, line: usize, text: &str, fault: Fault) {
        if self.found.len() >= PROBLEMS_MAX {
            self.unlisted += 1;
            self.last_line = self.last_line.max(line);
            return;
        }
        let text = quoted(text, TEXT_CHARS_MAX);
        self.found.push(LineProblem { severity, line, text, reason: fault.reason, fix: fault.fix });
    }

    /// The problems in the order of their lines.
    pub(super) fn into_sorted(self) -> Vec<LineProblem> {
        let Self { mut found, unlisted, last_line } = self;
        found.sort_by_key(|problem| problem.line);
        if unlisted > 0 {
            let reason = format!("{unlisted} more problems are not listed");
            let fix = "fix the listed ones first".to_owned();
            let text = String::new();
            found.push(LineProblem { severity: Severity::Error, line: last_line, text, reason, fix });
        }
        found
    }
}

/// Quotes a part of a line in a reason: at most 60 characters.
pub(super) fn part(text: &str) -> String {
    quoted(text, PART_CHARS_MAX)
}

fn quoted(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (position, character) in text.chars().enumerate() {
        if position == chars_max {
            out.push('…');
            break;
        }
        if character.is_control() { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_and_quotes_at_most_200_characters() {
        let mut problems = Problems::default();
        problems.reject(3, &"日\n".repeat(150), Fault::new("expected a target", "add one"));
        let text = problems.into_sorted()[0].to_string();
        assert!(text.starts_with("line 3: `日\\n日") && text.ends_with("…`: expected a target: add one"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn unlisted_problems_are_counted() {
        let mut problems = Problems::default();
        for line in (1..=1_005).rev() {
            problems.warn(line, "x", Fault::new("a", "b"));
        }
        let problems = problems.into_sorted();
        assert_eq!(problems.len(), 1_001);
        assert!(problems[0].line < problems[1].line);
        assert!(problems[1_000].to_string().contains("5 more problems"));
    }
}
