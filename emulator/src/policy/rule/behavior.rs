//! Rules for the protocol and the path pattern of each behaviour.

use crate::policy::distribution::Behavior;
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::path_pattern::matches;
use crate::policy::rule::context::Context;

/// Paths that every variant normally shares, so that a behaviour may send them to another origin.
const SHARED_PATHS: [&str; 5] = ["robots.txt", "favicon.ico", "sitemap.xml", "ads.txt", ".well-known/security.txt"];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let behaviors = &context.distribution.behaviors;
    let mut findings = Vec::new();
    for (index, behavior) in behaviors.iter().enumerate() {
        findings.extend(protocol(behavior));
        if let Some(pattern) = &behavior.pattern {
            findings.extend(shadowed(behavior, pattern, &behaviors[..index]));
            if !context.is_api(behavior.first_origin()) {
                findings.extend(takes_variants(behavior, pattern, &context.subject.version_header));
            }
        }
    }
    findings
}

fn protocol(behavior: &Behavior) -> Option<Finding> {
    (behavior.viewer_protocol == "allow-all").then(|| Finding {
        severity: Severity::Warning,
        id: "viewer-in-clear",
        place: behavior.name(),
        why: "viewers may use http://: anyone on the network path can read and change the responses".to_owned(),
        fix: "set ViewerProtocolPolicy to https-only or redirect-to-https".to_owned(),
    })
}

/// Finds an earlier behaviour that matches every path of this one.
fn shadowed(behavior: &Behavior, pattern: &str, earlier: &[Behavior]) -> Option<Finding> {
    // Control characters stand for the wildcards: only a pattern that is at least as wide matches this path.
    let example = pattern.replace('*', "\u{1}").replace('?', "\u{2}");
    let covering = earlier.iter().find(|earlier| {
        earlier.pattern.as_ref().is_some_and(|earlier| matches(earlier, &example) && !matches(pattern, "\u{1}"))
    })?;
    Some(Finding {
        severity: Severity::Error,
        id: "behaviour-shadowed",
        place: behavior.name(),
        why: format!("{} precedes it and matches all of its paths, so it never applies", covering.name()),
        fix: "put the narrower pattern first: CloudFront applies the first behaviour that matches".to_owned(),
    })
}

/// Finds a pattern that keeps paths of variants away from the API.
fn takes_variants(behavior: &Behavior, pattern: &str, version: &str) -> Option<Finding> {
    let path = pattern.strip_prefix('/').unwrap_or(pattern);
    if path.split('/').next().is_some_and(is_unknown) {
        return None;
    }
    if path.split('/').next().is_some_and(|folder| folder.contains(['*', '?'])) {
        return Some(Finding {
            severity: Severity::Error,
            id: "behaviour-takes-versions",
            place: behavior.name(),
            why: format!(
                "it sends paths such as {} past the origin that selects the variant, so {version} has no effect",
                pattern.replace('*', "test").replace('?', "x")
            ),
            fix: "start the pattern with a folder, such as /v1/* for one variant or /static/* for shared objects"
                .to_owned(),
        });
    }
    if pattern.contains(['*', '?']) || SHARED_PATHS.contains(&path) {
        return None;
    }
    Some(Finding {
        severity: Severity::Warning,
        id: "behaviour-takes-versions",
        place: behavior.name(),
        why: format!("it sends this path past the origin that selects the variant, so {version} has no effect"),
        fix: "remove the behaviour, unless every variant has the same object at this path".to_owned(),
    })
}
