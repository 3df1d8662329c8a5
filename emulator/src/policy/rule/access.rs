//! Rules for what access control needs: every guarded path leads to the API, and tokens and links reach it.

use nearedge_core::access::rules::RuleKind;
use nearedge_core::access::source::Source;

use crate::policy::caching::{Caching, Names};
use crate::policy::distribution::Behavior;
use crate::policy::finding::error;
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::path_pattern::common;
use crate::policy::rule::context::{Context, arrives};

/// Header fields that never have the viewer's value at the origin, or have it in another form.
const UNUSABLE: [&str; 5] = ["accept-encoding", "connection", "cookie", "host", "range"];

/// Texts for a part of a path that may be anything: a folder's document, an object, an object in a further folder.
const FILLERS: [&str; 4] = ["a", "", "a.html", "a/b.html"];

const NO_BYPASS: &str = "remove the behaviour, or make the API its target: only the function checks the rules (the templates in \
                         deploy/ do this with Access)";

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    if !context.site().access.is_in_use() {
        return Vec::new();
    }
    let behaviors = &context.distribution.behaviors;
    let mut findings: Vec<Finding> = behaviors.iter().filter_map(|behavior| bypassed(context, behavior)).collect();
    for behavior in context.api_behaviors() {
        findings.extend(cached(context, behavior));
        findings.extend(unlistable(behavior));
        findings.extend(tokens(context, behavior));
    }
    findings
}

/// A guarded path that a behaviour serves, by a rule of this pattern; `None` if it serves none.
fn served(context: &Context<'_>, behavior: &Behavior, pattern: &str) -> Option<String> {
    let folder = pattern.strip_suffix("/*").unwrap_or(pattern);
    let mut patterns = vec![pattern.to_owned(), folder.to_owned()];
    match context.versions() {
        Some(versions) => {
            // A rule that names a version guards that folder, which no other version contains.
            let first = pattern.trim_start_matches('/').split('/').next().unwrap_or_default();
            let others = versions.iter().filter(|_| !versions.iter().any(|version| version == first));
            patterns.extend(others.map(|version| format!("/{version}{pattern}")));
        }
        None => patterns.push(format!("/*{pattern}")),
    }
    let of_behavior = behavior.pattern.as_deref().unwrap_or("*");
    let candidates = patterns.iter().flat_map(|pattern| FILLERS.map(|filler| common(of_behavior, pattern, filler)));
    candidates.flatten().find(|path| {
        let is_served = context.distribution.behavior_for(path).is_some_and(|found| std::ptr::eq(found, behavior));
        is_served && context.site().guards(path, context.versions())
    })
}

/// Finds a behaviour that serves a guarded path from another origin than the API.
fn bypassed(context: &Context<'_>, behavior: &Behavior) -> Option<Finding> {
    let other = behavior.origins.iter().find(|origin| !context.is_api(origin) && !is_unknown(origin))?;
    let path = context.site().guarded_patterns().find_map(|(pattern, _)| served(context, behavior, pattern));
    // Without the file, the folder of a variant is enough: it contains the guarded objects of that variant.
    let path = match path {
        None if context.site().access.rules.is_none() => {
            let mut variants = context.subject.variants.iter().filter(|variant| !is_unknown(variant));
            variants.find_map(|variant| common(behavior.pattern.as_deref()?, &format!("/{variant}/*"), "a"))
        }
        path => path,
    }?;
    let why = format!("it sends paths such as {path} to {other}, past every rule of access: anyone can read them");
    Some(Finding { id: "access-bypassed", ..error(behavior.name(), why, NO_BYPASS) })
}

/// Finds a minimum TTL, which overrides `private` and `no-store`
/// ([expiration](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Expiration.html)).
fn cached(context: &Context<'_>, behavior: &Behavior) -> Option<Finding> {
    let minimum = behavior.caching.cache_policy().map(|cache| cache.ttl.minimum).filter(|minimum| *minimum > 0)?;
    let path = context.site().guarded_patterns().find_map(|(pattern, _)| served(context, behavior, pattern))?;
    let why = format!(
        "the minimum TTL of {minimum} s overrides private: CloudFront keeps {path} and gives it to viewers without a token"
    );
    Some(Finding { id: "access-cached", ..error(behavior.name(), why, "set MinTTL to 0") })
}

/// Finds an origin request policy that lists Authorization, which CloudFront refuses.
fn unlistable(behavior: &Behavior) -> Option<Finding> {
    let Caching::Policies { request: Some(Ok(request)), .. } = &behavior.caching else { return None };
    let Names::Listed(names) = &request.headers else { return None };
    names.contains("authorization").then(|| {
        let why = "the origin request policy lists Authorization: CloudFront refuses to create it".to_owned();
        Finding { id: "access-authorization", ..error(behavior.name(), why, AUTHORIZATION) }
    })
}

const AUTHORIZATION: &str = "with caching, list Authorization in the cache policy; without, use the managed policy \
                             AllViewerExceptHostHeader (the templates in deploy/ do this with Access)";

/// Whether a place is the viewer's Authorization.
fn is_authorization(source: &Source) -> bool {
    matches!(source, Source::Header(name) if &**name == "authorization")
}

/// The change that makes the distribution forward a place of tokens.
fn fix(context: &Context<'_>, source: &Source, behavior: &Behavior) -> String {
    match (source, &behavior.caching) {
        _ if is_authorization(source) && context.replaces_authorization(behavior) => {
            "let clients send the token in a cookie or the query string: CloudFront's signature replaces Authorization"
                .to_owned()
        }
        (Source::Header(name), Caching::Legacy(_)) => format!("list {name} in ForwardedValues.Headers"),
        (Source::Header(name), _) if UNUSABLE.contains(&&**name) => {
            "let clients send the token in another header, a cookie or the query string".to_owned()
        }
        (Source::Header(name), _) if &**name == "authorization" => AUTHORIZATION.to_owned(),
        (Source::Header(name), _) => format!("list {name} in the origin request policy"),
        (Source::Cookie(_), _) => "forward all cookies in the origin request policy".to_owned(),
        (Source::Query(_), _) => "forward all query strings in the origin request policy".to_owned(),
    }
}

/// Whether the API receives what a place holds; `None` if that depends on what only AWS knows.
fn reaches(context: &Context<'_>, source: &Source, behavior: &Behavior) -> Option<bool> {
    match source {
        _ if is_authorization(source) && context.replaces_authorization(behavior) => Some(false),
        Source::Header(name) if UNUSABLE.contains(&&**name) => Some(false),
        Source::Header(name) => arrives(behavior, name),
        Source::Cookie(name) => behavior.caching.forwards_cookie(name),
        Source::Query(name) => behavior.caching.forwards_query_string(name),
    }
}

/// Finds rules whose tokens, links or sessions do not reach the API.
fn tokens(context: &Context<'_>, behavior: &Behavior) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (pattern, kind) in context.site().guarded_patterns() {
        let (sources, result, is_each_needed) = match kind {
            RuleKind::Token(rule) => (rule.sources().to_vec(), "401", false),
            RuleKind::Link(link) => {
                let session = link.cookie().map(|cookie| Source::Cookie(cookie.into()));
                ([Source::Query(link.parameter().into())].into_iter().chain(session).collect(), "403", true)
            }
            RuleKind::Open | RuleKind::Hidden => continue,
        };
        let is_lost = |source: &&Source| reaches(context, source, behavior) == Some(false);
        let lost: Vec<&Source> = sources.iter().filter(is_lost).collect();
        let Some(first) = lost.first() else { continue };
        if served(context, behavior, pattern).is_none() {
            continue;
        }
        let names = lost.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let is_closed = is_each_needed || lost.len() == sources.len();
        let effect = if is_closed {
            format!("requests that carry only {names} are answered with {result}")
        } else {
            "only the other places of its tokens work".to_owned()
        };
        let finding = Finding {
            severity: if is_closed { Severity::Error } else { Severity::Warning },
            id: "access-token",
            place: behavior.name(),
            why: format!("the rule {pattern} reads {names}, which never reaches the origin: {effect}"),
            fix: fix(context, first, behavior),
        };
        findings.push(finding);
    }
    findings
}
