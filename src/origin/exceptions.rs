//! The settings of responses without the requested object.

use std::time::Duration;

use nearedge_core::object::ObjectKey;

/// How the origin responds for an object that does not fit into a Lambda response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// 307 to a presigned S3 URL.
    Presign,
    /// 307 to `redirect_path` for a variant's object, which the distribution serves straight from S3.
    Redirect,
    /// 413.
    Reject,
}

/// The settings of responses without the requested object.
#[derive(Debug, Clone)]
pub struct Exceptions {
    /// The object that is the body of a 404.
    pub error_document: Option<ObjectKey>,
    /// How the origin responds for an object that does not fit into a Lambda response.
    pub oversize: Oversize,
    /// Whether objects with `x-amz-website-redirect-location` redirect.
    pub object_redirects: bool,
    /// Whether copies are sent of objects that a rule of access guards.
    pub compress_guarded: bool,
    /// The lifetime of a presigned URL.
    pub presign_ttl: Duration,
}
