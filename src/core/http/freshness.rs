//! How long an object may be answered from memory: what its own header fields say (RFC 9111, RFC 5861), within what
//! the settings allow.

use std::time::{Duration, SystemTime};

use crate::http::conditional::http_date;
use crate::object::Metadata;

/// What the settings allow at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long an object is fresh.
    pub ttl: Duration,
    /// For how long after that it is served at once, and revalidated after the answer.
    pub stale_while_revalidate: Duration,
    /// For how long after that it is served when S3 fails.
    pub stale_if_error: Duration,
}

/// How long an object may be answered from memory, counted from when S3 was asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Without asking.
    pub fresh: Duration,
    /// After that, at once, while S3 is asked.
    pub stale_while_revalidate: Duration,
    /// After that, when S3 fails.
    pub stale_if_error: Duration,
}

/// What an object and the settings say together, at `now`; `None` when it must not be kept.
///
/// The object can only shorten what the settings allow. An `s-maxage` outranks `max-age` (RFC 9111 §5.2.2.10), both
/// outrank Expires (§5.3); `no-cache` and the two kinds of `must-revalidate` allow nothing stale (§5.2.2.2, §5.2.2.4,
/// §5.2.2.8). `private` is about people, and an object in a bucket is nobody's.
pub fn freshness(metadata: &Metadata, limits: &Limits, now: SystemTime) -> Option<Freshness> {
    let said = metadata.cache_control.as_deref().map(Directives::parse).unwrap_or_default();
    if said.no_store {
        return None;
    }
    // What is no date has expired (§5.3).
    let expires = || {
        let at = metadata.expires.as_deref()?;
        Some(http_date(at).and_then(|at| at.duration_since(now).ok()).unwrap_or_default())
    };
    let lifetime = said.s_maxage.or(said.max_age).or_else(expires);
    let at_most = |limit: Duration, said: Option<Duration>| said.map_or(limit, |said| said.min(limit));
    let stale = |limit, directive| if said.no_stale { Duration::ZERO } else { at_most(limit, directive) };
    Some(Freshness {
        fresh: if said.no_cache { Duration::ZERO } else { at_most(limits.ttl, lifetime) },
        stale_while_revalidate: stale(limits.stale_while_revalidate, said.stale_while_revalidate),
        stale_if_error: stale(limits.stale_if_error, said.stale_if_error),
    })
}

/// What a Cache-Control field says to an origin's cache.
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
    /// Reads the field. Of a directive that is there twice the shorter time counts (RFC 9111 §4.2.1), and a time that
    /// is no number is none at all (§4.2.1: treat it as stale).
    fn parse(field: &str) -> Self {
        let mut said = Self::default();
        for directive in field.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim().to_ascii_lowercase();
            let time = match name.as_str() {
                "no-store" => {
                    said.no_store = true;
                    continue;
                }
                // With a field's name it is about that field only (§5.2.2.4); the whole is simpler, and safe.
                "no-cache" => {
                    (said.no_cache, said.no_stale) = (true, true);
                    continue;
                }
                "must-revalidate" | "proxy-revalidate" => {
                    said.no_stale = true;
                    continue;
                }
                "max-age" => &mut said.max_age,
                "s-maxage" => {
                    // It means proxy-revalidate too (§5.2.2.10).
                    said.no_stale = true;
                    &mut said.s_maxage
                }
                "stale-while-revalidate" => &mut said.stale_while_revalidate,
                "stale-if-error" => &mut said.stale_if_error,
                _ => continue,
            };
            let seconds = delta_seconds(value.trim().trim_matches('"'));
            *time = Some(time.map_or(seconds, |before| before.min(seconds)));
        }
        said
    }
}

/// A number of seconds (RFC 9111 §1.2.2); one that is too large to count is very long.
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
    fn an_object_that_says_nothing_is_kept_as_the_settings_say() {
        assert_eq!(of(None, None), Some([10, 20, 300]));
        assert_eq!(of(Some("public, immutable"), None), Some([10, 20, 300]));
    }

    #[test]
    fn rfc9111_5_2_2_an_object_can_only_shorten_its_time() {
        for (cache_control, wanted) in [
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
            assert_eq!(of(Some(cache_control), None), Some(wanted), "{cache_control}");
        }
        assert_eq!(of(Some("max-age=5 , No-Store"), None), None);
    }

    #[test]
    fn rfc9111_5_3_expires_counts_where_cache_control_gives_no_time() {
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
        fn no_field_makes_it_panic_or_keeps_for_longer_than_allowed(field in "(?s:.){0,60}|(max-age|no-cache|,|=|\"|[0-9]| ){0,12}") {
            if let Some([fresh, while_revalidate, if_error]) = of(Some(&field), Some(&field)) {
                prop_assert!(fresh <= 10 && while_revalidate <= 20 && if_error <= 300);
            }
        }
    }
}
