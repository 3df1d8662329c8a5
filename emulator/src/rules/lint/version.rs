//! Versions of experiments that rules of access guard differently, and conditions on claims that no request has.

use std::collections::BTreeSet;

use nearedge_core::access::rules::{Rule, Target};
use nearedge_core::experiment::attribute::Field;

use crate::rules::finding::{Finding, Severity};
use crate::rules::site::Site;

/// Checks the versions that experiments give.
pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let (Some(file), Some(definition)) = (&site.experiments, site.definition()) else { return };
    let claim = definition.fields.iter().find_map(|field| match field {
        Field::Claim(path) => Some(path.join(".")),
        _ => None,
    });
    if let Some(claim) = claim.filter(|_| !site.has_tokens()) {
        let line = file.text.lines().position(|line| line.contains("\"claims.")).map_or(0, |at| at + 1);
        let reason = format!("the condition on claims.{claim} never holds: no rule of access.json has jwt");
        let fix = "guard the pages of the experiment by a rule with jwt, or remove the condition";
        findings.push(Finding::new((&file.name, line), Severity::Warning, reason, fix));
    }
    check_guards(site, findings);
}

/// Compares the rules of each path in all versions.
fn check_guards(site: &Site, findings: &mut Vec<Finding>) {
    let (Some((_, rules)), Some(definition)) = (site.access(), site.definition()) else { return };
    for rule in rules.rules() {
        let Some((first, rest)) = rule.path.trim_start_matches('/').split_once('/') else { continue };
        if rule.position.is_none() || !definition.versions.iter().any(|version| **version == *first) {
            continue;
        }
        let path = format!("/{}", rest.replace('*', "example"));
        let guards = |version: &str| -> BTreeSet<&str> {
            let guards = site.guards(Target { version: Some(version), path: &path });
            guards.iter().map(|guard: &&Rule| unversioned(guard, version)).collect()
        };
        let of_first = guards(first);
        let other = definition.versions.iter().find(|version| ***version != *first && guards(version) != of_first);
        if let Some(other) = other {
            let reason = format!(
                "experiments give the versions {first} and {other}, but {} guards only {first}: the same page is open to \
                 some visitors and guarded for others",
                rule.path
            );
            let fix = format!("write the path without the version, as /{rest}, which guards all versions");
            findings.push(Finding::new(site.place_of(rule), Severity::Warning, reason, fix));
        }
    }
}

/// The path of a rule, without the version.
fn unversioned<'r>(rule: &'r Rule, version: &str) -> &'r str {
    let rest = rule.path.strip_prefix('/').and_then(|path| path.strip_prefix(version));
    rest.filter(|rest| rest.starts_with('/')).unwrap_or(&rule.path)
}
