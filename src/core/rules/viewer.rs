//! The viewer of a request, as the files of a site see one.

use std::borrow::Cow;

use percent_encoding::utf8_percent_encode;

use crate::access::credentials::{CookieValues, Credentials};
use crate::request::Request;
use crate::request::visit::Visit;
use crate::rules::active::Viewer;
use crate::rules::percent::PATH_ENCODED;

/// The viewer of a request.
#[derive(Debug)]
pub struct RequestViewer<'a> {
    request: &'a Request<'a>,
    visit: &'a Visit<'a>,
    /// The usual address of the site, such as `https://www.example.com`.
    site: &'a str,
}

impl<'a> RequestViewer<'a> {
    /// The viewer of `request`, whose other fields are in `visit`.
    pub fn new(request: &'a Request<'a>, visit: &'a Visit<'a>, site: &'a str) -> Self {
        Self { request, visit, site }
    }
}

impl Credentials for RequestViewer<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "authorization" => self.visit.authorization(),
            "origin" => self.visit.origin(),
            _ => self.visit.header(name),
        }
    }

    fn cookies(&self, name: &str) -> CookieValues<'_> {
        self.visit.cookies.all(name).collect()
    }

    fn query(&self) -> &str {
        &self.request.query
    }

    fn page_url(&self) -> Option<Cow<'_, str>> {
        if !self.visit.is_navigation(self.request) {
            return None;
        }
        let scheme = self.site.split_once("://").map_or("https", |(scheme, _)| scheme);
        let mut url = format!("{scheme}://{}", self.visit.site_host(self.site));
        url.extend(utf8_percent_encode(&self.request.path, PATH_ENCODED));
        if !self.request.query.is_empty() {
            url.push('?');
            url.push_str(&self.request.query);
        }
        Some(Cow::Owned(url))
    }
}

impl Viewer for RequestViewer<'_> {
    fn host(&self) -> Cow<'_, str> {
        self.visit.site_host(self.site)
    }

    fn country(&self) -> Option<Cow<'_, str>> {
        self.visit.field(&self.visit.country, "cloudfront-viewer-country")
    }

    fn language(&self) -> Option<Cow<'_, str>> {
        self.visit.field(&self.visit.accept_language, "accept-language")
    }
}
