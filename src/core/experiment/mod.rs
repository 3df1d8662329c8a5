//! Experiments: assigns visitors to variants by a definition in the format of GrowthBook's SDK payload
//! ([SDK specification 0.7.1](https://docs.growthbook.io/lib/build-your-own)).
//!
//! - `parse`: JSON → `value`, with `members`
//! - `value`, `hash`, `pattern`, `url`: values, buckets, regular expressions and URLs, as GrowthBook treats them
//! - `attribute`, `condition`: what rules test; `spec`, `feature`: experiments and features, prepared once
//! - `plan`: everything of a payload that an evaluation needs; `evaluation`: a visitor → the value of a feature
//! - `definition`: a team's file, checked and prepared; `problem`: what is wrong with it, and where
//! - `assign`: a request → version, cookies and caching, with `settings`; `visitor`: the request as a visitor
//! - `cookie`, `assignment`, `label`, `mark`: what a visitor's cookies hold
//! - `counting`: which exposures and goals a definition counts, and where, with `page`; `count`: what a request counts
//! - `bot`, `client`: what a user agent tells

pub mod assign;
mod assignment;
pub mod attribute;
pub mod bot;
mod client;
pub mod condition;
pub mod cookie;
pub mod count;
pub mod counting;
pub mod definition;
pub mod evaluation;
pub mod feature;
pub mod hash;
mod label;
mod mark;
pub mod members;
mod page;
mod parse;
mod pattern;
pub mod plan;
pub mod problem;
pub mod settings;
pub mod spec;
pub mod url;
pub mod value;
mod visitor;
