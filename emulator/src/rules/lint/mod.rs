//! The problems that no file has alone: those of the files together, with the objects of the site and its distribution.

mod chain;
mod guard;
mod header;
mod redirect;
mod route;
mod version;

use crate::policy::subject::Subject;
use crate::rules::finding::Finding;
use crate::rules::site::Site;

/// The problems of a site; `distributions` are those in front of it, if they are known.
pub(super) fn run(site: &Site, distributions: &[Subject]) -> Vec<Finding> {
    let mut findings = Vec::new();
    redirect::check(site, &mut findings);
    header::check(site, &mut findings);
    guard::check(site, &mut findings);
    version::check(site, &mut findings);
    for subject in distributions {
        route::check(site, subject, &mut findings);
    }
    findings
}
