//! The login page of a rule: the member `login`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::access::member;
use crate::access::query;
use crate::experiment::value::Value;
use crate::problem::Problems;

/// Everything but unreserved characters (RFC 3986 §2.3), as `encodeURIComponent` encodes nearly all of it.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest template, in bytes.
const BYTES_MAX: usize = 2_000;

/// Where the template has the URL of the request.
const PLACEHOLDER: &str = "{url}";

/// A template of a login page's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login(Box<str>);

impl Login {
    /// Reads the member; records problems.
    pub(super) fn read(json: &Value, problems: &mut Problems) -> Option<Self> {
        let text = member::text(json, problems)?;
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
        let is_url = host.is_some_and(|host| !host.is_empty() && !host.contains(['{', '@', '\\']));
        let before = text.split_once(PLACEHOLDER).map_or(text, |(before, _)| before);
        let mistake = if !(is_path || is_url) {
            "expected an https URL, or a path of this site"
        } else if text.len() > BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            "expected at most 2000 visible ASCII characters without backslashes"
        } else if text.matches(PLACEHOLDER).count() > 1 || text.replace(PLACEHOLDER, "").contains(['{', '}']) {
            "expected {url} at most once, and no other braces"
        } else if before != text && (!before.contains('?') || before.contains('#')) {
            "expected {url} in the query"
        } else {
            return Some(Self(text.into()));
        };
        problems.reject(mistake, "write such as https://id.example/login?return={url}");
        None
    }

    /// The template.
    pub fn template(&self) -> &str {
        &self.0
    }

    /// The path of a login page of this site.
    pub(super) fn path(&self) -> Option<&str> {
        self.0.split(['?', '#']).next().filter(|path| path.starts_with('/'))
    }

    /// The URL of the login page that returns to `url`, without parameters that held refused tokens.
    pub(super) fn location(&self, url: &str, consumed: &[&str]) -> String {
        let url = match url.split_once('?') {
            Some((path, parameters)) => match query::remove(parameters, consumed) {
                left if left.is_empty() => path.to_owned(),
                left => format!("{path}?{left}"),
            },
            None => url.to_owned(),
        };
        self.0.replace(PLACEHOLDER, &utf8_percent_encode(&url, RESERVED).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Login> {
        let mut problems = Problems::default();
        let login = Login::read(&Value::Text(text.into()), &mut problems);
        assert_eq!(login.is_none(), !problems.into_located("\"\"").is_empty());
        login
    }

    #[test]
    fn only_https_urls_and_paths_are_templates() {
        for text in
            ["/login", "/login?to={url}", "https://id.example/login?return={url}&x=1", "https://id.example?u={url}"]
        {
            assert!(read(text).is_some(), "{text}");
        }
        for text in [
            "http://id.example/",
            "//id.example/",
            "login",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://{url}",
            "https://id.example{url}",
            "https://user@id.example/",
            "/a{url}",
            "/a#?{url}",
            "/a?{url}{url}",
            "/a?{path}",
            "/a?b c",
            "/a\r\nx:y",
            "/\\evil.example",
            "/é",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_return_url_is_encoded_and_has_no_token() {
        let login = read("https://id.example/login?return={url}").unwrap();
        let location = login.location("https://site.example/a b?x=1&token=secret&%74oken=2", &["token"]);
        assert_eq!(location, "https://id.example/login?return=https%3A%2F%2Fsite.example%2Fa%20b%3Fx%3D1");
        assert!(login.location("https://s.example/?token=1", &["token"]).ends_with("s.example%2F"));
    }
}
