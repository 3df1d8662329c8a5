//! Problems of a JSON file: where they are, and how to fix them.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The effect of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file works, but a part of it has no effect.
    Warning,
    /// The file cannot be used.
    Error,
}

/// A problem of a JSON file, such as the definition of experiments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The effect.
    pub severity: Severity,
    /// The JSON path, such as `features.test_version.rules[0].weights`; empty for the whole file.
    pub path: String,
    /// The line, from 1; 0 if it is unknown.
    pub line: usize,
    /// The column, from 1; 0 if it is unknown.
    pub column: usize,
    /// The expectation, and the text found instead.
    pub reason: String,
    /// The advice to the user.
    pub fix: String,
    steps: Vec<Step>,
}

impl Problem {
    /// An error of the text at a position.
    pub(crate) fn at(line: usize, column: usize, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        let (reason, fix) = (reason.into(), fix.into());
        Self { severity: Severity::Error, path: String::new(), line, column, reason, fix, steps: Vec::new() }
    }

    /// The error of a text that is no JSON.
    pub(crate) fn of_syntax(error: &serde_json::Error) -> Self {
        let reason = error.to_string();
        // serde_json appends the position, which the problem states already.
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        Self::at(error.line(), error.column().max(1), format!("invalid JSON: {reason}"), "correct the syntax")
    }

    /// A warning about something beside the file, such as the site.
    pub fn beside(path: impl Into<String>, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, path: path.into(), ..Self::at(0, 0, reason, fix) }
    }

    /// Finds the line and the column in the text of the file.
    fn locate(&mut self, text: &str) {
        (self.line, self.column) = position(text, &self.steps);
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}: {}", self.reason, self.fix)
    }
}

/// A step of a path in a JSON file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The member of an object with this name.
    Member(String),
    /// The element of a list with this index.
    Element(usize),
}

/// The line and the column, from 1, of the value at the end of `steps`, or of the last value on the way that exists.
pub fn position(text: &str, steps: &[Step]) -> (usize, usize) {
    let offset = offset_of(text, steps);
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.bytes().filter(|byte| *byte == b'\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The problems found so far, and the current position in the file.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    position: Vec<Place>,
    /// The names of the entered members, one after the other: most files have no problem that would need them.
    names: String,
    found: Vec<Problem>,
}

/// A step of the current position.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A member, whose name starts here in the names.
    Member(usize),
    Element(usize),
}

/// The most problems that are collected.
const PROBLEMS_MAX: usize = 100;

impl Problems {
    /// The number of problems so far.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Enters a member of an object.
    pub(crate) fn enter(&mut self, name: &str) {
        self.position.push(Place::Member(self.names.len()));
        self.names.push_str(name);
    }

    /// Enters an element of a list.
    pub(crate) fn enter_element(&mut self, index: usize) {
        self.position.push(Place::Element(index));
    }

    /// Leaves what was entered last.
    pub(crate) fn leave(&mut self) {
        if let Some(Place::Member(start)) = self.position.pop() {
            self.names.truncate(start);
        }
    }

    /// Records a part without effect.
    pub(crate) fn warn(&mut self, reason: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Warning, reason.into(), fix.into());
    }

    /// Records that the file cannot be used.
    pub(crate) fn reject(&mut self, reason: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Error, reason.into(), fix.into());
    }

    fn push(&mut self, severity: Severity, reason: String, fix: String) {
        // An error must not be lost behind many warnings.
        if self.found.len() < PROBLEMS_MAX || severity == Severity::Error && self.found.len() < 2 * PROBLEMS_MAX {
            let steps = self.steps();
            let path = path_of(&steps);
            self.found.push(Problem { severity, path, line: 0, column: 0, reason, fix, steps });
        }
    }

    /// The way to the current position.
    fn steps(&self) -> Vec<Step> {
        let mut end = self.names.len();
        let step = |place: &Place| match *place {
            Place::Element(index) => Step::Element(index),
            Place::Member(start) => {
                let name = self.names[start..end].to_owned();
                end = start;
                Step::Member(name)
            }
        };
        let mut steps: Vec<Step> = self.position.iter().rev().map(step).collect();
        steps.reverse();
        steps
    }

    /// The problems, with their positions in the text; errors first.
    pub(crate) fn into_located(self, text: &str) -> Vec<Problem> {
        let mut found = self.found;
        found.iter_mut().for_each(|problem| problem.locate(text));
        found.sort_by(|left, right| {
            right.severity.cmp(&left.severity).then((left.line, left.column).cmp(&(right.line, right.column)))
        });
        found
    }
}

fn path_of(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        // Writing to a String cannot fail.
        let _ = match step {
            Step::Member(name) if path.is_empty() => write!(path, "{name}"),
            Step::Member(name) => write!(path, ".{name}"),
            Step::Element(index) => write!(path, "[{index}]"),
        };
    }
    path
}

/// The offset in bytes of the value at the end of `steps`, or of the last value on the way that exists.
fn offset_of(text: &str, steps: &[Step]) -> usize {
    let mut current = text;
    let mut offset = text.len() - text.trim_start().len();
    for step in steps {
        let next = match step {
            Step::Member(name) => member(current, name),
            Step::Element(index) => {
                serde_json::from_str::<Vec<&RawValue>>(current).ok().and_then(|list| list.get(*index).copied())
            }
        };
        let Some(next) = next else { break };
        offset = next.get().as_ptr().addr() - text.as_ptr().addr();
        current = next.get();
    }
    offset
}

/// The last member `name` of an object, as text.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    let Members(members) = serde_json::from_str(object).ok()?;
    members.into_iter().rev().find(|(member, _)| member == name).map(|(_, value)| value)
}

/// The members of an object, with their values as text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members(Vec::new());
                while let Some(member) = map.next_entry()? {
                    members.0.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_line_and_column_of_its_value() {
        let text = "{\n  \"a\": [1, {\"日\": \"x\"}]\n}";
        let mut problems = Problems::default();
        problems.enter("a");
        problems.enter_element(1);
        problems.enter("日");
        problems.reject("this is wrong", "write 1");
        let found = problems.into_located(text);
        assert_eq!(found[0].to_string(), "line 2, column 18: a[1].日: this is wrong: write 1");
    }

    #[test]
    fn an_absent_value_has_the_position_of_what_should_contain_it() {
        let mut problems = Problems::default();
        problems.enter("a");
        problems.enter("b");
        problems.warn("it is missing", "add it");
        let found = problems.into_located("{\"a\":\n {}}");
        assert_eq!((found[0].line, found[0].column, &*found[0].path), (2, 2, "a.b"));
    }
}
