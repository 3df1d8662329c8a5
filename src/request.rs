//! What the rules need to know of a request: a few fields, borrowed from the event.

use std::borrow::Cow;

/// The request method, as far as the rules tell methods apart (RFC 9110 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: a GET without the body.
    Head,
    /// Any other: answered 405.
    Other,
}

/// One viewer request, as CloudFront and API Gateway hand it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path, percent-decoded exactly once, with its leading `/` and without a stage's prefix.
    pub path: Cow<'a, str>,
    /// The query string, still percent-encoded, without its `?`.
    pub query: Cow<'a, str>,
    /// The header `lambda_auth`; a repeated one joined by commas.
    pub lambda_auth: Option<Cow<'a, str>>,
    /// The header `test_version`; a repeated one joined by commas.
    pub test_version: Option<Cow<'a, str>>,
    /// The header `redirect`; a repeated one joined by commas.
    pub redirect: Option<Cow<'a, str>>,
}
