//! The fields of a request that experiments use. They are parsed only if experiments are enabled.

use std::borrow::Cow;

use crate::request::Request;
use crate::request::header_names::header;

/// The number of cookies that need no allocation.
const COOKIES_INLINE: usize = 6;

/// The cookies of a request, each as `NAME=VALUE`.
#[derive(Debug, Clone, Default)]
pub struct Cookies<'a> {
    first: [Cow<'a, str>; COOKIES_INLINE],
    len: usize,
    others: Vec<Cow<'a, str>>,
}

impl<'a> Cookies<'a> {
    /// Adds a cookie.
    pub fn push(&mut self, cookie: Cow<'a, str>) {
        match self.first.get_mut(self.len) {
            Some(free) => {
                *free = cookie;
                self.len += 1;
            }
            None => self.others.push(cookie),
        }
    }

    /// The value of the first cookie with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Whether several cookies have this name, such as one of the host and one of its domain.
    pub fn has_several(&self, name: &str) -> bool {
        self.values(name).nth(1).is_some()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let all = self.first.iter().take(self.len).chain(&self.others);
        all.filter_map(move |cookie| cookie.strip_prefix(name)?.strip_prefix('='))
    }
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
    /// The whole event, for header fields that are seldom used.
    pub event: &'a [u8],
}

impl Visit<'_> {
    /// The value of a header field, by its name in lower case. Reads the event again.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        header(self.event, name)
    }

    /// Whether a browser navigates to a page: it says so, or it does not say what it fetches and accepts HTML.
    pub fn is_navigation(&self, request: &Request<'_>) -> bool {
        let is_prefetch = |purpose: &Option<Cow<'_, str>>| {
            purpose
                .as_deref()
                .is_some_and(|purpose| purpose.trim_ascii_start().to_ascii_lowercase().starts_with("prefetch"))
        };
        let navigates = match self.sec_fetch_dest.as_deref() {
            Some(destination) => matches!(destination, "document" | "iframe"),
            None => request.accepts_html(),
        };
        navigates
            && request.method == crate::request::Method::Get
            && !is_prefetch(&self.sec_purpose)
            && !is_prefetch(&self.purpose)
    }
}
