//! The path of a rule: one object, or a folder.

/// The longest path of a rule, in bytes: a slash and the longest key.
const BYTES_MAX: usize = 1 + crate::object::KEY_BYTES_MAX;

/// The paths of a rule, decoded and case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathPattern {
    /// `/*`: every path.
    All,
    /// `/a.html`: this path.
    Exact(Box<str>),
    /// `/a/*`: the folder and everything in it. Ends with a slash.
    Folder(Box<str>),
}

impl PathPattern {
    /// Parses a path.
    ///
    /// `/a*` is refused: it would look like the folder `a` but contain `/abc`. A path that ends in a slash is refused too: it
    /// would guard `/a/`, but not the same object at `/a/index.html`.
    pub(super) fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        let plain = "write the object as /members/a.html, or the folder as /members/*";
        let path = text.strip_suffix("/*").map_or(text, |_| &text[..text.len() - 1]);
        let Some(rest) = path.strip_prefix('/') else { return Err(("expected a path that starts with /", plain)) };
        if text.len() > BYTES_MAX {
            return Err(("the path is longer than any key of an object", plain));
        }
        if path.contains('*') {
            return Err(("expected * only as the whole last segment", plain));
        }
        if rest.split('/').any(|segment| matches!(segment, "." | "..")) || path.contains("//") || path.contains('\\') {
            return Err(("expected a path without dot segments, // and backslashes", plain));
        }
        if text.trim() != text {
            return Err(("expected a path without white space at its end", plain));
        }
        if path.contains(['?', '#']) || path.chars().any(char::is_control) {
            return Err(("expected a path without query, fragment and control characters", plain));
        }
        if percent_encoding::percent_decode_str(path).count() != path.len() {
            return Err(("expected a decoded path", "write the characters themselves instead of %XX"));
        }
        match (text.ends_with("/*"), rest) {
            (true, "") => Ok(Self::All),
            (true, _) => Ok(Self::Folder(path.into())),
            (false, _) if path.ends_with('/') => {
                Err(("a path that ends in / would not guard the same object at its full path", plain))
            }
            (false, _) => Ok(Self::Exact(path.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_one_object_or_a_folder() {
        assert_eq!(PathPattern::parse("/*"), Ok(PathPattern::All));
        assert_eq!(PathPattern::parse("/a b/é/*"), Ok(PathPattern::Folder("/a b/é/".into())));
        assert_eq!(PathPattern::parse("/100%.html"), Ok(PathPattern::Exact("/100%.html".into())));
        for text in [
            "", "/", "*", "a", "a/*", "/a*", "/a/*/b", "/a/**", "/*a", "/a/", "//a", "/a//*", "/a/../b", "/./*",
            "/a/..", "/a\\b", "/a?b", "/a#b", "/a\nb", "/a%20b", "/a\0", "/a/*/*", "/*/*", "/a ",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text:?}");
        }
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(1024))).is_ok());
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(1025))).is_err());
    }
}
