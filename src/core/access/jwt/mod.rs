//! Tokens: JSON Web Tokens (RFC 7519) with the rules of RFC 8725, verified by ring.

mod algorithm;
mod claims;
pub mod error;
mod jws;
mod key;
mod rule;
#[cfg(test)]
pub(super) mod tests;

pub use self::algorithm::Algorithm;
pub use self::claims::Claims;
pub use self::jws::TOKEN_BYTES_MAX;
pub use self::rule::TokenRule;
