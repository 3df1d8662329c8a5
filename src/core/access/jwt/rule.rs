//! The member `jwt` of a rule: which tokens it accepts.

use std::fmt;
use std::sync::Arc;

use crate::access::jwt::algorithm::Algorithm;
use crate::access::jwt::claims::Claims;
use crate::access::jwt::error::TokenError;
use crate::access::jwt::jws::Jws;
use crate::access::jwt::key::KeySet;
use crate::access::source::Source;
use crate::access::{member, strict};
use crate::experiment::value::Value;
use crate::object::KEY_BYTES_MAX;
use crate::problem::{Problem, Problems, Severity};

/// The allowed difference between clocks unless the rule states one.
const LEEWAY_SECS: u32 = 30;

/// The largest allowed difference between clocks.
const LEEWAY_SECS_MAX: u32 = 300;

/// The deepest JWK Set, of which certificates and unknown members may be nested.
const KEYS_DEPTH_MAX: usize = 16;

const MEMBERS: [&str; 8] = ["keys", "jwks", "algorithms", "issuer", "audience", "from", "leeway_secs", "require"];

/// Which tokens a rule accepts, and where requests carry them.
#[derive(Clone, PartialEq)]
pub struct TokenRule {
    /// `None` until the object with the keys is loaded.
    keys: Option<Arc<KeySet>>,
    /// The object in the bucket with the keys.
    jwks: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    issuer: Option<Box<str>>,
    audience: Vec<Box<str>>,
    sources: Vec<Source>,
    leeway_secs: u32,
    /// Claims, and the values of which each must have one.
    require: Vec<(Box<str>, Vec<Value>)>,
}

/// Shows no key.
impl fmt::Debug for TokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRule")
            .field("algorithms", &self.algorithms)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("sources", &self.sources)
            .field("jwks", &self.jwks)
            .finish_non_exhaustive()
    }
}

impl TokenRule {
    /// Where requests carry tokens, in the order in which they are tried.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The object in the bucket that holds the keys, if they are not part of access.json.
    pub fn jwks(&self) -> Option<&str> {
        self.jwks.as_deref()
    }

    /// Whether the keys are loaded.
    pub fn is_complete(&self) -> bool {
        self.keys.is_some()
    }

    /// Verifies a token: signature, times, issuer, audience and required claims, at a time in Unix seconds.
    ///
    /// # Errors
    /// The first reason why the token is refused.
    pub fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let keys = self.keys.as_deref().ok_or(TokenError::UnknownKey)?;
        let payload = Jws::parse(token)?.verify(&self.algorithms, keys)?;
        let claims = Claims::parse(&payload)?;
        self.check_times(&claims, now)?;
        claims.check_issuer(self.issuer.as_deref())?;
        claims.check_audience(&self.audience)?;
        self.require.iter().try_for_each(|(name, values)| claims.check_requirement(name, values))?;
        Ok(claims)
    }

    /// Checks `exp` and `nbf` of a token that is known.
    pub(in crate::access) fn check_times(&self, claims: &Claims, now: u64) -> Result<(), TokenError> {
        claims.check_times(now, self.leeway_secs)
    }

    /// Reads the member `jwt`; records problems.
    pub(in crate::access) fn read(json: &Value, problems: &mut Problems) -> Option<Self> {
        member::require_object(json, problems).then_some(())?;
        member::reject_unknown(json, &MEMBERS, problems);
        for (name, fix) in [
            ("algorithms", "list the algorithms of the issuer, such as [\"ES256\"]"),
            ("from", "write where tokens are, such as [\"header:authorization\", \"cookie:token\"]"),
        ] {
            member::require(json, name, fix, problems);
        }
        if json.get("keys").is_some() == json.get("jwks").is_some() {
            problems
                .reject("expected one of keys and jwks", "write the JWK Set as keys, or the key of its object as jwks");
        }
        let algorithms = member::at(json, "algorithms", problems, |list, problems| {
            member::each(list, problems, |name, problems| read_algorithm(member::text(name, problems)?, problems))
        });
        let algorithms = algorithms.unwrap_or_default();
        let keys = json.get("keys").filter(|_| !algorithms.is_empty()).map(|keys| {
            problems.enter("keys");
            let keys = KeySet::read(keys, &algorithms, problems);
            problems.leave();
            Arc::new(keys)
        });
        let jwks = member::at(json, "jwks", problems, read_object_key).flatten();
        let text = |json, problems: &mut Problems| member::text(json, problems).map(Box::from);
        let issuer = member::at(json, "issuer", problems, text).flatten();
        let audience = member::at(json, "audience", problems, |json, problems| match json {
            Value::List(_) => member::each(json, problems, text),
            _ => text(json, problems).into_iter().collect(),
        });
        if issuer.is_none() || audience.is_none() {
            problems.warn(
                "without issuer and audience, tokens of the same keys for other sites are accepted",
                "write \"issuer\" and \"audience\"",
            );
        }
        let sources = member::at(json, "from", problems, |list, problems| {
            member::each(list, problems, |text, problems| Source::read(member::text(text, problems)?, problems))
        });
        let leeway_secs = member::at(json, "leeway_secs", problems, |json, problems| {
            member::whole(json, 0..=LEEWAY_SECS_MAX, problems)
        });
        let require = member::at(json, "require", problems, read_requirements);
        Some(Self {
            keys,
            jwks,
            algorithms,
            issuer,
            audience: audience.unwrap_or_default(),
            sources: sources.unwrap_or_default(),
            leeway_secs: leeway_secs.flatten().unwrap_or(LEEWAY_SECS),
            require: require.unwrap_or_default(),
        })
    }

    /// The same rule with the keys of its object.
    ///
    /// # Errors
    /// With all problems, if the text is no JWK Set with a key for the rule.
    pub(in crate::access) fn with_keys(&self, text: &str) -> Result<Self, Vec<Problem>> {
        let json = strict::parse(text.as_bytes(), KEYS_DEPTH_MAX).map_err(|error| vec![Problem::of_syntax(&error)])?;
        let mut problems = Problems::default();
        let keys = KeySet::read(&json, &self.algorithms, &mut problems);
        let problems = problems.into_located(text);
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(problems);
        }
        Ok(Self { keys: Some(Arc::new(keys)), ..self.clone() })
    }
}

fn read_algorithm(name: &str, problems: &mut Problems) -> Option<Algorithm> {
    let algorithm = Algorithm::parse(name);
    if algorithm.is_none() {
        let reason = match name.eq_ignore_ascii_case("none") {
            true => "tokens without a signature are never accepted".to_owned(),
            false => format!("the algorithm {name:?} is not supported"),
        };
        let known: Vec<&str> = Algorithm::ALL.iter().map(|(name, _)| *name).collect();
        problems.reject(reason, format!("use some of {}", known.join(", ")));
    }
    algorithm
}

fn read_object_key(json: &Value, problems: &mut Problems) -> Option<Box<str>> {
    let key = member::text(json, problems)?;
    if key.starts_with('/') || key.contains("://") || key.len() > KEY_BYTES_MAX {
        problems.reject(
            "expected the key of an object in the bucket",
            "copy the issuer's JWK Set into the bucket, and write its key without a leading slash",
        );
        return None;
    }
    Some(key.into())
}

fn read_requirements(json: &Value, problems: &mut Problems) -> Vec<(Box<str>, Vec<Value>)> {
    let members = json.as_object().unwrap_or_default();
    if members.is_empty() {
        problems.reject("expected an object with a claim", "write {\"plan\": \"pro\"}, or remove the member");
    }
    let mut requirements = Vec::with_capacity(members.len());
    for (name, value) in members {
        problems.enter(name);
        let values = match value {
            Value::List(_) => member::each(value, problems, read_scalar),
            _ => read_scalar(value, problems).into_iter().collect(),
        };
        requirements.push((name.as_str().into(), values));
        problems.leave();
    }
    requirements
}

fn read_scalar(value: &Value, problems: &mut Problems) -> Option<Value> {
    if matches!(value, Value::Text(_) | Value::Number(_) | Value::Bool(_)) {
        return Some(value.clone());
    }
    problems.reject(
        format!("expected a text, a number or a boolean, found {}", value.kind()),
        "write the value of the claim, or a list of values of which one suffices",
    );
    None
}
