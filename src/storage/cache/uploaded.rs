//! Uploaded copies, such as `app.js.br`: asks S3 for each once for a version of its source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use nearedge_core::http::accept::Weights;
use nearedge_core::object::{CopyKind, Head, Object, ObjectKey, base64_len};
use nearedge_core::request::door::PAYLOAD_BYTES_MAX;
use nearedge_core::store::{FetchError, FetchRequest, Fetched, Part, Store};
use tracing::{Instrument, Span, warn};

use crate::moment::Moment;
use crate::storage::cache::index::IndexEntry;
use crate::storage::cache::known_copies::{CachedCopy, NOT_UPLOADED, UNKNOWN};
use crate::storage::cache::shared::Shared;
use crate::storage::cache::singleflight::Join;

/// How long a response waits for an uploaded copy that it can do without. A healthy S3 responds within this time.
pub(super) const ASK_WAIT: Duration = Duration::from_millis(250);

/// The most questions that wait for the end of the response.
const QUESTIONS_MAX: usize = 64;

impl<S: Store> Shared<S> {
    /// The kinds of uploaded copies that the client prefers and S3 was not asked for.
    pub(super) fn unasked(&self, entry: &IndexEntry, weights: &Weights) -> impl Iterator<Item = CopyKind> {
        let uploaded = self.index.config.copies.uploaded(entry.head.copyable()).iter().copied();
        uploaded.filter(|kind| {
            weights.prefers(*kind) && entry.copies.as_ref().is_some_and(|known| known.state(*kind) == UNKNOWN)
        })
    }

    /// Asks S3 for the uploaded copies that the client prefers, each once for a version of the object, and waits for them until `wait`.
    /// Returns whether there were any to ask for.
    pub(super) async fn ask_for_copies(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        entry: &Arc<IndexEntry>,
        deadline: Instant,
        wait: Instant,
    ) -> bool {
        let now = Moment::now();
        let Some(accepts) = request.accepts.filter(|_| !self.backoff.is_active(None, now)) else { return false };
        if self.ask_backoff.is_active(None, now) {
            return false;
        }
        let weights = accepts.weights(entry.head.copyable(), entry.head.content_type.as_deref());
        let asked = join_all(self.unasked(entry, &weights).map(|kind| self.ask_for_copy(entry, kind, deadline)));
        match tokio::time::timeout(wait.saturating_duration_since(Instant::now()), asked).await {
            Ok(asked) => !asked.is_empty(),
            Err(_) => {
                self.ask_backoff.start();
                true
            }
        }
    }

    /// Queues the questions for uploaded copies, so that no cache hit waits for S3.
    pub(super) fn queue_question(&self, request: &FetchRequest<'_>, entry: &Arc<IndexEntry>) {
        let Some(accepts) = request.accepts else { return };
        let weights = accepts.weights(entry.head.copyable(), entry.head.content_type.as_deref());
        let mut questions = self.questions.lock();
        for kind in self.unasked(entry, &weights) {
            let is_same = |(other, other_kind): &(Arc<IndexEntry>, CopyKind)| {
                other.version == entry.version && *other_kind == kind
            };
            if questions.len() < QUESTIONS_MAX && !questions.iter().any(is_same) {
                questions.push((entry.clone(), kind));
            }
        }
    }

    /// Asks the queued questions; drops those that are left at `deadline`.
    pub(super) async fn ask_queued(self: &Arc<Self>, deadline: Instant) {
        let questions = std::mem::take(&mut *self.questions.lock());
        for (entry, kind) in questions {
            if Instant::now() >= deadline || self.backoff.is_active(None, Moment::now()) {
                return;
            }
            self.ask_for_copy(&entry, kind, deadline).await;
        }
    }

    async fn ask_for_copy(self: &Arc<Self>, entry: &Arc<IndexEntry>, kind: CopyKind, deadline: Instant) {
        let asked = || entry.copies.as_ref().filter(|known| known.state(kind) != UNKNOWN).map(|_| ());
        let start = || {
            let (shared, entry) = (self.clone(), entry.clone());
            let copy_key = ObjectKey::new(format!("{}{}", entry.version.key, kind.suffix()));
            let call = async move { shared.fetch_copy(&copy_key, &entry, kind, deadline).await };
            call.instrument(Span::current()).boxed()
        };
        if let Join::Leader(call) | Join::Follower(call) =
            self.copies_in_flight.join((entry.version.clone(), kind), asked, start)
        {
            call.await;
        }
    }

    /// Fetches an uploaded copy, and stores it if it is one of this version of the object.
    async fn fetch_copy(&self, key: &ObjectKey, entry: &IndexEntry, kind: CopyKind, deadline: Instant) {
        let Some(known) = &entry.copies else { return };
        let fits = |head: &Head, _: Option<&_>| base64_len(head.size_bytes) <= PAYLOAD_BYTES_MAX;
        let result = self.store.fetch(&FetchRequest::unconditional(key, Part::Whole, &fits), deadline).await.result;
        self.backoff.record(&result);
        match result {
            Ok(Fetched::Object(Object { head, body, .. })) => match refusal(&head, entry, kind) {
                None => {
                    let identity = head.etag.as_deref().unwrap_or_default().as_bytes();
                    let head = entry.head.of_copy(kind, head.size_bytes, identity);
                    self.store_copy(entry, kind, 0, CachedCopy { head, body: body.unreserved() });
                }
                Some(reason) => {
                    warn!(key = key.as_str(), "the uploaded copy is not used: {reason}");
                    known.set(kind, NOT_UPLOADED);
                }
            },
            // The next request asks again.
            Err(error) if error.is_outage() || matches!(error, FetchError::Busy(_)) => {}
            Err(FetchError::Missing(_)) | Ok(_) => known.set(kind, NOT_UPLOADED),
            Err(error) => {
                let cause = error.cause().map(ToString::to_string).unwrap_or_default();
                warn!(key = key.as_str(), "the uploaded copy is not used: {cause}");
                known.set(kind, NOT_UPLOADED);
            }
        }
    }
}

/// Why an object is no copy of this version.
fn refusal(copy: &Head, entry: &IndexEntry, kind: CopyKind) -> Option<&'static str> {
    let coding = copy.content_encoding.as_deref().filter(|coding| !coding.is_empty());
    // In the same second, the source may have replaced that of the copy.
    let is_newer = copy.modified().zip(entry.head.modified()).is_some_and(|(copy, source)| copy > source);
    if !is_newer {
        Some("it is not newer than its source: upload it a second after the source")
    } else if coding.is_some_and(|coding| !kind.coding().is_some_and(|own| own.eq_ignore_ascii_case(coding))) {
        Some("it has another Content-Encoding than its suffix says")
    } else if copy.size_bytes == 0 || copy.size_bytes >= entry.head.size_bytes {
        Some("it is not smaller than its source")
    } else {
        None
    }
}
