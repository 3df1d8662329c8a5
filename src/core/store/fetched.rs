//! The results of a fetch.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error_chain::error_chain;
use crate::object::{Head, Object};

/// The result of a fetch for a key that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The object, or the requested range or head of it.
    Object(Object),
    /// The client's copy is current (304).
    NotModified(Head),
    /// A precondition of the request failed (412).
    PreconditionFailed,
    /// The range lies outside the object (416). Holds the object's size in bytes.
    Unsatisfiable(u64),
    /// The object, or the requested range, does not fit into a Lambda response.
    TooLarge(Head),
}

/// Why S3 returned no object although S3 works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// S3 has no such key.
    NoSuchKey,
    /// S3 denied access, as it does for a missing key if the role lacks `s3:ListBucket`
    /// ([GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html), "Permissions").
    AccessDenied,
}

impl Missing {
    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSuchKey => "no_such_key",
            Self::AccessDenied => "access_denied",
        }
    }
}

/// Why a fetch returned no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The object does not exist, or the role may not know whether it exists.
    Missing(Missing),
    /// S3 works, but refuses this object: it is archived, encrypted with the client's key, or its KMS key is disabled (403).
    Refused(Cause),
    /// The function itself has no connection left for S3; a retry may succeed (503).
    Busy(Cause),
    /// S3 throttles or cannot be reached; a retry may succeed (503).
    Unavailable(Cause),
    /// S3 did not respond within the budget (504).
    TimedOut(Cause),
    /// Any other failure: a refused signature, a missing bucket, an unusable response (502).
    Failed(Cause),
}

impl FetchError {
    /// The cause, unless the object is merely missing.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Missing(_) => None,
            Self::Refused(cause)
            | Self::Busy(cause)
            | Self::Unavailable(cause)
            | Self::TimedOut(cause)
            | Self::Failed(cause) => Some(cause),
        }
    }

    /// Whether S3 itself fails, as opposed to the request for this object. Says nothing about other objects otherwise.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }
}

/// The error of a store, shared by every caller of the fetch.
///
/// `Display` formats the error and its sources in one line, for logs and spans. It must not contain a secret.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl<E: Error + Send + Sync + 'static> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_chain(&*self.0))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Two causes are equal if a reader of the log cannot tell them apart.
impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.to_string() == other.to_string()
    }
}

impl Eq for Cause {}
