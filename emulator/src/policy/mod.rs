//! `policy check`: checks a CloudFront distribution's configuration for this origin before deployment.
//!
//! It reads the output of `aws cloudfront get-distribution-config` or a CloudFormation template, and needs no account.
//!
//! # Layout
//!
//! - [`command`]: the command line
//! - [`document`]: reads the files
//! - [`subject`]: a distribution and the settings of the function behind it
//! - [`template`]: evaluates a CloudFormation template
//! - `intrinsic`, `attribute`: functions and attributes of which only AWS knows a part
//! - [`distribution`], [`caching`], [`feature`], [`policies`], [`path_pattern`]: the configuration as the rules need it, in
//!   either format
//! - `managed`: CloudFront's managed policies
//! - [`experiment`]: the settings of experiments, and their definition
//! - [`site`]: the function's files of rules
//! - [`rule`]: the rules
//! - [`finding`]: their results

mod attribute;
pub mod caching;
pub mod command;
pub mod copies;
pub mod distribution;
pub mod document;
pub mod experiment;
pub mod feature;
pub mod finding;
mod intrinsic;
mod json;
mod managed;
pub mod path_pattern;
pub mod policies;
pub mod rule;
pub mod site;
pub mod subject;
pub mod template;
