//! The part of a viewer's request that a policy selects.
//!
//! [Control the cache key](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-the-cache-key.html)
//! and [Control origin requests](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-origin-requests.html).

use http::header::{ACCEPT_ENCODING, COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::policy::caching::{Codings, Names};
use crate::policy::path_pattern::matches;

/// Whether a set of cookies or query strings contains a name.
///
/// `*` and `?` in a listed name are wildcards, as in the legacy list of cookies
/// ([cookies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html#DownloadDistValuesAllowlistCookies)).
pub fn contains(names: &Names, name: &str) -> bool {
    match names {
        Names::Listed(listed) => listed.iter().any(|pattern| pattern == name || matches(pattern, name)),
        names => names.contains(name) == Some(true),
    }
}

/// The selected query strings in the viewer's order; `None` if no one is selected.
pub fn query(query: Option<&str>, selects: impl Fn(&str) -> bool) -> Option<String> {
    let pairs = query?.split('&').filter(|pair| selects(pair.split_once('=').map_or(*pair, |(name, _)| name)));
    let selected: Vec<&str> = pairs.collect();
    (!selected.is_empty()).then(|| selected.join("&"))
}

/// The selected cookies, sorted by name.
///
/// "CloudFront sorts the cookies in natural order by cookie name before forwarding the request to your origin"
/// ([cookies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Cookies.html)).
pub fn cookies(headers: &HeaderMap, selects: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let name = |cookie: &[u8]| {
        let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
        String::from_utf8_lossy(name.trim_ascii()).into_owned()
    };
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let mut selected: Vec<Vec<u8>> = fields
        .flat_map(|field| field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii))
        .filter(|cookie| !cookie.is_empty() && selects(&name(cookie)))
        .map(<[u8]>::to_vec)
        .collect();
    selected.sort_by_key(|cookie| name(cookie));
    selected
}

/// The normalized Accept-Encoding; `None` if the viewer accepts none of the codings.
///
/// [Compression support](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cache-key-understand-cache-policy.html#cache-policy-compressed-objects).
pub fn codings(headers: &HeaderMap, codings: Codings) -> Option<&'static str> {
    let accepts = |coding: &str| {
        let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        fields.flat_map(|field| field.split(',')).any(|item| {
            let (name, weight) = item.split_once(';').unwrap_or((item, ""));
            let refused = matches!(weight.trim().strip_prefix("q=").map(str::parse::<f64>), Some(Ok(0.0)));
            name.trim().eq_ignore_ascii_case(coding) && !refused
        })
    };
    match (codings.brotli && accepts("br"), codings.gzip && accepts("gzip")) {
        (true, true) => Some("br,gzip"),
        (true, false) => Some("br"),
        (false, true) => Some("gzip"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_cookie_can_contain_wildcards() {
        let names = Names::exactly(["user_*", "a?c", "plain"]);
        for (name, expected) in
            [("user_1", true), ("user", false), ("abc", true), ("abbc", false), ("plain", true), ("Plain", false)]
        {
            assert_eq!(contains(&names, name), expected, "{name}");
        }
    }

    #[test]
    fn several_cookie_fields_become_one_list_byte_for_byte() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_bytes(b"z=\xff; b=2;;").unwrap());
        headers.append(COOKIE, HeaderValue::from_static("a=1=1"));
        assert_eq!(cookies(&headers, |_| true), [&b"a=1=1"[..], b"b=2", b"z=\xff"]);
        assert_eq!(cookies(&headers, |name| name == "b"), [b"b=2"]);
    }

    #[test]
    fn a_query_string_keeps_its_order_and_encoding() {
        assert_eq!(query(Some("b=%20&a&b=2"), |name| name == "b").as_deref(), Some("b=%20&b=2"));
        assert_eq!(query(Some("b=1"), |_| false), None);
        assert_eq!(query(None, |_| true), None);
    }
}
