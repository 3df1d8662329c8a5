//! Patterns of URLs: an optional host and a path.

use crate::rules::line_problem::{Checked, Fault, part};
use crate::rules::path_pattern::{Captures, SPLAT, SegmentPattern, Token, tokens};

/// A pattern of a URL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UrlPattern {
    /// The host in lower case, without a port; `None` matches every host.
    pub(super) host: Option<SegmentPattern>,
    /// The path behind its first `/`.
    pub(super) path: SegmentPattern,
    /// The names of the captures of the host, then of the path.
    pub(super) names: Box<[Box<str>]>,
}

/// An example of a URL that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlExample {
    /// The host; `None` if the pattern matches every host.
    pub host: Option<String>,
    /// The decoded path.
    pub path: String,
    /// Whether the pattern matches no other path.
    pub is_only: bool,
}

impl UrlPattern {
    /// Reads a path such as `/docs/:page`, or a URL such as `https://old.example.com/*`.
    ///
    /// The scheme is not compared: behind CloudFront the function sees HTTPS only.
    pub(super) fn parse(text: &str) -> Checked<Self> {
        let of_host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (host, path) = match of_host {
            Some(rest) => rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, "")),
            None => ("", text),
        };
        if of_host.is_none() && !text.starts_with('/') {
            return Err(Fault::new(
                format!("expected a path or a URL, found {}", part(text)),
                "start it with /, https:// or http://",
            ));
        }
        if let Some(at) = text.find(['?', '#']) {
            return Err(Fault::new(
                format!("{} is not a part of a path", part(&text[at..])),
                "remove it; a query string is matched by name=value between the path and the target",
            ));
        }
        let mut names = Vec::new();
        let host = match of_host {
            Some(_) => Some(SegmentPattern::parse(&checked_host(host)?, b'.', &mut names)?),
            None => None,
        };
        let path = SegmentPattern::parse(path.strip_prefix('/').unwrap_or(path), b'/', &mut names)?;
        if path.has_dot_segment() {
            return Err(Fault::new(
                "clients resolve the segments . and .. before a request",
                "write the resolved path",
            ));
        }
        Ok(Self { host, path, names: names.into() })
    }

    /// The paths that start with `prefix`, a decoded text without placeholders.
    pub(super) fn of_prefix(prefix: &str) -> Self {
        let path = SegmentPattern::of_prefix(prefix);
        Self { host: None, path, names: [SPLAT.into()].into() }
    }

    /// An example of a URL that matches.
    pub(super) fn example(&self) -> UrlExample {
        UrlExample {
            host: self.host.as_ref().map(SegmentPattern::example),
            path: format!("/{}", self.path.example()),
            is_only: self.path.literal().is_some(),
        }
    }

    /// Whether all candidates of an index match.
    pub(super) fn is_decided_by_index(&self) -> bool {
        self.host.is_none() && self.path.is_decided_by_steps
    }

    /// Whether the decoded `path` matches. `host` is called if the pattern has a host.
    pub(super) fn matches<'t>(
        &self,
        host: impl FnOnce() -> &'t str,
        path: &'t str,
        captures: &mut Captures<'t>,
    ) -> bool {
        captures.clear();
        let Some(path) = path.strip_prefix('/') else { return false };
        self.host.as_ref().is_none_or(|pattern| pattern.matches(host(), captures)) && self.path.matches(path, captures)
    }
}

/// The host of a pattern in lower case.
fn checked_host(host: &str) -> Checked<String> {
    let is_of_host = |character: char| character.is_ascii_alphanumeric() || "-._:*".contains(character);
    let mut plain = tokens(host).filter_map(|token| if let Token::Text(text) = token { Some(text) } else { None });
    if host.is_empty() || !host.chars().all(is_of_host) || plain.any(|text| text.contains(':')) {
        return Err(Fault::new(
            format!("expected a host name without port, found {}", part(host)),
            "write a name such as www.example.com; write an international name in its ASCII form (xn--…)",
        ));
    }
    // The names of placeholders keep their case.
    let mut lower = String::with_capacity(host.len());
    for token in tokens(host) {
        match token {
            Token::Text(text) => lower.push_str(&text.to_ascii_lowercase()),
            Token::Placeholder(name) => lower.extend([":", name]),
            Token::Splat => lower.push('*'),
        }
    }
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::path_pattern::Step;

    /// The captured texts; `None` if the URL does not match.
    fn captured(pattern: &str, host: &'static str, path: &'static str) -> Option<Vec<String>> {
        let mut captures = Captures::new();
        let pattern = UrlPattern::parse(pattern).unwrap_or_else(|fault| panic!("{pattern}: {fault:?}"));
        let is_match = pattern.matches(|| host, path, &mut captures);
        is_match.then(|| captures.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("/", "/", Some(vec![])),
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/", None),
            ("/a", "/A", None),
            ("/a%20b", "/a b", Some(vec![])),
            ("/a b", "/a b", Some(vec![])),
            ("/a%2Fb", "/a/b", Some(vec![])),
            ("/%2a", "/*", Some(vec![])),
            ("/日", "/日", Some(vec![])),
            ("/:1", "/:1", Some(vec![])),
            ("/*", "/", Some(vec![""])),
            ("/*", "/a/b", Some(vec!["a/b"])),
            ("/a/*", "/a", None),
            ("/a/*", "/a/", Some(vec![""])),
            ("/a/*", "/a//b", Some(vec!["/b"])),
            ("/a*", "/a/b", Some(vec!["/b"])),
            ("/a*", "/b", None),
            ("/*.svg", "/x/y.svg", Some(vec!["x/y"])),
            ("/*.svg", "/x.svg/y", None),
            ("/a/*/b", "/a/b", None),
            ("/a/*/b", "/a//b", Some(vec![""])),
            ("/a/*/b", "/a/x/y/b", Some(vec!["x/y"])),
            ("/ab*ba", "/aba", None),
            ("/:x", "/a", Some(vec!["a"])),
            ("/:x", "/", None),
            ("/:x", "/a/b", None),
            ("/:x/", "/a/", Some(vec!["a"])),
            ("/:x/:y", "/a/b", Some(vec!["a", "b"])),
            ("/:x/:y", "/a/", None),
            ("/p:x", "/pa", Some(vec!["a"])),
            ("/p:x", "/p", None),
            ("/:y-:m.html", "/2026-08-01.html", Some(vec!["2026-08", "01"])),
            ("/:y-:m.html", "/-01.html", None),
            ("/:y-:m.html", "/2026-.html", None),
            ("/:a:b", "/日本語", Some(vec!["日本", "語"])),
            ("/:a:b", "/日", None),
            ("/:a/*/:b-:c", "/1/2/3/4-5", Some(vec!["1", "2/3", "4", "5"])),
        ] {
            let expected = expected.map(|texts| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(captured(pattern, "h", path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_host_matches_in_any_scheme() {
        for (pattern, host, expected) in [
            ("https://a.com/x", "a.com", Some(vec![])),
            ("http://A.com/x", "a.com", Some(vec![])),
            ("https://a.com/x", "b.a.com", None),
            ("https://:sub.a.:tld/x", "www.a.dev", Some(vec!["www", "dev"])),
            ("https://:sub.a.com/x", "x.www.a.com", None),
            ("https://*.a.com/x", "x.www.a.com", Some(vec!["x.www"])),
            ("https://:Sub.a.*/:y", "www.a.co.uk", Some(vec!["www", "co.uk", "x"])),
        ] {
            let expected = expected.map(|texts| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(captured(pattern, host, "/x"), expected, "{pattern} {host}");
        }
        assert_eq!(captured("https://a.com", "a.com", "/"), Some(vec![]));
    }

    #[test]
    fn invalid_patterns_have_a_reason() {
        for (pattern, reason) in [
            ("a", "expected a path or a URL, found a"),
            ("/a?b=1", "?b=1 is not a part of a path"),
            ("/a#b", "#b is not a part of a path"),
            ("https:///a", "expected a host name without port, found "),
            ("https://a.com:8080/", "expected a host name without port, found a.com:8080"),
            ("https://me@a.com/", "expected a host name without port, found me@a.com"),
            ("https://é.com/", "expected a host name without port, found é.com"),
            ("/*/*", "expected at most one *, which :splat names"),
            ("/**", "expected at most one *, which :splat names"),
            ("https://*.a.com/*", "expected at most one *, which :splat names"),
            ("/*/:splat", "expected at most one *, which :splat names"),
            ("/:splat/*", "expected at most one *, which :splat names"),
            ("/:a/:a", "the placeholder :a occurs twice"),
            ("/:a*", "a segment has * and a placeholder, which have no boundary"),
            ("/*:a", "a segment has * and a placeholder, which have no boundary"),
            ("/%ff", "%ff is not UTF-8"),
            ("/%0a", "%0a has a control character"),
            ("/a/../b", "clients resolve the segments . and .. before a request"),
            ("/*/.", "clients resolve the segments . and .. before a request"),
        ] {
            assert_eq!(UrlPattern::parse(pattern).map_err(|fault| fault.reason), Err(reason.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn an_example_matches_its_pattern() {
        for pattern in ["/", "/a/b", "/*", "/a/*", "/a*b/:c", "/:a/:b-:c/*/d/:e", "/:x.html"] {
            let pattern = UrlPattern::parse(pattern).expect("expected a valid pattern");
            let example = format!("/{}", pattern.path.example());
            assert!(pattern.matches(|| "", &example, &mut Captures::new()), "{example}");
        }
    }

    #[test]
    fn steps_end_at_the_first_part_that_needs_a_search() {
        for (pattern, expected) in [
            ("/a/b", vec![Step::Text("a"), Step::Text("/"), Step::Text("b")]),
            ("/a/:b/c", vec![Step::Text("a"), Step::Text("/"), Step::Segment, Step::Text("/"), Step::Text("c")]),
            ("/:b", vec![Step::Segment]),
            ("/x/p:b/c", vec![Step::Text("x"), Step::Text("/"), Step::Text("p")]),
            ("/x/p*/c", vec![Step::Text("x"), Step::Text("/"), Step::Text("p")]),
            ("/*", vec![Step::Text("")]),
        ] {
            let pattern = UrlPattern::parse(pattern).expect("expected a valid pattern");
            assert_eq!(pattern.path.steps().collect::<Vec<_>>(), expected);
        }
    }
}
