//! The input of the rules.

use std::collections::BTreeSet;

use crate::cloudfront::behavior::REMOVED;
use crate::policy::caching::Caching;
use crate::policy::distribution::{Behavior, Distribution, Origin};
use crate::policy::experiment::Experiments;
use crate::policy::json::is_unknown;
use crate::policy::site::Site;
use crate::policy::subject::Subject;

/// A secret in a header whose name only AWS knows.
const UNKNOWN_SECRET: &str = "${secret}";

/// A subject, and which of its origins are the API.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) subject: &'a Subject,
    pub(super) distribution: &'a Distribution,
    api_origins: BTreeSet<&'a str>,
}

impl<'a> Context<'a> {
    pub(super) fn new(subject: &'a Subject) -> Self {
        let distribution = &subject.distribution;
        Self { subject, distribution, api_origins: api_origins(distribution, &subject.auth_header) }
    }

    /// The request headers that select the response, in lower case: the variant's first.
    pub(super) fn selecting_headers(&self) -> [&'a str; 2] {
        [&self.subject.version_header, "redirect"]
    }

    /// The function's experiments, if it has any.
    pub(super) fn experiments(&self) -> Option<&'a Experiments> {
        Some(&self.subject.experiments).filter(|experiments| experiments.are_in_use())
    }

    /// The function's files of rules.
    pub(super) fn site(&self) -> &'a Site {
        &self.subject.site
    }

    /// The folders of versions; `None` if nothing lists them, so that each folder may be one.
    pub(super) fn versions(&self) -> Option<&'a [String]> {
        let subject = self.subject;
        (subject.test_versions.is_some() || !subject.is_template).then_some(&*subject.variants)
    }

    /// Whether the API receives a header, in lower case; `None` if that depends on a name that only AWS knows.
    pub(super) fn forwards_header(&self, behavior: &Behavior, name: &str) -> Option<bool> {
        behavior.caching.forwards_header(name).filter(|forwards| *forwards || !is_unknown(name))
    }

    /// The secret that an origin receives; `None` if it receives none. A secret that only AWS knows is a placeholder.
    pub(super) fn secret(&self, origin: &'a Origin) -> Option<&'a str> {
        let name = self.subject.auth_header.as_str();
        let is_possible = |(header, _): &&(String, String)| is_unknown(header) || is_unknown(name);
        origin.header(name).or_else(|| origin.headers.iter().find(is_possible).map(|_| UNKNOWN_SECRET))
    }

    /// Whether the origin with this id is the API.
    pub(super) fn is_api(&self, origin: &str) -> bool {
        self.api_origins.contains(origin)
    }

    /// Whether a behaviour sends requests to the API, at least after another origin failed.
    pub(super) fn reaches_api(&self, behavior: &Behavior) -> bool {
        behavior.origins.iter().any(|origin| self.is_api(origin))
    }

    /// Whether CloudFront's signature replaces the viewer's Authorization: for a function URL with an origin access control.
    pub(super) fn replaces_authorization(&self, behavior: &Behavior) -> bool {
        self.api_origins().any(|origin| origin.is_signed_url() && behavior.origins.contains(&origin.id))
    }

    /// The behaviours that send requests to the API.
    pub(super) fn api_behaviors(&self) -> impl Iterator<Item = &'a Behavior> {
        self.distribution.behaviors.iter().filter(|behavior| self.reaches_api(behavior))
    }

    /// The origins that are the API.
    pub(super) fn api_origins(&self) -> impl Iterator<Item = &'a Origin> {
        self.distribution.origins.iter().filter(|origin| self.is_api(&origin.id))
    }

    /// The other origins.
    pub(super) fn other_origins(&self) -> impl Iterator<Item = &'a Origin> {
        self.distribution.origins.iter().filter(|origin| !self.is_api(&origin.id))
    }
}

/// Whether a header field reaches the origin; `None` if that depends on what only AWS knows. Legacy settings forward most
/// fields without a list, outside the cache key, but not Authorization of GET and HEAD.
pub(super) fn arrives(behavior: &Behavior, name: &str) -> Option<bool> {
    let is_forwarded_unlisted = matches!(behavior.caching, Caching::Legacy(_))
        && !REMOVED.contains(&name)
        && name != "authorization"
        && !name.starts_with("cloudfront-");
    if is_forwarded_unlisted { Some(true) } else { behavior.caching.forwards_header(name) }
}

/// The list that forwards header fields without a part in the cache key.
pub(super) fn list_name(behavior: &Behavior) -> &'static str {
    match behavior.caching {
        Caching::Legacy(_) => "ForwardedValues.Headers",
        Caching::Policies { .. } => "the origin request policy",
    }
}

/// The ids of the API's origins.
///
/// These are the custom origins that have the secret, or a domain name of API Gateway or of a function URL; otherwise,
/// the origin of the default behaviour. A bucket is never the API.
fn api_origins<'a>(distribution: &'a Distribution, auth_header: &str) -> BTreeSet<&'a str> {
    let can_be_api = |origin: &&Origin| origin.custom.is_some() && !is_bucket(&origin.domain);
    let is_api = |origin: &&Origin| {
        let domain = origin.domain.to_ascii_lowercase();
        origin.header(auth_header).is_some() || domain.contains(".execute-api.") || origin.is_function_url()
    };
    let candidates = distribution.origins.iter().filter(can_be_api);
    let found: BTreeSet<&str> = candidates.clone().filter(is_api).map(|origin| origin.id.as_str()).collect();
    if !found.is_empty() {
        return found;
    }
    let default = distribution.behaviors.last().map(Behavior::first_origin);
    candidates.map(|origin| origin.id.as_str()).filter(|id| Some(*id) == default).collect()
}

/// Whether a domain name is that of a bucket or of its website endpoint.
fn is_bucket(domain: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    domain.contains(".amazonaws.com") && (domain.contains(".s3.") || domain.contains(".s3-"))
}
