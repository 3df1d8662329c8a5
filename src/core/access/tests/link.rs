//! Signed URLs and the sessions that they open.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::json;

use super::{KEY, NOW, Sent, check_at, denied, granted, parse};
use crate::access::base64url::encode;
use crate::access::check::{Denial, Verdict};
use crate::access::query::remove;
use crate::access::rules::AccessRules;
use crate::access::signed_url::sign;

const NEXT: &str = "the key after the rotation";

fn rules() -> AccessRules {
    parse(&json!([
        {"path": "/files/*", "signed_url": {"keys": [KEY, NEXT], "parameter": "verify", "ttl_secs": 3600}},
        {"path": "/preview/日 本/*", "cache": "no-store",
            "signed_url": {"keys": [KEY], "parameter": "verify", "ttl_secs": 3600, "cookie": "preview"}},
        {"path": "/preview/b/*", "signed_url": {"keys": [KEY], "parameter": "verify", "ttl_secs": 3600, "cookie": "preview"}},
    ]))
}

fn with(value: &str) -> Sent {
    Sent::default().query(format!("verify={value}"))
}

fn mac(message: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY.as_bytes());
    encode(ring::hmac::sign(&key, message.as_bytes()).as_ref())
}

#[test]
fn the_mac_is_that_of_path_and_seconds() {
    // openssl: printf %s /files/a.zip1800000000 | openssl dgst -sha256 -hmac 0123456789abcdef -binary | basenc --base64url
    assert_eq!(sign(KEY, "/files/a.zip", NOW), "1800000000-0Jh7dhpvFycx6duozYdDVTMczChc2r5HqPkMs6ds8Eo");
    assert_eq!(sign(KEY, "files/a.zip", NOW), sign(KEY, "/files/a.zip", NOW));
    assert_eq!(sign(KEY, "/files/日", 7), format!("7-{}", mac("/files/日7")));
}

#[test]
fn a_valid_link_is_granted_until_it_expires() {
    let rules = rules();
    let path = "/files/a b/日.zip";
    for key in [KEY, NEXT] {
        let sent = with(&sign(key, path, NOW));
        let grant = granted(&rules, path, &sent);
        assert_eq!((grant.expires, grant.no_store, &*grant.set_cookies), (NOW + 3600, false, &[][..]));
        assert_eq!(&*grant.consumed_parameters, ["verify"]);
        assert!(matches!(check_at(&rules, path, &sent, NOW + 3599), Verdict::Granted(_)));
        assert!(matches!(check_at(&rules, path, &sent, NOW + 3600), Verdict::Denied(Denial::Expired)));
        assert!(matches!(check_at(&rules, path, &sent, NOW - 30), Verdict::Granted(_)));
        assert!(matches!(check_at(&rules, path, &sent, NOW - 31), Verdict::Denied(Denial::InvalidSignature)));
    }
    assert_eq!(denied(&rules, path, &with(&sign("another key of 16", path, NOW))), Denial::InvalidSignature);
    assert_eq!(denied(&rules, path, &Sent::default()), Denial::MissingSignature);
    assert!(denied(&rules, path, &Sent::default()).challenge().is_none());
}

#[test]
fn a_link_is_valid_for_its_path_only() {
    let rules = rules();
    let sent = with(&sign(KEY, "/files/a", NOW));
    for path in ["/files/b", "/files/a/", "/files//a", "/files/./a", "/files/%61", "/v1/files/a", "/preview/b/files/a"]
    {
        assert_eq!(denied(&rules, path, &sent), Denial::InvalidSignature, "{path}");
    }
    // Digits that move between path and seconds do not make another valid link.
    let text = NOW.to_string();
    let mac = sign(KEY, "/files/a", NOW).split_once('-').unwrap().1.to_owned();
    let moved = with(&format!("{}-{mac}", &text[1..]));
    assert!(matches!(check_at(&rules, "/files/a1", &moved, NOW), Verdict::Denied(_)));
}

#[test]
fn malformed_and_repeated_parameters_are_invalid() {
    let rules = rules();
    let path = "/files/a";
    let valid = sign(KEY, path, NOW);
    let (seconds, code) = valid.split_once('-').unwrap();
    let invalid = |seconds: &str| format!("{seconds}-{}", mac(&format!("{path}{seconds}")));
    for value in [
        String::new(),
        "-".to_owned(),
        seconds.to_owned(),
        format!("{seconds}-"),
        format!("-{code}"),
        format!("{seconds}-{code}="),
        format!("{seconds}-{code}%3D"),
        format!("{seconds}-{}", &code[..42]),
        format!("{seconds}-{code}A"),
        format!("{seconds}--{code}"),
        format!("{seconds}_{code}"),
        format!("{seconds}-{}", code.to_lowercase()),
        format!("%20{valid}"),
        format!("{valid}%00"),
        format!("{valid}\n"),
        // A correct MAC of another spelling of the time.
        invalid(&format!("0{seconds}")),
        invalid(&format!("+{seconds}")),
        invalid(&format!(" {seconds}")),
        invalid(&format!("{seconds}.0")),
        invalid("1e9"),
        invalid(""),
        invalid("-1"),
        invalid("18446744073709551615"),
        invalid("18446744073709551617"),
        invalid("999999999999"),
    ] {
        assert_eq!(denied(&rules, path, &with(&value)), Denial::InvalidSignature, "{value}");
    }
    for query in [
        format!("verify={valid}&verify={valid}"),
        format!("verify={valid}&%76erify={valid}"),
        format!("verify=x&verify={valid}"),
        format!("verify&verify={valid}"),
    ] {
        assert_eq!(denied(&rules, path, &Sent::default().query(&*query)), Denial::InvalidSignature, "{query}");
        assert_eq!(remove(&query, &["verify"]), "", "{query}");
    }
    for query in
        [format!("a=1&verify={valid}&b"), format!("%76erify={valid}"), format!("verify={}", valid.replace('-', "%2D"))]
    {
        granted(&rules, path, &Sent::default().query(&*query));
    }
    assert!(matches!(remove("a=1", &["verify"]), Cow::Borrowed("a=1")));
    assert_eq!(denied(&rules, path, &Sent::default().query(format!("Verify={valid}"))), Denial::MissingSignature);
    // Expired and invalid is invalid.
    assert!(matches!(
        check_at(&rules, path, &with(&format!("1-{code}")), NOW),
        Verdict::Denied(Denial::InvalidSignature)
    ));
}

#[test]
fn a_link_opens_a_session_for_its_folder() {
    let rules = rules();
    let path = "/preview/日 本/index.html";
    let grant = granted(&rules, path, &with(&sign(KEY, path, NOW - 100)));
    let [cookie] = &grant.set_cookies[..] else { panic!("{grant:?}") };
    assert!(grant.no_store && grant.expires == NOW + 3500);
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/preview/%E6%97%A5%20%E6%9C%AC/; HttpOnly; SameSite=Lax; Secure");
    let value = pair.strip_prefix("preview=").unwrap();
    assert!(!format!("{grant:?}").contains(value), "{grant:?}");
    assert!(value.starts_with(&format!("{}-", NOW - 100)));
    let session = Sent::default().cookie("preview", value);
    let asset = granted(&rules, "/preview/日 本/css/a.css", &session);
    assert_eq!((asset.expires, asset.set_cookies.len()), (NOW + 3500, 0));
    assert_eq!(denied(&rules, "/preview/b/a.css", &session), Denial::InvalidSignature);
    assert_eq!(denied(&rules, "/files/a", &session), Denial::MissingSignature);
    assert!(matches!(check_at(&rules, path, &session, NOW + 3500), Verdict::Denied(Denial::Expired)));
    // Neither is a session a link, nor a link a session.
    assert_eq!(denied(&rules, "/preview/日 本/", &with(value)), Denial::InvalidSignature);
    let link = sign(KEY, "/preview/日 本/", NOW);
    assert_eq!(denied(&rules, "/preview/日 本/", &Sent::default().cookie("preview", link)), Denial::InvalidSignature);
    assert_eq!(
        sign(KEY, "cookie\0/preview/b/\0", NOW),
        format!("{NOW}-{}", mac(&format!("/cookie\0/preview/b/\0{NOW}")))
    );
}

#[test]
fn a_session_is_renewed_only_by_a_newer_link() {
    let rules = rules();
    let path = "/preview/b/";
    let session_of = |seconds| {
        let grant = granted(&rules, path, &with(&sign(KEY, path, seconds)));
        grant.set_cookies[0].split_once(';').unwrap().0.strip_prefix("preview=").unwrap().to_owned()
    };
    let (older, newer) = (session_of(NOW - 200), session_of(NOW - 100));
    let link = |seconds| with(&sign(KEY, path, seconds));
    for (sent, expires, sets) in [
        (link(NOW - 100).cookie("preview", &*older), NOW + 3500, true),
        (link(NOW - 100).cookie("preview", &*newer), NOW + 3500, false),
        (link(NOW - 200).cookie("preview", &*newer), NOW + 3400, false),
        (Sent::default().cookie("preview", &*older).cookie("preview", &*newer), NOW + 3500, false),
        (Sent::default().cookie("preview", "x").cookie("preview", &*newer), NOW + 3500, false),
        // A bookmark with an old link works within the session.
        (link(NOW - 9_999).cookie("preview", &*newer), NOW + 3500, false),
        (with("x").cookie("preview", &*newer), NOW + 3500, false),
    ] {
        let grant = granted(&rules, path, &sent);
        assert_eq!((grant.expires, grant.set_cookies.len() == 1), (expires, sets), "{} {:?}", sent.query, sent.cookies);
    }
    let many = (0..9).fold(Sent::default(), |sent, _| sent.cookie("preview", "x"));
    assert_eq!(denied(&rules, path, &many.cookie("preview", &*newer)), Denial::InvalidSignature);
    assert_eq!(denied(&rules, path, &link(NOW - 9_999)), Denial::Expired);
    assert_eq!(denied(&rules, path, &with("x")), Denial::InvalidSignature);
}

proptest! {
    #[test]
    fn no_other_value_is_a_valid_link(value in "(1800000000|[0-9]{0,11}|-|[A-Za-z0-9_-]{43}|%2d|\\PC){0,4}") {
        let rules = rules();
        let verdict = check_at(&rules, "/files/a", &with(&value), NOW);
        prop_assert!(matches!(verdict, Verdict::Denied(_)));
    }

    #[test]
    fn a_signed_path_is_granted(path in "/files/(?s:.){0,20}") {
        let rules = rules();
        let verdict = check_at(&rules, &path, &with(&sign(KEY, &path, NOW)), NOW);
        // A path with `..` may also lead to other rules.
        prop_assert!(matches!(verdict, Verdict::Granted(_)) || path.contains(['.', '%', '\\']));
    }
}
