//! The index and the bodies: the contents of the cache.
//!
//! The index maps a key to its last known version and its freshness. Bodies are stored by key and entity tag, so a new
//! version of an object is a new entry, and the old body can never be served for the new tag. Missing keys are stored
//! apart, so that they cannot evict objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use nearedge_core::http::freshness::{Freshness, Limits, freshness};
use nearedge_core::object::{Body, CopyKind, Head, ObjectKey};
use nearedge_core::response::NegotiatedField;
use nearedge_core::store::Missing;
use parking_lot::Mutex;

use crate::moment::Moment;
use crate::storage::cache::entry_key::{EntryKey, EntryKeyRef, KeyHasher, KnownHash, Version};
use crate::storage::cache::known_copies::{CachedCopy, KnownCopies};
use crate::storage::copies::CopiesConfig;

/// The memory of an entry besides its texts: moka's nodes, reference counts, the allocator's rounding.
///
/// About 650 bytes until the cache is full; evictions leave gaps in the heap. `benches/compare` checks the value: 60,000
/// objects of 240 bytes stay within the bound (P6).
const ENTRY_BYTES: usize = 900;

/// How long after its Last-Modified a version may still be overwritten with the same Last-Modified: its resolution of one
/// second, and one second for the difference between S3's clock and this one.
const LAST_MODIFIED_MARGIN: Duration = Duration::from_secs(2);

/// The settings of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// The limit for all entries together; 0 turns the cache off.
    pub max_bytes: u64,
    /// The largest object that the cache keeps.
    pub object_max_bytes: u64,
    /// How long objects may be served from the cache.
    pub limits: Limits,
    /// How long a missing key is remembered.
    pub missing_ttl: Duration,
    /// Which copies of objects are sent.
    pub copies: CopiesConfig,
}

/// The contents of the cache.
pub(super) struct Index {
    pub(super) config: CacheConfig,
    /// Index entries and bodies in one moka cache: they share the limit, whatever the size of the bodies.
    pub(super) entries: moka::sync::Cache<EntryKey, Entry, KnownHash>,
    pub(super) missing: moka::sync::Cache<ObjectKey, MissingEntry>,
    hasher: KeyHasher,
    /// Serialises insertions, so that an older response never replaces a newer one.
    writes: Mutex<()>,
    evictions: Arc<AtomicU64>,
}

#[derive(Clone)]
pub(super) enum Entry {
    Index(Arc<IndexEntry>),
    Body(Body),
    Copy(Arc<CachedCopy>),
}

/// The last known version of a key.
#[derive(Clone)]
pub(super) struct IndexEntry {
    pub(super) head: Head,
    pub(super) version: Version,
    /// When the request for it was sent: its age counts from then (RFC 9111 §4.2.3).
    pub(super) requested_at: Moment,
    pub(super) freshness: Freshness,
    /// When S3 last failed to revalidate it.
    pub(super) failed_at: Option<Moment>,
    /// The copies of this version; `None` if it may have none.
    pub(super) copies: Option<Arc<KnownCopies>>,
}

impl IndexEntry {
    pub(super) fn is_fresh(&self, now: Moment) -> bool {
        now.is_within(self.freshness.fresh, self.requested_at)
    }

    /// Whether `head` has the same entity tag and another size.
    pub(super) fn contradicts(&self, head: &Head) -> bool {
        // A response without Content-Length announces no size, and neither does a 304.
        let sizes = [head.size_bytes, self.head.size_bytes];
        head.etag.as_ref() == Some(&self.version.etag) && sizes[0] != sizes[1] && !sizes.contains(&0)
    }

    /// Whether a later upload may have the same Last-Modified.
    ///
    /// Its resolution is one second. After a second upload within it, with the same bytes and other metadata, S3 would
    /// confirm this version (RFC 9110 §8.8.2.2).
    pub(super) fn is_ambiguous(&self) -> bool {
        self.head.modified().is_some_and(|modified| self.requested_at.wall() < modified + LAST_MODIFIED_MARGIN)
    }

    pub(super) fn may_be_stale_while_revalidating(&self, now: Moment) -> bool {
        now.is_within(self.freshness.fresh + self.freshness.stale_while_revalidate, self.requested_at)
    }

    pub(super) fn may_be_stale_if_error(&self, now: Moment) -> bool {
        now.is_within(self.freshness.fresh + self.freshness.stale_if_error, self.requested_at)
    }
}

/// The result of storing a copy.
pub(super) enum Insertion {
    /// The cache has it.
    Stored,
    /// It is larger than the cache.
    Full,
    /// It is one of an earlier version.
    Outdated,
}

/// A key without an object.
#[derive(Clone)]
pub(super) struct MissingEntry {
    reason: Missing,
    requested_at: Moment,
}

impl Index {
    pub(super) fn new(config: CacheConfig) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let counter = evictions.clone();
        let missing_bytes = config.max_bytes / 64;
        Self {
            entries: moka::sync::Cache::builder()
                .max_capacity(config.max_bytes - missing_bytes)
                // TinyLFU, moka's default, would admit a large object only if it is requested more often than all the
                // small ones together that it evicts, and its counters end at 15.
                .eviction_policy(EvictionPolicy::lru())
                .weigher(|key: &EntryKey, entry: &Entry| weight(key, entry))
                .eviction_listener(move |key: Arc<EntryKey>, _, cause| {
                    if cause == RemovalCause::Size && matches!(*key, EntryKey::Body(_)) {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .build_with_hasher(KnownHash::default()),
            missing: moka::sync::Cache::builder()
                .max_capacity(missing_bytes)
                .weigher(|key: &ObjectKey, _: &MissingEntry| entry_bytes(key.as_str().len()))
                .build(),
            hasher: KeyHasher::default(),
            writes: Mutex::default(),
            evictions,
            config,
        }
    }

    /// Whether the cache is on.
    pub(super) fn is_enabled(&self) -> bool {
        self.config.max_bytes > 0
    }

    /// The bytes of all entries, as they count against the limit.
    pub(super) fn weight(&self) -> u64 {
        self.entries.weighted_size() + self.missing.weighted_size()
    }

    /// Bodies evicted since the start.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// The last known version of a key, fresh or not.
    pub(super) fn entry(&self, key: &ObjectKey) -> Option<Arc<IndexEntry>> {
        match self.entries.get(&self.hasher.key_ref(key)) {
            Some(Entry::Index(entry)) => Some(entry),
            _ => None,
        }
    }

    /// The body of a version.
    pub(super) fn body(&self, version: &Version) -> Option<Body> {
        match self.entries.get(&EntryKeyRef::Body(version)) {
            Some(Entry::Body(body)) => Some(body),
            _ => None,
        }
    }

    /// A copy of a version.
    pub(super) fn copy(&self, version: &Version, kind: CopyKind) -> Option<Arc<CachedCopy>> {
        match self.entries.get(&EntryKeyRef::Copy(version, kind)) {
            Some(Entry::Copy(copy)) => Some(copy),
            _ => None,
        }
    }

    /// Whether the body of a version is cached; does not count as a use of it.
    pub(super) fn has_body(&self, version: &Version) -> bool {
        self.entries.contains_key(&EntryKeyRef::Body(version))
    }

    /// Why a key is known to be missing, if the entry has not expired.
    pub(super) fn missing(&self, key: &ObjectKey, now: Moment) -> Option<Missing> {
        let is_current = |entry: &MissingEntry| now.is_within(self.config.missing_ttl, entry.requested_at);
        self.missing.get(key).filter(is_current).map(|entry| entry.reason)
    }

    /// Whether the cache keeps the body of such an object.
    pub(super) fn keeps(&self, head: &Head) -> bool {
        head.size_bytes <= self.config.object_max_bytes
    }

    /// Stores what S3 responded to a request that was sent at `requested_at`.
    pub(super) fn insert(&self, key: &ObjectKey, head: &Head, body: Option<&Body>, requested_at: Moment) {
        let _guard = self.writes.lock();
        let before = self.entry(key);
        if self.is_outdated(key, before.as_deref(), requested_at) {
            return;
        }
        let freshness = freshness(head, &self.config.limits, requested_at.wall());
        let version = head.etag.clone().map(|etag| self.hasher.version(key.clone(), etag));
        let mut copies = None;
        if let Some(before) = before {
            if before.head == *head {
                copies = before.copies.clone();
            } else {
                self.remove_copies(&before);
            }
            if Some(&before.version) != version.as_ref() {
                self.entries.invalidate(&EntryKeyRef::Body(&before.version));
            }
        }
        let may_have_copies = self.config.copies.negotiation().field(head.copyable()) != NegotiatedField::None;
        let copies = copies.or_else(|| may_have_copies.then(Arc::default));
        self.missing.invalidate(key);
        let (Some(freshness), Some(version)) = (freshness, version) else {
            self.entries.invalidate(&self.hasher.key_ref(key));
            return;
        };
        let body = body.filter(|_| self.keeps(head));
        if let Some(body) = body {
            self.entries.insert(EntryKey::Body(version.clone()), Entry::Body(body.unreserved()));
        }
        self.put(key, IndexEntry { head: head.clone(), version, requested_at, freshness, failed_at: None, copies });
        // Evicts now instead of dozens of insertions later.
        self.entries.run_pending_tasks();
        if body.is_some() {
            free_removed_entries();
        }
    }

    /// Stores that a key has no object, as S3 responded to a request that was sent at `requested_at`.
    pub(super) fn insert_missing(&self, key: &ObjectKey, reason: Missing, requested_at: Moment) {
        let _guard = self.writes.lock();
        let before = self.entry(key);
        if self.is_outdated(key, before.as_deref(), requested_at) {
            return;
        }
        if let Some(before) = before {
            self.remove_entry(&before);
        }
        if !self.config.missing_ttl.is_zero() {
            self.missing.insert(key.clone(), MissingEntry { reason, requested_at });
        }
    }

    /// Forgets a key and its body.
    pub(super) fn remove(&self, key: &ObjectKey) {
        let _guard = self.writes.lock();
        if let Some(entry) = self.entry(key) {
            self.remove_entry(&entry);
        }
    }

    /// Stores a copy of a version.
    pub(super) fn insert_copy(&self, version: &Version, kind: CopyKind, copy: CachedCopy) -> Insertion {
        let _guard = self.writes.lock();
        if self.entry(&version.key).is_none_or(|entry| entry.version != *version) {
            return Insertion::Outdated;
        }
        self.entries.insert(EntryKey::Copy(version.clone(), kind), Entry::Copy(Arc::new(copy)));
        self.entries.run_pending_tasks();
        free_removed_entries();
        match self.entries.contains_key(&EntryKeyRef::Copy(version, kind)) {
            true => Insertion::Stored,
            false => Insertion::Full,
        }
    }

    fn remove_entry(&self, entry: &IndexEntry) {
        self.remove_copies(entry);
        self.entries.invalidate(&EntryKeyRef::Body(&entry.version));
        self.entries.invalidate(&self.hasher.key_ref(&entry.version.key));
    }

    fn remove_copies(&self, entry: &IndexEntry) {
        for (kind, _) in entry.copies.iter().flat_map(|known| known.present()) {
            self.entries.invalidate(&EntryKeyRef::Copy(&entry.version, kind));
        }
    }

    /// Starts a revalidation backoff for `key`, unless a newer entry has replaced `entry`.
    pub(super) fn start_backoff(&self, key: &ObjectKey, entry: &Arc<IndexEntry>) {
        let _guard = self.writes.lock();
        if self.entry(key).is_some_and(|current| Arc::ptr_eq(&current, entry)) {
            self.put(key, IndexEntry { failed_at: Some(Moment::now()), ..(**entry).clone() });
        }
    }

    fn put(&self, key: &ObjectKey, entry: IndexEntry) {
        self.entries.insert(self.hasher.key(key.clone()), Entry::Index(Arc::new(entry)));
    }

    /// Whether the cache holds the response to a later request.
    fn is_outdated(&self, key: &ObjectKey, entry: Option<&IndexEntry>, requested_at: Moment) -> bool {
        entry.is_some_and(|entry| entry.requested_at.is_after(requested_at))
            || self.missing.get(key).is_some_and(|missing| missing.requested_at.is_after(requested_at))
    }
}

/// Frees the memory of removed entries now.
///
/// moka leaves that to crossbeam's epochs, which collect dozens of removals first: a few large bodies would stay in
/// memory beyond the limit. An entry can be freed two epochs after its removal.
fn free_removed_entries() {
    for _ in 0..3 {
        crossbeam_epoch::pin().flush();
    }
}

fn weight(key: &EntryKey, entry: &Entry) -> u32 {
    entry_bytes(match (key, entry) {
        // A head is stored twice, parsed and encoded; the key is part of the version too.
        (EntryKey::Index(key, _), Entry::Index(entry)) => {
            2 * key.as_str().len() + 2 * entry.head.json().len() + entry.version.etag.len()
        }
        (EntryKey::Body(Version { key, etag, .. }), Entry::Body(body)) => {
            key.as_str().len() + etag.len() + body.stored_len()
        }
        (EntryKey::Copy(Version { key, etag, .. }, _), Entry::Copy(copy)) => {
            key.as_str().len() + etag.len() + 2 * copy.head.json().len() + copy.body.stored_len()
        }
        // No other combination is ever inserted.
        _ => 0,
    })
}

fn entry_bytes(text_bytes: usize) -> u32 {
    u32::try_from(text_bytes + ENTRY_BYTES).unwrap_or(u32::MAX)
}
