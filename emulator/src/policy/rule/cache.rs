//! Rules for the cache key and the TTLs.

use crate::policy::caching::{Names, Ttl};
use crate::policy::distribution::Behavior;
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

/// The longest acceptable default TTL: viewers see a corrected object up to that much later.
const DEFAULT_TTL_MAX_SECS: u64 = 3_600;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for behavior in context.api_behaviors() {
        let Some(cache) = behavior.caching.cache_policy().filter(|cache| cache.ttl.maximum > 0) else { continue };
        findings.extend(key(context, behavior, &cache.headers));
        findings.extend(ttl(behavior, cache.ttl, context.experiments().is_some()));
    }
    findings
}

fn key(context: &Context<'_>, behavior: &Behavior, headers: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in context
        .selecting_headers()
        .into_iter()
        .chain((context.subject.spa_fallback || context.subject.copies.formats).then_some("accept"))
    {
        if headers.contains(name) == Some(false)
            && !is_unknown(name)
            && behavior.caching.forwards_header(name) != Some(false)
        {
            findings.push(Finding {
                severity: Severity::Error,
                id: "header-not-in-key",
                place: behavior.name(),
                why: format!(
                    "{name} reaches the origin but is not in the cache key: one viewer's response is served to all"
                ),
                fix: "add it to the cache policy, or disable caching (managed policy CachingDisabled)".to_owned(),
            });
        }
    }
    if *headers == Names::All {
        findings.push(Finding {
            severity: Severity::Warning,
            id: "key-of-everything",
            place: behavior.name(),
            why: "every viewer header is in the cache key: no two viewers share an entry, and Host is forwarded"
                .to_owned(),
            fix: format!("list {} instead", context.selecting_headers().join(" and ")),
        });
    }
    findings
}

fn ttl(behavior: &Behavior, ttl: Ttl, has_experiments: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if ttl.minimum > 0 {
        findings.push(Finding {
            severity: Severity::Error,
            id: "ttl-minimum",
            place: behavior.name(),
            why: format!(
                "the minimum TTL of {} s overrides no-store: CloudFront caches redirects and rejections that long{}",
                ttl.minimum,
                if has_experiments { ", and gives one visitor's cookies and variation to others" } else { "" }
            ),
            fix: "set MinTTL to 0, so that each object's Cache-Control applies".to_owned(),
        });
    }
    if ttl.default > DEFAULT_TTL_MAX_SECS {
        findings.push(Finding {
            severity: Severity::Warning,
            id: "ttl-default",
            place: behavior.name(),
            why: format!(
                "objects without Cache-Control are cached for {} s: viewers see a correction up to that much later",
                ttl.default
            ),
            fix: "set DefaultTTL to about 60, or set Cache-Control on every object".to_owned(),
        });
    }
    if ttl.default < ttl.minimum || ttl.maximum < ttl.default {
        findings.push(Finding {
            severity: Severity::Error,
            id: "ttl-order",
            place: behavior.name(),
            why: format!(
                "its TTLs are out of order: minimum {} s, default {} s, maximum {} s",
                ttl.minimum, ttl.default, ttl.maximum
            ),
            fix: "set MinTTL <= DefaultTTL <= MaxTTL".to_owned(),
        });
    }
    findings
}
