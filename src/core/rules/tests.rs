//! The decisions for whole requests.

use super::*;
use crate::access::secret::Secrets;
use crate::object::ObjectKey;
use crate::request::Method;
use crate::response::Outcome;
use crate::rules::key::key_of_path;
use proptest::prelude::*;

/// A decision without experiments.
fn decide<'a>(request: &'a Request<'_>, policy: &Policy) -> Decision<'a> {
    super::decide(request, policy, Active::default())
}

fn policy() -> Policy {
    Policy::new(Secrets::new("open").unwrap(), "https://d1.cloudfront.net")
}

fn get(path: &str) -> Request<'_> {
    Request { path: path.into(), lambda_auth: Some("open".into()), ..Request::default() }
}

fn version<'a>(path: &'a str, version: &'a str) -> Request<'a> {
    Request { test_version: Some(version.into()), ..get(path) }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text.to_owned())
}

/// The candidate keys, in order; `*` marks those of the variant.
fn candidates(request: &Request<'_>, policy: &Policy) -> Vec<String> {
    match decide(request, policy).action {
        Action::Fetch { first, others, .. } => {
            let mark =
                |candidate: Candidate| format!("{}{}", candidate.key, if candidate.of_variant { "*" } else { "" });
            std::iter::once(first).chain(others).map(mark).collect()
        }
        other => panic!("expected a fetch, found {other:?}"),
    }
}

fn location_of(request: &Request<'_>, policy: &Policy) -> String {
    match decide(request, policy).action {
        Action::Redirect { location, .. } => location,
        other => panic!("expected a redirect, found {other:?}"),
    }
}

#[test]
fn without_the_secret_every_request_is_forbidden() {
    for lambda_auth in [None, Some(""), Some("shut"), Some("open,open")] {
        for method in [Method::Get, Method::Head, Method::Options, Method::Other] {
            for test_version in [None, Some("v1"), Some("../..")] {
                let request = Request {
                    method,
                    lambda_auth: lambda_auth.map(Into::into),
                    test_version: test_version.map(Into::into),
                    redirect: Some("true".into()),
                    ..get("/x")
                };
                let decision = decide(&request, &policy());
                assert_eq!(decision.action, Action::Respond(Outcome::Forbidden));
                assert_eq!((decision.secret, decision.variant), (None, None));
                assert!(decision.assignment.is_none() && decision.grant.is_none() && decision.rule.is_none());
            }
        }
    }
}

#[test]
fn the_key_is_the_path_without_its_leading_slash() {
    for (path, expected) in [
        ("/test.html", "test.html"),
        ("/a/b.png", "a/b.png"),
        ("", "index.html"),
        ("/", "index.html"),
        ("/docs/", "docs/index.html"),
        ("//", "/index.html"),
        ("//x", "/x"),
        ("/100%25", "100%25"),
        ("/a+b c", "a+b c"),
        ("/a/../b", "a/../b"),
        ("/日本.html", "日本.html"),
    ] {
        assert_eq!(candidates(&get(path), &policy()), [expected], "{path}");
    }
}

#[test]
fn the_variant_is_a_prefix_of_the_key() {
    assert_eq!(candidates(&version("/test.html", "v2"), &policy()), ["v2/test.html*"]);
    assert_eq!(candidates(&version("/", "v1"), &policy()), ["v1/index.html*"]);
    assert_eq!(decide(&version("/test.html", "v2"), &policy()).variant, Some("v2"));
}

#[test]
fn a_malformed_test_version_is_refused() {
    let long = "x".repeat(65);
    for bad in ["", ".", "..", "v1/..", "v1,v2", "v 1", "v\r\n1", "ü", &long] {
        assert_eq!(decide(&version("/", bad), &policy()).action, Action::Respond(Outcome::VersionRefused), "{bad:?}");
    }
    for good in ["v1", "A-b_c.9", "...", &long[1..]] {
        assert!(matches!(decide(&version("/", good), &policy()).action, Action::Fetch { .. }), "{good:?}");
    }
}

#[test]
fn an_unlisted_variant_is_a_missing_object_even_for_a_redirect() {
    let policy = Policy { test_versions: Some(vec!["v1".into(), "v2".into()]), ..policy() };
    assert_eq!(candidates(&version("/t", "v2"), &policy), ["v2/t*"]);
    let unlisted = Request { redirect: Some("true".into()), ..version("/t", "v3") };
    assert_eq!(decide(&unlisted, &policy).action, Action::Missing { key: key("v3/t") });
    assert_eq!(candidates(&get("/t"), &policy), ["t"], "a request without a variant is not restricted");
}

#[test]
fn variant_fallback_adds_the_unversioned_key() {
    let policy = Policy { variant_fallback: true, ..policy() };
    assert_eq!(candidates(&version("/t", "v1"), &policy), ["v1/t*", "t"]);
    assert_eq!(candidates(&get("/t"), &policy), ["t"], "a request without a variant has no fallback");
    let longest = format!("/{}", "k".repeat(1024));
    assert_eq!(candidates(&version(&longest, "v1"), &policy), [&longest[1..]], "only the variant's key is too long");
}

#[test]
fn only_a_navigation_falls_back_to_the_variants_shell() {
    let policy = Policy { spa_fallback: Some("app.html".into()), ..policy() };
    let html = Some("application/xhtml+xml, text/html;q=0.9, */*".into());
    let navigation = |path| Request { accept: html.clone(), ..version(path, "v1") };
    assert_eq!(candidates(&navigation("/cart/7"), &policy), ["v1/cart/7*", "v1/app.html*"]);
    let both = Policy { variant_fallback: true, ..policy.clone() };
    assert_eq!(candidates(&navigation("/cart"), &both), ["v1/cart*", "cart", "v1/app.html*", "app.html"]);
    for asset in [
        navigation("/cart/7.js"),
        Request { accept: Some("*/*".into()), ..version("/cart", "v1") },
        Request { accept: Some("image/png, text/htmlx".into()), ..version("/cart", "v1") },
        Request { accept: Some("text/html;q=0, */*".into()), ..version("/cart", "v1") },
        Request { accept: None, ..version("/cart", "v1") },
    ] {
        assert_eq!(candidates(&asset, &policy).len(), 1, "{asset:?}");
    }
    let head = Request { method: Method::Head, ..navigation("/cart") };
    assert_eq!(candidates(&head, &policy), ["v1/cart*", "v1/app.html*"], "HEAD gets the response of GET");
    let climbing = navigation("/../../cart");
    assert_eq!(decide(&climbing, &policy).action, Action::Missing { key: key("v1/../../cart") });
}

#[test]
fn the_index_document_is_configurable() {
    let policy = Policy { index_document: "default.htm".into(), ..policy() };
    assert_eq!(candidates(&version("/docs/", "v1"), &policy), ["v1/docs/default.htm*"]);
    assert_eq!(candidates(&get("/"), &policy), ["default.htm"]);
}

#[test]
fn a_nul_in_the_path_is_refused() {
    assert_eq!(decide(&get("/a\0b"), &policy()).action, Action::Respond(Outcome::PathRefused));
}

#[test]
fn options_lists_the_methods_only_with_the_secret() {
    let options = Request { method: Method::Options, ..get("/t") };
    assert_eq!(decide(&options, &policy()).action, Action::Respond(Outcome::MethodsListed));
    let without_secret = Request { lambda_auth: None, ..options };
    assert_eq!(decide(&without_secret, &policy()).action, Action::Respond(Outcome::Forbidden));
}

#[test]
fn only_the_exact_value_true_redirects() {
    for (value, redirects) in [("true", true), ("True", false), ("1", false), ("true,true", false), ("", false)] {
        let request = Request { redirect: Some(value.into()), ..get("/t") };
        let redirected = matches!(decide(&request, &policy()).action, Action::Redirect { .. });
        assert_eq!(redirected, redirects, "{value:?}");
    }
}

#[test]
fn a_location_is_percent_encoded_only_where_required() {
    for (path, expected) in [
        ("/test.html", "v1/test.html"),
        ("/a-b_c.d~e/!$&'()*,;=:@", "v1/a-b_c.d~e/!$&'()*,;=:@"),
        ("/a b", "v1/a%20b"),
        ("/a+b", "v1/a%2Bb"),
        ("/100%", "v1/100%25"),
        ("/a?b#c", "v1/a%3Fb%23c"),
        ("/x\r\nSet-Cookie: a=b", "v1/x%0D%0ASet-Cookie:%20a=b"),
        ("/ж", "v1/%D0%B6"),
        ("/.../.a/b..", "v1/.../.a/b.."),
    ] {
        let request = Request { redirect: Some("true".into()), ..version(path, "v1") };
        let location = format!("https://d1.cloudfront.net/{expected}");
        assert_eq!(location_of(&request, &policy()), location);
    }
}

#[test]
fn a_key_above_the_bucket_is_missing_without_an_s3_request() {
    let policy = Policy { variant_fallback: true, ..policy() };
    for path in ["/../../x", "/a/../../../x", "/a/../../..", "/.//../.."] {
        assert_eq!(decide(&version(path, "v1"), &policy).action, Action::Missing { key: key(&format!("v1{path}")) });
    }
    for path in ["/..", "/../x", "/./../x", "/a/../../x"] {
        assert_eq!(
            candidates(&version(path, "v1"), &policy),
            [format!("v1{path}*")],
            "S3 can have this key, but not its fallback"
        );
        assert_eq!(decide(&get(path), &policy).action, Action::Missing { key: key(&path[1..]) });
    }
    assert_eq!(candidates(&version("/a/../b", "v1"), &policy), ["v1/a/../b*", "a/../b"]);
}

#[test]
fn a_redirect_never_targets_a_dot_segment() {
    for path in ["/../v2/test.html", "/a/./b", "/a/..", "/."] {
        let request = Request { redirect: Some("true".into()), ..version(path, "v1") };
        assert_eq!(decide(&request, &policy()).action, Action::Missing { key: key(&format!("v1{path}")) });
    }
}

#[test]
fn redirect_query_keeps_the_query_string() {
    let policy = Policy { redirect_query: true, ..policy() };
    for (query, expected) in [
        ("a=1&b=%20", "https://d1.cloudfront.net/t?a=1&b=%20"),
        ("", "https://d1.cloudfront.net/t"),
        ("a=\r\nx", "https://d1.cloudfront.net/t?a=%0D%0Ax"),
    ] {
        let request = Request { redirect: Some("true".into()), query: query.into(), ..get("/t") };
        assert_eq!(location_of(&request, &policy), expected);
    }
}

#[test]
fn head_fetches_the_head_and_other_methods_are_refused() {
    let head = Request { method: Method::Head, ..get("/t") };
    assert!(matches!(decide(&head, &policy()).action, Action::Fetch { part: Part::Head, .. }));
    let other = Request { method: Method::Other, ..get("/t") };
    assert_eq!(decide(&other, &policy()).action, Action::Respond(Outcome::MethodRefused));
}

#[test]
fn a_key_that_s3_cannot_have_is_missing_without_an_s3_request() {
    let longest = format!("/{}", "k".repeat(1024));
    assert_eq!(candidates(&get(&longest), &policy()), [&longest[1..]]);
    for blank in [" ", "\t", "\u{85}", "\u{3000}"] {
        let path = format!("/{blank}");
        assert_eq!(decide(&get(&path), &policy()).action, Action::Missing { key: key(blank) }, "{blank:?}");
    }
    let longer = format!("{longest}k");
    assert_eq!(decide(&get(&longer), &policy()).action, Action::Missing { key: key(&longer[1..]) });
}

proptest! {
    #[test]
    fn a_location_is_a_safe_header_value_and_decodes_to_the_key(
        path in "/\\PC{0,40}|/[^\0]{0,40}|/([a.]{0,2}/){0,6}",
    ) {
        let request = Request { redirect: Some("true".into()), ..get(&path) };
        let Action::Redirect { location, .. } = decide(&request, &policy()).action else {
            prop_assert!(key(&key_of_path(&path, "index.html")).has_dot_segment());
            return Ok(());
        };
        prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
        let encoded = location.strip_prefix("https://d1.cloudfront.net/").unwrap();
        let is_dot_segment = |segment| matches!(segment, "." | "..");
        prop_assert!(!encoded.split('/').any(is_dot_segment), "expected no segment that a client resolves");
        let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap();
        prop_assert_eq!(decoded, key_of_path(&path, "index.html"));
    }
}
