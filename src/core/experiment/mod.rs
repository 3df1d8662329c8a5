//! Experiments: assigns visitors to variants by a definition in the format of GrowthBook's SDK payload
//! ([SDK specification 0.7.1](https://docs.growthbook.io/lib/build-your-own)).
//!
//! - `value`, `hash`, `pattern`, `url`: values, buckets, regular expressions and URLs, as GrowthBook treats them
//! - `attribute`, `condition`: what rules test; `spec`, `feature`: experiments and features, prepared once
//! - `plan`: everything of a payload that an evaluation needs; `evaluation`: a visitor → the value of a feature
//! - `problem`: what is wrong with a definition, and where

pub mod attribute;
pub mod condition;
pub mod evaluation;
pub mod feature;
pub mod hash;
mod pattern;
pub mod plan;
pub mod problem;
pub mod spec;
pub mod url;
pub mod value;
