//! Rules for the headers and query strings that reach the API.

use crate::policy::caching::Caching;
use crate::policy::distribution::{Behavior, Origin};
use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::context::Context;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for behavior in context.api_behaviors() {
        let unknown = unknown_policies(behavior);
        if unknown.is_empty() {
            findings.extend(unknown_names(context, behavior));
        }
        findings.extend(unknown);
        findings.extend(forwarding(context, behavior));
    }
    findings.extend(context.api_origins().flat_map(|origin| overwritten(context, origin)));
    findings
}

fn unknown_policies(behavior: &Behavior) -> Vec<Finding> {
    let Caching::Policies { cache, request } = &behavior.caching else { return Vec::new() };
    let policies = [
        (cache.as_ref().err(), "get-cache-policy"),
        (request.as_ref().and_then(|request| request.as_ref().err()), "get-origin-request-policy"),
    ];
    let finding = |(id, command): (Option<&String>, &str)| {
        let id = id?;
        let (why, fix) = if id.is_empty() {
            ("it names no cache policy".to_owned(), "set CachePolicyId, or the legacy settings".to_owned())
        } else {
            (
                format!("its policy {id} is unknown, so the rules that depend on it cannot be checked"),
                format!("run aws cloudfront {command} --id {id} > policy.json, and add --policy policy.json"),
            )
        };
        Some(Finding { severity: Severity::Warning, id: "policy-unknown", place: behavior.name(), why, fix })
    };
    policies.into_iter().filter_map(finding).collect()
}

/// Finds lists of headers of which only AWS knows a part.
fn unknown_names(context: &Context<'_>, behavior: &Behavior) -> Option<Finding> {
    let is_unknown = context.selecting_headers().iter().any(|name| context.forwards_header(behavior, name).is_none());
    is_unknown.then(|| Finding {
        severity: Severity::Warning,
        id: "policy-unknown",
        place: behavior.name(),
        why: "only AWS knows which headers it forwards, so the rules that depend on them cannot be checked".to_owned(),
        fix: "list the headers in the template, or add --set for a parameter".to_owned(),
    })
}

fn forwarding(context: &Context<'_>, behavior: &Behavior) -> Vec<Finding> {
    let caching = &behavior.caching;
    let mut findings = Vec::new();
    for name in context.selecting_headers() {
        if context.forwards_header(behavior, name) == Some(false) {
            let effect =
                if name == "redirect" { "it never redirects" } else { "all viewers get the unversioned object" };
            let other = if name == "redirect" || context.subject.is_template {
                ""
            } else {
                "; add --version-header if the function's version_header is another"
            };
            findings.push(Finding {
                severity: Severity::Error,
                id: "header-not-forwarded",
                place: behavior.name(),
                why: format!("{name} does not reach the origin: {effect}"),
                fix: format!(
                    "add it to the origin request policy; with caching on, to the cache policy; with legacy settings, \
                      to ForwardedValues.Headers{other}"
                ),
            });
        }
    }
    if caching.forwards_header("host") == Some(true) {
        findings.push(Finding {
            severity: Severity::Error,
            id: "host-forwarded",
            place: behavior.name(),
            why: "the viewer's Host reaches the API, which responds with 403 to any name but its own".to_owned(),
            fix: "remove Host from the policy, for example with AllViewerExceptHostHeader instead of AllViewer"
                .to_owned(),
        });
    }
    if context.subject.redirect_query && caching.forwards_query() == Some(false) {
        findings.push(Finding {
            severity: Severity::Error,
            id: "query-not-forwarded",
            place: behavior.name(),
            why: "redirect_query is set, but redirects lose the query string: it does not reach the origin".to_owned(),
            fix: "forward all query strings in the origin request policy".to_owned(),
        });
    }
    let needs_accept = [
        (
            context.subject.spa_fallback,
            "spa_fallback is set, but without Accept the origin recognizes no navigation: each gets a 404",
        ),
        (
            context.subject.copies.formats,
            "formats is set, but without Accept the origin sends no image in another format",
        ),
    ];
    if let Some((_, why)) = needs_accept.iter().find(|(is_set, _)| *is_set)
        && caching.forwards_header("accept") == Some(false)
    {
        findings.push(Finding {
            severity: Severity::Error,
            id: "accept-not-forwarded",
            place: behavior.name(),
            why: (*why).to_owned(),
            fix: "add Accept to the origin request policy, and with caching on also to the cache policy".to_owned(),
        });
    }
    findings
}

/// Finds custom headers of the origin that replace the viewer's
/// ([add-origin-custom-headers](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/add-origin-custom-headers.html)).
fn overwritten(context: &Context<'_>, origin: &Origin) -> Vec<Finding> {
    let finding = |name: &&str| {
        origin.header(name).map(|_| Finding {
            severity: Severity::Error,
            id: "header-overwritten",
            place: origin.name(),
            why: format!("its custom header {name} replaces the viewer's: all viewers get the same response"),
            fix: format!("remove the custom header; the origin needs only {}", context.subject.auth_header),
        })
    };
    context.selecting_headers().iter().filter_map(finding).collect()
}
