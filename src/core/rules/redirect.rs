//! Stage: the redirect that the header `redirect` requests.

use std::ops::ControlFlow;

use percent_encoding::utf8_percent_encode;

use crate::object::ObjectKey;
use crate::rules::action::{Action, Candidate, Draft, Stage};
use crate::rules::percent::{PATH_ENCODED, QUERY_ENCODED};

/// Redirects to `redirect_path` if the header `redirect` is exactly `true`.
///
/// A key with a dot segment counts as missing: the client would resolve the segment, and leave its variant or
/// `redirect_path`.
pub(super) fn redirect(draft: &Draft<'_, '_>, first: Candidate) -> Stage<Candidate> {
    if draft.request.redirect.as_deref() != Some("true") {
        return ControlFlow::Continue(first);
    }
    let key = first.key;
    if key.has_dot_segment() {
        return ControlFlow::Break(Action::Missing { key });
    }
    let query = draft.policy.redirect_query.then_some(&*draft.request.query);
    let location = location(&draft.policy.redirect_path, &key, query);
    ControlFlow::Break(Action::Redirect { key, location })
}

/// The Location of `key`, percent-encoded where a URI requires it. It cannot contain CR or LF.
pub fn location(redirect_path: &str, key: &ObjectKey, query: Option<&str>) -> String {
    let mut location = String::with_capacity(redirect_path.len() + 1 + key.as_str().len());
    location.push_str(redirect_path);
    location.push('/');
    push_encoded(&mut location, key.as_str(), query.unwrap_or_default());
    location
}

/// The Location of a decoded path of the site, with a query string. It cannot lead to another host: a path never starts with
/// two slashes, or with a backslash, which browsers read as a slash.
pub(super) fn site_location(path: &str, query: &str) -> String {
    let mut location = String::with_capacity(path.len() + query.len() + 2);
    location.push('/');
    push_encoded(&mut location, path.trim_start_matches(['/', '\\']), query);
    location
}

fn push_encoded(location: &mut String, path: &str, query: &str) {
    location.extend(utf8_percent_encode(path, PATH_ENCODED));
    if !query.is_empty() {
        location.push('?');
        location.extend(utf8_percent_encode(query, QUERY_ENCODED));
    }
}
