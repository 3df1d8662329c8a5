//! The part of a viewer's request that a policy selects.
//!
//! [Control the cache key](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-the-cache-key.html)
//! and [Control origin requests](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-origin-requests.html).

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, COOKIE};

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
pub fn cookies(headers: &HeaderMap, selects: impl Fn(&str) -> bool) -> Vec<String> {
    let fields = headers.get_all(COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let name = |cookie: &str| cookie.split('=').next().unwrap_or_default().trim().to_owned();
    let mut selected: Vec<String> = fields
        .flat_map(|field| field.split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cookie| !cookie.is_empty() && selects(&name(cookie)))
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
