//! The rules: which object answers a request, or which response does so without one.
//!
//! [`decision::decide`] runs the stages; each stage is a function in a file of its own.

pub mod action;
pub mod decision;
pub mod policy;
pub mod redirect;
pub mod variant;

mod access;
mod key;
mod method;
mod object;
mod test_versions;
