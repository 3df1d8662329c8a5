use super::*;
use http::HeaderValue;

const NOW_SECS: u64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_SECS)
}

fn rules(minimum: u64, default: u64, maximum: u64) -> Rules {
    Rules {
        caches_objects: true,
        caches_errors: true,
        collapses: true,
        ttl: Ttl { minimum, default, maximum },
        error_ttl_secs: BTreeMap::new(),
    }
}

fn headers(cache_control: &str, expires_in: Option<i64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !cache_control.is_empty() {
        headers.insert(CACHE_CONTROL, cache_control.parse().unwrap());
    }
    if let Some(secs) = expires_in {
        let at = now().checked_add_signed(secs);
        headers.insert(EXPIRES, HeaderValue::try_from(httpdate::fmt_http_date(at)).unwrap());
    }
    headers
}

/// Adds seconds of either sign.
trait CheckedAddSigned {
    fn checked_add_signed(self, secs: i64) -> Self;
}

impl CheckedAddSigned for SystemTime {
    fn checked_add_signed(self, secs: i64) -> Self {
        let duration = Duration::from_secs(secs.unsigned_abs());
        if secs < 0 { self - duration } else { self + duration }
    }
}

/// The TTL of a 200 in seconds.
fn ttl(rules: &Rules, cache_control: &str, expires_in: Option<i64>) -> u64 {
    let headers = headers(cache_control, expires_in);
    freshness(StatusCode::OK, &headers, rules, now()).unwrap().ttl.as_secs()
}

/// The rows with a minimum TTL of 0 in "Specify the amount of time that CloudFront caches objects".
#[test]
fn the_aws_table_holds_with_a_minimum_of_zero() {
    let rules = rules(0, 50, 100);
    for (cache_control, expires_in, expected) in [
        // max-age: the lesser of it and the maximum
        ("max-age=70", None, 70),
        ("max-age=700", None, 100),
        ("max-age=0", None, 0),
        // no max-age: the default
        ("", None, 50),
        ("public", None, 50),
        // s-maxage before max-age, the lesser of it and the maximum
        ("max-age=10, s-maxage=20", None, 20),
        ("s-maxage=200, max-age=10", None, 100),
        ("s-maxage=0, max-age=10", None, 0),
        // Expires: the sooner of it and the maximum
        ("", Some(30), 30),
        ("", Some(3000), 100),
        ("", Some(-30), 0),
        // "CloudFront uses only the value of Cache-Control max-age"
        ("max-age=10", Some(30), 10),
        // no-cache, no-store, private: respected
        ("no-store", None, 0),
        ("no-cache", None, 0),
        ("private", None, 0),
        ("private, max-age=70", Some(30), 0),
    ] {
        assert_eq!(ttl(&rules, cache_control, expires_in), expected, "{cache_control:?}, Expires {expires_in:?}");
    }
}

#[test]
fn an_invalid_number_or_date_has_expired() {
    let rules = rules(0, 50, 100);
    for cache_control in ["max-age=", "max-age=-1", "max-age=x", "s-maxage=1.5"] {
        assert_eq!(ttl(&rules, cache_control, None), 0, "{cache_control}");
    }
    assert_eq!(ttl(&rules, "max-age=99999999999999999999999", None), 100);
    let mut headers = HeaderMap::new();
    headers.insert(EXPIRES, HeaderValue::from_static("0"));
    assert_eq!(freshness(StatusCode::OK, &headers, &rules, now()).unwrap().ttl, Duration::ZERO);
}

/// The rows with a minimum TTL above 0, which overrides no-store.
#[test]
fn the_aws_table_holds_with_a_minimum_above_zero() {
    let rules = rules(20, 50, 100);
    for (cache_control, expires_in, expected) in [
        ("max-age=70", None, 70),
        ("max-age=10", None, 20),
        ("max-age=700", None, 100),
        ("", None, 50),
        ("max-age=1, s-maxage=70", None, 70),
        ("max-age=70, s-maxage=10", None, 20),
        ("max-age=70, s-maxage=700", None, 100),
        ("", Some(70), 70),
        ("", Some(10), 20),
        ("", Some(700), 100),
        ("no-store", None, 20),
        ("no-cache", None, 20),
        ("private", None, 20),
        ("private, no-store, max-age=70", None, 20),
    ] {
        assert_eq!(ttl(&rules, cache_control, expires_in), expected, "{cache_control:?}, Expires {expires_in:?}");
    }
    assert_eq!(ttl(&super::tests::rules(60, 50, 100), "", None), 60, "the greater of minimum and default");
}

#[test]
fn an_object_with_no_store_replaces_only_an_unreachable_origin() {
    let of =
        |cache_control| freshness(StatusCode::OK, &headers(cache_control, None), &rules(0, 50, 100), now()).unwrap();
    let stored = of("private, no-store");
    assert_eq!((stored.revalidate, stored.stale_if_error), (false, Duration::ZERO));
    assert_eq!(stored.stale_if_unreachable, Duration::from_secs(100));
    assert_eq!(of("private, no-store, stale-if-error=0").stale_if_unreachable, Duration::ZERO);
}

#[test]
fn the_stale_directives_are_limited_by_the_maximum_ttl() {
    let of =
        |cache_control| freshness(StatusCode::OK, &headers(cache_control, None), &rules(0, 50, 100), now()).unwrap();
    let stored = of("max-age=10, stale-while-revalidate=30, stale-if-error=40");
    assert_eq!((stored.stale_while_revalidate.as_secs(), stored.stale_if_error.as_secs()), (30, 40));
    let stored = of("max-age=10, stale-while-revalidate=300, stale-if-error=400");
    assert_eq!((stored.stale_while_revalidate.as_secs(), stored.stale_if_error.as_secs()), (100, 100));
    let stored = of("max-age=10");
    assert_eq!((stored.stale_while_revalidate.as_secs(), stored.stale_if_error.as_secs()), (0, 100));
}

#[test]
fn vary_star_is_requested_every_time_without_conditions() {
    let mut headers = headers("max-age=70", None);
    headers.insert(VARY, HeaderValue::from_static("accept, *"));
    let stored = freshness(StatusCode::OK, &headers, &rules(0, 50, 100), now()).unwrap();
    assert_eq!((stored.ttl, stored.revalidate), (Duration::ZERO, false));
    let stored = freshness(StatusCode::OK, &headers, &rules(5, 50, 100), now()).unwrap();
    assert_eq!(stored.ttl.as_secs(), 70, "a minimum TTL overrides it");
}

#[test]
fn no_cache_set_cookie_stops_only_the_caching_of_cookies() {
    let of =
        |cache_control| freshness(StatusCode::OK, &headers(cache_control, None), &rules(0, 50, 100), now()).unwrap();
    assert!(of("max-age=70").keeps_cookies);
    let stored = of(r#"max-age=70, no-cache="Set-Cookie""#);
    assert_eq!((stored.keeps_cookies, stored.ttl.as_secs()), (false, 70));
}

#[test]
fn partial_and_unchanged_responses_are_not_stored() {
    for status in [206, 304] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(freshness(status, &headers("max-age=70", None), &rules(0, 50, 100), now()), None);
    }
}

#[test]
fn errors_are_cached_as_aws_documents() {
    let mut rules = rules(0, 50, 100);
    rules.error_ttl_secs.insert(503, 3);
    rules.error_ttl_secs.insert(502, 0);
    for (status, cache_control, expected) in [
        (404, "", Some(10)),
        (404, "max-age=60", Some(60)),
        (404, "max-age=5", Some(10)),
        (404, "max-age=600", Some(100)),
        (500, "", Some(10)),
        (503, "", Some(3)),
        (502, "", None),
        (502, "max-age=9", Some(9)),
        // respected for these
        (404, "no-store", None),
        (410, "private", None),
        (414, "no-cache", None),
        (501, "no-store", None),
        // ignored for the others
        (500, "no-store", Some(10)),
        (504, "private, no-store", Some(10)),
        // only with max-age or s-maxage
        (400, "", None),
        (403, "", None),
        (403, "max-age=60", Some(60)),
        (405, "s-maxage=1", Some(10)),
        (412, "", None),
        (415, "", None),
        // never
        (416, "max-age=60", None),
        (401, "max-age=60", None),
        (429, "", None),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let stored = freshness(status, &headers(cache_control, None), &rules, now());
        assert_eq!(stored.map(|stored| stored.ttl.as_secs()), expected, "{status} {cache_control:?}");
    }
    rules.caches_errors = false;
    assert_eq!(freshness(StatusCode::NOT_FOUND, &headers("", None), &rules, now()), None);
}
