//! Requests of the cache to the store behind it: shared among concurrent callers, and stored in the index.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use nearedge_core::object::{Body, Head, Object, ObjectKey, base64_len};
use nearedge_core::request::door::PAYLOAD_BYTES_MAX;
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Fetched, Overflow, Part, Source, Store};
use tracing::{Instrument, Span};

use crate::moment::Moment;
use crate::storage::cache::index::IndexEntry;
use crate::storage::cache::selection::{Selection, slice};
use crate::storage::cache::shared::{Shared, SharedFetch};
use crate::storage::cache::singleflight::{Join, SharedFuture};

/// The leader of a shared request did not finish before the follower's deadline.
#[derive(Debug, thiserror::Error)]
#[error("no response from S3 to the concurrent request for the same key")]
struct LeaderTimeout;

/// S3 sent two sizes for the same version of an object.
#[derive(Debug, thiserror::Error)]
#[error("S3 sent an object of {found} bytes under the entity tag of the cached one with {cached} bytes")]
struct Contradiction {
    cached: u64,
    found: u64,
}

impl<S: Store> Shared<S> {
    /// Fetches a key of which the cache knows nothing, or nothing any more.
    pub(super) async fn fetch_unknown(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        deadline: Instant,
    ) -> FetchResponse {
        match request.range {
            // The object may be huge, so S3 sends only the range.
            Some(_) if request.part == Part::Whole => self.bypass(request, deadline).await,
            _ => self.fetch_whole(request, request.part, None, deadline).await,
        }
    }

    /// Fetches what the cache lacks of a fresh object: its copies, or its body.
    pub(super) async fn fetch_fresh(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        entry: &Arc<IndexEntry>,
        deadline: Instant,
    ) -> FetchResponse {
        let is_too_large = matches!(self.stored_answer(request, entry), Some(Fetched::TooLarge(_)));
        let asked = is_too_large && self.ask_for_copies(request, entry, deadline, deadline).await;
        match self.represented(request, entry).or_else(|| self.stored_answer(request, entry)) {
            Some(fetched) => FetchResponse::new(Ok(fetched), if asked { Source::Miss } else { Source::Hit }),
            None => self.fetch_body(request, entry, deadline).await,
        }
    }

    /// Fetches an object whose head is cached and whose body is not.
    pub(super) async fn fetch_body(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        entry: &IndexEntry,
        deadline: Instant,
    ) -> FetchResponse {
        match request.part {
            Part::Whole if !self.index.keeps(&entry.head) => self.bypass(request, deadline).await,
            part => self.fetch_whole(request, part, None, deadline).await,
        }
    }

    /// Fetches the whole object (or its head), sharing one request among concurrent callers, then answers `request` from
    /// the shared result.
    pub(super) async fn fetch_whole(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        part: Part,
        cached: Option<(Arc<IndexEntry>, Body)>,
        deadline: Instant,
    ) -> FetchResponse {
        let shared = self.fetch_shared(request.key, (part, request.overflow), cached, deadline).await;
        let result = match shared.result {
            Ok(Fetched::Object(Object { head, body, .. })) => Ok(match Selection::new(request, &head) {
                Selection::Answer(answer) => answer,
                Selection::Body(range) => slice(&head, &body, range),
            }),
            Ok(Fetched::TooLarge(head)) => match Selection::new(request, &head) {
                Selection::Answer(answer) => Ok(answer),
                // The requested range fits into a response.
                Selection::Body(Some(_)) => return self.bypass(request, deadline).await,
                Selection::Body(None) => Ok(Fetched::TooLarge(head)),
            },
            result => result,
        };
        FetchResponse::new(result, shared.source)
    }

    /// Fetches `key` with at most one request in flight. The result is stored in the cache before the future resolves, so
    /// a late caller cannot start a second one.
    pub(super) async fn fetch_shared(
        self: &Arc<Self>,
        key: &ObjectKey,
        (part, overflow): (Part, Option<&Arc<Overflow>>),
        cached: Option<(Arc<IndexEntry>, Body)>,
        deadline: Instant,
    ) -> SharedFetch {
        loop {
            let just_cached = || self.just_cached(key, part, deadline);
            let start = || {
                let (shared, key, cached, overflow) = (self.clone(), key.clone(), cached.clone(), overflow.cloned());
                let call =
                    async move { shared.fetch_and_store(&key, (part, overflow.as_ref()), cached, deadline).await };
                // The spans belong to the invocation of the leader, whichever caller polls the future.
                call.instrument(Span::current()).boxed()
            };
            match self.in_flight.join((key.clone(), part), just_cached, start) {
                Join::Leader(call) => return call.await,
                Join::Follower(call) => match wait(call, deadline).await {
                    // The leader's deadline passed, not this caller's: try again.
                    SharedFetch { result: Err(FetchError::TimedOut(_)), deadline: leaders, .. }
                        if leaders <= Instant::now() && Instant::now() < deadline => {}
                    shared => return SharedFetch { source: Source::Coalesced, ..shared },
                },
                Join::Cached(shared) => return shared,
            }
        }
    }

    /// The result that another call has cached since this caller looked.
    fn just_cached(&self, key: &ObjectKey, part: Part, deadline: Instant) -> Option<SharedFetch> {
        let now = Moment::now();
        let shared = |result| Some(SharedFetch { result, source: Source::Coalesced, deadline });
        let Some(entry) = self.index.entry(key).filter(|entry| entry.is_fresh(now)) else {
            return self.index.missing(key, now).and_then(|reason| shared(Err(FetchError::Missing(reason))));
        };
        let body = match part {
            Part::Head => Body::default(),
            Part::Whole => self.index.body(&entry.version)?,
        };
        shared(Ok(Fetched::Object(Object { head: entry.head.clone(), range: None, body })))
    }

    /// Sends the request to the store, and stores its result in the index.
    async fn fetch_and_store(
        &self,
        key: &ObjectKey,
        (part, overflow): (Part, Option<&Arc<Overflow>>),
        cached: Option<(Arc<IndexEntry>, Body)>,
        deadline: Instant,
    ) -> SharedFetch {
        let fits = |head: &Head, _: Option<&_>| part == Part::Head || base64_len(head.size_bytes) <= PAYLOAD_BYTES_MAX;
        let request = FetchRequest {
            cached: cached.as_ref().map(|(entry, _)| &entry.head),
            overflow,
            ..FetchRequest::unconditional(key, part, &fits)
        };
        let requested_at = Moment::now();
        let result = self.store.fetch(&request, deadline).await.result;
        self.backoff.record(&result);
        let result = self.reject_contradiction(key, result);
        let (result, source) = match (result, cached) {
            (Ok(Fetched::NotModified(head)), Some((_, body))) => {
                (Ok(Fetched::Object(Object { head, range: None, body })), Source::Revalidated)
            }
            (result, _) => (result, Source::Miss),
        };
        match &result {
            Ok(Fetched::Object(object)) => {
                let body = (part == Part::Whole && source == Source::Miss).then_some(&object.body);
                self.index.insert(key, &object.head, body, requested_at);
            }
            Ok(Fetched::TooLarge(head)) => self.index.insert(key, head, None, requested_at),
            Err(FetchError::Missing(reason)) => self.index.insert_missing(key, *reason, requested_at),
            _ => {}
        }
        SharedFetch { result, source, deadline }
    }

    /// Rejects an object that has another size than the cached version with the same entity tag, and forgets that version: one
    /// of the two responses is wrong.
    fn reject_contradiction(
        &self,
        key: &ObjectKey,
        result: Result<Fetched, FetchError>,
    ) -> Result<Fetched, FetchError> {
        let Ok(Fetched::Object(Object { head, .. }) | Fetched::TooLarge(head) | Fetched::NotModified(head)) = &result
        else {
            return result;
        };
        match self.index.entry(key) {
            Some(entry) if entry.contradicts(head) => {
                self.index.remove(key);
                Err(FetchError::Failed(Contradiction { cached: entry.head.size_bytes, found: head.size_bytes }.into()))
            }
            _ => result,
        }
    }

    /// Sends exactly this request to the store, and stores what the response says about the object.
    pub(super) async fn bypass(&self, request: &FetchRequest<'_>, deadline: Instant) -> FetchResponse {
        let requested_at = Moment::now();
        let response = self.store.fetch(request, deadline).await;
        self.backoff.record(&response.result);
        let result = self.reject_contradiction(request.key, response.result);
        let response = FetchResponse { result, ..response };
        match &response.result {
            Ok(Fetched::Object(Object { head, .. }) | Fetched::TooLarge(head)) => {
                self.index.insert(request.key, head, None, requested_at);
            }
            Err(FetchError::Missing(reason)) => self.index.insert_missing(request.key, *reason, requested_at),
            _ => {}
        }
        FetchResponse { source: Source::Bypass, ..response }
    }
}

async fn wait(call: SharedFuture<SharedFetch>, deadline: Instant) -> SharedFetch {
    let result = tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), call).await;
    result.unwrap_or_else(|_| SharedFetch {
        result: Err(FetchError::TimedOut(LeaderTimeout.into())),
        source: Source::Coalesced,
        deadline,
    })
}
