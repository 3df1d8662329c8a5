//! The trait that fetches objects by key. S3 implements it, and so does the cache in front of S3.

mod fetched;
mod stream;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::accept::Accepts;
use crate::http::conditional::{Conditions, Verdict};
use crate::http::range::{ByteRange, IfRange};
use crate::object::{Head, ObjectKey};

pub use self::fetched::{Cause, FetchError, Fetched, Missing};
pub use self::stream::{BodyStream, NextBytes, OpenBody, Overflow};

/// Which part of an object a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The metadata and the body.
    Whole,
    /// The metadata alone, for HEAD.
    Head,
}

/// Whether an object, or this range of it, fits into a response. Decided from the metadata, before the body is read.
pub type Fits<'a> = &'a (dyn Fn(&Head, Option<&Range<u64>>) -> bool + Sync);

/// A request to a store.
#[derive(Clone, Copy)]
pub struct FetchRequest<'a> {
    /// The key.
    pub key: &'a ObjectKey,
    /// The object or its head.
    pub part: Part,
    /// The conditional header fields of the client's request.
    pub conditions: Conditions<'a>,
    /// The range of the client's request; only [`Part::Whole`] uses it (RFC 9110 §14.2).
    pub range: Option<ByteRange>,
    /// The precondition of the range.
    pub if_range: Option<IfRange<'a>>,
    /// The fields that select among the copies of the object; `None` for the object itself, as it is stored.
    pub accepts: Option<&'a Accepts<'a>>,
    /// Which bodies may be read.
    pub fits: Fits<'a>,
    /// The cached version, if any. Sent as If-None-Match; [`Fetched::NotModified`] then means that the cached body is
    /// current.
    pub cached: Option<&'a Head>,
    /// Receives the body of an object that does not fit, if the door takes streams.
    pub overflow: Option<&'a Arc<Overflow>>,
}

impl<'a> FetchRequest<'a> {
    /// An unconditional request for the whole of `key`, or for its head.
    pub fn unconditional(key: &'a ObjectKey, part: Part, fits: Fits<'a>) -> Self {
        let conditions = Conditions::default();
        Self { key, part, conditions, range: None, if_range: None, accepts: None, fits, cached: None, overflow: None }
    }

    /// The result that needs no body, for an object or a range of it; `None` if the body must be sent.
    pub fn answer_without_body(&self, head: &Head, range: Option<&Range<u64>>) -> Option<Fetched> {
        match self.conditions.evaluate(head, self.accepts) {
            Verdict::Proceed if !(self.fits)(head, range) => Some(Fetched::TooLarge(head.clone())),
            Verdict::Proceed => None,
            Verdict::NotModified => {
                // The tag tells a cache which of its responses is current (RFC 9111 §4.3.4).
                let held = self.accepts.and_then(|accepts| self.conditions.held_copy(head, accepts));
                let confirmed = held.map_or_else(|| head.clone(), |tag| head.with_etag(tag.to_string()));
                Some(Fetched::NotModified(confirmed))
            }
            Verdict::Failed => Some(Fetched::PreconditionFailed),
        }
    }

    /// The requested bytes of an object (RFC 9110 §14.2); `Ok(None)` for all of them.
    ///
    /// # Errors
    /// If the range lies outside the object.
    pub fn select_range(&self, head: &Head) -> Result<Option<Range<u64>>, RangeOutsideObject> {
        let applies = self.if_range.is_none_or(|if_range| if_range.matches(head));
        // The bytes of the object would not continue those of a copy.
        let is_of_copy = || self.accepts.is_some() && self.conditions.requires_copy();
        match self.range.filter(|_| self.part == Part::Whole && applies && !is_of_copy()) {
            None => Ok(None),
            Some(range) => range.select(head.size_bytes).map(Some).ok_or(RangeOutsideObject),
        }
    }
}

/// The requested range lies outside the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeOutsideObject;

/// Where a response came from, for logs and cache metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// From S3; the cache is off or does not keep such objects.
    Bypass,
    /// From a fresh cache entry.
    Hit,
    /// From S3, after a cache miss.
    Miss,
    /// From the cache, after S3 confirmed that the entry is current.
    Revalidated,
    /// From the S3 request of a concurrent invocation.
    Coalesced,
    /// From an expired cache entry.
    Stale,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 6] = [Self::Bypass, Self::Hit, Self::Miss, Self::Revalidated, Self::Coalesced, Self::Stale];

    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Revalidated => "revalidated",
            Self::Coalesced => "coalesced",
            Self::Stale => "stale",
        }
    }
}

/// A store's response to a [`FetchRequest`].
#[derive(Debug)]
pub struct FetchResponse {
    /// The object, or why there is none.
    pub result: Result<Fetched, FetchError>,
    /// Where the result came from.
    pub source: Source,
    /// The error that a stale result hides.
    pub hidden_error: Option<FetchError>,
    /// How long the request waited for S3.
    pub waited: Duration,
}

impl FetchResponse {
    /// A response that did not wait and hides no error.
    pub fn new(result: Result<Fetched, FetchError>, source: Source) -> Self {
        Self { result, source, hidden_error: None, waited: Duration::ZERO }
    }
}

/// Counters of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// The bytes that the store holds, as they count against its limit.
    pub cached_bytes: u64,
    /// Objects evicted since the start.
    pub evictions: u64,
    /// Requests sent to S3 since the start, retries included.
    pub requests: u64,
    /// Retries among them.
    pub retries: u64,
}

impl StoreStats {
    /// The counts since `earlier`; `cached_bytes` stays the current value.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cached_bytes: self.cached_bytes,
            evictions: self.evictions.saturating_sub(earlier.evictions),
            requests: self.requests.saturating_sub(earlier.requests),
            retries: self.retries.saturating_sub(earlier.retries),
        }
    }
}

/// Fetches objects by key.
pub trait Store: Send + Sync + 'static {
    /// Fetches an object. Always returns before `deadline`.
    fn fetch(&self, request: &FetchRequest<'_>, deadline: Instant) -> impl Future<Output = FetchResponse> + Send;

    /// Signs a URL of the object, or of its head, that works without credentials for `ttl`. Returns before `deadline`.
    fn presign(
        &self,
        key: &ObjectKey,
        part: Part,
        ttl: Duration,
        deadline: Instant,
    ) -> impl Future<Output = Result<String, FetchError>> + Send;

    /// Revalidates the objects that were served stale since the last call. Cancels unfinished requests at `deadline`.
    fn revalidate_stale(&self, _deadline: Instant) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The current counters.
    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}
