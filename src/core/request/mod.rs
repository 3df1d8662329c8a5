//! A viewer's request: the fields that the rules use, borrowed from the event.

pub mod door;
pub mod event;
pub mod header_names;
mod header_scan;
mod proxy_event;
mod text;
pub mod visit;

use std::borrow::Cow;

use crate::http::accept::Accepts;
use crate::http::conditional::Conditions;
use crate::request::door::Door;

/// The request method, as far as the rules distinguish methods (RFC 9110 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD: a GET without the response body.
    Head,
    /// OPTIONS: lists the supported methods.
    Options,
    /// Any other method; the response is 405.
    Other,
}

/// A viewer's request, as CloudFront and the door forward it. Repeated header fields are joined with commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request<'a> {
    /// The service that forwarded the request.
    pub door: Door,
    /// The method.
    pub method: Method,
    /// The name of the method if it is [`Method::Other`]; otherwise empty.
    pub other_method: Cow<'a, str>,
    /// The path, percent-decoded exactly once, with its leading `/` and without the stage's prefix.
    pub path: Cow<'a, str>,
    /// The query string, percent-encoded, without its `?`.
    pub query: Cow<'a, str>,
    /// The header `lambda_auth`.
    pub lambda_auth: Option<Cow<'a, str>>,
    /// The header `test_version`.
    pub test_version: Option<Cow<'a, str>>,
    /// The header `redirect`.
    pub redirect: Option<Cow<'a, str>>,
    /// The header Accept (RFC 9110 §12.5.1).
    pub accept: Option<Cow<'a, str>>,
    /// The header Accept-Encoding (RFC 9110 §12.5.3).
    pub accept_encoding: Option<Cow<'a, str>>,
    /// The header If-Match (RFC 9110 §13.1.1).
    pub if_match: Option<Cow<'a, str>>,
    /// The header If-None-Match (RFC 9110 §13.1.2).
    pub if_none_match: Option<Cow<'a, str>>,
    /// The header If-Modified-Since (RFC 9110 §13.1.3).
    pub if_modified_since: Option<Cow<'a, str>>,
    /// The header If-Unmodified-Since (RFC 9110 §13.1.4).
    pub if_unmodified_since: Option<Cow<'a, str>>,
    /// The header If-Range (RFC 9110 §13.1.5).
    pub if_range: Option<Cow<'a, str>>,
    /// The header Range (RFC 9110 §14.2).
    pub range: Option<Cow<'a, str>>,
    /// The header traceparent (W3C Trace Context §3.2).
    pub traceparent: Option<Cow<'a, str>>,
}

impl Request<'_> {
    /// Whether Accept names `text/html` with a weight above zero, which means "not acceptable" (RFC 9110 §12.4.2).
    pub fn accepts_html(&self) -> bool {
        self.accept.as_deref().is_some_and(|accept| accept.split(',').any(is_html))
    }

    /// The fields that select among the copies of an object.
    pub fn accepts(&self) -> Accepts<'_> {
        Accepts { encoding: self.accept_encoding.as_deref(), media: self.accept.as_deref() }
    }

    /// The conditional header fields.
    pub fn conditions(&self) -> Conditions<'_> {
        Conditions {
            if_match: self.if_match.as_deref(),
            if_none_match: self.if_none_match.as_deref(),
            if_modified_since: self.if_modified_since.as_deref(),
            if_unmodified_since: self.if_unmodified_since.as_deref(),
        }
    }
}

/// Whether a media range is `text/html` with a weight above zero.
fn is_html(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    html && weight.and_then(|weight| weight.parse::<f32>().ok()) != Some(0.0)
}
