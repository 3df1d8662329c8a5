//! Rules for the addresses that redirects lead to.

use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    // With rules of access, variants' folders must lead to the API: a redirect there has no other place to go.
    let has_access = context.site().access.is_in_use();
    let targets =
        context.subject.variants.iter().filter(|_| !has_access).filter_map(|variant| target(context, variant));
    targets.chain(redirect_path(context)).collect()
}

/// Finds a redirect target that is not an object of the bucket.
///
/// If the API receives the target, it redirects again, to /v1/v1/….
fn target(context: &Context<'_>, variant: &str) -> Option<Finding> {
    ["index.html", "test.png", "a/b.js"].iter().find_map(|object| {
        let path = format!("/{variant}/{object}");
        let behavior = context.distribution.behavior_for(&path)?;
        if context.reaches_api(behavior) {
            let mut patterns = context.distribution.behaviors.iter().filter_map(|behavior| behavior.pattern.as_ref());
            if is_unknown(variant) && !patterns.any(|pattern| pattern.contains(variant)) {
                return Some(unknown(variant));
            }
            return Some(Finding {
                severity: Severity::Error,
                id: "redirect-loops",
                place: behavior.name(),
                why: format!(
                    "a redirect to {path} returns to this origin: a client that repeats its headers is in a loop"
                ),
                fix: "before any wider pattern, add a behaviour for each variant's folder, such as /v1/*, with the \
                      bucket as its origin"
                    .to_owned(),
            });
        }
        let origin = context.distribution.origins.iter().find(|origin| origin.id == behavior.first_origin())?;
        (!origin.path.is_empty()).then(|| Finding {
            severity: Severity::Error,
            id: "origin-path",
            place: origin.name(),
            why: format!("its OriginPath changes the key of {path} to {}{path}", origin.path.trim_start_matches('/')),
            fix: "leave OriginPath empty: the redirected path is the key".to_owned(),
        })
    })
}

/// Reports a variant whose name only AWS knows, and which no behaviour names in the same way.
fn unknown(variant: &str) -> Finding {
    Finding {
        severity: Severity::Warning,
        id: "variants-unknown",
        place: "the function's test_versions".to_owned(),
        why: format!("only AWS knows {variant}, so the behaviours of the variants' folders cannot be checked"),
        fix: "add --variants with the variants, or --set for a parameter".to_owned(),
    }
}

fn redirect_path(context: &Context<'_>) -> Option<Finding> {
    let place = || "the function's redirect_path".to_owned();
    let redirect_path = context.subject.redirect_path.as_ref()?;
    let host = redirect_path.split("://").nth(1).unwrap_or(redirect_path).split(['/', ':']).next().unwrap_or_default();
    if host.contains(".execute-api.") || context.api_origins().any(|origin| origin.domain == host) {
        return Some(Finding {
            severity: Severity::Error,
            id: "redirect-path",
            place: place(),
            why: "it is the API's address, where viewers have no secret: every redirect ends in a 403".to_owned(),
            fix: "set it to the distribution's address".to_owned(),
        });
    }
    let aliases = &context.distribution.aliases;
    if aliases.is_empty() || is_unknown(host) || aliases.iter().any(|alias| covers(alias, host)) {
        return None;
    }
    Some(Finding {
        severity: Severity::Warning,
        id: "redirect-path",
        place: place(),
        why: format!("{host} is not an alternate domain name of this distribution: redirects may lead elsewhere"),
        fix: "set it to the address that viewers use".to_owned(),
    })
}

/// Whether an alternate domain name, which may start with `*.`, includes a host.
fn covers(alias: &str, host: &str) -> bool {
    match alias.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => is_unknown(alias) || alias.eq_ignore_ascii_case(host),
    }
}
