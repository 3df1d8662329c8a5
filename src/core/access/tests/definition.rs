//! Files with errors, each of which is reported at its place.

use serde_json::{Value as Json, json};

use super::{KEY, NOW, Sent, denied, granted, parse};
use crate::access::check::Denial;
use crate::access::definition::{BYTES_MAX, RULES_MAX};
use crate::access::jwt::tests::signer::Signer;
use crate::access::rules::AccessRules;
use crate::problem::{Problem, Severity};

/// A valid rule of each kind, with changed members; a null removes a member.
fn jwt(changes: &Json) -> Json {
    changed(
        json!({"keys": {"keys": [{"kty": "oct", "k": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"}]},
        "algorithms": ["HS256"], "issuer": "https://id.example", "audience": "site", "from": ["cookie:token"]}),
        changes,
    )
}

fn link(changes: &Json) -> Json {
    changed(json!({"keys": [KEY], "parameter": "verify", "ttl_secs": 60}), changes)
}

fn changed(mut json: Json, changes: &Json) -> Json {
    let object = json.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Json::Null => object.remove(name),
            value => object.insert(name.clone(), value.clone()),
        };
    }
    json
}

fn problems(text: &str) -> Vec<Problem> {
    AccessRules::parse(text, Some("access.json")).map_or_else(|errors| errors, |(_, warnings)| warnings)
}

/// The first problem of a file with one rule.
fn problem_of(rule: &Json) -> (Severity, String, String) {
    let found = problems(&json!({"rules": [rule]}).to_string());
    let Some(first) = found.into_iter().next() else { panic!("expected a problem: {rule}") };
    assert!(first.line == 1 && first.column > 1 && !first.fix.is_empty(), "{first}");
    let text = first.to_string();
    assert!(!text.contains('\n') && !text.contains("QUFB") && !text.contains(KEY), "{text}");
    (first.severity, first.path, first.reason)
}

#[test]
fn the_example_of_the_issue_is_accepted() {
    let signer = Signer::new("ES256");
    let text = json!({"rules": [
        {"path": "/members/*", "jwt": {"keys": {"keys": [signer.jwk()]}, "algorithms": ["ES256"],
            "issuer": "https://id.example", "audience": "site",
            "from": ["header:authorization", "cookie:token", "query:token"], "leeway_secs": 30, "require": {"plan": "pro"}},
            "login": "https://id.example/login?return={url}"},
        {"path": "/files/*", "signed_url": {"keys": [KEY], "parameter": "verify", "ttl_secs": 3600}},
        {"path": "/preview/*", "signed_url": {"keys": [KEY, "another key of 16 b"], "parameter": "verify", "ttl_secs": 86400,
            "cookie": "preview"}},
        {"path": "/members/free.html", "open": true}]});
    let (rules, warnings) = AccessRules::parse(&text.to_string(), Some("access.json")).unwrap();
    assert_eq!((warnings, rules.rules().len(), rules.is_complete()), (Vec::new(), 5, true));
    let shown = format!("{rules:?}");
    assert!(
        !shown.contains(KEY) && !shown.contains("another key") && !shown.contains(signer.jwk()["x"].as_str().unwrap())
    );
    assert!(AccessRules::parse("{\"rules\":[]}", None).unwrap().0.rules().is_empty());
}

#[test]
fn a_mistake_in_a_rule_is_an_error_at_its_place() {
    let cases = [
        (json!([]), "rules[0]"),
        (json!("x"), "rules[0]"),
        (json!({}), "rules[0]"),
        (json!({"path": "/a"}), "rules[0]"),
        (json!({"open": true}), "rules[0]"),
        (json!({"path": "/a", "open": true, "jwt": jwt(&json!({}))}), "rules[0]"),
        (json!({"path": "/a", "open": true, "signed_url": link(&json!({}))}), "rules[0]"),
        (json!({"path": "/a", "basic": {}}), "rules[0]"),
        (json!({"path": "/a", "open": true, "basic": {}}), "rules[0].basic"),
        (json!({"path": "/a", "open": true, "Path": "/b"}), "rules[0].Path"),
        (json!({"path": "/a", "open": false}), "rules[0].open"),
        (json!({"path": "/a", "open": "true"}), "rules[0].open"),
        (json!({"path": "/a", "open": null}), "rules[0].open"),
        (json!({"path": "a", "open": true}), "rules[0].path"),
        (json!({"path": "/a*", "open": true}), "rules[0].path"),
        (json!({"path": "/a/", "open": true}), "rules[0].path"),
        (json!({"path": "/a%20b", "open": true}), "rules[0].path"),
        (json!({"path": ["/a"], "open": true}), "rules[0].path"),
        (json!({"path": "/access.json", "open": true}), "rules[0].path"),
        (json!({"path": "/a", "open": true, "cache": "private"}), "rules[0].cache"),
        (json!({"path": "/a", "signed_url": link(&json!({})), "cache": "public"}), "rules[0].cache"),
        (json!({"path": "/a", "signed_url": link(&json!({})), "login": "/login"}), "rules[0].login"),
        (json!({"path": "/a", "jwt": jwt(&json!({})), "login": "http://id.example/"}), "rules[0].login"),
        (json!({"path": "/a", "jwt": []}), "rules[0].jwt"),
        (json!({"path": "/a", "signed_url": true}), "rules[0].signed_url"),
    ];
    for (rule, path) in cases {
        let (severity, found, _) = problem_of(&rule);
        assert_eq!((severity, &*found), (Severity::Error, path), "{rule}");
    }
}

#[test]
fn a_mistake_in_a_kind_is_an_error_at_its_place() {
    let tokens = [
        (json!({"keys": null}), ""),
        (json!({"jwks": "jwks.json"}), ""),
        (json!({"keys": {"keys": []}}), ".keys.keys"),
        (json!({"keys": []}), ".keys"),
        (json!({"keys": null, "jwks": "https://id.example/jwks.json"}), ".jwks"),
        (json!({"keys": null, "jwks": "/jwks.json"}), ".jwks"),
        (json!({"keys": null, "jwks": ""}), ".jwks"),
        (json!({"algorithms": null}), ""),
        (json!({"algorithms": []}), ".algorithms"),
        (json!({"algorithms": "HS256"}), ".algorithms"),
        (json!({"algorithms": ["HS256", "none"]}), ".algorithms[1]"),
        (json!({"algorithms": ["NONE"]}), ".algorithms[0]"),
        (json!({"algorithms": ["ES512"]}), ".algorithms[0]"),
        (json!({"algorithms": ["hs256"]}), ".algorithms[0]"),
        (json!({"algorithms": ["ES256"]}), ".keys.keys"),
        (json!({"issuer": ""}), ".issuer"),
        (json!({"issuer": ["x"]}), ".issuer"),
        (json!({"audience": []}), ".audience"),
        (json!({"audience": ["a", 1]}), ".audience[1]"),
        (json!({"from": null}), ""),
        (json!({"from": []}), ".from"),
        (json!({"from": "cookie:token"}), ".from"),
        (json!({"from": ["token"]}), ".from[0]"),
        (json!({"from": ["body:token"]}), ".from[0]"),
        (json!({"from": ["cookie:"]}), ".from[0]"),
        (json!({"from": ["cookie:a b"]}), ".from[0]"),
        (json!({"from": ["header:a:b"]}), ".from[0]"),
        (json!({"from": ["query:a&b"]}), ".from[0]"),
        (json!({"leeway_secs": 301}), ".leeway_secs"),
        (json!({"leeway_secs": -1}), ".leeway_secs"),
        (json!({"leeway_secs": 0.5}), ".leeway_secs"),
        (json!({"leeway_secs": "30"}), ".leeway_secs"),
        (json!({"require": {}}), ".require"),
        (json!({"require": ["plan"]}), ".require"),
        (json!({"require": {"plan": []}}), ".require.plan"),
        (json!({"require": {"plan": {}}}), ".require.plan"),
        (json!({"require": {"plan": [null]}}), ".require.plan[0]"),
        (json!({"requires": {"plan": "pro"}}), ".requires"),
    ];
    for (changes, path) in tokens {
        let (severity, found, _) = problem_of(&json!({"path": "/a", "jwt": jwt(&changes)}));
        assert_eq!((severity, found), (Severity::Error, format!("rules[0].jwt{path}")), "{changes}");
    }
    let links = [
        (json!({"keys": null}), ""),
        (json!({"keys": []}), ".keys"),
        (json!({"keys": KEY}), ".keys"),
        (json!({"keys": [KEY, KEY, KEY]}), ".keys"),
        (json!({"keys": ["15 bytes long.."]}), ".keys[0]"),
        (json!({"keys": [16]}), ".keys[0]"),
        (json!({"parameter": null}), ""),
        (json!({"parameter": "a=b"}), ".parameter"),
        (json!({"parameter": "%76"}), ".parameter"),
        (json!({"ttl_secs": null}), ""),
        (json!({"ttl_secs": 0}), ".ttl_secs"),
        (json!({"ttl_secs": 40_000_000}), ".ttl_secs"),
        (json!({"ttl_secs": 1e300}), ".ttl_secs"),
        (json!({"cookie": "a;b"}), ".cookie"),
        (json!({"cookie": "__Host-a"}), ".cookie"),
        (json!({"key": KEY}), ".key"),
    ];
    for (changes, path) in links {
        let (severity, found, _) = problem_of(&json!({"path": "/a", "signed_url": link(&changes)}));
        assert_eq!((severity, found), (Severity::Error, format!("rules[0].signed_url{path}")), "{changes}");
    }
}

#[test]
fn a_mistake_in_the_file_is_an_error() {
    let big = format!("{{\"rules\":[]{}}}", " ".repeat(BYTES_MAX));
    let rules =
        |count: usize| (0..count).map(|index| json!({"path": format!("/{index}"), "open": true})).collect::<Json>();
    for (text, reason) in [
        ("", "invalid JSON"),
        ("{\"rules\":[]", "invalid JSON"),
        ("{\"rules\":[],\"rules\":[]}", "repeats a member"),
        ("[]", "expected an object"),
        ("{}", "rules is missing"),
        ("{\"rules\":{}}", "expected a list"),
        ("{\"rules\":[],\"x\":1}", "the member is unknown"),
        (&big, "more than 262144"),
        (&json!({"rules": rules(RULES_MAX + 1)}).to_string(), "more than 1000"),
        (
            &json!({"rules": [{"path": "/a", "open": true}, {"path": "/a", "open": true}]}).to_string(),
            "rules[0] has the same",
        ),
    ] {
        let found = problems(text);
        assert!(found[0].severity == Severity::Error && found[0].reason.contains(reason), "{reason}: {found:?}");
    }
    assert!(AccessRules::parse(&json!({"rules": rules(RULES_MAX)}).to_string(), None).is_ok());
    let text =
        "{\"rules\": [\n  {\"path\": \"/a\", \"open\": true},\n  {\"path\": \"/b\", \"open\": true, \"lgin\": 1}\n]}";
    let found = &problems(text)[0];
    assert_eq!((found.line, found.column, &*found.path), (3, 40, "rules[1].lgin"));
}

#[test]
fn doubtful_rules_have_warnings() {
    for (rule, path, reason) in [
        (json!({"path": "/a", "jwt": jwt(&json!({"issuer": null}))}), "rules[0].jwt", "without issuer and audience"),
        (json!({"path": "/*", "jwt": jwt(&json!({})), "login": "/login?{url}"}), "rules[0].login", "is guarded itself"),
    ] {
        let (severity, found, text) = problem_of(&rule);
        assert!(severity == Severity::Warning && found == path && text.contains(reason), "{found}: {text}");
    }
    assert!(
        problems(
            &json!({"rules": [
                {"path": "/*", "jwt": jwt(&json!({})), "login": "/login?{url}"}, {"path": "/login", "open": true},
            ]})
            .to_string()
        )
        .is_empty()
    );
}

#[test]
fn rules_without_their_keys_are_unavailable() {
    let signer = Signer::new("ES256");
    let rules = parse(&json!([
        {"path": "/a/*", "jwt": jwt(&json!({"keys": null, "jwks": "id/jwks.json", "algorithms": ["ES256"]}))},
        {"path": "/b/*", "jwt": jwt(&json!({"keys": null, "jwks": "id/jwks.json", "algorithms": ["ES256"]}))},
    ]));
    let claims = json!({"iss": "https://id.example", "aud": "site", "exp": NOW + 60});
    let sent = Sent::default().cookie("token", signer.token(&claims));
    assert_eq!((rules.jwks_objects(), rules.is_complete()), (vec!["id/jwks.json"], false));
    assert_eq!(denied(&rules, "/a/x", &sent), Denial::Unavailable);
    assert_eq!(denied(&rules, "/id/jwks.json", &sent), Denial::Hidden);
    assert!(!rules.with_jwks("other.json", "{}").unwrap().is_complete());
    for text in
        ["", "{}", "{\"keys\":[]}", "{\"keys\":[],\"keys\":[]}", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"}]}"]
    {
        assert!(!rules.with_jwks("id/jwks.json", text).unwrap_err()[0].fix.is_empty(), "{text}");
    }
    let text = json!({"keys": [signer.jwk(), {"kty": "new"}]}).to_string();
    let complete = rules.with_jwks("id/jwks.json", &text).unwrap();
    assert!(complete.is_complete() && complete.generation() > rules.generation());
    assert_eq!(granted(&complete, "/a/x", &sent).expires, NOW + 60);
    assert_eq!(granted(&complete, "/b/x", &sent).expires, NOW + 60);
}
