//! Requests with tokens.

use serde_json::{Value as Json, json};

use super::{NOW, Sent, check_at, denied, granted, parse};
use crate::access::check::{Denial, Verdict};
use crate::access::jwt::error::TokenError;
use crate::access::jwt::tests::signer::Signer;
use crate::access::rules::AccessRules;

struct Site {
    signer: Signer,
    rules: AccessRules,
}

impl Site {
    fn new() -> Self {
        let signer = Signer::new("ES256");
        let jwt = |require: Json| {
            json!({"keys": {"keys": [signer.jwk()]}, "algorithms": ["ES256"], "issuer": "i", "audience": "a",
                "from": ["header:authorization", "cookie:token", "query:token", "header:X-Token"], "require": require})
        };
        let rules = parse(&json!([
            {"path": "/members/*", "jwt": jwt(json!({"plan": "pro"})), "login": "https://id.example/?r={url}"},
            {"path": "/team/*", "jwt": jwt(json!({"team": "x"})), "cache": "no-store"},
        ]));
        Self { signer, rules }
    }

    fn token(&self, changes: &Json) -> String {
        let mut claims = json!({"iss": "i", "aud": "a", "exp": NOW + 600, "plan": "pro"});
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.signer.token(&claims)
    }
}

fn bearer(token: &str) -> Sent {
    Sent::default().header("authorization", format!("Bearer {token}"))
}

#[test]
fn a_token_is_accepted_at_every_place() {
    let site = Site::new();
    let token = site.token(&json!({}));
    for sent in [
        bearer(&token),
        Sent::default().header("authorization", format!("bearer  {token} ")),
        Sent::default().cookie("token", &*token),
        Sent::default().query(format!("a=1&token={token}")),
        Sent::default().query(format!("%74oken={}", token.replace('.', "%2E"))),
        Sent::default().header("x-token", &*token),
    ] {
        let grant = granted(&site.rules, "/members/a", &sent);
        assert_eq!((grant.expires, grant.no_store, &*grant.set_cookies), (NOW + 600, false, &[][..]));
        assert_eq!(&*grant.consumed_parameters, ["token"]);
        assert_eq!(grant.claims.unwrap().get("plan").and_then(|plan| plan.as_str()), Some("pro"));
    }
    for sent in [
        Sent::default(),
        Sent::default().header("authorization", &*token),
        Sent::default().header("authorization", format!("Basic {token}")),
        Sent::default().header("authorization", format!("Bearer{token}")),
        Sent::default().header("authorization", "Bearer"),
        Sent::default().header("authorization", "Bearer "),
        Sent::default().cookie("Token", &*token),
        Sent::default().cookie("token", ""),
        Sent::default().query(format!("Token={token}")),
    ] {
        assert_eq!(
            denied(&site.rules, "/members/a", &sent),
            Denial::MissingToken { login: None },
            "{:?}",
            sent.headers
        );
    }
}

#[test]
fn a_stale_token_does_not_hide_a_valid_one() {
    let site = Site::new();
    let (valid, stale) = (site.token(&json!({})), site.token(&json!({"exp": NOW - 600})));
    let free = site.token(&json!({"plan": "free"}));
    for sent in [
        bearer(&valid).cookie("token", &*stale),
        bearer(&stale).cookie("token", &*valid),
        bearer("x").cookie("token", &*valid),
        Sent::default().cookie("token", &*stale).cookie("token", &*valid),
        Sent::default().cookie("token", &*free).query(format!("token={valid}")),
        bearer(&format!("{stale}, {valid}")).cookie("token", &*valid),
    ] {
        granted(&site.rules, "/members/a", &sent);
    }
    let error = |sent: &Sent| match denied(&site.rules, "/members/a", sent) {
        Denial::InvalidToken { error, .. } => error,
        denial => panic!("{denial:?}"),
    };
    assert_eq!(error(&bearer(&stale).cookie("token", "x")), TokenError::Expired);
    assert_eq!(error(&bearer("x").cookie("token", &*stale)), TokenError::Malformed);
    for repeated in [
        bearer(&format!("{valid},{valid}")),
        bearer(&format!("{valid}, Bearer {valid}")),
        Sent::default().query(format!("token={valid}&token={valid}")),
        Sent::default().query(format!("token={valid}&%74oken=x")),
        Sent::default().header("x-token", format!("{valid},{valid}")),
    ] {
        assert_eq!(error(&repeated), TokenError::Repeated);
    }
    // A token that only lacks a claim is the answer.
    assert_eq!(denied(&site.rules, "/members/a", &bearer(&stale).cookie("token", &*free)), Denial::InsufficientScope);
    // At most four tokens are verified.
    let many = (0..4).fold(Sent::default(), |sent, _| sent.cookie("token", &*stale)).cookie("token", &*valid);
    assert_eq!(error(&many), TokenError::Expired);
}

#[test]
fn denials_have_the_challenges_of_rfc_6750() {
    let site = Site::new();
    let challenge = |sent: &Sent| denied(&site.rules, "/members/a", sent).challenge();
    assert_eq!(challenge(&Sent::default()).as_deref(), Some("Bearer realm=\"nearedge\""));
    for (sent, code) in [
        (bearer("x"), "invalid_token"),
        (bearer(&site.token(&json!({"exp": 1}))), "invalid_token"),
        (bearer("x,y"), "invalid_request"),
        (bearer(&site.token(&json!({"plan": "free"}))), "insufficient_scope"),
    ] {
        let found = challenge(&sent).unwrap();
        let expected = format!("Bearer realm=\"nearedge\", error=\"{code}\", error_description=\"");
        assert!(found.starts_with(&expected) && found.ends_with('"') && found.matches('"').count() == 6, "{found}");
    }
    assert_eq!(Denial::Unavailable.challenge(), None);
}

#[test]
fn a_navigation_without_a_token_goes_to_the_login_page() {
    let site = Site::new();
    let url = "https://site.example/members/a?token=bad&x=1";
    let login = Some("https://id.example/?r=https%3A%2F%2Fsite.example%2Fmembers%2Fa%3Fx%3D1".to_owned());
    let page = Sent::default().page(url);
    assert_eq!(denied(&site.rules, "/members/a", &page), Denial::MissingToken { login: login.clone() });
    let error = TokenError::Malformed;
    assert_eq!(
        denied(&site.rules, "/members/a", &page.clone().query("token=bad&x=1")),
        Denial::InvalidToken { error, login }
    );
    assert_eq!(denied(&site.rules, "/team/a", &page), Denial::MissingToken { login: None });
    let free = site.token(&json!({"plan": "free"}));
    assert_eq!(denied(&site.rules, "/members/a", &page.cookie("token", free)), Denial::InsufficientScope);
}

#[test]
fn a_request_satisfies_every_rule_of_its_targets() {
    let site = Site::new();
    let path = "/members/../team/a";
    let both = site.token(&json!({"team": "x", "exp": NOW + 60}));
    let grant = granted(&site.rules, path, &bearer(&both));
    assert!(grant.no_store && grant.expires == NOW + 60);
    assert_eq!(denied(&site.rules, path, &bearer(&site.token(&json!({})))), Denial::InsufficientScope);
    assert_eq!(
        denied(&site.rules, path, &bearer(&site.token(&json!({"team": "x", "plan": "free"})))),
        Denial::InsufficientScope
    );
    // Each rule may accept a token of another place. The one that ends first counts.
    for (first, second) in [(60, 90), (90, 60)] {
        let team = site.token(&json!({"team": "x", "plan": "free", "exp": NOW + first}));
        let sent = bearer(&team).cookie("token", site.token(&json!({"exp": NOW + second})));
        assert_eq!(granted(&site.rules, path, &sent).expires, NOW + 60);
    }
}

#[test]
fn a_grant_ends_with_its_token_but_not_in_the_past() {
    let site = Site::new();
    let sent = bearer(&site.token(&json!({"exp": NOW as f64 + 0.9})));
    let expires = |now| match check_at(&site.rules, "/members/a", &sent, now) {
        Verdict::Granted(grant) => Some(grant.expires),
        _ => None,
    };
    assert_eq!([NOW - 9, NOW, NOW + 30, NOW + 31].map(expires), [Some(NOW), Some(NOW + 1), Some(NOW + 31), None]);
}
