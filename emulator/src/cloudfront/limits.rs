//! CloudFront's limits for a distribution's configuration.
//!
//! CloudFront refuses a configuration that exceeds them, so the CDN does not start with it.

use std::collections::BTreeSet;

use crate::policy::caching::{CachePolicy, Caching, Codings, Names, RequestPolicy};
use crate::policy::distribution::{Behavior, Distribution};

/// The maximum number of headers in a policy or in legacy settings
/// ([quotas](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html)).
pub const HEADERS_MAX: usize = 10;

/// The sets of AllowedMethods
/// ([AllowedMethods](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_AllowedMethods.html)).
const ALLOWED_METHODS: [&[&str]; 3] =
    [&["GET", "HEAD"], &["GET", "HEAD", "OPTIONS"], &["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]];

/// The sets of CachedMethods
/// ([CachedMethods](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CachedMethods.html)).
const CACHED_METHODS: [&[&str]; 2] = [&["GET", "HEAD"], &["GET", "HEAD", "OPTIONS"]];

/// Headers that an origin request policy cannot list: "Use a cache policy to forward these headers"
/// ([origin request policies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-origin-requests.html);
/// aws/aws-cdk #15286).
const NOT_IN_REQUEST_POLICY: [&str; 2] = ["accept-encoding", "authorization"];

/// Checks a distribution's configuration.
///
/// # Errors
/// The first limit that it exceeds: the behaviour, what was expected and found, and what to do, in one line.
pub fn check(distribution: &Distribution) -> Result<(), String> {
    for behavior in &distribution.behaviors {
        of_behavior(behavior).map_err(|reason| format!("{}: {reason}", behavior.name()))?;
    }
    Ok(())
}

fn of_behavior(behavior: &Behavior) -> Result<(), String> {
    methods("AllowedMethods", &behavior.allowed_methods, &ALLOWED_METHODS)?;
    methods("CachedMethods", &behavior.cached_methods, &CACHED_METHODS)?;
    if !behavior.cached_methods.is_subset(&behavior.allowed_methods) && !behavior.allowed_methods.is_empty() {
        return Err(
            "expected AllowedMethods to contain the CachedMethods: allow OPTIONS, or do not cache it".to_owned()
        );
    }
    match &behavior.caching {
        Caching::Legacy(cache) => of_legacy(cache),
        Caching::Policies { cache, request } => {
            if let Ok(cache) = cache {
                of_cache_policy(cache)?;
            }
            if let Some(Ok(request)) = request {
                of_request_policy(request)?;
            }
            Ok(())
        }
    }
}

fn methods(setting: &str, methods: &BTreeSet<String>, allowed: &[&[&str]]) -> Result<(), String> {
    let is_set = |set: &&[&str]| methods.iter().map(String::as_str).eq(set.iter().copied());
    if methods.is_empty() || allowed.iter().any(is_set) {
        return Ok(());
    }
    let found: Vec<&str> = methods.iter().map(String::as_str).collect();
    let sets: Vec<String> = allowed.iter().map(|set| set.join(",")).collect();
    Err(format!("{setting}: expected {}, found {}", sets.join(" or "), found.join(",")))
}

fn of_legacy(cache: &CachePolicy) -> Result<(), String> {
    headers("ForwardedValues", &cache.headers, "list fewer headers, or request a quota increase")?;
    // https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_DefaultCacheBehavior.html, MinTTL
    if cache.headers == Names::All && cache.ttl.minimum > 0 {
        return Err("expected MinTTL 0, because ForwardedValues forwards all headers".to_owned());
    }
    Ok(())
}

/// Caching is disabled if all TTLs are 0. CloudFront then refuses the settings of the cache key: "The parameter
/// EnableAcceptEncodingGzip is invalid for policy with caching disabled"
/// ([compression](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html);
/// awsdocs/amazon-cloudfront-developer-guide #51, aws/aws-cdk #16977).
fn of_cache_policy(cache: &CachePolicy) -> Result<(), String> {
    headers("cache policy", &cache.headers, "list fewer headers, or request a quota increase")?;
    if !cache.ttl.is_zero() {
        return Ok(());
    }
    let Codings { gzip, brotli } = cache.codings;
    let settings = [
        ("EnableAcceptEncodingGzip", gzip),
        ("EnableAcceptEncodingBrotli", brotli),
        ("HeaderBehavior", !cache.headers.is_empty()),
        ("CookieBehavior", !cache.cookies.is_empty()),
        ("QueryStringBehavior", !cache.query_strings.is_empty()),
    ];
    match settings.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((name, _)) => Err(format!(
            "cache policy: {name} is invalid for a policy with caching disabled: set MaxTTL above 0, or remove {name}"
        )),
    }
}

fn of_request_policy(request: &RequestPolicy) -> Result<(), String> {
    headers("origin request policy", &request.headers, "list fewer headers, or request a quota increase")?;
    if let Names::Listed(names) = &request.headers
        && let Some(name) = NOT_IN_REQUEST_POLICY.iter().find(|name| names.contains(**name))
    {
        return Err(format!("origin request policy: {name} cannot be listed: use the cache policy to forward it"));
    }
    Ok(())
}

fn headers(place: &str, names: &Names, fix: &str) -> Result<(), String> {
    match names {
        Names::Listed(names) | Names::AllExcept(names) if names.len() > HEADERS_MAX => {
            Err(format!("{place}: expected at most {HEADERS_MAX} headers, found {}: {fix}", names.len()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
