//! Tests of tokens: the examples of RFCs, signatures of every class that must be refused, claims, mutations.

mod claims;
mod mutation;
mod rfc;
mod signature;
pub(in crate::access) mod signer;

use serde_json::{Value as Json, json};

use super::TokenRule;
use super::error::TokenError;
use crate::problem::{Problem, Problems, Severity};

/// Reads a rule with all required members besides those of `members`.
fn read_rule(members: &Json) -> Result<TokenRule, Vec<Problem>> {
    let mut json = json!({"from": ["header:authorization"], "issuer": "https://id.example", "audience": "site"});
    let object = json.as_object_mut().unwrap();
    for (name, value) in members.as_object().unwrap() {
        match value {
            Json::Null => object.remove(name),
            value => object.insert(name.clone(), value.clone()),
        };
    }
    let text = json.to_string();
    let mut problems = Problems::default();
    let rule = TokenRule::read(&serde_json::from_str(&text).unwrap(), &mut problems);
    let problems = problems.into_located(&text);
    match problems.iter().any(|problem| problem.severity == Severity::Error) {
        true => Err(problems),
        false => Ok(rule.unwrap()),
    }
}

/// The rule of one key and one algorithm.
fn rule_of(jwks: &[Json], algorithms: &[&str]) -> TokenRule {
    read_rule(&json!({"keys": {"keys": jwks}, "algorithms": algorithms})).unwrap()
}

/// Unix seconds at which the tests verify.
const NOW: u64 = 1_800_000_000;

/// Claims that [`rule_of`] accepts at [`NOW`].
fn claims() -> Json {
    json!({"iss": "https://id.example", "aud": "site", "sub": "visitor", "exp": NOW + 600, "plan": "pro"})
}

/// The error of a token; `None` if it is accepted.
fn error(rule: &TokenRule, token: &str) -> Option<TokenError> {
    rule.verify(token, NOW).err()
}
