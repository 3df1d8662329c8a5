//! Expired objects: revalidation before or after the response, and stale responses (RFC 5861).

use std::sync::Arc;
use std::time::{Duration, Instant};

use nearedge_core::object::ObjectKey;
use nearedge_core::store::{FetchRequest, FetchResponse, Part, Source, Store};

use crate::moment::Moment;
use crate::storage::cache::index::IndexEntry;
use crate::storage::cache::shared::Shared;

/// How long a request waits for S3 if a stale copy could answer it. A healthy S3 responds within this time, even to its
/// slowest requests.
pub(super) const STALE_IF_ERROR_TIMEOUT: Duration = Duration::from_secs(1);

/// Upper bound on background revalidation between the response and the next event.
pub(super) const REVALIDATION_BUDGET: Duration = Duration::from_secs(2);

impl<S: Store> Shared<S> {
    /// Fetches an object whose entry has expired.
    pub(super) async fn fetch_expired(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        entry: &Arc<IndexEntry>,
        now: Moment,
        deadline: Instant,
    ) -> FetchResponse {
        let body = self.index.body(&entry.version);
        let from_cache = || self.represented(request, entry).or_else(|| self.stored_answer(request, entry));
        let stale =
            |hidden_error| Some(FetchResponse { hidden_error, ..FetchResponse::new(Ok(from_cache()?), Source::Stale) });
        let (while_revalidating, if_error) =
            (entry.may_be_stale_while_revalidating(now), entry.may_be_stale_if_error(now));
        if self.backoff.is_active(entry.failed_at, now)
            && (while_revalidating || if_error)
            && let Some(response) = stale(None)
        {
            return response;
        }
        if while_revalidating && let Some(response) = stale(None) {
            self.enqueue_stale(request.key);
            return response;
        }
        let timeout = if if_error && from_cache().is_some() {
            deadline.min(Instant::now() + STALE_IF_ERROR_TIMEOUT)
        } else {
            deadline
        };
        let response = match &body {
            Some(body) => {
                let cached = (!entry.is_ambiguous()).then(|| (entry.clone(), body.clone()));
                self.fetch_whole(request, Part::Whole, cached, timeout).await
            }
            None => self.fetch_body(request, entry, timeout).await,
        };
        match response.result {
            Err(error) if error.cause().is_some() && if_error => {
                self.index.start_backoff(request.key, entry);
                stale(Some(error.clone())).unwrap_or_else(|| FetchResponse::new(Err(error), response.source))
            }
            result => FetchResponse { result, ..response },
        }
    }

    /// Queues a key that was served stale for revalidation.
    fn enqueue_stale(&self, key: &ObjectKey) {
        let mut keys = self.stale.lock();
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }

    /// Revalidates the queued keys until `deadline`; then drops the rest.
    pub(super) async fn revalidate_queue(self: &Arc<Self>, deadline: Instant) {
        loop {
            let next = self.stale.lock().pop();
            let Some(key) = next else { return };
            if Instant::now() >= deadline {
                return self.stale.lock().clear();
            }
            if let Some(entry) = self.index.entry(&key).filter(|entry| !entry.is_fresh(Moment::now())) {
                let body = self.index.body(&entry.version);
                let part = if body.is_some() { Part::Whole } else { Part::Head };
                let cached = body.filter(|_| !entry.is_ambiguous()).map(|body| (entry.clone(), body));
                let result = self.fetch_shared(&key, (part, None), cached, deadline).await.result;
                if result.is_err_and(|error| error.cause().is_some()) {
                    self.index.start_backoff(&key, &entry);
                }
            }
        }
    }
}
