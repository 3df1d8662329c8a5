//! The viewer of a request, as the files of a site see one.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::access::credentials::{CookieValues, Credentials};
use crate::request::Request;
use crate::request::visit::Visit;
use crate::rules::active::Viewer;

/// The most different header fields that the rules of access read of one request.
const HEADERS_MAX: usize = 8;

/// The viewer of a request.
pub struct RequestViewer<'a> {
    request: &'a Request<'a>,
    visit: &'a Visit<'a>,
    /// The usual address of the site, such as `https://www.example.com`.
    site: &'a str,
    /// The header fields that were read so far.
    headers: [OnceCell<(Box<str>, Option<Cow<'a, str>>)>; HEADERS_MAX],
}

impl<'a> RequestViewer<'a> {
    /// The viewer of `request`, whose other fields are in `visit`.
    pub fn new(request: &'a Request<'a>, visit: &'a Visit<'a>, site: &'a str) -> Self {
        Self { request, visit, site, headers: Default::default() }
    }
}

impl Credentials for RequestViewer<'_> {
    /// Reads at most eight different fields; a further one counts as absent, so that a rule refuses the request.
    fn header(&self, name: &str) -> Option<&str> {
        let read = |slot: &OnceCell<_>| -> Option<Option<&str>> { todo!() };
        None
    }
}
