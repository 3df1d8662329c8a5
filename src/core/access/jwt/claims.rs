//! The claims of a token (RFC 7519 §4).

use std::fmt;

use crate::access::jwt::error::TokenError;
use crate::access::strict;
use crate::experiment::value::Value;

/// The deepest nesting of claims.
const DEPTH_MAX: usize = 16;

/// The claims of a verified token.
#[derive(Clone, PartialEq)]
pub struct Claims {
    object: Value,
    /// `exp` in Unix seconds.
    expires: f64,
    /// `nbf` in Unix seconds.
    not_before: Option<f64>,
}

/// Shows the times only, because claims are personal data.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Claims {
    /// Parses the payload of a token whose signature is valid.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, TokenError> {
        let object = strict::parse(payload, DEPTH_MAX).map_err(|_| TokenError::Claims)?;
        if object.as_object().is_none() {
            return Err(TokenError::Claims);
        }
        let expires = date(&object, "exp")?.ok_or(TokenError::NoExpiry)?;
        let not_before = date(&object, "nbf")?;
        date(&object, "iat")?;
        Ok(Self { object, expires, not_before })
    }

    /// All claims, as an object.
    pub fn value(&self) -> &Value {
        &self.object
    }

    /// The claim with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.object.get(name)
    }

    /// `exp` in whole Unix seconds.
    pub fn expires(&self) -> u64 {
        // A cast from f64 saturates.
        self.expires as u64
    }

    /// Checks `exp` and `nbf` at a time in Unix seconds.
    ///
    /// A token has expired at `exp` and not only after it (RFC 7519 §4.1.4).
    pub(super) fn check_times(&self, now: u64, leeway_secs: u32) -> Result<(), TokenError> {
        let (now, leeway) = (now as f64, f64::from(leeway_secs));
        if now >= self.expires + leeway {
            return Err(TokenError::Expired);
        }
        match self.not_before {
            Some(not_before) if now + leeway < not_before => Err(TokenError::NotYetValid),
            _ => Ok(()),
        }
    }

    /// Checks `iss`, if an issuer is expected.
    pub(super) fn check_issuer(&self, issuer: Option<&str>) -> Result<(), TokenError> {
        match issuer {
            Some(issuer) if self.get("iss").and_then(Value::as_str) != Some(issuer) => Err(TokenError::Issuer),
            _ => Ok(()),
        }
    }

    /// Checks `aud`, a string or a list of strings, if an audience is expected.
    pub(super) fn check_audience(&self, expected: &[Box<str>]) -> Result<(), TokenError> {
        if expected.is_empty() {
            return Ok(());
        }
        let is_expected = |audience: &Value| {
            audience.as_str().is_some_and(|audience| expected.iter().any(|expected| **expected == *audience))
        };
        let is_for_us = match self.get("aud") {
            Some(Value::List(list)) => {
                list.iter().all(|audience| audience.as_str().is_some()) && list.iter().any(is_expected)
            }
            Some(audience) => is_expected(audience),
            None => false,
        };
        is_for_us.then_some(()).ok_or(TokenError::Audience)
    }

    /// Checks that a claim equals one of some values, or contains it if the claim is a list.
    pub(super) fn check_requirement(&self, name: &str, values: &[Value]) -> Result<(), TokenError> {
        let is_met = match self.get(name) {
            Some(Value::List(list)) => list.iter().any(|element| values.contains(element)),
            Some(value) => values.contains(value),
            None => false,
        };
        is_met.then_some(()).ok_or(TokenError::Requirement)
    }
}

/// A NumericDate (RFC 7519 §2). A claim of another type is an error: CVE-2026-25537 was an `exp` that counted as absent.
fn date(object: &Value, name: &str) -> Result<Option<f64>, TokenError> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::Number(date)) if date.is_finite() => Ok(Some(*date)),
        Some(_) => Err(TokenError::Claims),
    }
}
