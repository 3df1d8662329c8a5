//! The state that all handles of a cache share.

use std::sync::Arc;
use std::time::Instant;

use nearedge_core::object::{CopyKind, ObjectKey};
use nearedge_core::store::{FetchError, Fetched, Part, Source};
use parking_lot::Mutex;

use crate::storage::cache::backoff::Backoff;
use crate::storage::cache::copy_queue::CopyWork;
use crate::storage::cache::entry_key::Version;
use crate::storage::cache::index::{CacheConfig, Index, IndexEntry, Insertion};
use crate::storage::cache::known_copies::{ABSENT, CachedCopy};
use crate::storage::cache::singleflight::Singleflight;

/// The state that all handles of a cache share.
pub(super) struct Shared<S> {
    pub(super) store: S,
    pub(super) index: Index,
    pub(super) in_flight: Singleflight<(ObjectKey, Part), SharedFetch>,
    /// Requests for uploaded copies, whose results are in the index.
    pub(super) copies_in_flight: Singleflight<(Version, CopyKind), ()>,
    /// The uploaded copies to ask S3 for after the response.
    pub(super) questions: Mutex<Vec<(Arc<IndexEntry>, CopyKind)>>,
    /// The backoff of responses that wait for uploaded copies.
    pub(super) ask_backoff: Backoff,
    pub(super) copy_work: CopyWork,
    pub(super) backoff: Backoff,
    /// The keys that were served stale and wait for revalidation.
    pub(super) stale: Mutex<Vec<ObjectKey>>,
}

impl<S> Shared<S> {
    pub(super) fn new(store: S, config: CacheConfig) -> Self {
        Self {
            store,
            in_flight: Singleflight::default(),
            copies_in_flight: Singleflight::default(),
            questions: Mutex::default(),
            ask_backoff: Backoff::default(),
            copy_work: CopyWork::new(config.copies.cpu_millis),
            index: Index::new(config),
            backoff: Backoff::default(),
            stale: Mutex::default(),
        }
    }

    /// Stores a copy; `origin` is [`MADE`] or 0.
    pub(super) fn store_copy(&self, entry: &IndexEntry, kind: CopyKind, origin: u64, copy: CachedCopy) {
        let size = copy.head.size_bytes | origin;
        let Some(known) = &entry.copies else { return };
        match self.index.insert_copy(&entry.version, kind, copy) {
            Insertion::Stored => known.set(kind, size),
            // It would be made or fetched again for each request.
            Insertion::Full => known.set(kind, ABSENT),
            Insertion::Outdated => {}
        }
    }
}

/// The result of a request that several callers may share.
#[derive(Clone)]
pub(super) struct SharedFetch {
    pub(super) result: Result<Fetched, FetchError>,
    pub(super) source: Source,
    /// The deadline of the leader.
    pub(super) deadline: Instant,
}
