//! The headers about the viewer that CloudFront adds, and the fields of a response that it keeps from the viewer.
//!
//! [Add CloudFront request headers](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/adding-cloudfront-headers.html).

use std::net::SocketAddr;

use http::header::{SET_COOKIE, USER_AGENT, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cloudfront::behavior::Behavior;

/// The headers with the type of the viewer's device.
pub const DEVICE_HEADERS: [&str; 4] = [
    "cloudfront-is-desktop-viewer",
    "cloudfront-is-mobile-viewer",
    "cloudfront-is-smarttv-viewer",
    "cloudfront-is-tablet-viewer",
];

/// Replaces the headers about the viewer that the CDN can determine.
///
/// It cannot locate viewers: a viewer sends `cloudfront-viewer-country` and the like itself.
pub fn describe(headers: &mut HeaderMap, peer: SocketAddr) {
    let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let device = device(&agent.unwrap_or_default());
    for name in DEVICE_HEADERS {
        let value = if name == device { "true" } else { "false" };
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert("cloudfront-forwarded-proto", HeaderValue::from_static("http"));
    if let Ok(address) = HeaderValue::try_from(peer.to_string()) {
        headers.insert("cloudfront-viewer-address", address);
    }
}

/// The header that is true for a User-Agent in lower case. CloudFront's own list of devices is not public.
fn device(agent: &str) -> &'static str {
    let has = |parts: &[&str]| parts.iter().any(|part| agent.contains(part));
    if has(&["smart-tv", "smarttv", "appletv", "apple tv", "googletv", "hbbtv", "netcast", "web0s", "bravia", "roku"]) {
        "cloudfront-is-smarttv-viewer"
    } else if has(&["ipad", "tablet", "kindle", "silk/"]) || has(&["android"]) && !has(&["mobile"]) {
        "cloudfront-is-tablet-viewer"
    } else if has(&["mobi", "iphone", "ipod", "windows phone"]) {
        "cloudfront-is-mobile-viewer"
    } else {
        "cloudfront-is-desktop-viewer"
    }
}

/// Removes the fields that CloudFront does not return to viewers: Set-Cookie without forwarded cookies, and names in Vary.
///
/// [HTTP response headers that CloudFront removes or replaces](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html#ResponseCustomRemovedHeaders).
pub fn remove_fields(headers: &mut HeaderMap, behavior: &Behavior) {
    if !behavior.forwards_cookies() {
        headers.remove(SET_COOKIE);
    }
    if !headers.contains_key(VARY) {
        return;
    }
    let fields = headers.get_all(VARY).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let names: Vec<String> = fields
        .flat_map(|field| field.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
        .filter(|name| is_kept(&name.to_ascii_lowercase(), behavior))
        .collect();
    headers.remove(VARY);
    if !names.is_empty()
        && let Ok(value) = HeaderValue::try_from(names.join(", "))
    {
        headers.insert(VARY, value);
    }
}

fn is_kept(name: &str, behavior: &Behavior) -> bool {
    match name {
        "accept-encoding" | "cookie" => true,
        "user-agent" if DEVICE_HEADERS.iter().any(|device| behavior.lists_header(device)) => true,
        // With a minimum TTL, CloudFront treats it as any other name.
        "*" => behavior.cache.ttl.minimum == 0,
        name => behavior.lists_header(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudfront::behavior::{Behaviors, Extras};
    use crate::policy::caching::Names;

    fn behavior(forwarded: &[&'static str]) -> Behavior {
        let forwarded: Vec<HeaderName> = forwarded.iter().map(|name| HeaderName::from_static(name)).collect();
        let version = HeaderName::from_static("test_version");
        Behaviors::caching_on(&version, &[], &forwarded, &Extras::default()).list.remove(0)
    }

    /// The names of Vary that reach the viewer.
    fn vary(behavior: &Behavior, sent: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(VARY, HeaderValue::from_static(sent));
        remove_fields(&mut headers, behavior);
        headers.get(VARY).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn vary_keeps_accept_encoding_cookie_and_listed_headers() {
        let plain = behavior(&[]);
        assert_eq!(vary(&plain, "Cookie, accept-encoding"), "Cookie, accept-encoding");
        assert_eq!(vary(&plain, "Test_Version, Accept-Language, redirect"), "Test_Version, redirect");
        assert_eq!(vary(&plain, "User-Agent"), "");
        assert_eq!(vary(&behavior(&["cloudfront-is-mobile-viewer"]), "User-Agent"), "User-Agent");
        assert_eq!(vary(&plain, "*"), "*");
        let mut minimum = plain;
        minimum.cache.ttl.minimum = 1;
        assert_eq!(vary(&minimum, "*, Cookie"), "Cookie");
    }

    #[test]
    fn set_cookie_is_removed_if_no_cookie_is_forwarded() {
        let mut behavior = behavior(&[]);
        for (cookies, kept) in [(Names::All, true), (Names::exactly(["a"]), true), (Names::None, false)] {
            behavior.request.cookies = cookies;
            let mut headers = HeaderMap::new();
            headers.insert(SET_COOKIE, HeaderValue::from_static("a=1"));
            remove_fields(&mut headers, &behavior);
            assert_eq!(headers.contains_key(SET_COOKIE), kept, "{:?}", behavior.request.cookies);
        }
    }

    #[test]
    fn the_user_agent_determines_the_device() {
        for (agent, expected) in [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "desktop"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1",
                "mobile",
            ),
            ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0 Mobile Safari/537.36", "mobile"),
            ("Mozilla/5.0 (Linux; Android 15; SM-X910) Chrome/140.0 Safari/537.36", "tablet"),
            ("Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1", "tablet"),
            ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/94.0 Safari/537.36", "smarttv"),
            ("", "desktop"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().unwrap());
            headers.insert("cloudfront-is-tablet-viewer", HeaderValue::from_static("forged"));
            describe(&mut headers, "127.0.0.1:9".parse().unwrap());
            for name in DEVICE_HEADERS {
                let wanted = if name.contains(expected) { "true" } else { "false" };
                assert_eq!(headers[name], wanted, "{name} for {agent}");
            }
        }
    }
}
