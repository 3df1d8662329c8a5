//! Access control: which requests are accepted.
//!
//! - `secret`: the shared secret of CloudFront, which every request needs
//! - `definition`: access.json → `rules`; `path`, `index`: the rule of a path; `reading`: what else a path may mean
//! - `jwt`: tokens, with `source` and `login`; `signed_url`: links and their sessions
//! - `check`: rules and `credentials` → a verdict; `known`: tokens that were verified before
//! - `strict`, `base64url`, `member`, `query`: parsers

mod base64url;
pub mod check;
pub mod credentials;
pub mod definition;
mod index;
pub mod jwt;
pub mod known;
pub mod login;
mod member;
mod path;
pub mod query;
mod reading;
pub mod rules;
pub mod secret;
pub mod signed_url;
pub mod source;
mod strict;
#[cfg(test)]
mod tests;
