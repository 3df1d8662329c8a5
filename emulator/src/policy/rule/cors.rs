//! Rules for what requests from other origins need, if the list of headers has `Access-Control-Allow-Origin`.

use crate::policy::distribution::Behavior;
use crate::policy::finding::Finding;
use crate::policy::finding::error;
use crate::policy::rule::context::{Context, arrives, list_name};

/// The header fields of a preflight request.
const HEADERS: [&str; 3] = ["origin", "access-control-request-method", "access-control-request-headers"];

/// The header fields that must reach the origin.
pub(super) fn headers(context: &Context<'_>) -> &'static [&'static str] {
    let uses_origins = context.site().headers.rules.as_ref().is_some_and(|headers| headers.uses_origins());
    if uses_origins { &HEADERS } else { &[] }
}

/// Whether a value depends on the request: it is a list of origins.
fn has_list(context: &Context<'_>) -> bool {
    let Some(headers) = &context.site().headers.rules else { return false };
    let is_list = |line: String| {
        let value = line.strip_prefix("access-control-allow-origin: ").unwrap_or_default().trim();
        value.contains([',', ' ', '\t']) && !value.split([',', ' ', '\t']).any(|origin| origin == "*")
    };
    headers.rules().iter().any(|rule| headers.lines(rule).any(is_list))
}

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let (needed, has_list) = (headers(context), has_list(context));
    if needed.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for behavior in context.api_behaviors() {
        findings.extend(options(behavior));
        findings.extend(origin(behavior, needed, has_list));
        findings.extend(key(behavior, has_list));
    }
    findings
}

fn options(behavior: &Behavior) -> Option<Finding> {
    let why = "CloudFront refuses OPTIONS with 403: no preflight request succeeds".to_owned();
    let fix = "set AllowedMethods to GET, HEAD, OPTIONS";
    (!behavior.allowed_methods.contains("OPTIONS"))
        .then(|| Finding { id: "cors-options", ..error(behavior.name(), why, fix) })
}

fn origin(behavior: &Behavior, needed: &[&str], has_list: bool) -> Option<Finding> {
    let missing: Vec<&str> = needed.iter().filter(|name| arrives(behavior, name) == Some(false)).copied().collect();
    let effect = if has_list && missing.contains(&"origin") {
        "no listed origin gets access"
    } else {
        "the origin cannot tell what a preflight request asks for"
    };
    let why = format!("{} does not reach the origin: {effect}", missing.join(", "));
    let fix = format!("list it in {} (for the templates in deploy/, with Headers)", list_name(behavior));
    (!missing.is_empty()).then(|| Finding { id: "cors-header", ..error(behavior.name(), why, fix) })
}

/// Finds a cache key without Origin, although the response depends on it.
fn key(behavior: &Behavior, has_list: bool) -> Option<Finding> {
    let cache = behavior.caching.cache_policy().filter(|cache| !cache.ttl.is_zero())?;
    let why = "Origin is not in the cache key: a page gets the Access-Control-Allow-Origin of another one".to_owned();
    let fix = "add Origin to the cache policy (for the templates in deploy/, with Headers)";
    (has_list && cache.headers.contains("origin") == Some(false))
        .then(|| Finding { id: "cors-key", ..error(behavior.name(), why, fix) })
}
