//! The cache key of a request.
//!
//! [Understand the cache key](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/understanding-the-cache-key.html).

use http::{HeaderMap, Method};

use crate::cloudfront::forward;
use crate::policy::caching::{CachePolicy, Names};

/// A cache key. Requests with equal keys receive the same object.
///
/// The domain name is not part of it, because a cache belongs to one distribution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    method: Method,
    path: String,
    query: Option<String>,
    /// A listed header that the request lacks differs from an empty one.
    headers: Vec<(String, Option<Vec<u8>>)>,
    cookies: Vec<Vec<u8>>,
    codings: Option<&'static str>,
}

impl Key {
    /// The key of a request.
    pub fn of(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap, policy: &CachePolicy) -> Self {
        let listed: Vec<&str> = match &policy.headers {
            Names::None => Vec::new(),
            Names::Listed(names) => names.iter().map(String::as_str).collect(),
            all => {
                let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
                names.retain(|name| all.contains(name) == Some(true));
                names.sort_unstable();
                names
            }
        };
        let value = |name: &str| {
            let values: Vec<&[u8]> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
            (!values.is_empty()).then(|| values.join(&b','))
        };
        Self {
            method: method.clone(),
            path: path.to_owned(),
            query: forward::query(query, |name| forward::contains(&policy.query_strings, name)),
            headers: listed.into_iter().map(|name| (name.to_owned(), value(name))).collect(),
            cookies: forward::cookies(headers, |name| forward::contains(&policy.cookies, name)),
            codings: forward::codings(headers, policy.codings),
        }
    }

    /// The request's method.
    pub fn method(&self) -> Method {
        self.method.clone()
    }

    /// The key of a GET for the same object.
    pub fn of_get(&self) -> Self {
        Self { method: Method::GET, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::caching::{Codings, Ttl};

    fn policy() -> CachePolicy {
        CachePolicy {
            headers: Names::None,
            query_strings: Names::None,
            cookies: Names::None,
            codings: Codings::default(),
            ttl: Ttl { minimum: 0, default: 60, maximum: 600 },
        }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn keys_equal(
        policy: &CachePolicy,
        one: &[(&'static str, &'static str)],
        other: &[(&'static str, &'static str)],
    ) -> bool {
        let key = |fields| Key::of(&Method::GET, "/x", None, &headers(fields), policy);
        key(one) == key(other)
    }

    #[test]
    fn only_listed_headers_separate_objects() {
        let policy = CachePolicy { headers: Names::listed(["test_version"]), ..policy() };
        assert!(!keys_equal(&policy, &[("test_version", "v1")], &[("test_version", "v2")]));
        assert!(!keys_equal(&policy, &[("test_version", "")], &[]), "an empty header is not an absent one");
        assert!(keys_equal(&policy, &[("test_version", "v1"), ("accept", "a")], &[("test_version", "v1")]));
    }

    #[test]
    fn cookies_separate_objects_by_name_and_in_any_order() {
        let listed = CachePolicy { cookies: Names::exactly(["nearedge_v"]), ..policy() };
        assert!(keys_equal(
            &listed,
            &[("cookie", "nearedge=a; nearedge_v=1")],
            &[("cookie", "nearedge_v=1;nearedge=b")]
        ));
        assert!(!keys_equal(&listed, &[("cookie", "nearedge_v=1")], &[("cookie", "nearedge_v=2")]));
        assert!(keys_equal(&listed, &[("cookie", "NEAREDGE_V=1")], &[]), "names are case-sensitive");
        let all = CachePolicy { cookies: Names::All, ..policy() };
        assert!(keys_equal(&all, &[("cookie", "b=2; a=1")], &[("cookie", "a=1; b=2")]));
        assert!(!keys_equal(&all, &[("cookie", "a=1")], &[("cookie", "a=1; b=2")]));
        let except = CachePolicy { cookies: Names::AllExcept(["b".to_owned()].into()), ..policy() };
        assert!(keys_equal(&except, &[("cookie", "a=1")], &[("cookie", "a=1; b=2")]));
        assert!(keys_equal(&policy(), &[("cookie", "a=1")], &[]));
    }

    #[test]
    fn query_strings_separate_objects_by_name_and_order() {
        let key = |query_strings: &Names, query| {
            let policy = CachePolicy { query_strings: query_strings.clone(), ..policy() };
            Key::of(&Method::GET, "/x", Some(query), &HeaderMap::new(), &policy)
        };
        let listed = Names::exactly(["a", "b"]);
        assert_eq!(key(&Names::None, "a=1"), key(&Names::None, "a=2"));
        assert_eq!(key(&listed, "a=1&c=1"), key(&listed, "c=2&a=1"));
        assert_ne!(key(&listed, "a=1&b=1"), key(&listed, "b=1&a=1"));
        assert_ne!(key(&Names::All, "a=1&c=1"), key(&Names::All, "a=1&c=2"));
        let except = Names::AllExcept(["c".to_owned()].into());
        assert_eq!(key(&except, "a=1&c=1"), key(&except, "a=1&c=2"));
        assert_ne!(key(&except, "a=1"), key(&except, "a=2"));
    }

    #[test]
    fn accept_encoding_is_normalized() {
        let both = CachePolicy { codings: Codings { gzip: true, brotli: true }, ..policy() };
        let gzip = CachePolicy { codings: Codings { gzip: true, brotli: false }, ..policy() };
        assert!(keys_equal(
            &both,
            &[("accept-encoding", "gzip, deflate, br, zstd")],
            &[("accept-encoding", "br;q=0.9,gzip")]
        ));
        assert!(!keys_equal(&both, &[("accept-encoding", "gzip")], &[("accept-encoding", "gzip, br")]));
        assert!(keys_equal(&gzip, &[("accept-encoding", "gzip")], &[("accept-encoding", "gzip, br")]));
        assert!(keys_equal(&both, &[("accept-encoding", "deflate")], &[]));
        assert!(keys_equal(&policy(), &[("accept-encoding", "gzip")], &[]));
    }

    #[test]
    fn methods_and_paths_separate_objects() {
        let key = |method, path| Key::of(method, path, None, &HeaderMap::new(), &policy());
        assert_ne!(key(&Method::GET, "/x"), key(&Method::HEAD, "/x"));
        assert_ne!(key(&Method::GET, "/x"), key(&Method::GET, "/X"));
        assert_eq!(key(&Method::HEAD, "/x").of_get(), key(&Method::GET, "/x"));
    }
}
