//! A token's signature: JWS in compact serialization (RFC 7515 §3.1, §5.2).

use std::fmt;

use crate::access::jwt::algorithm::Algorithm;
use crate::access::jwt::error::TokenError;
use crate::access::jwt::key::{Key, KeySet};
use crate::access::{base64url, strict};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The longest header, in bytes of JSON.
const HEADER_BYTES_MAX: usize = 1024;

/// The deepest header: parameters such as `jwk` contain objects.
const HEADER_DEPTH_MAX: usize = 4;

/// The most keys that one token is verified with.
const TRIES_MAX: usize = 4;

/// A parsed token. Nothing of it is trustworthy before [`Jws::verify`].
pub(super) struct Jws<'a> {
    signing_input: &'a str,
    algorithm: Option<Algorithm>,
    kid: Option<Box<str>>,
    payload: &'a str,
    signature: Vec<u8>,
}

/// Shows no part of the token.
impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<'a> Jws<'a> {
    /// Parses a token.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenError::Malformed)?;
        // An unsecured token has an empty signature (RFC 7515 A.5); a detached one has an empty payload (appendix F).
        if signature.is_empty() || payload.is_empty() {
            return Err(TokenError::Malformed);
        }
        // A further dot is no character of base64url.
        let signature = base64url::decode(signature).ok_or(TokenError::Malformed)?;
        if header.len() > HEADER_BYTES_MAX.div_ceil(3) * 4 {
            return Err(TokenError::TooLong);
        }
        let header = base64url::decode(header).ok_or(TokenError::Malformed)?;
        let header = strict::parse(&header, HEADER_DEPTH_MAX).map_err(|_| TokenError::Header)?;
        if header.as_object().is_none() {
            return Err(TokenError::Header);
        }
        // No extension is understood. RFC 7797 demands `crit` beside `b64`; a token without it may mean either.
        if header.get("crit").is_some() || header.get("b64").is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm = header.get("alg").and_then(|name| name.as_str()).ok_or(TokenError::Header)?;
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or(TokenError::Header)?.into()),
        };
        Ok(Self { signing_input, algorithm: Algorithm::parse(algorithm), kid, payload, signature })
    }

    /// Verifies the signature; returns the payload.
    ///
    /// The header only selects among the listed algorithms and the keys that state this use; it never supplies a key
    /// ([RFC 8725 §3.1](https://www.rfc-editor.org/rfc/rfc8725#section-3.1)).
    pub(super) fn verify(&self, algorithms: &[Algorithm], keys: &KeySet) -> Result<Vec<u8>, TokenError> {
        let algorithm = self.algorithm.filter(|algorithm| algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(TokenError::Algorithm)?;
        let is_named = |key: &&Key| self.kid.is_none() || key.kid == self.kid;
        let mut candidates = keys.iter().filter(is_named).filter(|key| key.fits(algorithm)).take(TRIES_MAX).peekable();
        candidates.peek().ok_or(TokenError::UnknownKey)?;
        let message = self.signing_input.as_bytes();
        if !candidates.any(|key| key.verify(algorithm, message, &self.signature)) {
            return Err(TokenError::Signature);
        }
        base64url::decode(self.payload).ok_or(TokenError::Malformed)
    }
}
