//! Tokens that are verified once.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::{NOW, Sent, parse};
use crate::access::check::{Denial, Verdict};
use crate::access::jwt::Claims;
use crate::access::jwt::error::TokenError;
use crate::access::jwt::tests::signer::Signer;
use crate::access::known::{BYTES_MAX, KnownTokens, TOKENS_MAX};
use crate::access::rules::{AccessRules, Versions};

fn rules(signer: &Signer, plan: &str) -> AccessRules {
    let jwt = |plan: &str| {
        json!({"keys": {"keys": [signer.jwk()]}, "algorithms": ["HS256"], "issuer": "i", "audience": "a",
            "from": ["cookie:token"], "require": {"plan": plan}})
    };
    parse(&json!([{"path": "/a/*", "jwt": jwt(plan)}, {"path": "/b/*", "jwt": jwt("other")}]))
}

fn claims_of(
    rules: &AccessRules,
    known: &KnownTokens,
    path: &str,
    token: &str,
    now: u64,
) -> Result<Arc<Claims>, Denial> {
    let sent = Sent::default().cookie("token", token);
    match rules.check(&[path.into()], Versions::Any, &sent, known, now) {
        Verdict::Granted(grant) => Ok(grant.claims.unwrap()),
        Verdict::Denied(denial) => Err(denial),
        Verdict::Open => panic!("{path} is open"),
    }
}

#[test]
fn a_known_token_is_not_verified_again() {
    let signer = Signer::new("HS256");
    let rules = rules(&signer, "pro");
    let known = KnownTokens::new();
    let token = signer.token(&json!({"iss": "i", "aud": "a", "exp": NOW + 60, "nbf": NOW, "plan": "pro"}));
    let first = claims_of(&rules, &known, "/a/x", &token, NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &claims_of(&rules, &known, "/a/y", &token, NOW + 1).unwrap()));
    assert_eq!(known.len(), 1);
    // Its times are checked, and other rules verify it themselves.
    let expired = Denial::InvalidToken { error: TokenError::Expired, login: None };
    assert_eq!(claims_of(&rules, &known, "/a/x", &token, NOW + 90), Err(expired));
    let early = Denial::InvalidToken { error: TokenError::NotYetValid, login: None };
    assert_eq!(claims_of(&rules, &known, "/a/x", &token, NOW - 31), Err(early));
    assert_eq!(claims_of(&rules, &known, "/b/x", &token, NOW), Err(Denial::InsufficientScope));
    // A token that starts or ends like it is another one.
    let invalid =
        |token: &str| matches!(claims_of(&rules, &known, "/a/x", token, NOW), Err(Denial::InvalidToken { .. }));
    assert!(invalid(&token[..token.len() - 1]) && invalid(&format!("{token}A")) && invalid(&token.to_lowercase()));
    assert_eq!(known.len(), 1);
    assert!(!format!("{known:?}").contains(&token[..9]));
}

#[test]
fn new_rules_forget_all_tokens() {
    let signer = Signer::new("HS256");
    let (old, new) = (rules(&signer, "pro"), rules(&signer, "team"));
    let known = KnownTokens::new();
    let pro = signer.token(&json!({"iss": "i", "aud": "a", "exp": NOW + 60, "plan": "pro"}));
    let both = signer.token(&json!({"iss": "i", "aud": "a", "exp": NOW + 60, "plan": ["pro", "team"]}));
    assert!(claims_of(&old, &known, "/a/x", &pro, NOW).is_ok());
    assert_eq!(claims_of(&new, &known, "/a/x", &pro, NOW), Err(Denial::InsufficientScope));
    assert!(claims_of(&new, &known, "/a/x", &both, NOW).is_ok());
    assert_eq!(known.len(), 1);
    // A request that still has the old rules neither uses nor changes what is known.
    assert!(claims_of(&old, &known, "/a/x", &pro, NOW).is_ok());
    assert_eq!(known.len(), 1);
    assert_eq!(claims_of(&new, &known, "/a/x", &pro, NOW), Err(Denial::InsufficientScope));
    // So do the same rules with new keys.
    let other = Signer::new("HS256");
    assert!(matches!(claims_of(&rules(&other, "team"), &known, "/a/x", &both, NOW), Err(Denial::InvalidToken { .. })));
}

#[test]
fn the_number_of_known_tokens_is_bounded() {
    let signer = Signer::new("HS256");
    let rules = rules(&signer, "pro");
    let known = KnownTokens::new();
    let token = |index: u64| signer.token(&json!({"iss": "i", "aud": "a", "exp": NOW + 60 + index, "plan": "pro"}));
    let used = token(0);
    let first = claims_of(&rules, &known, "/a/x", &used, NOW).unwrap();
    for index in 1..3_000 {
        claims_of(&rules, &known, "/a/x", &token(index), NOW).unwrap();
        assert!(known.len() <= TOKENS_MAX);
        // A token in use stays.
        if index % 100 == 0 {
            assert!(Arc::ptr_eq(&first, &claims_of(&rules, &known, "/a/x", &used, NOW).unwrap()), "{index}");
        }
    }
    assert!(known.len() > 64, "{}", known.len());
}

#[test]
fn the_memory_of_known_tokens_is_bounded() {
    let signer = Signer::new("HS256");
    let rules = rules(&signer, "pro");
    let known = KnownTokens::new();
    let fill = "x".repeat(5_000);
    for index in 0..300 {
        let token =
            signer.token(&json!({"iss": "i", "aud": "a", "exp": NOW + 60 + index, "plan": "pro", "fill": fill}));
        claims_of(&rules, &known, "/a/x", &token, NOW).unwrap();
        assert!(known.len() * token.len() * 2 <= BYTES_MAX);
    }
    assert!(known.len() > 10, "{}", known.len());
}

proptest! {
    #[test]
    fn refused_tokens_are_not_remembered(token in "[A-Za-z0-9_.-]{0,40}") {
        let signer = Signer::new("HS256");
        let known = KnownTokens::new();
        prop_assert!(claims_of(&rules(&signer, "pro"), &known, "/a/x", &token, NOW).is_err());
        prop_assert!(known.is_empty());
    }
}
