//! A [`Store`] in front of another: bounded in bytes, revalidating, coalescing.
//!
//! - `index`: what the cache holds; `selection`: what a request needs of it
//! - `fetch`: requests to the store behind, shared among concurrent callers by `singleflight`
//! - `representation`: the object or one of its `known_copies`, which are `uploaded` or made (`copy_queue`, `copy_work`)
//! - `revalidation`: expired objects; `backoff`: no revalidation while S3 fails

mod backoff;
mod copy_queue;
mod copy_work;
mod entry_key;
mod fetch;
mod index;
mod known_copies;
mod representation;
mod revalidation;
mod selection;
mod shared;
mod singleflight;
mod uploaded;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearedge_core::object::{Head, ObjectKey};
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Fetched, Part, Source, Store, StoreStats};
use tracing::field;

pub use self::index::CacheConfig;
use self::index::IndexEntry;
use self::revalidation::REVALIDATION_BUDGET;
use self::selection::{Selection, slice};
use self::shared::Shared;
use crate::moment::Moment;
use crate::telemetry::trace::child_span;

/// A cache in front of a store.
pub struct Cache<S>(Arc<Shared<S>>);

impl<S: Store> Cache<S> {
    /// A cache in front of `store`.
    pub fn new(store: S, config: CacheConfig) -> Self {
        Self(Arc::new(Shared::new(store, config)))
    }

    /// Whether the cache keeps the body of such an object.
    pub fn keeps(&self, head: &Head) -> bool {
        self.0.index.keeps(head)
    }

    /// Whether the body of a key is cached and fresh.
    pub fn holds(&self, key: &ObjectKey) -> bool {
        let entry = self.0.index.entry(key).filter(|entry| entry.is_fresh(Moment::now()));
        entry.is_some_and(|entry| self.0.index.has_body(&entry.version))
    }

    /// The store behind the cache.
    pub fn store(&self) -> &S {
        &self.0.store
    }
}

impl<S: Store> Store for Cache<S> {
    async fn fetch(&self, request: &FetchRequest<'_>, deadline: Instant) -> FetchResponse {
        let shared = &self.0;
        if !shared.index.is_enabled() {
            return Box::pin(shared.store.fetch(request, deadline)).await;
        }
        let lookup = child_span!("cache lookup", nearedge.cache.fresh = field::Empty);
        let now = Moment::now();
        let entry = shared.index.entry(request.key);
        let hit = shared.hit(request, entry.as_ref(), now);
        lookup.record("nearedge.cache.fresh", hit.is_some());
        drop(lookup);
        if let Some(response) = hit.filter(|response| !lacks_body(request, response)) {
            return response;
        }
        // Boxed, because this future is large and a hit need not carry it.
        Box::pin(async {
            let started = Instant::now();
            let response = match entry {
                None => shared.fetch_unknown(request, deadline).await,
                Some(entry) if entry.is_fresh(now) => shared.fetch_fresh(request, &entry, deadline).await,
                Some(entry) => shared.fetch_expired(request, &entry, now, deadline).await,
            };
            let mut response = shared.represent(request, response, deadline).await;
            if lacks_body(request, &response) {
                // Neither the cache nor another's request has it.
                response = shared.bypass(request, deadline).await;
            }
            // A stale response without an error was sent without waiting for S3.
            let waited = if response.source == Source::Stale && response.hidden_error.is_none() {
                Duration::ZERO
            } else {
                started.elapsed()
            };
            FetchResponse { waited, ..response }
        })
        .await
    }

    async fn presign(
        &self,
        key: &ObjectKey,
        part: Part,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<String, FetchError> {
        Box::pin(self.0.store.presign(key, part, ttl, deadline)).await
    }

    async fn revalidate_stale(&self, deadline: Instant) {
        if !self.0.stale.lock().is_empty() {
            Box::pin(self.0.revalidate_queue(deadline.min(Instant::now() + REVALIDATION_BUDGET))).await;
        }
        if !self.0.questions.lock().is_empty() {
            Box::pin(self.0.ask_queued(deadline.min(Instant::now() + REVALIDATION_BUDGET))).await;
        }
        self.0.store.revalidate_stale(deadline).await;
        self.0.make_copies(deadline);
    }

    fn stats(&self) -> StoreStats {
        let index = &self.0.index;
        StoreStats { cached_bytes: index.weight(), evictions: index.evictions(), ..self.0.store.stats() }
    }
}

impl<S: Store> Shared<S> {
    /// The response that the cache alone can give: a fresh object, or a key that is known to be missing.
    fn hit(&self, request: &FetchRequest<'_>, entry: Option<&Arc<IndexEntry>>, now: Moment) -> Option<FetchResponse> {
        let result = match entry {
            None => Err(FetchError::Missing(self.index.missing(request.key, now)?)),
            Some(entry) if entry.is_fresh(now) => Ok(self.represented(request, entry)?),
            Some(_) => return None,
        };
        Some(FetchResponse::new(result, Source::Hit))
    }

    /// Answers with the object, as it is stored, if the cache holds everything that the answer needs.
    fn stored_answer(&self, request: &FetchRequest<'_>, entry: &IndexEntry) -> Option<Fetched> {
        match Selection::new(request, &entry.head) {
            Selection::Answer(answer) => Some(answer),
            Selection::Body(range) => Some(slice(&entry.head, &self.index.body(&entry.version)?, range)),
        }
    }
}

/// Whether a response needs the body of an object that is too large for memory, to be read while it is sent.
fn lacks_body(request: &FetchRequest<'_>, response: &FetchResponse) -> bool {
    request.overflow.is_some_and(|overflow| overflow.is_empty()) && matches!(response.result, Ok(Fetched::TooLarge(_)))
}

impl<S> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = &self.0.index;
        f.debug_struct("Cache")
            .field("config", &index.config)
            .field("entries", &index.entries.entry_count())
            .field("missing", &index.missing.entry_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
