//! Guarded paths that the distribution serves directly from S3.

use std::collections::BTreeSet;

use nearedge_core::access::rules::RuleKind;

use crate::policy::distribution::{Behavior, Distribution};
use crate::policy::subject::Subject;
use crate::rules::finding::{Finding, Severity};
use crate::rules::site::Site;

/// Checks the paths of the site, or those that the rules and the behaviours name.
pub(super) fn check(site: &Site, subject: &Subject, findings: &mut Vec<Finding>) {
    if site.access().is_none() {
        return;
    }
    let distribution = &subject.distribution;
    let mut reported = BTreeSet::new();
    for path in paths(site, subject) {
        let Some(behavior) = distribution.behavior_for(&path).filter(|behavior| is_s3(distribution, behavior)) else {
            continue;
        };
        for guard in site.guards(path.as_str().into()) {
            if !reported.insert((guard.path.clone(), behavior.name())) {
                continue;
            }
            let kind = match guard.kind {
                RuleKind::Hidden => "holds keys and must not be served",
                _ => "is guarded",
            };
            let reason =
                format!("{path} {kind}, but {} serves it directly from S3, without any check", behavior.name());
            let fix = format!("send the path to the function by a behaviour above {}", behavior.name());
            findings.push(Finding::new(site.place_of(guard), Severity::Error, reason, fix));
        }
    }
}

/// Whether the requests of a behaviour go to a bucket.
fn is_s3(distribution: &Distribution, behavior: &Behavior) -> bool {
    let origin = distribution.origins.iter().find(|origin| origin.id == behavior.first_origin());
    origin.is_some_and(|origin| {
        let domain = origin.domain.to_ascii_lowercase();
        origin.custom.is_none()
            || domain.contains(".amazonaws.com") && (domain.contains(".s3.") || domain.contains(".s3-"))
    })
}

/// The paths to check, decoded: examples of what the rules guard, and every object of a folder; without one, examples of what
/// versions and behaviours contain.
fn paths(site: &Site, subject: &Subject) -> BTreeSet<String> {
    let rules = site.access().map(|(_, rules)| rules.rules()).unwrap_or_default();
    let mut paths: BTreeSet<String> = rules.iter().map(|rule| rule.path.replace('*', "example.html")).collect();
    if site.objects.is_complete() {
        paths.extend(site.objects.keys().into_iter().map(|key| format!("/{key}")));
        return paths;
    }
    let mut versions = site.versions();
    versions.extend(subject.variants.iter().cloned());
    for rule in rules.iter().filter(|rule| !matches!(rule.kind, RuleKind::Hidden)) {
        let path = rule.path.replace('*', "example.html");
        paths.extend(versions.iter().map(|version| format!("/{version}{path}")));
    }
    for pattern in subject.distribution.behaviors.iter().filter_map(|behavior| behavior.pattern.as_deref()) {
        let example = pattern.replace('*', "example").replace('?', "x");
        paths.insert(format!("/{}", example.trim_start_matches('/')));
    }
    paths
}
