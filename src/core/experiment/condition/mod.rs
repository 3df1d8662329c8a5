//! Conditions: MongoDB-like queries over attributes
//! ([SDK specification, evalCondition](https://docs.growthbook.io/lib/build-your-own#evalcondition)).
//!
//! - `build`: JSON → `tree`, the prepared conditions, which `evaluate` evaluates; `version`: comparisons of version numbers

mod build;
mod evaluate;
mod tree;
mod version;

pub(super) use self::build::{Builder, NODES_MAX};
pub(super) use self::evaluate::Targeted;
pub use self::tree::{Condition, Targeting};
