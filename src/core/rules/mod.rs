//! The rules: they select the object for a request, or respond without one.
//!
//! [`decision::decide`] runs the stages; each stage is a function in its own file.

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
