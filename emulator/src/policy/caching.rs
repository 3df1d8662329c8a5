//! What a behavior caches by and forwards: cache policies, origin request policies, legacy settings.

use std::collections::BTreeSet;

/// A set of header names or query strings, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// None of them.
    None,
    /// These.
    Listed(BTreeSet<String>),
    /// Whatever the viewer sends.
    All,
    /// Whatever the viewer sends but these.
    AllBut(BTreeSet<String>),
}

impl Names {
    pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Listed(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    pub(super) fn all_but<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::AllBut(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    /// Whether a name, in lower case, is among them.
    pub fn contain(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Listed(names) => names.contains(name),
            Self::All => true,
            Self::AllBut(names) => !names.contains(name),
        }
    }
}

/// How long an object is kept, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// At least, whatever the origin says.
    pub minimum: u64,
    /// Where the origin says nothing.
    pub default: u64,
    /// At most.
    pub maximum: u64,
}

/// A cache policy: the cache's key, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// The headers in the key; they reach the origin too.
    pub headers: Names,
    /// The query strings in the key; they reach the origin too.
    pub query_strings: Names,
    /// For how long.
    pub ttl: Ttl,
}

/// An origin request policy: what reaches the origin beside the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPolicy {
    /// The headers.
    pub headers: Names,
    /// The query strings.
    pub query_strings: Names,
}

/// What a behaviour caches by and forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caching {
    /// By policies; no cache policy where the behaviour names none. An unknown id is one that was not given.
    Policies {
        /// The cache policy, or the id that could not be found.
        cache: Result<CachePolicy, String>,
        /// The origin request policy, or the id that could not be found.
        request: Option<Result<RequestPolicy, String>>,
    },
    /// By the legacy settings: what is forwarded is in the key.
    Legacy(CachePolicy),
}

impl Caching {
    /// Whether anything is ever kept; what cannot be known counts as kept.
    pub fn keeps(&self) -> bool {
        self.key().is_none_or(|key| key.ttl.maximum > 0)
    }

    /// The key, when it is known.
    pub fn key(&self) -> Option<&CachePolicy> {
        match self {
            Self::Policies { cache, .. } => cache.as_ref().ok(),
            Self::Legacy(policy) => Some(policy),
        }
    }

    /// Whether a header, in lower case, reaches the origin; `None` when a policy is not known.
    pub fn forwards_header(&self, name: &str) -> Option<bool> {
        self.forwards(|key| &key.headers, |request| &request.headers, name)
    }

    /// Whether query strings reach the origin, all of them; `None` when a policy is not known.
    pub fn forwards_query(&self) -> Option<bool> {
        self.forwards(|key| &key.query_strings, |request| &request.query_strings, "any name at all")
    }

    fn forwards(
        &self,
        of_key: fn(&CachePolicy) -> &Names,
        of_request: fn(&RequestPolicy) -> &Names,
        name: &str,
    ) -> Option<bool> {
        if self.key().is_some_and(|key| of_key(key).contain(name)) {
            return Some(true);
        }
        match self {
            Self::Legacy(_) => Some(false),
            Self::Policies { request: Some(Ok(request)), .. } if of_request(request).contain(name) => Some(true),
            Self::Policies { cache: Err(_), .. } | Self::Policies { request: Some(Err(_)), .. } => None,
            Self::Policies { .. } => Some(false),
        }
    }
}
