//! The one seam: something that fetches a key. S3 is one; a cache is another, around it.

use std::future::Future;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::conditional::{Conditions, Verdict};
use crate::object::{FetchError, Fetched, Head, ObjectKey};
use crate::range::{ByteRange, IfRange};

/// How much of an object is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The headers and the body.
    Whole,
    /// The headers alone, for HEAD.
    Head,
}

/// Whether an object, or this part of it, fits into an answer: known from its metadata, before its body is read.
pub type Fits<'a> = &'a (dyn Fn(&Head, Option<&Range<u64>>) -> bool + Sync);

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
    /// The object that the asker holds, all of it: if it is still that, [`Fetched::NotModified`] is the answer, and
    /// is complete.
    pub held: Option<&'a Head>,
}

impl<'a> Ask<'a> {
    /// Asks for the whole of `key`, or its head, whatever its state.
    pub fn plain(key: &'a ObjectKey, part: Part, fits: Fits<'a>) -> Self {
        Self { key, part, conditions: Conditions::default(), range: None, if_range: None, fits, held: None }
    }

    /// What is to be said of an object, or of this part of it, without its body; `None` where it is to be sent.
    pub fn judge(&self, known: &Head, part: Option<&Range<u64>>) -> Option<Fetched> {
        match self.conditions.judge(known) {
            Verdict::Proceed if !(self.fits)(known, part) => Some(Fetched::TooLarge(known.clone())),
            Verdict::Proceed => None,
            Verdict::NotModified => Some(Fetched::NotModified(known.clone())),
            Verdict::Failed => Some(Fetched::PreconditionFailed),
        }
    }

    /// The bytes that are asked for of an object (RFC 9110 §14.2): `Ok(None)` for all of them.
    ///
    /// # Errors
    /// When there are no such bytes.
    pub fn select(&self, known: &Head) -> Result<Option<Range<u64>>, NoSuchBytes> {
        let holds = self.if_range.is_none_or(|if_range| if_range.holds(known));
        match self.range.filter(|_| self.part == Part::Whole && holds) {
            None => Ok(None),
            Some(range) => range.select(known.bytes).map(Some).ok_or(NoSuchBytes),
        }
    }
}

/// The range asked for lies outside the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchBytes;

/// Where an answer came from: what the logs and the metrics say of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Past the cache: it is off, or does not keep such things.
    Bypass,
    /// From memory, and fresh.
    Hit,
    /// Fetched.
    Miss,
    /// From memory, after S3 said that it is still so.
    Revalidated,
    /// With what somebody else had just asked for.
    Coalesced,
    /// From memory, though its time was over.
    Stale,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Bypass, Self::Hit, Self::Miss, Self::Revalidated, Self::Coalesced, Self::Stale];

    /// The word that logs and metrics use.
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

/// What came of a fetch.
#[derive(Debug)]
pub struct Reply {
    /// The answer, or why there is none.
    pub fetched: Result<Fetched, FetchError>,
    /// Where it came from.
    pub source: Source,
    /// What went wrong on the way to an answer that there is nevertheless.
    pub trouble: Option<FetchError>,
    /// How long S3 was waited for.
    pub waited: Duration,
}

impl Reply {
    /// What came from `source` without trouble, or with no answer.
    pub fn new(fetched: Result<Fetched, FetchError>, source: Source) -> Self {
        Self { fetched, source, trouble: None, waited: Duration::ZERO }
    }
}

/// What a store holds and has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many bytes it holds, as they count against the limit.
    pub held_bytes: u64,
    /// How many objects have had to make room since the start.
    pub evictions: u64,
    /// How many requests have been made to S3 since the start, retries included.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
}

impl Tally {
    /// What is held now, and what has been done since `last`.
    #[must_use]
    pub fn since(&self, last: &Self) -> Self {
        Self {
            held_bytes: self.held_bytes,
            evictions: self.evictions.saturating_sub(last.evictions),
            requests: self.requests.saturating_sub(last.requests),
            retries: self.retries.saturating_sub(last.retries),
        }
    }
}

/// Something that fetches objects by key.
pub trait Store: Send + Sync + 'static {
    /// Fetches what is asked for, and answers before `deadline` whatever happens.
    fn fetch(&self, ask: &Ask<'_>, deadline: Instant) -> impl Future<Output = Reply> + Send;

    /// An address of the object, or of its head, that needs no credentials for `ttl`: for what is too large to be
    /// sent. It too is there before `deadline`.
    fn presign(
        &self,
        key: &ObjectKey,
        part: Part,
        ttl: Duration,
        deadline: Instant,
    ) -> impl Future<Output = Result<String, FetchError>> + Send;

    /// Does what fetches left to be done after their answers, before `deadline`, or drops it.
    fn settle(&self, _deadline: Instant) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// What is held, and what has been done since the start.
    fn tally(&self) -> Tally {
        Tally::default()
    }
}
