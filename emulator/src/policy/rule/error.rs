//! Rules for cached and replaced error responses.

use crate::policy::caching::CachePolicy;
use crate::policy::distribution::ErrorResponse;
use crate::policy::experiment::Experiments;
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

/// The errors that CloudFront caches in spite of `no-store`.
///
/// CloudFront honours `no-store` only on 404, 410, 414 and 501. It does not cache 416, and caches other 4xx only with a
/// `max-age`
/// ([how long errors are cached](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html),
/// [HTTP status codes](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html)).
const CACHED_ERRORS: [u64; 4] = [500, 502, 503, 504];

const PLACE: &str = "CustomErrorResponses";

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let replaced = context.distribution.errors.iter().filter_map(|error| replaced(context, error));
    cached(context).into_iter().chain(replaced).collect()
}

fn cached(context: &Context<'_>) -> Option<Finding> {
    let cached = CACHED_ERRORS.iter().filter(|code| context.distribution.error_ttl_secs(**code) > 0);
    let cached: Vec<String> = cached.map(u64::to_string).collect();
    if cached.is_empty() {
        return None;
    }
    let cached = format!("CloudFront caches {} (10 s by default), even where caching is off", cached.join(", "));
    let version = context.subject.version_header.as_str();
    let assignments = context.experiments().map(Experiments::assignments_cookie);
    let has_version = |cache: &CachePolicy| is_unknown(version) || cache.headers.contains(version) != Some(false);
    let has_assignments = |cache: &CachePolicy| {
        assignments.as_ref().is_none_or(|name| is_unknown(name) || cache.cookies.contains(name) != Some(false))
    };
    let all = |has: &dyn Fn(&CachePolicy) -> bool| {
        context.api_behaviors().all(|behavior| behavior.caching.cache_policy().is_some_and(has))
    };
    let missing: Vec<&str> = [(all(&has_version), Some(version)), (all(&has_assignments), assignments.as_deref())]
        .into_iter()
        .filter_map(|(is_in_key, name)| name.filter(|_| !is_in_key))
        .collect();
    let (severity, why) = if missing.is_empty() {
        (Severity::Warning, format!("{cached}: one failed request fails all viewers for that long"))
    } else {
        (
            Severity::Error,
            format!(
                "{cached}, and {} is not in the cache key: one failed request fails every variant",
                missing.join(" or ")
            ),
        )
    };
    Some(Finding {
        severity,
        id: "error-caching",
        place: PLACE.to_owned(),
        why,
        fix: "set ErrorCachingMinTTL to 0 for each of these statuses".to_owned(),
    })
}

fn replaced(context: &Context<'_>, error: &ErrorResponse) -> Option<Finding> {
    let page = error.page.as_ref()?;
    let from_api = context.distribution.behavior_for(page).is_some_and(|behavior| context.reaches_api(behavior));
    let version = &context.subject.version_header;
    let source = if from_api { format!(", requested from the origin without {version}") } else { String::new() };
    let (severity, consequence) = match error.response_code.as_deref().filter(|code| code.starts_with('2')) {
        Some(code) => {
            (Severity::Error, format!(" with status {code}: caches, crawlers and alarms treat the error as a page"))
        }
        None => (Severity::Warning, ": every variant gets the same page".to_owned()),
    };
    Some(Finding {
        severity,
        id: "error-replaced",
        place: PLACE.to_owned(),
        why: format!("CloudFront replaces a {} with {page}{source}{consequence}", error.code),
        fix: "remove the page; the origin's error_document and spa_fallback depend on the variant".to_owned(),
    })
}
