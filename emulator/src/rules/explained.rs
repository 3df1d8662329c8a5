//! The subject of an explanation: a request, and the decision on it.

use std::borrow::Cow;

use nearedge_core::access::credentials::Credentials;
use nearedge_core::access::query::remove;
use nearedge_core::access::source::Source;
use nearedge_core::request::Request;
use nearedge_core::rules::{Decision, RequestViewer};

use crate::rules::site::Site;

/// A request, the decision about it, and what both depend on.
pub(super) struct Explained<'a, 'd> {
    pub(super) site: &'a Site,
    /// The request as the rules of access see it.
    pub(super) complete: &'a Request<'a>,
    /// The request without tokens, as the other stages see it.
    pub(super) request: &'a Request<'a>,
    pub(super) viewer: &'a RequestViewer<'a>,
    pub(super) decision: &'a Decision<'d>,
    /// The time, in Unix seconds.
    pub(super) now: u64,
}

/// The content of a place for tokens in a request, without its value.
pub(super) fn presence(credentials: &dyn Credentials, place: &Source) -> &'static str {
    let count = match place {
        Source::Header(name) => usize::from(credentials.header(name).is_some()),
        Source::Cookie(name) => credentials.cookies(name).len(),
        Source::Query(name) => usize::from(has_parameter(credentials.query(), name)),
    };
    if count > 0 { "present" } else { "absent" }
}

/// Whether a query has a parameter, in any encoding of its name.
pub(super) fn has_parameter(query: &str, name: &str) -> bool {
    matches!(remove(query, &[name]), Cow::Owned(_))
}
