//! The one seam: something that fetches a key. S3 is one; a cache is another, around it.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::conditional::{Conditions, Verdict};
use crate::object::{FetchError, Fetched, Metadata, ObjectKey};
use crate::range::{ByteRange, IfRange};

/// How much of an object is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The headers and the body.
    Whole,
    /// The headers alone, for HEAD.
    Head,
}

/// What is asked of a store: a key, and under which conditions how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The key.
    pub key: &'a ObjectKey,
    /// The object or its head.
    pub part: Part,
    /// The conditions of the request.
    pub conditions: Conditions<'a>,
    /// The range of the request; it counts for [`Part::Whole`] only (RFC 9110 §14.2).
    pub range: Option<ByteRange>,
    /// What the range depends on.
    pub if_range: Option<IfRange<'a>>,
}

impl<'a> Ask<'a> {
    /// Asks for the whole of `key`, or its head, whatever its state.
    pub fn plain(key: &'a ObjectKey, part: Part) -> Self {
        Self { key, part, conditions: Conditions::default(), range: None, if_range: None }
    }

    /// What the conditions say of an object; `None` where it is to be sent.
    pub fn judge(&self, known: &Metadata) -> Option<Fetched> {
        match self.conditions.judge(known) {
            Verdict::Proceed => None,
            Verdict::NotModified => Some(Fetched::NotModified(known.clone())),
            Verdict::Failed => Some(Fetched::PreconditionFailed),
        }
    }
}

/// Something that fetches objects by key.
pub trait Store: Send + Sync + 'static {
    /// Fetches what is asked for, and answers before `deadline` whatever happens.
    fn fetch(&self, ask: &Ask<'_>, deadline: Instant) -> impl Future<Output = Result<Fetched, FetchError>> + Send;

    /// An address of the object that needs no credentials for `ttl`, for what is too large to be sent.
    fn presign(&self, key: &ObjectKey, ttl: Duration) -> impl Future<Output = Result<String, FetchError>> + Send;
}
