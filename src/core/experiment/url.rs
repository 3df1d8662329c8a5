//! URLs: targeting, overrides by the query string, and redirects
//! ([URL targeting](https://docs.growthbook.io/lib/build-your-own#isurltargeted)).
//!
//! Only http and https URLs occur, and only their parts are compared. A complete URL parser would add Unicode's tables for
//! host names to the function.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::experiment::pattern::Pattern;

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UrlParts<'a> {
    scheme: &'a str,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    query: &'a str,
    fragment: &'a str,
}

/// The characters that browsers encode in a path
/// ([URL standard, path percent-encode set](https://url.spec.whatwg.org/#path-percent-encode-set)).
const PATH_ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'^').add(b'`').add(b'{').add(b'}');

/// The characters that forms encode in a query string
/// ([URL standard, application/x-www-form-urlencoded](https://url.spec.whatwg.org/#application-x-www-form-urlencoded-percent-encode-set)).
const FORM_ENCODED: &AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');

impl<'a> UrlParts<'a> {
    /// Splits a URL. A URL without a host has the host `default_host`.
    pub(super) fn split(url: &'a str, default_host: &'a str) -> Self {
        let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let has_host = rest.len() < url.len();
        let (host, path) = match (has_host, rest.find('/')) {
            (true, Some(slash)) => rest.split_at(slash),
            (true, None) => (rest, ""),
            (false, _) => (default_host, rest),
        };
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        let path: Cow<'a, str> = utf8_percent_encode(path, PATH_ENCODED).into();
        let path = if path.starts_with('/') { path } else { Cow::Owned(format!("/{path}")) };
        Self { scheme, host, path, query, fragment }
    }

    /// The path, the query string and the fragment.
    fn after_origin(&self) -> String {
        let mut text = self.path.to_string();
        for (separator, part) in [('?', self.query), ('#', self.fragment)] {
            if !part.is_empty() {
                text.push(separator);
                text.push_str(part);
            }
        }
        text
    }

    fn href(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.after_origin())
    }
}

/// Whether an address can be the Location of a redirect: an http or https URL of visible ASCII characters.
pub(super) fn is_redirect_address(address: &str) -> bool {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && address.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether two URLs are the same, apart from their fragments.
pub fn is_same_url(left: &str, right: &str) -> bool {
    let parts = |url| UrlParts { fragment: "", ..UrlParts::split(url, "") };
    parts(left) == parts(right)
}

/// An entry of `urlPatterns`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Whether a match includes the URL, or excludes it.
    pub(super) include: bool,
    pub(super) pattern: TargetPattern,
}

impl Target {
    /// Whether the query string can decide the match. An expression sees the whole URL.
    pub(super) fn tests_query(&self) -> bool {
        match &self.pattern {
            TargetPattern::Simple { parameters, .. } => !parameters.is_empty(),
            TargetPattern::Expression(_) => true,
            TargetPattern::Nothing => false,
        }
    }
}

/// The pattern of a [`Target`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TargetPattern {
    /// The parts of the URL with `*` as wildcard.
    Simple { host: Box<str>, path: Box<str>, parameters: Vec<(Box<str>, Box<str>)>, fragment: Box<str> },
    /// A regular expression on the URL, or on what follows its origin.
    Expression(Pattern),
    /// Matches nothing: an unknown type, or an invalid expression.
    Nothing,
}

impl TargetPattern {
    /// A pattern such as `example.com/docs/*?ref=x`, or `/docs/*`.
    pub(super) fn simple(pattern: &str) -> Self {
        // A dot before the first slash means that the pattern starts with a host.
        let first = pattern.split(['/', '?', ':']).next().unwrap_or_default();
        let full;
        let pattern = if first.contains('.') {
            full = format!("https://{pattern}");
            &full
        } else {
            pattern
        };
        let parts = UrlParts::split(pattern, "*");
        Self::Simple {
            host: parts.host.as_ref().into(),
            path: without_slashes(&parts.path).into(),
            parameters: parameters(parts.query).map(|(name, value)| (name.into(), value.into())).collect(),
            fragment: parts.fragment.into(),
        }
    }

    pub(super) fn matches(&self, url: &UrlParts<'_>) -> bool {
        match self {
            Self::Simple { host, path, parameters, fragment } => {
                matches_wildcards(host, &url.host)
                    && matches_path(path, &url.path)
                    && (fragment.is_empty() || matches_wildcards(fragment, url.fragment))
                    && parameters
                        .iter()
                        .all(|(name, value)| matches_wildcards(value, &parameter(url.query, name).unwrap_or_default()))
            }
            Self::Expression(pattern) => pattern.is_match(&url.href()) || pattern.is_match(&url.after_origin()),
            Self::Nothing => false,
        }
    }
}

/// Whether a URL is targeted: no exclusion matches, and an inclusion does if there are any. Without targets none is.
pub(super) fn is_targeted(url: &str, targets: &[Target]) -> bool {
    let url = UrlParts::split(url, "_");
    let excluded = targets.iter().any(|target| !target.include && target.pattern.matches(&url));
    let mut inclusions = targets.iter().filter(|target| target.include).peekable();
    let includes =
        |mut inclusions: std::iter::Peekable<_>| inclusions.any(|target: &Target| target.pattern.matches(&url));
    !targets.is_empty() && !excluded && (inclusions.peek().is_none() || includes(inclusions))
}

/// Removes one slash at each end.
pub(super) fn without_slashes(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path)
}

/// Whether a path matches a pattern without slashes at its ends; those of the path are optional.
pub(super) fn matches_path(pattern: &str, path: &str) -> bool {
    let short = path.strip_prefix('/').unwrap_or(path);
    [path, short].into_iter().any(|path| {
        matches_wildcards(pattern, path) || path.strip_suffix('/').is_some_and(|path| matches_wildcards(pattern, path))
    })
}

/// Whether `text` matches a pattern in which `*` stands for any characters, ignoring the case of ASCII letters.
pub(super) fn matches_wildcards(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut position) = (0, 0);
    // After the last `*`: the position in the pattern, and how much of the text the `*` has taken.
    let mut last = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                last = Some((at + 1, position));
                at += 1;
            }
            Some(expected) if expected.eq_ignore_ascii_case(&text[position]) => {
                at += 1;
                position += 1;
            }
            _ => match &mut last {
                Some((after, taken)) => {
                    *taken += 1;
                    (at, position) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The parameters of a query string, decoded.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The first parameter `name` of a query string, decoded.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let is_plain = !has_escape(name);
    let mut rest = query;
    while !rest.is_empty() {
        let end = memchr::memchr(b'&', rest.as_bytes()).unwrap_or(rest.len());
        let (pair, after) = rest.split_at(end);
        rest = after.strip_prefix('&').unwrap_or_default();
        let value = match pair.strip_prefix(name).filter(|_| is_plain) {
            Some("") => Some(""),
            Some(after) if after.starts_with('=') => Some(&after[1..]),
            _ if has_escape(pair) => {
                let (raw, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(raw) == name).then_some(value)
            }
            _ => None,
        };
        if let Some(value) = value.filter(|_| !pair.is_empty()) {
            return Some(decode(value));
        }
    }
    None
}

/// Whether a part of a query string must be decoded.
fn has_escape(text: &str) -> bool {
    memchr::memchr2(b'%', b'+', text.as_bytes()).is_some()
}

fn decode(text: &str) -> Cow<'_, str> {
    if !has_escape(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// The query string of a URL, without the fragment.
pub fn query_of(url: &str) -> &str {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    url.split_once('?').map_or("", |(_, query)| query)
}

/// The variation that the query string forces for an experiment: `?KEY=INDEX`
/// ([getQueryStringOverride](https://docs.growthbook.io/lib/build-your-own#getquerystringoverride)).
pub fn query_string_override(key: &str, query: &str, variations: usize) -> Option<usize> {
    let mut values = parameters(query).filter(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value);
    let value = values.next().filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))?;
    value.parse().ok().filter(|index| *index < variations)
}

/// The address of a redirect that keeps the parameters of the requested URL which the address does not set itself.
pub fn merge_query_strings(requested: &str, address: &str) -> String {
    let query = query_of(address);
    let own: Vec<_> = parameters(query).collect();
    let mut added: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in parameters(query_of(requested)) {
        if !own.iter().chain(&added).any(|(existing, _)| *existing == name) {
            added.push((name, value));
        }
    }
    if added.is_empty() {
        return address.to_owned();
    }
    let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
    let mut merged = address.split('?').next().unwrap_or_default().to_owned();
    let encode = |text: &str| utf8_percent_encode(text, FORM_ENCODED).to_string().replace(' ', "+");
    for (index, (name, value)) in own.iter().chain(&added).enumerate() {
        merged.push(if index == 0 { '?' } else { '&' });
        merged.push_str(&encode(name));
        merged.push('=');
        merged.push_str(&encode(value));
    }
    if !fragment.is_empty() {
        merged.push('#');
        merged.push_str(fragment);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn targets(url: &str, pattern: &str) -> bool {
        is_targeted(url, &[Target { include: true, pattern: TargetPattern::simple(pattern) }])
    }

    #[test]
    fn a_simple_pattern_compares_the_parts_of_a_url() {
        let url = "https://www.Example.com/docs/guide/?ref=a+b&x=1#top";
        for pattern in [
            "https://www.example.com/docs/guide",
            "http://www.example.com/DOCS/*",
            "www.example.com/docs/guide/",
            "*.example.com/*",
            "/docs/*",
            "docs/guide",
            "/docs/guide?ref=a%20b",
            "/docs/guide?x=*",
            "/docs/guide#top",
        ] {
            assert!(targets(url, pattern), "{pattern}");
        }
        for pattern in ["/docs", "example.com/docs/*", "/docs/guide?x=2", "/docs/guide#end", "/other/*"] {
            assert!(!targets(url, pattern), "{pattern}");
        }
    }

    #[test]
    fn an_exclusion_wins_and_without_inclusions_the_rest_is_targeted() {
        let target = |include, pattern| Target { include, pattern: TargetPattern::simple(pattern) };
        assert!(!is_targeted("https://a/x", &[]));
        assert!(!is_targeted("https://a/x", &[target(true, "/*"), target(false, "/x")]));
        assert!(is_targeted("https://a/y", &[target(false, "/x")]));
        assert!(!is_targeted("https://a/y", &[target(true, "/x"), target(false, "/z")]));
    }

    #[test]
    fn redirects_keep_the_parameters_that_the_address_does_not_set() {
        let merged = merge_query_strings("https://a/x?color=blue&t=a%20b&t=2#f", "https://b/y?color=red#g");
        assert_eq!(merged, "https://b/y?color=red&t=a+b#g");
        assert_eq!(merge_query_strings("https://a/x", "https://b/y"), "https://b/y");
    }

    proptest! {
        #[test]
        fn a_parameter_is_the_first_with_its_name(query in "([ab%+=&]|%61){0,12}", name in "[ab+]{0,2}") {
            let first = parameters(&query).find(|(parameter, _)| *parameter == name).map(|(_, value)| value);
            prop_assert_eq!(parameter(&query, &name), first);
        }

        #[test]
        fn wildcards_match_as_a_regular_expression_does(pattern in "[ab*]{0,8}", text in "[abAB]{0,10}") {
            let expression = format!("^{}$", pattern.replace('*', ".*"));
            let expected = Pattern::new(&expression, true).unwrap().is_match(&text);
            prop_assert_eq!(matches_wildcards(&pattern, &text), expected);
        }
    }
}
