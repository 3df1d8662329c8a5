//! The rules for a distribution in front of this origin.
//!
//! Each file contains the rules of one concern: a function from the context to findings. A new file is one more line of
//! `RULES`.

mod access;
mod beacon;
mod behavior;
mod bucket;
mod cache;
mod certificate;
mod china;
mod condition;
mod context;
mod cors;
mod encoding;
mod error;
mod experiment;
mod header;
mod name;
mod origin;
mod redirect;
mod route;
mod secret;

use std::cmp::Reverse;

use crate::policy::finding::Finding;
use crate::policy::rule::context::Context;
use crate::policy::subject::Subject;

type Rule = fn(&Context<'_>) -> Vec<Finding>;

/// All rules, in the order in which a request meets their concerns.
const RULES: [Rule; 18] = [
    certificate::check,
    route::check,
    behavior::check,
    name::check,
    header::check,
    encoding::check,
    cache::check,
    error::check,
    experiment::check,
    beacon::check,
    condition::check,
    cors::check,
    access::check,
    origin::check,
    secret::check,
    redirect::check,
    bucket::check,
    china::check,
];

/// Checks a distribution and returns the findings, errors first.
pub fn check(subject: &Subject) -> Vec<Finding> {
    let context = Context::new(subject);
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&context)).collect();
    findings.sort_by_key(|finding| Reverse(finding.severity));
    findings
}
