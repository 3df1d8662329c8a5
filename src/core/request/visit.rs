//! The fields of a request that experiments use. They are parsed only if experiments are enabled.

use std::borrow::Cow;

use crate::request::Request;
use crate::request::header_names::header;

/// The cookies of a request, each as `NAME=VALUE`.
///
/// They stay a part of the event until they are read: a browser sends many, and experiments need two of them.
#[derive(Debug, Clone, Default)]
pub struct Cookies<'a> {
    /// A JSON array of strings without escapes.
    json: &'a str,
    /// The cookies, if a string has escapes.
    parsed: Vec<String>,
}

impl<'a> Cookies<'a> {
    /// The cookies of a JSON array of strings.
    ///
    /// # Errors
    /// If it is no such array.
    pub(super) fn of_json(json: &'a str) -> serde_json::Result<Self> {
        if json.starts_with('[') && memchr::memchr(b'\\', json.as_bytes()).is_none() {
            return Ok(Self { json, parsed: Vec::new() });
        }
        Ok(Self { json: "", parsed: serde_json::from_str(json)? })
    }

    /// Adds a cookie that is not a part of the event.
    pub fn push(&mut self, cookie: String) {
        self.parsed.push(cookie);
    }

    /// The value of the first cookie with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='))
    }

    /// The values of all cookies with this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter_map(move |cookie| cookie.strip_prefix(name)?.strip_prefix('='))
    }

    /// The values of the first cookies named `name` and `name_v`, and whether there are several of the latter, such as one
    /// of the host and one of its domain.
    pub(crate) fn pair(&self, name: &str) -> Pair<'_> {
        let mut pair = Pair::default();
        let first = name.as_bytes().first();
        for cookie in self.iter().filter(|cookie| cookie.as_bytes().first() == first) {
            let Some(rest) = cookie.strip_prefix(name) else { continue };
            if let Some(value) = rest.strip_prefix('=') {
                pair.visitor = pair.visitor.or(Some(value));
            } else if let Some(value) = rest.strip_prefix("_v=") {
                pair.has_several |= pair.assignments.is_some();
                pair.assignments = pair.assignments.or(Some(value));
            }
        }
        pair
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.json;
        let plain = std::iter::from_fn(move || {
            // One or two bytes away: a bracket or a comma precedes it.
            let start = rest.bytes().position(|byte| byte == b'"')?;
            let (_, after) = rest.split_at_checked(start + 1)?;
            let end = memchr::memchr(b'"', after.as_bytes())?;
            let (cookie, after) = after.split_at_checked(end)?;
            rest = after.get(1..)?;
            Some(cookie)
        });
        plain.chain(self.parsed.iter().map(String::as_str))
    }
}

/// The two cookies of experiments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pair<'a> {
    pub(crate) visitor: Option<&'a str>,
    pub(crate) assignments: Option<&'a str>,
    /// Whether there are several cookies with assignments.
    pub(crate) has_several: bool,
}

/// Which fields of a visit are parsed with the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Detail {
    /// Those that every visit needs. The others are looked up in the event when they are used.
    #[default]
    Visit,
    /// Those that rules of access and headers need, too.
    Viewer,
    /// Those that attributes need, too.
    Attributes,
}

/// The fields of a request that experiments use, borrowed from the event.
#[derive(Debug, Clone, Default)]
pub struct Visit<'a> {
    /// The cookies.
    pub cookies: Cookies<'a>,
    /// The header Sec-Fetch-Dest ([Fetch Metadata](https://www.w3.org/TR/fetch-metadata/#sec-fetch-dest-header)).
    pub sec_fetch_dest: Option<Cow<'a, str>>,
    /// The header Sec-Purpose ([Fetch standard](https://fetch.spec.whatwg.org/#sec-purpose-header)).
    pub sec_purpose: Option<Cow<'a, str>>,
    /// The header Purpose, its predecessor.
    pub purpose: Option<Cow<'a, str>>,
    /// The header Authorization (RFC 9110 §11.6.2).
    pub authorization: Option<Cow<'a, str>>,
    /// The header Origin ([Fetch standard](https://fetch.spec.whatwg.org/#origin-header)).
    pub origin: Option<Cow<'a, str>>,
    /// The header User-Agent.
    pub user_agent: Option<Cow<'a, str>>,
    /// The header Host.
    pub host: Option<Cow<'a, str>>,
    /// The header Referer.
    pub referer: Option<Cow<'a, str>>,
    /// The header Accept-Language.
    pub accept_language: Option<Cow<'a, str>>,
    /// The header CloudFront-Viewer-Country
    /// ([CloudFront headers](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/adding-cloudfront-headers.html)).
    pub country: Option<Cow<'a, str>>,
    /// The header CloudFront-Viewer-Country-Region.
    pub region: Option<Cow<'a, str>>,
    /// The header CloudFront-Viewer-City.
    pub city: Option<Cow<'a, str>>,
    /// The header CloudFront-Is-Desktop-Viewer.
    pub is_desktop: Option<Cow<'a, str>>,
    /// The header CloudFront-Is-Mobile-Viewer.
    pub is_mobile: Option<Cow<'a, str>>,
    /// The header CloudFront-Is-Tablet-Viewer.
    pub is_tablet: Option<Cow<'a, str>>,
    /// The header CloudFront-Is-SmartTV-Viewer.
    pub is_tv: Option<Cow<'a, str>>,
    /// The domain name of the API or the Function URL.
    pub domain_name: Option<Cow<'a, str>>,
    /// Which of these fields were parsed.
    pub detail: Detail,
    /// The whole event, for the other header fields.
    pub event: &'a [u8],
}

impl Visit<'_> {
    /// A visit to be filled with so much detail.
    pub fn with_detail(detail: Detail) -> Self {
        Self { detail, ..Self::default() }
    }

    /// The header User-Agent.
    pub fn user_agent(&self) -> Option<Cow<'_, str>> {
        self.field(&self.user_agent, "user-agent")
    }

    /// The value of a field of this struct that [`Detail::Visit`] leaves out; `name` is its header.
    pub fn field<'s>(&'s self, field: &'s Option<Cow<'_, str>>, name: &str) -> Option<Cow<'s, str>> {
        match (field, self.detail) {
            (Some(value), _) => Some(Cow::Borrowed(value)),
            (None, Detail::Attributes) => None,
            (None, Detail::Visit | Detail::Viewer) => self.header(name),
        }
    }

    /// The header Authorization.
    pub fn authorization(&self) -> Option<Cow<'_, str>> {
        self.of_viewer(&self.authorization, "authorization")
    }

    /// The header Origin.
    pub fn origin(&self) -> Option<Cow<'_, str>> {
        self.of_viewer(&self.origin, "origin")
    }

    fn of_viewer<'s>(&'s self, field: &'s Option<Cow<'_, str>>, name: &str) -> Option<Cow<'s, str>> {
        match (field, self.detail) {
            (Some(value), _) => Some(Cow::Borrowed(value)),
            (None, Detail::Visit) => self.header(name),
            (None, Detail::Viewer | Detail::Attributes) => None,
        }
    }

    /// The value of a header field, by its name in lower case. Reads the event again.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        header(self.event, name)
    }

    /// The host that the viewer requested, for a site whose usual address is `site`, such as `https://www.example.com`.
    ///
    /// An API is reached under its own name, unless it has a domain name of the site.
    pub fn site_host<'s>(&'s self, site: &'s str) -> Cow<'s, str> {
        let of_aws = |domain: &str| {
            [".amazonaws.com", ".amazonaws.com.cn", ".on.aws"].iter().any(|suffix| domain.ends_with(suffix))
        };
        let has_own = self.domain_name.as_deref().is_some_and(|domain| !of_aws(domain));
        let own = if has_own { self.field(&self.host, "host") } else { None };
        own.unwrap_or_else(|| Cow::Borrowed(site.split_once("://").map_or(site, |(_, host)| host)))
    }

    /// Whether a browser navigates to a page: it says so, or it does not say what it fetches and accepts HTML.
    pub fn is_navigation(&self, request: &Request<'_>) -> bool {
        let navigates = match self.sec_fetch_dest.as_deref() {
            Some(destination) => matches!(destination, "document" | "iframe"),
            None => request.accepts_html(),
        };
        navigates && self.is_get(request)
    }

    /// Whether the request is a GET of something that the visitor uses now.
    pub fn is_get(&self, request: &Request<'_>) -> bool {
        request.method == crate::request::Method::Get && !self.is_prefetch()
    }

    /// Whether a browser fetches what it may need later.
    pub fn is_prefetch(&self) -> bool {
        [&self.sec_purpose, &self.purpose].into_iter().flatten().any(|purpose| {
            purpose.trim_ascii_start().get(..8).is_some_and(|start| start.eq_ignore_ascii_case("prefetch"))
        })
    }
}
