//! How long CloudFront uses a response.
//!
//! [Manage how long content stays in the cache](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Expiration.html)
//! and, for errors,
//! [Control how long CloudFront caches errors](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, EXPIRES, VARY};
use http::{HeaderMap, StatusCode};
use nearedge_core::http::date::http_date;

use crate::policy::caching::Ttl;
use crate::policy::distribution::ERROR_TTL_DEFAULT_SECS;

/// The longest lifetime, in seconds: "The maximum value is 100 years" (first page).
pub const TTL_SECS_MAX: u64 = 100 * 365 * 86_400;

/// The rules of a behaviour.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether successful responses are cached.
    pub caches_objects: bool,
    /// Whether errors are cached.
    pub caches_errors: bool,
    /// Whether concurrent requests with one key share a request to the origin.
    pub collapses: bool,
    /// The TTLs.
    pub ttl: Ttl,
    /// ErrorCachingMinTTL by status, in seconds.
    pub error_ttl_secs: BTreeMap<u16, u64>,
}

impl Rules {
    /// The error caching minimum TTL of a status.
    pub fn error_ttl(&self, status: StatusCode) -> Duration {
        let secs = self.error_ttl_secs.get(&status.as_u16()).copied();
        Duration::from_secs(secs.unwrap_or(ERROR_TTL_DEFAULT_SECS))
    }
}

/// How long a response may be used, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// How long it is used without a request to the origin.
    pub ttl: Duration,
    /// Whether the origin may confirm it afterwards.
    pub revalidate: bool,
    /// How long after its expiry it is used while it is revalidated.
    pub stale_while_revalidate: Duration,
    /// How long after its expiry it replaces the origin's 5xx.
    pub stale_if_error: Duration,
    /// How long after its expiry it replaces an unreachable origin.
    pub stale_if_unreachable: Duration,
    /// Whether its Set-Cookie fields are cached with it.
    pub keeps_cookies: bool,
}

/// Statuses that CloudFront caches unless a directive forbids it.
///
/// [Status codes that CloudFront caches](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html).
/// That page does not list 410, but the page about the expiration of errors does.
const CACHED_ERRORS: [u16; 8] = [404, 410, 414, 500, 501, 502, 503, 504];

/// Statuses that CloudFront caches only with max-age or s-maxage (same page).
const CACHED_ERRORS_WITH_AGE: [u16; 5] = [400, 403, 405, 412, 415];

/// Errors whose no-store, no-cache or private CloudFront respects; it ignores them for every other error.
const ERRORS_WITH_DIRECTIVES: [u16; 4] = [404, 410, 414, 501];

/// How long the response may be used; `None` if it is not stored.
pub fn freshness(status: StatusCode, headers: &HeaderMap, rules: &Rules, now: SystemTime) -> Option<Freshness> {
    let directives = Directives::parse(headers);
    if status.is_client_error() || status.is_server_error() {
        return rules.caches_errors.then(|| of_error(status, headers, &directives, rules, now)).flatten();
    }
    // A 206 and a 304 depend on the viewer's Range and conditions.
    let depends_on_viewer = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    if !rules.caches_objects || depends_on_viewer || status.is_informational() {
        return None;
    }
    let Ttl { minimum, default, maximum } = rules.ttl;
    let maximum = maximum.max(minimum);
    let at_most = |secs: Option<u64>| Duration::from_secs(secs.unwrap_or(maximum).min(maximum));
    let stale_if_error = at_most(directives.stale_if_error);
    let restricted = directives.restricted && minimum == 0;
    let varies = minimum == 0 && is_vary_star(headers);
    let ttl_secs = match directives.explicit(headers, now) {
        _ if directives.restricted || varies => minimum,
        Some(secs) => secs.clamp(minimum, maximum),
        None => default.max(minimum),
    };
    Some(Freshness {
        ttl: Duration::from_secs(ttl_secs),
        revalidate: !restricted && !varies,
        stale_while_revalidate: if restricted || varies {
            Duration::ZERO
        } else {
            at_most(directives.stale_while_revalidate.or(Some(0)))
        },
        stale_if_error: if restricted { Duration::ZERO } else { stale_if_error },
        // "If the origin is unreachable and the minimum or maximum TTL value is greater than 0, CloudFront will serve the
        // object that it got from the origin previously", in spite of no-store, but not with stale-if-error=0.
        stale_if_unreachable: stale_if_error,
        keeps_cookies: directives.keeps_cookies,
    })
}

fn of_error(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    rules: &Rules,
    now: SystemTime,
) -> Option<Freshness> {
    let code = status.as_u16();
    let respects_directives = ERRORS_WITH_DIRECTIVES.contains(&code);
    let is_cached =
        CACHED_ERRORS.contains(&code) || CACHED_ERRORS_WITH_AGE.contains(&code) && directives.age().is_some();
    if !is_cached || respects_directives && directives.restricted {
        return None;
    }
    let explicit = directives.explicit(headers, now).unwrap_or(0).min(rules.ttl.maximum);
    let ttl = rules.error_ttl(status).max(Duration::from_secs(explicit));
    (ttl > Duration::ZERO).then_some(Freshness {
        ttl,
        revalidate: false,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        stale_if_unreachable: Duration::ZERO,
        keeps_cookies: directives.keeps_cookies,
    })
}

fn is_vary_star(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|name| name.trim() == "*")
}

/// The directives of Cache-Control that CloudFront reads.
#[derive(Debug)]
struct Directives {
    /// Whether it contains no-store, no-cache or private.
    restricted: bool,
    keeps_cookies: bool,
    max_age: Option<u64>,
    s_maxage: Option<u64>,
    stale_while_revalidate: Option<u64>,
    stale_if_error: Option<u64>,
}

impl Directives {
    fn parse(headers: &HeaderMap) -> Self {
        let mut directives = Self {
            restricted: false,
            keeps_cookies: true,
            max_age: None,
            s_maxage: None,
            stale_while_revalidate: None,
            stale_if_error: None,
        };
        let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in fields.flat_map(|field| field.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let value = value.trim().trim_matches('"');
            let time = match name.trim().to_ascii_lowercase().as_str() {
                // It stops only the caching of the cookies
                // (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Cookies.html).
                "no-cache" if value.eq_ignore_ascii_case("set-cookie") => {
                    directives.keeps_cookies = false;
                    continue;
                }
                "no-store" | "no-cache" | "private" => {
                    directives.restricted = true;
                    continue;
                }
                "max-age" => &mut directives.max_age,
                "s-maxage" => &mut directives.s_maxage,
                "stale-while-revalidate" => &mut directives.stale_while_revalidate,
                "stale-if-error" => &mut directives.stale_if_error,
                _ => continue,
            };
            *time = Some(delta_seconds(value));
        }
        directives
    }

    /// s-maxage, or else max-age.
    fn age(&self) -> Option<u64> {
        self.s_maxage.or(self.max_age)
    }

    /// The lifetime that the origin states, in seconds: s-maxage, max-age or Expires, in this order.
    fn explicit(&self, headers: &HeaderMap, now: SystemTime) -> Option<u64> {
        self.age().or_else(|| {
            let expires = headers.get(EXPIRES)?.to_str().ok().and_then(http_date);
            // An invalid date is in the past (RFC 9111 §5.3).
            Some(expires.and_then(|at| at.duration_since(now).ok()).map_or(0, |left| left.as_secs()))
        })
    }
}

/// Parses a number of seconds. An invalid number counts as zero.
fn delta_seconds(text: &str) -> u64 {
    const MAX: u64 = TTL_SECS_MAX;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().unwrap_or(MAX).min(MAX) } else { 0 }
}

#[cfg(test)]
mod tests;
