//! Pages on which something is counted: an exact path, or a URL pattern of GrowthBook.

use percent_encoding::percent_decode_str;

use crate::experiment::url::{TargetPattern, UrlParts, matches_path, without_slashes};

/// The page of a request.
pub(super) struct Page<'a> {
    /// The decoded path.
    pub(super) path: &'a str,
    /// Returns the whole URL, which only some patterns need.
    pub(super) url: &'a dyn Fn() -> &'a str,
}

/// Which pages are meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PagePattern {
    /// The page with this decoded path.
    Exact(Box<str>),
    /// Pages whose path matches a pattern with `*` as wildcard.
    Path(Box<str>),
    /// Pages whose URL matches a pattern with a host or a query string.
    Url(TargetPattern),
}

impl PagePattern {
    /// Reads a path such as `/thanks.html`, or a pattern such as `/checkout/*` or `example.com/docs/*?step=2`.
    ///
    /// `None` if it can match no page.
    pub(super) fn read(text: &str) -> Option<Self> {
        let decoded = |text: &str| -> Box<str> { percent_decode_str(text).decode_utf8_lossy().into() };
        match text.starts_with('/') {
            true if !text.contains(['*', '?', '#']) => Some(Self::Exact(decoded(text))),
            true if !text.contains(['?', '#']) => Some(Self::Path(decoded(without_slashes(text)))),
            // A name without a slash would be taken for a host.
            false if !text.contains('/') && !text.starts_with('*') => None,
            _ => Some(Self::Url(TargetPattern::simple(text))),
        }
    }

    /// Whether a page is meant.
    pub(super) fn matches(&self, page: &Page<'_>) -> bool {
        match self {
            Self::Exact(path) => **path == *page.path,
            Self::Path(pattern) => matches_path(pattern, page.path),
            Self::Url(pattern) => pattern.matches(&UrlParts::split((page.url)(), "_")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str, url: &'static str) -> bool {
        PagePattern::read(pattern).is_some_and(|pattern| pattern.matches(&Page { path, url: &|| url }))
    }

    #[test]
    fn a_path_is_exact_and_a_pattern_is_growthbooks() {
        for (pattern, path, expected) in [
            ("/thanks.html", "/thanks.html", true),
            ("/thanks.html", "/thanks.html/", false),
            ("/thanks.html", "/Thanks.html", false),
            ("/a%20b", "/a b", true),
            ("/checkout/*", "/checkout/pay", true),
            ("/checkout/*", "/checkout", false),
            ("/checkout/*", "/shop/checkout/pay", false),
            ("*/pay", "/checkout/pay", true),
            ("thanks.html", "/thanks.html", false),
            ("", "/", false),
        ] {
            assert_eq!(matches(pattern, path, "https://www.example.com/checkout/pay"), expected, "{pattern} {path}");
        }
        let url = "https://www.example.com/docs/a?step=2";
        for (pattern, expected) in [
            ("www.example.com/docs/*", true),
            ("other.com/docs/*", false),
            ("/docs/a?step=2", true),
            ("/docs/a?step=3", false),
            ("https://www.example.com/docs/a", true),
        ] {
            assert_eq!(matches(pattern, "/docs/a", url), expected, "{pattern}");
        }
    }
}
