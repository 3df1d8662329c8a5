//! How long a cached object may be served: its header fields (RFC 9111, RFC 5861) within the limits of the settings.

use std::time::{Duration, SystemTime};

use crate::http::date::http_date;
use crate::object::Metadata;

/// The upper limits, from the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long an object is fresh.
    pub ttl: Duration,
    /// How long after `ttl` it is served at once, and revalidated after the response.
    pub stale_while_revalidate: Duration,
    /// How long after `ttl` it is served if S3 fails.
    pub stale_if_error: Duration,
}

/// How long a cached object may be served, counted from the start of the S3 request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Without a request to S3.
    pub fresh: Duration,
    /// After `fresh`: at once, with a revalidation after the response.
    pub stale_while_revalidate: Duration,
    /// After `fresh`: if S3 fails.
    pub stale_if_error: Duration,
}

/// Computes the freshness of an object requested at `requested_at`; `None` if it must not be cached.
///
/// The object can only shorten the limits. `s-maxage` overrides `max-age` (RFC 9111 §5.2.2.10), and both override
/// Expires (§5.3). `no-cache`, `must-revalidate` and `proxy-revalidate` forbid stale responses (§5.2.2.4, §5.2.2.2,
/// §5.2.2.8). `private` is ignored: it concerns responses for one user, and the bucket's objects are the same for every
/// user.
pub fn freshness(metadata: &Metadata, limits: &Limits, requested_at: SystemTime) -> Option<Freshness> {
    let directives = metadata.cache_control.as_deref().map(Directives::parse).unwrap_or_default();
    if directives.no_store {
        return None;
    }
    // An invalid date means expired (§5.3).
    let expires = || {
        let at = metadata.expires.as_deref()?;
        Some(http_date(at).and_then(|at| at.duration_since(requested_at).ok()).unwrap_or_default())
    };
    let lifetime = directives.s_maxage.or(directives.max_age).or_else(expires);
    let at_most = |limit: Duration, time: Option<Duration>| time.map_or(limit, |time| time.min(limit));
    let stale = |limit, time| if directives.no_stale { Duration::ZERO } else { at_most(limit, time) };
    Some(Freshness {
        fresh: if directives.no_cache { Duration::ZERO } else { at_most(limits.ttl, lifetime) },
        stale_while_revalidate: stale(limits.stale_while_revalidate, directives.stale_while_revalidate),
        stale_if_error: stale(limits.stale_if_error, directives.stale_if_error),
    })
}

/// The Cache-Control directives that apply to the origin's cache.
#[derive(Debug, Default)]
struct Directives {
    no_store: bool,
    no_cache: bool,
    no_stale: bool,
    max_age: Option<Duration>,
    s_maxage: Option<Duration>,
    stale_while_revalidate: Option<Duration>,
    stale_if_error: Option<Duration>,
}

impl Directives {
    /// Parses the field. The shortest time of a repeated directive applies, and an invalid time is zero, which makes
    /// the object stale (RFC 9111 §4.2.1).
    fn parse(field: &str) -> Self {
        let mut directives = Self::default();
        for directive in field.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim().to_ascii_lowercase();
            let time = match name.as_str() {
                "no-store" => {
                    directives.no_store = true;
                    continue;
                }
                // With field names it concerns these fields only (§5.2.2.4); applying it to the whole object is safe.
                "no-cache" => {
                    (directives.no_cache, directives.no_stale) = (true, true);
                    continue;
                }
                "must-revalidate" | "proxy-revalidate" => {
                    directives.no_stale = true;
                    continue;
                }
                "max-age" => &mut directives.max_age,
                "s-maxage" => {
                    // Implies proxy-revalidate (§5.2.2.10).
                    directives.no_stale = true;
                    &mut directives.s_maxage
                }
                "stale-while-revalidate" => &mut directives.stale_while_revalidate,
                "stale-if-error" => &mut directives.stale_if_error,
                _ => continue,
            };
            let seconds = delta_seconds(value.trim().trim_matches('"'));
            *time = Some(time.map_or(seconds, |before| before.min(seconds)));
        }
        directives
    }
}

/// Parses a number of seconds (RFC 9111 §1.2.2). A number that overflows becomes the maximum, an invalid one zero.
fn delta_seconds(text: &str) -> Duration {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if digits { text.parse::<u32>().unwrap_or(u32::MAX) } else { 0 };
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        ttl: Duration::from_secs(10),
        stale_while_revalidate: Duration::from_secs(20),
        stale_if_error: Duration::from_secs(300),
    };

    fn of(cache_control: Option<&str>, expires: Option<&str>) -> Option<[u64; 3]> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let metadata = Metadata { cache_control: owned(cache_control), expires: owned(expires), ..Metadata::default() };
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let Freshness { fresh, stale_while_revalidate, stale_if_error } = freshness(&metadata, &LIMITS, now)?;
        Some([fresh, stale_while_revalidate, stale_if_error].map(|time| time.as_secs()))
    }

    #[test]
    fn an_object_without_directives_has_the_limits_of_the_settings() {
        assert_eq!(of(None, None), Some([10, 20, 300]));
        assert_eq!(of(Some("public, immutable"), None), Some([10, 20, 300]));
    }

    #[test]
    fn rfc9111_5_2_2_directives_can_only_shorten_the_limits() {
        for (cache_control, expected) in [
            ("max-age=5", [5, 20, 300]),
            ("max-age=3600", [10, 20, 300]),
            ("MAX-AGE=\"5\"", [5, 20, 300]),
            ("max-age=5, max-age=7", [5, 20, 300]),
            ("max-age=soon", [0, 20, 300]),
            ("max-age", [0, 20, 300]),
            ("max-age=-1", [0, 20, 300]),
            ("max-age=99999999999999999999", [10, 20, 300]),
            ("max-age=0, s-maxage=7", [7, 0, 0]),
            ("no-cache", [0, 0, 0]),
            ("no-cache=\"set-cookie\", max-age=5", [0, 0, 0]),
            ("max-age=5, must-revalidate", [5, 0, 0]),
            ("max-age=5, proxy-revalidate", [5, 0, 0]),
            ("max-age=5, stale-while-revalidate=2, stale-if-error=3", [5, 2, 3]),
            ("stale-if-error=86400", [10, 20, 300]),
        ] {
            assert_eq!(of(Some(cache_control), None), Some(expected), "{cache_control}");
        }
        assert_eq!(of(Some("max-age=5 , No-Store"), None), None);
    }

    #[test]
    fn rfc9111_5_3_expires_applies_without_max_age() {
        for (cache_control, expires, fresh) in [
            (None, "Sun, 06 Nov 1994 08:49:40 GMT", 3),
            (None, "Sun, 06 Nov 1994 08:49:37 GMT", 0),
            (None, "Sun, 06 Nov 1994 08:00:00 GMT", 0),
            (None, "0", 0),
            (Some("public"), "Sun, 06 Nov 1994 08:49:40 GMT", 3),
            (Some("max-age=7"), "0", 7),
        ] {
            assert_eq!(of(cache_control, Some(expires)), Some([fresh, 20, 300]), "{cache_control:?} {expires}");
        }
    }

    proptest! {
        #[test]
        fn no_field_exceeds_the_limits_or_makes_the_parser_panic(
            field in "(?s:.){0,60}|(max-age|no-cache|,|=|\"|[0-9]| ){0,12}",
        ) {
            if let Some([fresh, while_revalidate, if_error]) = of(Some(&field), Some(&field)) {
                prop_assert!(fresh <= 10 && while_revalidate <= 20 && if_error <= 300);
            }
        }
    }
}
