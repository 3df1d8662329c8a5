//! A request as a door has received it.

use std::net::IpAddr;

use bytes::Bytes;
use http::request::Parts;

/// A request with its whole body.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedRequest<'a> {
    /// The request line and the headers.
    pub parts: &'a Parts,
    /// The body.
    pub body: &'a Bytes,
    /// The address of the client, which is the CDN's if it has forwarded the request.
    pub source_ip: IpAddr,
    /// The request id of the door.
    pub request_id: &'a str,
    /// The access key id of the verified signature; `None` without authentication.
    pub signed_by: Option<&'a str>,
}

/// Why a door rejects a request without invoking the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unroutable {
    /// The path is not percent-encoded UTF-8.
    BadPath,
    /// The path does not start with the stage or the base path.
    NoRoute,
}
