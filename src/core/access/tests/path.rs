//! Spellings of paths, none of which bypasses a rule.

use proptest::prelude::*;
use serde_json::json;

use super::{KEY, NOW, Sent, parse};
use crate::access::check::{Denial, Verdict};
use crate::access::known::KnownTokens;
use crate::access::rules::{AccessRules, Target, Versions};

fn link() -> serde_json::Value {
    json!({"keys": [KEY], "parameter": "verify", "ttl_secs": 60})
}

fn rules() -> AccessRules {
    parse(&json!([
        {"path": "/members/*", "signed_url": link()},
        {"path": "/members/free.html", "open": true},
        {"path": "/members/free/*", "open": true},
        {"path": "/members/free/paid/*", "signed_url": link()},
        {"path": "/secret.html", "signed_url": link()},
        {"path": "/v2/only.html", "signed_url": link()},
        {"path": "/日 本/*", "signed_url": link()},
    ]))
}

/// The paths of the rules that guard a target, sorted.
fn guards<'r>(rules: &'r AccessRules, target: Target<'_>, versions: Versions<'_>) -> Vec<&'r str> {
    let mut paths: Vec<&str> = rules.guards(target, versions).iter().map(|rule| &*rule.path).collect();
    paths.sort_unstable();
    paths
}

const LISTED: Versions<'_> = Versions::Listed(&|version| matches!(version, "v1" | "v2"));

/// A path after the decoding of its event → the rules that guard it.
const SPELLINGS: &[(&str, &[&str])] = &[
    // As it is.
    ("/members/a.html", &["/members/*"]),
    ("/members/", &["/members/*"]),
    ("/members", &["/members/*"]),
    ("/members/a/b/c", &["/members/*"]),
    ("members/a.html", &["/members/*"]),
    ("/secret.html", &["/secret.html"]),
    ("/日 本/a", &["/日 本/*"]),
    // Not guarded: another name, another case, the rule's path as a part of another one.
    ("/", &[]),
    ("", &[]),
    ("/member", &[]),
    ("/membersx/a", &[]),
    ("/members.html", &[]),
    ("/Members/a.html", &[]),
    ("/secret.htm", &[]),
    ("/secret.html.bak", &[]),
    ("/x/members/a.html", &[]),
    ("/v3/members/a.html", &[]),
    // Open within a guarded folder, and guarded within an open one.
    ("/members/free.html", &[]),
    ("/members/free/a", &[]),
    ("/members/free", &[]),
    ("/members/free/paid/a", &["/members/free/paid/*"]),
    ("/members/free.html.bak", &["/members/*"]),
    ("/members/free.html/x", &["/members/*"]),
    ("/members/freeze", &["/members/*"]),
    // Slashes.
    ("//members/a.html", &["/members/*"]),
    ("///members///a.html", &["/members/*"]),
    ("/members//a.html", &["/members/*"]),
    ("/secret.html/", &["/secret.html"]),
    ("/secret.html//", &["/secret.html"]),
    ("//secret.html", &["/secret.html"]),
    ("/members/free//paid/a", &["/members/free/paid/*"]),
    ("/members//free.html", &["/members/*"]),
    // Dot segments.
    ("/./members/a.html", &["/members/*"]),
    ("/members/./a.html", &["/members/*"]),
    ("/members/.", &["/members/*"]),
    ("/members/..", &["/members/*"]),
    ("/x/../members/a.html", &["/members/*"]),
    ("/../members/a.html", &["/members/*"]),
    ("/../../members/a.html", &["/members/*"]),
    ("/x/y/../../members/a.html", &["/members/*"]),
    ("/x/.//../members/a.html", &["/members/*"]),
    ("/x//../members/a.html", &["/members/*"]),
    ("/x/..//members/a.html", &["/members/*"]),
    ("/members/../x", &["/members/*"]),
    ("/secret.html/.", &["/secret.html"]),
    ("/x/../secret.html", &["/secret.html"]),
    ("/secret.html/x/..", &["/secret.html"]),
    ("/members/free/../a.html", &["/members/*"]),
    ("/members/free.html/../a.html", &["/members/*"]),
    ("/members/free/./paid/a", &["/members/free/paid/*"]),
    ("/members/free/x/../paid/a", &["/members/free/paid/*"]),
    ("/members/.hidden", &["/members/*"]),
    ("/.../members/a", &[]),
    // Encoded once more, twice more, three times more.
    ("/%6dembers/a.html", &["/members/*"]),
    ("/%6Dembers/a.html", &["/members/*"]),
    ("/members%2fa.html", &["/members/*"]),
    ("/members%2Fa.html", &["/members/*"]),
    ("%2fmembers/a.html", &["/members/*"]),
    ("/%2fmembers/a.html", &["/members/*"]),
    ("/%256dembers/a.html", &["/members/*"]),
    ("/%25256dembers/a.html", &["/members/*"]),
    ("/members%252fa.html", &["/members/*"]),
    ("/x/%2e%2e/members/a.html", &["/members/*"]),
    ("/x/.%2e/members/a.html", &["/members/*"]),
    ("/x/%252e%252e/members/a.html", &["/members/*"]),
    ("/x%2f..%2fmembers%2fa.html", &["/members/*"]),
    ("/x%2f%2e%2e%2fmembers", &["/members/*"]),
    ("/members/%2e%2e/x", &["/members/*"]),
    ("/%73ecret%2ehtml", &["/secret.html"]),
    ("/secret%2Ehtml%2F", &["/secret.html"]),
    ("/%E6%97%A5%20%E6%9C%AC/a", &["/日 本/*"]),
    ("/members/free%2fpaid/a", &["/members/free/paid/*", "/members/*"]),
    ("/members/%66ree.html", &["/members/*"]),
    // Backslashes.
    ("\\members\\a.html", &["/members/*"]),
    ("/members\\a.html", &["/members/*"]),
    ("/\\members/a.html", &["/members/*"]),
    ("/x\\..\\members/a.html", &["/members/*"]),
    ("/x%5c..%5cmembers%5ca.html", &["/members/*"]),
    ("/x/..%5cmembers/a.html", &["/members/*"]),
    ("/members/free\\..\\a.html", &["/members/*"]),
    // Folders of versions.
    ("/v1/members/a.html", &["/members/*"]),
    ("/v2/members", &["/members/*"]),
    ("/v1/secret.html", &["/secret.html"]),
    ("/v1/members/free.html", &[]),
    ("/v1/members/free/paid/a", &["/members/free/paid/*"]),
    ("/v2/only.html", &["/v2/only.html"]),
    ("/v1/only.html", &[]),
    ("/v1//members/a.html", &["/members/*"]),
    ("//v1/members/a.html", &["/members/*"]),
    ("/v1/./members/a.html", &["/members/*"]),
    ("/v1/../members/a.html", &["/members/*"]),
    ("/x/../v1/members/a.html", &["/members/*"]),
    ("/v1/x/../members/a.html", &["/members/*"]),
    ("/%76%31/members/a.html", &["/members/*"]),
    ("/v1%2fmembers%2fa.html", &["/members/*"]),
    ("/v1\\members\\a.html", &["/members/*"]),
    ("/v1/members/free.html/../a.html", &["/members/*"]),
    ("/v1/v1/members/a.html", &["/members/*"]),
    ("/v2/v1/v1/secret.html", &["/secret.html"]),
    ("/v1/x/members/a.html", &[]),
    ("/v1/v2/only.html", &["/v2/only.html"]),
    // Objects with keys.
    ("/access.json", &["/access.json"]),
    ("/v1/access.json", &["/access.json"]),
    ("/x/..//%61ccess.json", &["/access.json"]),
];

#[test]
fn no_spelling_bypasses_a_rule() {
    let rules = rules();
    assert!(SPELLINGS.len() > 60);
    for (path, expected) in SPELLINGS {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(guards(&rules, Target::from(*path), LISTED), expected, "{path}");
        let is_open = expected.is_empty();
        let verdict = rules.check(&[Target::from(*path)], LISTED, &Sent::default(), &KnownTokens::new(), NOW);
        assert_eq!(matches!(verdict, Verdict::Open), is_open, "{path}");
        assert_eq!(matches!(verdict, Verdict::Denied(_)), !is_open, "{path}");
        // The same path under a folder that the origin adds.
        let target = Target { version: Some("v1"), path };
        assert_eq!(guards(&rules, target, LISTED), expected, "v1 + {path}");
    }
}

#[test]
fn without_listed_versions_every_first_segment_may_be_one() {
    let rules = rules();
    for (path, expected) in [
        ("/x/members/a.html", &["/members/*"][..]),
        ("/x/members", &["/members/*"]),
        ("/日本/secret.html", &["/secret.html"]),
        ("//secret.html", &["/secret.html"]),
        ("/x/y/members/a.html", &[]),
        ("/members/secret.html", &["/members/*", "/secret.html"]),
        ("/x/members/free.html", &[]),
        ("/members/free.html", &[]),
        ("/x/access.json", &["/access.json"]),
    ] {
        assert_eq!(guards(&rules, path.into(), Versions::Any), expected, "{path}");
    }
}

#[test]
fn a_rule_for_everything_leaves_open_rules_open() {
    let rules = parse(&json!([
        {"path": "/*", "signed_url": link()},
        {"path": "/login.html", "open": true},
        {"path": "/public/*", "open": true},
        {"path": "/preview/*", "signed_url": link()},
    ]));
    for (target, listed, any) in [
        (Target::from("/"), &["/*"][..], &["/*"][..]),
        ("/a".into(), &["/*"], &["/*"]),
        ("/login.html".into(), &[], &[]),
        ("/public/a".into(), &[], &[]),
        ("/preview/a".into(), &["/preview/*"], &["/preview/*"]),
        ("/v1/a".into(), &["/*"], &["/*"]),
        // The first segment is a version for sure, or only perhaps.
        ("/v1/login.html".into(), &[], &["/*"]),
        ("/v1/preview/a".into(), &["/preview/*"], &["/*", "/preview/*"]),
        ("/x/login.html".into(), &["/*"], &["/*"]),
        ("/x/preview/a".into(), &["/*"], &["/*", "/preview/*"]),
        // The origin adds the folder.
        (Target { version: Some("v1"), path: "/login.html" }, &[], &[]),
        (Target { version: Some("x"), path: "/login.html" }, &[], &[]),
        (Target { version: Some("x"), path: "/a" }, &["/*"], &["/*"]),
        (Target { version: Some("x"), path: "/preview/a" }, &["/preview/*"], &["/preview/*"]),
        // The folder that the origin adds is one of a rule: a version must not lead there.
        (Target { version: Some("preview"), path: "/login.html" }, &["/preview/*"], &["/preview/*"]),
        (Target { version: Some("preview/.."), path: "/login.html" }, &["/preview/*"], &["/preview/*"]),
        (Target { version: Some("public"), path: "/a" }, &["/*"], &["/*"]),
        ("/public/../a".into(), &["/*"], &["/*"]),
        ("/public%2f..%2fa".into(), &["/*"], &["/*"]),
        ("/%25252561".into(), &["/*", "/access.json", "/preview/*"], &["/*", "/access.json", "/preview/*"]),
    ] {
        assert_eq!(guards(&rules, target, LISTED), listed, "{target:?}");
        assert_eq!(guards(&rules, target, Versions::Any), any, "{target:?}");
    }
}

#[test]
fn every_target_of_a_request_is_guarded() {
    let rules = rules();
    let check = |targets: &[Target<'_>]| rules.check(targets, LISTED, &Sent::default(), &KnownTokens::new(), NOW);
    let open = Target::from("/welcome");
    assert!(matches!(check(&[open]), Verdict::Open));
    assert!(matches!(check(&[open, "/members/a.html".into()]), Verdict::Denied(Denial::MissingSignature)));
    assert!(matches!(check(&["/members/a.html".into(), open]), Verdict::Denied(Denial::MissingSignature)));
    assert!(matches!(check(&[open, "/access.json".into()]), Verdict::Denied(Denial::Hidden)));
    assert!(matches!(check(&[]), Verdict::Open));
    // A link for one target does not open the others, and only the request's own path counts.
    let link = |path| Sent::default().query(format!("verify={}", crate::access::signed_url::sign(KEY, path, NOW)));
    for (path, is_granted) in [("/welcome", true), ("/members/a.html", false)] {
        let verdict = rules.check(&[open, "/members/a.html".into()], LISTED, &link(path), &KnownTokens::new(), NOW);
        assert_eq!(matches!(verdict, Verdict::Granted(_)), is_granted, "{path}");
    }
}

#[test]
fn a_plain_path_is_looked_up_without_allocation_of_readings() {
    // One rule more than fits inline would allocate; a plain path has at most two.
    let rules = rules();
    assert!(!rules.guards("/members/secret.html".into(), Versions::Any).spilled());
}

/// The path that a server would use: decoded to the end, slashes unified and folded, dot segments resolved.
fn canonical(path: &str) -> String {
    let mut path = path.as_bytes().to_vec();
    for _ in 0..3 {
        path = percent_encoding::percent_decode(&path).collect();
    }
    let path = String::from_utf8_lossy(&path).replace('\\', "/");
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_canonical_path_decides_at_least(
        path in "(/|//|\\.|\\.\\.|%2e|%2f|%5c|%25|2e|2f|\\\\|v1|members|secret.html|free|x|%6d){0,9}",
    ) {
        let rules = rules();
        let canonical = canonical(&path);
        let all = guards(&rules, Target::from(&*path), LISTED);
        for guard in guards(&rules, Target::from(&*canonical), LISTED) {
            prop_assert!(all.contains(&guard), "{path} → {canonical}");
        }
    }
}
