//! Problems of a definition: those of any JSON file.

pub(super) use crate::problem::Problems;
pub use crate::problem::{Problem, Severity};
