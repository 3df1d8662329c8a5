//! The cache key, TTLs and forwarded values of a cache behaviour.

use std::collections::BTreeSet;

use crate::policy::json::is_unknown;

/// A set of names: headers in lower case, cookies and query strings as they are written.
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
    /// The headers of a list.
    pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Listed(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    pub(super) fn all_except<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::AllExcept(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    /// The names of a list whose case matters, such as cookies.
    pub fn exactly<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Listed(names.into_iter().map(str::to_owned).collect())
    }

    /// Whether the set contains no name.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Listed(names) => names.is_empty(),
            Self::All | Self::AllExcept(_) => false,
        }
    }

    /// Whether the set contains a name, a header in lower case; `None` if that depends on a name that only AWS knows.
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

impl Ttl {
    /// The TTLs, each at most `secs`.
    pub fn limited_to(self, secs: u64) -> Self {
        let Self { minimum, default, maximum } = self;
        Self { minimum: minimum.min(secs), default: default.min(secs), maximum: maximum.min(secs) }
    }

    /// Whether responses are cached for a second at most, as a cache policy needs that enables content codings only.
    pub fn is_brief(self) -> bool {
        self.minimum <= 1 && self.default <= 1 && self.maximum <= 1
    }

    /// Whether all three are zero, which disables caching
    /// ([cache policies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cache-key-understand-cache-policy.html)).
    pub fn is_zero(self) -> bool {
        self.minimum == 0 && self.default == 0 && self.maximum == 0
    }
}

/// The content codings in the cache key, from a normalized Accept-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codings {
    /// EnableAcceptEncodingGzip.
    pub gzip: bool,
    /// EnableAcceptEncodingBrotli.
    pub brotli: bool,
}

/// A cache policy: the cache key and the TTLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// Headers in the cache key; CloudFront forwards them to the origin too.
    pub headers: Names,
    /// Query strings in the cache key; CloudFront forwards them to the origin too.
    pub query_strings: Names,
    /// Cookies in the cache key; CloudFront forwards them to the origin too.
    pub cookies: Names,
    /// Content codings in the cache key.
    pub codings: Codings,
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
    /// Forwarded cookies.
    pub cookies: Names,
    /// Headers that CloudFront adds in addition to all viewer headers (`allViewerAndWhitelistCloudFront`).
    pub added: BTreeSet<String>,
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
    ///
    /// CloudFront adds its own headers only if a list names them
    /// ([CloudFront headers](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/adding-cloudfront-headers.html)).
    pub fn forwards_header(&self, name: &str) -> Option<bool> {
        if name.starts_with("cloudfront-") {
            if let Self::Policies { request: Some(Ok(request)), .. } = self
                && request.added.contains(name)
            {
                return Some(true);
            }
            let listed = |names: &Names| match names {
                Names::Listed(_) => names.contains(name),
                Names::None | Names::All | Names::AllExcept(_) => Some(false),
            };
            return self.is_in_any(|cache| listed(&cache.headers), |request| listed(&request.headers));
        }
        self.forwards(|cache| &cache.headers, |request| &request.headers, name)
    }

    /// Whether the origin receives all query strings; `None` if that depends on an unknown policy or name.
    pub fn forwards_query(&self) -> Option<bool> {
        // Only the sets `All` and `AllExcept` contain a name that no list has.
        self.forwards(|cache| &cache.query_strings, |request| &request.query_strings, "any name at all")
    }

    /// Whether the origin receives a query string; `None` if that depends on an unknown policy or name.
    pub fn forwards_query_string(&self, name: &str) -> Option<bool> {
        self.forwards(|cache| &cache.query_strings, |request| &request.query_strings, name)
    }

    /// Whether the origin receives a cookie; `None` if that depends on an unknown policy or name.
    pub fn forwards_cookie(&self, name: &str) -> Option<bool> {
        self.forwards(|cache| &cache.cookies, |request| &request.cookies, name)
    }

    fn forwards(
        &self,
        of_cache: fn(&CachePolicy) -> &Names,
        of_request: fn(&RequestPolicy) -> &Names,
        name: &str,
    ) -> Option<bool> {
        self.is_in_any(|cache| of_cache(cache).contains(name), |request| of_request(request).contains(name))
    }

    /// Whether one of the policies contains a name; a function returns `None` if that depends on an unknown name.
    fn is_in_any(
        &self,
        in_cache: impl FnOnce(&CachePolicy) -> Option<bool>,
        in_request: impl FnOnce(&RequestPolicy) -> Option<bool>,
    ) -> Option<bool> {
        let cache = self.cache_policy().and_then(in_cache);
        let request = match self {
            Self::Legacy(_) | Self::Policies { request: None, .. } => Some(false),
            Self::Policies { request: Some(Ok(request)), .. } => in_request(request),
            Self::Policies { request: Some(Err(_)), .. } => None,
        };
        match (cache, request) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }
}
