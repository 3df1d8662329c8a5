//! Rules for the path of beacons: they reach the API, uncached and with POST, if the definition has goals.

use crate::policy::distribution::Behavior;
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

const FIX: &str = "add a behaviour for it before all others, with the API as its target, all seven methods, no caching, and \
                   the default behaviour's origin request policy (the templates in deploy/ have it, with \
                   ExperimentsPath)";

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(experiments) = context.experiments() else { return Vec::new() };
    let goals = experiments.definition.as_ref().map_or(&[][..], |definition| &definition.counting.goals);
    let Some(goal) = goals.first() else { return Vec::new() };
    if is_unknown(&experiments.path) {
        return Vec::new();
    }
    let path = format!("{}/goal/{}", experiments.path, goal.key);
    let Some(behavior) = context.distribution.behavior_for(&path) else { return Vec::new() };
    if !context.is_api(behavior.first_origin()) {
        let why = format!("it sends {path} to {}, not to the API: no beacon is counted", behavior.first_origin());
        return vec![Finding { id: "beacon-bypassed", ..error(behavior, why) }];
    }
    let findings = [cached(behavior, &path), refuses_post(behavior, &path), loses_value(behavior, &path)];
    findings.into_iter().flatten().collect()
}

/// Finds caching of beacons. They are answered with `no-store`, which only a MinTTL overrides.
fn cached(behavior: &Behavior, path: &str) -> Option<Finding> {
    let ttl = behavior.caching.cache_policy().map(|cache| cache.ttl).filter(|ttl| !ttl.is_zero())?;
    let (severity, effect) = if ttl.minimum > 0 {
        (Severity::Error, format!("for {} s CloudFront answers further ones itself, which nothing counts", ttl.minimum))
    } else {
        (Severity::Warning, "only no-store in the origin's answers makes each one reach it".to_owned())
    };
    let why = format!("it caches beacons such as {path}: {effect}");
    Some(Finding { severity, id: "beacon-cached", ..error(behavior, why) })
}

fn refuses_post(behavior: &Behavior, path: &str) -> Option<Finding> {
    let refuses = !behavior.allowed_methods.contains("POST");
    let why = format!(
        "CloudFront refuses POST {path}, which navigator.sendBeacon sends, with 403; fetch and images, with GET, work"
    );
    refuses.then(|| Finding { severity: Severity::Warning, id: "beacon-post", ..error(behavior, why) })
}

fn loses_value(behavior: &Behavior, path: &str) -> Option<Finding> {
    let why =
        format!("the query string of {path}?value=12.50 does not reach the origin: conversions lose their values");
    let loses = behavior.caching.forwards_query_string("value") == Some(false);
    loses.then(|| Finding { id: "beacon-value", ..error(behavior, why) })
}

/// An error; the caller sets its id.
fn error(behavior: &Behavior, why: String) -> Finding {
    Finding { severity: Severity::Error, id: Default::default(), place: behavior.name(), why, fix: FIX.to_owned() }
}
