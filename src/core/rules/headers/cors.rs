//! Cross-origin requests ([Fetch](https://fetch.spec.whatwg.org/#http-cors-protocol)).
//!
//! A file sets the fields as on Cloudflare and Netlify. `Access-Control-Allow-Origin` can also be a list of origins, which no
//! browser would accept; the response has the one that the request names.

use std::borrow::Cow;

use crate::rules::line_problem::{Fault, part};

pub(super) const ALLOW_ORIGIN: &str = "access-control-allow-origin";
pub(super) const ALLOW_METHODS: &str = "access-control-allow-methods";
pub(super) const ALLOW_HEADERS: &str = "access-control-allow-headers";
pub(super) const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
pub(super) const MAX_AGE: &str = "access-control-max-age";
pub(super) const EXPOSE_HEADERS: &str = "access-control-expose-headers";

/// The methods of the origin.
const METHODS: &str = "GET, HEAD";

/// The origins of a list, which commas and blanks separate.
fn origins(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ', '\t']).filter(|origin| !origin.is_empty())
}

/// Selects the allowed origin to send. The flag tells whether the request decides it.
///
/// `*` and a single origin are sent to every request. Of a list the request's origin is sent, with its own spelling.
pub(super) fn allowed_origin<'a>(list: &'a str, origin: Option<&'a str>) -> (Option<&'a str>, bool) {
    if let Some(any) = origins(list).find(|origin| *origin == "*") {
        return (Some(any), false);
    }
    let mut all = origins(list);
    if let (Some(only), None) = (all.next(), all.next()) {
        return (Some(only), false);
    }
    let is_listed = |origin: &&str| origins(list).any(|listed| listed.eq_ignore_ascii_case(origin));
    (origin.filter(is_listed), true)
}

/// The policy of a path for requests from other origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsPolicy<'r> {
    /// `*`, an origin, or a list of origins.
    pub origins: Cow<'r, str>,
    /// Access-Control-Allow-Methods; the methods of the origin if it is absent.
    pub methods: Option<Cow<'r, str>>,
    /// Access-Control-Allow-Headers.
    pub headers: Option<Cow<'r, str>>,
    /// Access-Control-Allow-Credentials.
    pub credentials: Option<Cow<'r, str>>,
    /// Access-Control-Max-Age, in seconds.
    pub max_age: Option<Cow<'r, str>>,
    /// Access-Control-Expose-Headers.
    pub exposed: Option<Cow<'r, str>>,
}

/// The names and values of fields.
pub type CorsFields<'a> = Vec<(&'static str, Cow<'a, str>)>;

impl CorsPolicy<'_> {
    /// The fields of the 204 that answers a preflight request.
    ///
    /// The browser compares them with the method and the fields that it asks for, and names the one that is missing.
    /// An origin that is not listed gets `Vary` only, which is a refusal.
    pub fn preflight<'a>(&'a self, origin: Option<&'a str>) -> CorsFields<'a> {
        let methods = Some(self.methods.as_deref().unwrap_or(METHODS));
        self.fields(
            origin,
            &[
                (ALLOW_METHODS, methods),
                (ALLOW_HEADERS, self.headers.as_deref()),
                (ALLOW_CREDENTIALS, self.credentials.as_deref()),
                (MAX_AGE, self.max_age.as_deref()),
            ],
        )
    }

    /// The fields of any other response, errors included.
    pub fn simple<'a>(&'a self, origin: Option<&'a str>) -> CorsFields<'a> {
        let rest = [(ALLOW_CREDENTIALS, self.credentials.as_deref()), (EXPOSE_HEADERS, self.exposed.as_deref())];
        self.fields(origin, &rest)
    }

    fn fields<'a>(&'a self, origin: Option<&'a str>, rest: &[(&'static str, Option<&'a str>)]) -> CorsFields<'a> {
        let (allowed, varies) = allowed_origin(&self.origins, origin);
        let mut fields = CorsFields::new();
        if let Some(allowed) = allowed {
            fields.push((ALLOW_ORIGIN, allowed.into()));
            fields.extend(rest.iter().filter_map(|(name, value)| Some((*name, Cow::Borrowed((*value)?)))));
        }
        if varies {
            fields.push(("vary", "Origin".into()));
        }
        fields
    }
}

/// The parts of a rule's policy that browsers ignore. `value` returns the value of a field as written.
pub(super) fn faults<'v>(value: impl Fn(&str) -> Option<&'v str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let list = value(ALLOW_ORIGIN).unwrap_or_default();
    for origin in origins(list).filter(|origin| !is_origin(origin)) {
        let reason = format!("expected an origin in {ALLOW_ORIGIN}, found {}", part(origin));
        faults
            .push(Fault::new(reason, "write a scheme and a host such as https://www.example.com, without / behind it"));
    }
    if let Some(credentials) = value(ALLOW_CREDENTIALS) {
        if credentials != "true" {
            let reason = format!("expected true in {ALLOW_CREDENTIALS}, found {}", part(credentials));
            faults.push(Fault::new(reason, "write true, or remove the field"));
        }
        if origins(list).any(|origin| origin == "*") {
            let reason = "browsers refuse credentials if every origin is allowed by *";
            faults
                .push(Fault::new(reason, format!("list the origins in {ALLOW_ORIGIN}, or remove {ALLOW_CREDENTIALS}")));
        }
    }
    if let Some(max_age) = value(MAX_AGE).filter(|value| !value.bytes().all(|byte| byte.is_ascii_digit())) {
        let reason = format!("expected seconds in {MAX_AGE}, found {}", part(max_age));
        faults.push(Fault::new(reason, "write a number such as 600"));
    }
    faults
}

/// Whether a text is `*`, `null` or an origin.
fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").map(|(_, host)| host);
    matches!(text, "*" | "null")
        || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_origins_reflects_the_requests_one() {
        let listed = "https://a.com,https://b.com https://c.com:8080";
        for (list, origin, expected) in [
            ("*", None, (Some("*"), false)),
            ("*", Some("https://x.com"), (Some("*"), false)),
            ("https://a.com", Some("https://x.com"), (Some("https://a.com"), false)),
            ("https://a.com, *", Some("https://x.com"), (Some("*"), false)),
            (listed, Some("https://b.com"), (Some("https://b.com"), true)),
            (listed, Some("https://B.com"), (Some("https://B.com"), true)),
            (listed, Some("https://c.com"), (None, true)),
            (listed, Some("https://a.com, https://b.com"), (None, true)),
            (listed, Some("null"), (None, true)),
            (listed, None, (None, true)),
        ] {
            assert_eq!(allowed_origin(list, origin), expected, "{list} {origin:?}");
        }
    }

    #[test]
    fn a_preflight_gets_the_policy_and_others_its_exposed_fields() {
        let policy = CorsPolicy {
            origins: "https://a.com https://b.com".into(),
            methods: None,
            headers: Some("x-a".into()),
            credentials: Some("true".into()),
            max_age: Some("600".into()),
            exposed: Some("etag".into()),
        };
        let texts = |fields: CorsFields<'_>| {
            fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            texts(policy.preflight(Some("https://b.com"))),
            [
                "access-control-allow-origin: https://b.com",
                "access-control-allow-methods: GET, HEAD",
                "access-control-allow-headers: x-a",
                "access-control-allow-credentials: true",
                "access-control-max-age: 600",
                "vary: Origin",
            ]
        );
        assert_eq!(
            texts(policy.simple(Some("https://b.com"))),
            [
                "access-control-allow-origin: https://b.com",
                "access-control-allow-credentials: true",
                "access-control-expose-headers: etag",
                "vary: Origin",
            ]
        );
        assert_eq!(texts(policy.preflight(Some("https://x.com"))), ["vary: Origin"]);
        let any = CorsPolicy { origins: "*".into(), ..policy };
        assert_eq!(any.simple(None)[0], (ALLOW_ORIGIN, "*".into()));
    }
}
