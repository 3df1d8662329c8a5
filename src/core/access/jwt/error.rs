//! Why a token is refused, in the terms of RFC 6750 §3.1.

use std::fmt;

/// Why a token is refused. No message contains any part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// The request sends a token twice in one place.
    Repeated,
    /// It is longer than the limits.
    TooLong,
    /// It is not three parts of canonical base64url.
    Malformed,
    /// The header is not an object as in RFC 7515 §4.
    Header,
    /// The header requires an extension (RFC 7515 §4.1.11).
    Critical,
    /// The rule does not list the algorithm.
    Algorithm,
    /// The rule has no key for it.
    UnknownKey,
    /// The signature is not of its key.
    Signature,
    /// The claims are not an object as in RFC 7519 §4.
    Claims,
    /// It has no `exp`.
    NoExpiry,
    /// `exp` is over.
    Expired,
    /// `nbf` is not reached.
    NotYetValid,
    /// It is from another issuer.
    Issuer,
    /// It is for another audience.
    Audience,
    /// A claim does not have a value that the rule requires.
    Requirement,
}

impl TokenError {
    /// The error code of RFC 6750 §3.1.
    pub fn code(self) -> &'static str {
        match self {
            Self::Repeated => "invalid_request",
            Self::Requirement => "insufficient_scope",
            _ => "invalid_token",
        }
    }

    /// The description for clients: visible ASCII without quotation marks (RFC 6750 §3).
    pub fn description(self) -> &'static str {
        match self {
            Self::Repeated => "the request contains several tokens where one is expected",
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is not a JWS in compact serialization",
            Self::Header => "the header of the token is malformed",
            Self::Critical => "the token requires an unknown extension",
            Self::Algorithm => "the algorithm of the token is not accepted",
            Self::UnknownKey => "the key of the token is unknown",
            Self::Signature => "the signature of the token is invalid",
            Self::Claims => "the claims of the token are malformed",
            Self::NoExpiry => "the token has no expiry time",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Issuer => "the token is from another issuer",
            Self::Audience => "the token is for another audience",
            Self::Requirement => "the token does not grant access to this resource",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for TokenError {}
