//! The cache key, TTLs and forwarded values of a cache behaviour.

use std::collections::BTreeSet;

use crate::policy::json::is_unknown;

/// A set of header or query string names, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// No name.
    None,
    /// These names.
    Listed(BTreeSet<String>),
    /// Every name.
    All,
    /// Every name except these.
    AllExcept(BTreeSet<String>),
}

impl Names {
    pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Listed(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    pub(super) fn all_except<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::AllExcept(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    /// Whether the set contains a name in lower case; `None` if that depends on a name that only AWS knows.
    pub fn contains(&self, name: &str) -> Option<bool> {
        let listed = |names: &BTreeSet<String>| {
            if names.contains(name) {
                Some(true)
            } else if names.iter().any(|each| is_unknown(each)) {
                None
            } else {
                Some(false)
            }
        };
        match self {
            Self::None => Some(false),
            Self::Listed(names) => listed(names),
            Self::All => Some(true),
            Self::AllExcept(names) => listed(names).map(|listed| !listed),
        }
    }
}

/// How long CloudFront caches an object, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// Lower bound, even against the origin's Cache-Control.
    pub minimum: u64,
    /// For a response without Cache-Control and Expires.
    pub default: u64,
    /// Upper bound.
    pub maximum: u64,
}

/// A cache policy: the cache key and the TTLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// Headers in the cache key; CloudFront forwards them to the origin too.
    pub headers: Names,
    /// Query strings in the cache key; CloudFront forwards them to the origin too.
    pub query_strings: Names,
    /// The TTLs.
    pub ttl: Ttl,
}

/// An origin request policy: what CloudFront forwards besides the cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPolicy {
    /// Forwarded headers.
    pub headers: Names,
    /// Forwarded query strings.
    pub query_strings: Names,
}

/// The caching and forwarding of a behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caching {
    /// By policies. An unknown policy is an `Err` with its id; the id is empty if the behaviour names no cache policy.
    Policies {
        /// The cache policy.
        cache: Result<CachePolicy, String>,
        /// The origin request policy, if the behaviour names one.
        request: Option<Result<RequestPolicy, String>>,
    },
    /// By legacy settings: the cache key contains everything that is forwarded.
    Legacy(CachePolicy),
}

impl Caching {
    /// The cache policy, or the equivalent legacy settings; `None` if the policy is unknown.
    pub fn cache_policy(&self) -> Option<&CachePolicy> {
        match self {
            Self::Policies { cache, .. } => cache.as_ref().ok(),
            Self::Legacy(policy) => Some(policy),
        }
    }

    /// Whether the origin receives a header, in lower case; `None` if that depends on an unknown policy or name.
    pub fn forwards_header(&self, name: &str) -> Option<bool> {
        self.forwards(|cache| &cache.headers, |request| &request.headers, name)
    }

    /// Whether the origin receives all query strings; `None` if that depends on an unknown policy or name.
    pub fn forwards_query(&self) -> Option<bool> {
        // Only the sets `All` and `AllExcept` contain a name that no list has.
        self.forwards(|cache| &cache.query_strings, |request| &request.query_strings, "any name at all")
    }

    fn forwards(
        &self,
        of_cache: fn(&CachePolicy) -> &Names,
        of_request: fn(&RequestPolicy) -> &Names,
        name: &str,
    ) -> Option<bool> {
        let cache = self.cache_policy().and_then(|cache| of_cache(cache).contains(name));
        let request = match self {
            Self::Legacy(_) | Self::Policies { request: None, .. } => Some(false),
            Self::Policies { request: Some(Ok(request)), .. } => of_request(request).contains(name),
            Self::Policies { request: Some(Err(_)), .. } => None,
        };
        match (cache, request) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }
}
