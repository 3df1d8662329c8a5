//! The header and the claims of tokens whose signature is valid.

use serde_json::{Value as Json, json};

use super::signer::Signer;
use super::{NOW, claims, error, read_rule, rule_of};
use crate::access::jwt::TokenRule;
use crate::access::jwt::error::TokenError;
use crate::access::jwt::jws::TOKEN_BYTES_MAX;

fn signer_and_rule(members: &Json) -> (Signer, TokenRule) {
    let signer = Signer::new("HS256");
    let mut all = json!({"keys": {"keys": [signer.jwk()]}, "algorithms": ["HS256"]});
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let rule = read_rule(&all).unwrap();
    (signer, rule)
}

/// The error of a token with changed claims; a null removes a claim.
fn error_with(signer: &Signer, rule: &TokenRule, changes: &Json) -> Option<TokenError> {
    let mut claims = claims();
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Json::Null => object.remove(name),
            value => object.insert(name.clone(), value.clone()),
        };
    }
    error(rule, &signer.token(&claims))
}

#[test]
fn times_are_checked_with_leeway() {
    let (signer, rule) = signer_and_rule(&json!({}));
    for (changes, expected) in [
        (json!({}), None),
        (json!({"exp": null}), Some(TokenError::NoExpiry)),
        (json!({"exp": NOW - 29}), None),
        (json!({"exp": NOW - 30}), Some(TokenError::Expired)),
        (json!({"exp": NOW as f64 - 29.5}), None),
        (json!({"exp": NOW as f64 - 30.5}), Some(TokenError::Expired)),
        (json!({"exp": 0}), Some(TokenError::Expired)),
        (json!({"exp": -1}), Some(TokenError::Expired)),
        (json!({"exp": 1e300}), None),
        (json!({"exp": "1900000000"}), Some(TokenError::Claims)),
        (json!({"exp": true}), Some(TokenError::Claims)),
        (json!({"exp": [NOW + 600]}), Some(TokenError::Claims)),
        (json!({"exp": {}}), Some(TokenError::Claims)),
        (json!({"nbf": NOW + 30}), None),
        (json!({"nbf": NOW + 31}), Some(TokenError::NotYetValid)),
        (json!({"nbf": NOW as f64 + 30.5}), Some(TokenError::NotYetValid)),
        (json!({"nbf": "0"}), Some(TokenError::Claims)),
        (json!({"iat": NOW + 1_000}), None),
        (json!({"iat": "now"}), Some(TokenError::Claims)),
    ] {
        assert_eq!(error_with(&signer, &rule, &changes), expected, "{changes}");
    }
    // JSON null is no NumericDate, and no absent claim.
    let header = "{\"alg\":\"HS256\"}";
    for (exp, expected) in [("null", TokenError::Claims), ("1e999", TokenError::Claims), ("NaN", TokenError::Claims)] {
        let claims = format!("{{\"iss\":\"https://id.example\",\"aud\":\"site\",\"exp\":{exp}}}");
        assert_eq!(error(&rule, &signer.token_of(header, &claims)), Some(expected), "{exp}");
    }
    let (signer, strict) = signer_and_rule(&json!({"leeway_secs": 0}));
    assert_eq!(error_with(&signer, &strict, &json!({"exp": NOW})), Some(TokenError::Expired));
    assert_eq!(error_with(&signer, &strict, &json!({"exp": NOW as f64 + 0.5, "nbf": NOW})), None);
}

#[test]
fn issuer_and_audience_are_checked_if_configured() {
    let (signer, rule) = signer_and_rule(&json!({"audience": ["site", "other"]}));
    for (changes, expected) in [
        (json!({"iss": null}), Some(TokenError::Issuer)),
        (json!({"iss": "https://id.example/"}), Some(TokenError::Issuer)),
        (json!({"iss": ["https://id.example"]}), Some(TokenError::Issuer)),
        (json!({"aud": null}), Some(TokenError::Audience)),
        (json!({"aud": "Site"}), Some(TokenError::Audience)),
        (json!({"aud": "site other"}), Some(TokenError::Audience)),
        (json!({"aud": []}), Some(TokenError::Audience)),
        (json!({"aud": ["x"]}), Some(TokenError::Audience)),
        (json!({"aud": ["site", 1]}), Some(TokenError::Audience)),
        (json!({"aud": {"site": 1}}), Some(TokenError::Audience)),
        (json!({"aud": ["x", "other"]}), None),
        (json!({"aud": "other"}), None),
    ] {
        assert_eq!(error_with(&signer, &rule, &changes), expected, "{changes}");
    }
    let (signer, rule) = signer_and_rule(&json!({"audience": null, "issuer": null}));
    assert_eq!(error_with(&signer, &rule, &json!({"aud": "x", "iss": 1})), None);
}

#[test]
fn required_claims_equal_or_contain_a_value() {
    let (signer, rule) = signer_and_rule(&json!({"require": {"plan": ["pro", "team"], "level": 2, "staff": true}}));
    let good = json!({"level": 2, "staff": true});
    assert_eq!(error_with(&signer, &rule, &good), None);
    for (name, value, is_met) in [
        ("plan", json!("team"), true),
        ("plan", json!(["free", "team"]), true),
        ("plan", json!("free"), false),
        ("plan", json!("PRO"), false),
        ("plan", json!(["free"]), false),
        ("plan", json!([]), false),
        ("plan", json!([["pro"]]), false),
        ("plan", json!({"pro": true}), false),
        ("plan", json!(null), false),
        ("level", json!(2.0), true),
        ("level", json!("2"), false),
        ("level", json!([1, 2]), true),
        ("staff", json!(1), false),
        ("staff", json!("true"), false),
    ] {
        let mut changes = good.clone();
        changes[name] = value.clone();
        let expected = (!is_met).then_some(TokenError::Requirement);
        assert_eq!(error_with(&signer, &rule, &changes), expected, "{name} {value}");
    }
}

#[test]
fn headers_are_read_strictly() {
    let (signer, rule) = signer_and_rule(&json!({}));
    let claims = claims().to_string();
    for (header, expected) in [
        (r#"{"alg":"HS256"}"#, None),
        (r#" { "alg" : "HS256" , "typ": 7, "cty":"x", "jku":"https://evil.example/", "x": null } "#, None),
        (r#"{"alg":"\u0048S256"}"#, None),
        (r#"{"alg":"none"}"#, Some(TokenError::Algorithm)),
        (r#"{"alg":"None"}"#, Some(TokenError::Algorithm)),
        (r#"{"alg":"hs256"}"#, Some(TokenError::Algorithm)),
        (r#"{"alg":"HS256 "}"#, Some(TokenError::Algorithm)),
        (r#"{"alg":""}"#, Some(TokenError::Algorithm)),
        (r#"{"alg":["HS256"]}"#, Some(TokenError::Header)),
        (r#"{"alg":null}"#, Some(TokenError::Header)),
        (r#"{"ALG":"HS256"}"#, Some(TokenError::Header)),
        ("{}", Some(TokenError::Header)),
        ("[]", Some(TokenError::Header)),
        ("\"HS256\"", Some(TokenError::Header)),
        ("", Some(TokenError::Header)),
        (r#"{"alg":"none","alg":"HS256"}"#, Some(TokenError::Header)),
        (r#"{"alg":"HS256","\u0061lg":"HS256"}"#, Some(TokenError::Header)),
        (r#"{"alg":"HS256"}x"#, Some(TokenError::Header)),
        ("\u{feff}{\"alg\":\"HS256\"}", Some(TokenError::Header)),
        (r#"{"alg":"HS256","crit":[]}"#, Some(TokenError::Critical)),
        (r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, Some(TokenError::Critical)),
        (r#"{"alg":"HS256","crit":null}"#, Some(TokenError::Critical)),
        (r#"{"alg":"HS256","b64":true}"#, Some(TokenError::Critical)),
        (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, Some(TokenError::Critical)),
        (r#"{"alg":"HS256","a":[[[[]]]]}"#, Some(TokenError::Header)),
    ] {
        assert_eq!(error(&rule, &signer.token_of(header, &claims)), expected, "{header}");
    }
    // A key in the header never verifies its token.
    let other = Signer::new("HS256");
    let header = json!({"alg": "HS256", "jwk": other.jwk()}).to_string();
    assert_eq!(error(&rule, &other.token_of(&header, &claims)), Some(TokenError::Signature));
}

#[test]
fn claims_are_read_strictly() {
    let (signer, rule) = signer_and_rule(&json!({}));
    let token = |claims: &str| signer.token_of("{\"alg\":\"HS256\"}", claims);
    let valid = claims().to_string();
    let (open, nested) = ("[".repeat(15), "]".repeat(15));
    let with = |member: &str| format!("{},{member}}}", valid.strip_suffix('}').unwrap());
    assert_eq!(error(&rule, &token(&with(&format!("\"a\":{open}{nested}")))), None);
    for claims in [
        "",
        "null",
        "[]",
        "\"exp\"",
        "{",
        &with("\"exp\":9999999999"),
        &with("\"a\":{\"b\":1,\"b\":2}"),
        &with(&format!("\"a\":[{open}{nested}]")),
        &format!("{valid}{valid}"),
        &format!("\u{feff}{valid}"),
    ] {
        let expected = if claims.is_empty() { TokenError::Malformed } else { TokenError::Claims };
        assert_eq!(error(&rule, &token(claims)), Some(expected), "{claims}");
    }
}

#[test]
fn long_tokens_and_headers_are_refused() {
    let (signer, rule) = signer_and_rule(&json!({}));
    let of_len = |len: usize| {
        let mut claims = claims();
        claims["fill"] = json!("");
        let short = signer.token(&claims).len();
        claims["fill"] = json!("x".repeat((len - short) * 3 / 4));
        let token = signer.token(&claims);
        (token.len(), error(&rule, &token))
    };
    let (len, found) = of_len(TOKEN_BYTES_MAX);
    assert!(len > TOKEN_BYTES_MAX - 4 && len <= TOKEN_BYTES_MAX && found.is_none(), "{len} {found:?}");
    assert_eq!(of_len(TOKEN_BYTES_MAX + 8).1, Some(TokenError::TooLong));
    let with_header = |len: usize| {
        let header = format!("{{\"alg\":\"HS256\",\"x\":\"{}\"}}", "x".repeat(len - 22));
        assert_eq!(header.len(), len);
        error(&rule, &signer.token_of(&header, &claims().to_string()))
    };
    assert_eq!(with_header(1_024), None);
    assert_eq!(with_header(1_028), Some(TokenError::TooLong));
}

#[test]
fn a_token_has_exactly_three_parts() {
    let (signer, rule) = signer_and_rule(&json!({}));
    let token = signer.token(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("{token}") };
    for malformed in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}.{payload}.{payload}.{signature}"),
        format!(" {token}"),
        format!("{token} "),
        format!("{header}=.{payload}.{signature}"),
        format!("Bearer {token}"),
        token.replace('.', "%2E"),
        token.replace('.', ".\n"),
    ] {
        assert!(error(&rule, &malformed).is_some(), "{malformed:?}");
    }
    assert_eq!(error(&rule, &token), None);
}

#[test]
fn debug_output_and_messages_show_no_key_and_no_token() {
    let signer = Signer::new("HS256");
    let secret = signer.jwk()["k"].as_str().unwrap().to_owned();
    let rule = rule_of(&[signer.jwk()], &["HS256"]);
    let claims = rule.verify(&signer.token(&claims()), NOW).unwrap();
    let shown = format!("{rule:?} {claims:?}");
    for hidden in [&*secret, "visitor", "pro", "[1", ", 2"] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
    assert_eq!(claims.get("sub").and_then(|sub| sub.as_str()), Some("visitor"));
    for error in [TokenError::Repeated, TokenError::Requirement, TokenError::Claims, TokenError::Critical] {
        assert!(error.to_string().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' || byte == b' '));
    }
}
