//! `policy check`: whether a distribution's configuration is right for this origin, before a viewer finds out.
//!
//! It reads what `aws cloudfront get-distribution-config` prints, or a CloudFormation template, and asks no account.
//!
//! # Layout
//!
//! - [`template`]: CloudFormation, worked out without an account
//! - [`distribution`]: the configuration as the rules see it, from either shape
//! - `managed`: CloudFront's managed policies
//! - `rule`: what has to be so, and the cure where it is not
//! - [`command`]: the command line

pub mod caching;
pub mod command;
pub mod distribution;
pub mod finding;
mod managed;
pub mod rule;
pub mod subject;
pub mod template;
