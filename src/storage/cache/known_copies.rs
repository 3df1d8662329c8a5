//! The state of the copies of a version: their sizes, or the reason why there is none.

use std::sync::atomic::{AtomicU64, Ordering};

use nearedge_core::object::{Body, CopyKind, Head, Object};
use nearedge_core::store::{FetchRequest, Fetched, Part};

/// A copy, ready to send.
pub(super) struct CachedCopy {
    pub(super) head: Head,
    pub(super) body: Body,
}

impl CachedCopy {
    pub(super) fn answer(&self, request: &FetchRequest<'_>) -> Fetched {
        request.answer_without_body(&self.head, None).unwrap_or_else(|| {
            let body = if request.part == Part::Whole { self.body.clone() } else { Body::default() };
            Fetched::Object(Object { head: self.head.clone(), range: None, body })
        })
    }
}

/// The state of each kind of copy of one version of an object: one of the constants below, or the size of the copy in bytes, with
/// [`MADE`] if the function has made it.
#[derive(Default)]
pub(super) struct KnownCopies([AtomicU64; CopyKind::ALL.len()]);

/// S3 was not asked, and the function has not begun to make the copy.
pub(super) const UNKNOWN: u64 = 0;

/// S3 has none, and the function has not begun to make the copy.
pub(super) const NOT_UPLOADED: u64 = 1;

/// The copy is to be made.
pub(super) const PENDING: u64 = 2;

/// There is no such copy, or it is of no use.
pub(super) const ABSENT: u64 = u64::MAX;

/// The bit that distinguishes a copy of the function from an uploaded one.
pub(super) const MADE: u64 = 1 << 62;

impl KnownCopies {
    pub(super) fn state(&self, kind: CopyKind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, kind: CopyKind, state: u64) {
        self.0[kind as usize].store(state, Ordering::Relaxed);
    }

    /// The kinds of the copies that the cache has or had, and their sizes.
    pub(super) fn present(&self) -> impl Iterator<Item = (CopyKind, u64)> {
        let size = |kind| match self.state(kind) {
            UNKNOWN | NOT_UPLOADED | PENDING | ABSENT => None,
            state => Some((kind, state & !MADE)),
        };
        CopyKind::ALL.into_iter().filter_map(size)
    }

    /// Whether the function may begin to make the copy.
    pub(super) fn is_wanted(&self, kind: CopyKind) -> bool {
        matches!(self.state(kind), UNKNOWN | NOT_UPLOADED)
    }

    /// Forgets a copy that the cache has evicted. An uploaded one is requested from S3 again.
    pub(super) fn forget(&self, kind: CopyKind) {
        let was_made = self.state(kind) & MADE != 0;
        self.set(kind, if was_made { NOT_UPLOADED } else { UNKNOWN });
    }
}
