//! Parser of a file of headers.
//!
//! ```text
//! /path/* or https://host/path/*
//!   Name: value
//!   ! Name
//! ```

use crate::rules::headers::cors;
use crate::rules::headers::name::{Change, Names, checked};
use crate::rules::headers::rule::HeaderRule;
use crate::rules::headers::value::Value;
use crate::rules::line_problem::{Checked, Fault, Problems};
use crate::rules::line_reader::{Line, is_blank, lines};
use crate::rules::url_pattern::UrlPattern;

/// The most rules of a file.
const RULES_MAX: usize = 10_000;

/// The rule that field lines belong to.
enum Open {
    /// There was no path yet.
    None,
    /// The path is invalid; its problem covers its fields.
    Invalid,
    Rule(Box<HeaderRule>),
}

/// Reads the rules of a file, and adds the fields to `names`.
pub(super) fn rules(text: &str, names: &mut Names, problems: &mut Problems) -> Vec<HeaderRule> {
    let mut rules = Vec::new();
    let mut open = Open::None;
    for line in lines(text, problems) {
        if !["/", "https://", "http://"].iter().any(|start| line.text.starts_with(start)) {
            let changed = match &mut open {
                _ if !line.is_usable => Ok(()),
                Open::Rule(rule) => change(line.text, rule, names),
                Open::Invalid => Ok(()),
                Open::None => Err(Fault::new("the field has no path", "write a path such as /* in a line above it")),
            };
            if let Err(fault) = changed {
                problems.reject(line.number, line.text, fault);
            }
            continue;
        }
        if let Open::Rule(rule) = std::mem::replace(&mut open, Open::None) {
            finish(*rule, &mut rules, names, problems);
        }
        if rules.len() == RULES_MAX {
            let reason = format!("expected at most {RULES_MAX} paths");
            let fix = "join paths by * or placeholders; the file is ignored from this line on";
            problems.reject(line.number, line.text, Fault::new(reason, fix));
            return rules;
        }
        if !line.is_usable {
            // Its fields must not become those of the path before.
            open = Open::Invalid;
            continue;
        }
        open = match path(line) {
            Ok(rule) => Open::Rule(Box::new(rule)),
            Err(Fault { reason, fix }) => {
                let fault = Fault::new(reason, format!("{fix}; the fields below it are not used"));
                problems.reject(line.number, line.text, fault);
                Open::Invalid
            }
        };
    }
    if let Open::Rule(rule) = open {
        finish(*rule, &mut rules, names, problems);
    }
    rules
}

fn path(line: Line<'_>) -> Checked<HeaderRule> {
    let pattern = UrlPattern::parse(line.text)?;
    let path = line.text.into();
    Ok(HeaderRule { line: line.number, path, pattern, removed: Vec::new(), set: Vec::new(), inserts: false })
}

fn finish(rule: HeaderRule, rules: &mut Vec<HeaderRule>, names: &Names, problems: &mut Problems) {
    if rule.set.is_empty() && rule.removed.is_empty() {
        let fault = Fault::new("the path has no fields", "add lines `Name: value` below it, or remove it");
        problems.warn(rule.line, &rule.path, fault);
        return;
    }
    let value = |name: &str| {
        let id = names.find(name)?;
        rule.set.iter().find(|(known, _)| *known == id).map(|(_, value)| value.written())
    };
    for fault in cors::faults(value) {
        problems.warn(rule.line, &rule.path, fault);
    }
    rules.push(rule);
}

/// Reads a line `Name: value` or `! Name`.
fn change(text: &str, rule: &mut HeaderRule, names: &mut Names) -> Checked<()> {
    if let Some(name) = text.strip_prefix('!').filter(|rest| rest.starts_with(is_blank)) {
        let id = names.id(&checked(name.trim_matches(is_blank), Change::Remove)?)?;
        rule.removed.push(id);
        return Ok(());
    }
    let Some((name, value)) = text.split_once(':') else {
        return Err(Fault::new(
            "expected a path or a field",
            "start a path with / or https://, write a field as `Name: value`, and `! Name` to remove one",
        ));
    };
    let name = checked(name.trim_matches(is_blank), Change::Set)?;
    let value = Value::parse(value.trim_matches(is_blank), &rule.pattern.names)?;
    let id = names.id(&name)?;
    rule.inserts |= value.inserts();
    match rule.set.iter_mut().find(|(known, _)| *known == id) {
        Some((_, known)) => known.join(value),
        None => rule.set.push((id, value)),
    }
    Ok(())
}
