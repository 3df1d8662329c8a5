//! The one seam: something that fetches a key. S3 is one; a cache is another, around it.

use std::future::Future;
use std::ops::Range;
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

/// Whether an object, or this part of it, fits into an answer: known from its metadata, before its body is read.
pub type Fits<'a> = &'a (dyn Fn(&Metadata, Option<&Range<u64>>) -> bool + Sync);

/// What is asked of a store: a key, and under which conditions how much of it.
#[derive(Clone, Copy)]
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
    /// What may be read.
    pub fits: Fits<'a>,
}

impl<'a> Ask<'a> {
    /// Asks for the whole of `key`, or its head, whatever its state.
    pub fn plain(key: &'a ObjectKey, part: Part, fits: Fits<'a>) -> Self {
        Self { key, part, conditions: Conditions::default(), range: None, if_range: None, fits }
    }

    /// What is to be said of an object, or of this part of it, without its body; `None` where it is to be sent.
    pub fn judge(&self, known: &Metadata, part: Option<&Range<u64>>) -> Option<Fetched> {
        match self.conditions.judge(known) {
            Verdict::Proceed if !(self.fits)(known, part) => Some(Fetched::TooLarge(known.bytes)),
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

    /// An address of the object, or of its head, that needs no credentials for `ttl`: for what is too large to be
    /// sent. It too is there before `deadline`.
    fn presign(
        &self,
        key: &ObjectKey,
        part: Part,
        ttl: Duration,
        deadline: Instant,
    ) -> impl Future<Output = Result<String, FetchError>> + Send;
}
