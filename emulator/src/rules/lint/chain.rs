//! Follows redirects as a browser does, through the real origin.

use crate::rules::site::Site;
use crate::rules::trial::{Reply, TrialRequest};

/// The most redirects that are followed. Browsers stop after 20.
const HOPS_MAX: usize = 20;

/// The host of rules without one.
pub(super) const HOST: &str = "site.example";

/// A chain of redirects.
pub(super) struct Chain {
    /// The paths and queries that were requested, the first one first.
    pub(super) requested: Vec<String>,
    /// The responses.
    pub(super) replies: Vec<Reply>,
    /// The position of the request that the last redirect repeats.
    pub(super) repeats: Option<usize>,
    /// Whether the chain leads to another site, or further than was followed.
    pub(super) leaves: bool,
}

impl Chain {
    /// Follows the redirects from a path. `version` is the version that the client requests.
    pub(super) fn follow(site: &Site, host: &str, path: &str, version: Option<&str>) -> Option<Self> {
        let header = site.trial.version_header();
        let headers: Vec<(String, String)> =
            version.map(|version| (header.to_owned(), version.to_owned())).into_iter().collect();
        let mut chain = Self { requested: Vec::new(), replies: Vec::new(), repeats: None, leaves: false };
        let mut target = path.to_owned();
        for _ in 0..HOPS_MAX {
            let reply = site.trial.respond(&TrialRequest::get(host, &target, &headers)).ok()?;
            let next = location(&reply, host);
            let redirects = (300..400).contains(&reply.status) && reply.header("location").is_some();
            chain.requested.push(target);
            chain.replies.push(reply);
            let Some(next) = next else {
                chain.leaves = redirects;
                return Some(chain);
            };
            chain.repeats = chain.requested.iter().position(|earlier| *earlier == next);
            if chain.repeats.is_some() {
                return Some(chain);
            }
            target = next;
        }
        chain.leaves = true;
        Some(chain)
    }

    /// The first response.
    pub(super) fn first(&self) -> Option<&Reply> {
        self.replies.first()
    }

    /// The last response.
    pub(super) fn last(&self) -> Option<&Reply> {
        self.replies.last()
    }
}

/// The path and query of a redirect to the same host.
fn location(reply: &Reply, host: &str) -> Option<String> {
    let location = reply.header("location").filter(|_| (300..400).contains(&reply.status))?;
    let rest = match location.split_once("://").filter(|_| !location.starts_with('/')) {
        Some((_, rest)) => rest.strip_prefix(host)?,
        None => location,
    };
    let rest = rest.split('#').next().unwrap_or_default();
    rest.starts_with('/').then(|| rest.to_owned())
}
