//! The representation of a cached object that answers a request: the object, or a copy of it.

use std::sync::Arc;
use std::time::Instant;

use nearedge_core::object::{CopyKind, Object};
use nearedge_core::store::{FetchRequest, FetchResponse, Fetched, Part, Source, Store};

use crate::storage::cache::index::IndexEntry;
use crate::storage::cache::known_copies::CachedCopy;
use crate::storage::cache::shared::Shared;
use crate::storage::cache::uploaded::ASK_WAIT;

/// The representation that answers a request.
pub(super) enum Representation {
    /// A copy.
    Copy(Arc<CachedCopy>),
    /// The object, as it is stored. If a copy may answer later requests, its kind.
    Object(Option<CopyKind>),
    /// The object, until S3 was asked for uploaded copies.
    Unasked,
}

impl<S: Store> Shared<S> {
    /// Selects the representation of a cached object that answers a request.
    pub(super) fn representation(&self, request: &FetchRequest<'_>, entry: &Arc<IndexEntry>) -> Representation {
        let (Some(accepts), Some(known)) = (request.accepts, &entry.copies) else {
            return Representation::Object(None);
        };
        // Ranges are those of the object (RFC 9110 §14.2).
        if request.range.is_some() && request.select_range(&entry.head) != Ok(None) {
            return Representation::Object(None);
        }
        let weights = accepts.weights(entry.head.copyable(), entry.head.content_type.as_deref());
        if self.unasked(entry, &weights).next().is_some() {
            return Representation::Unasked;
        }
        let made = self.index.config.copies.made(entry.head.copyable()).iter().copied();
        let best = made.filter(|kind| weights.prefers(*kind)).min_by_key(|kind| u16::MAX - weights.of(*kind));
        let wanted = best.filter(|kind| request.part == Part::Whole && known.is_wanted(*kind));
        if let Some(kind) = weights.choose(known.present()) {
            match self.index.copy(&entry.version, kind) {
                Some(copy) if (request.fits)(&copy.head, None) => {
                    // The client prefers another one, or as much.
                    if let Some(better) =
                        wanted.filter(|better| weights.of(*better) >= weights.of(kind) && self.index.keeps(&entry.head))
                    {
                        self.queue_copy(entry, better, None);
                    }
                    return Representation::Copy(copy);
                }
                Some(_) => {}
                None => known.forget(kind),
            }
        }
        Representation::Object(wanted)
    }

    /// Answers from the cache if it holds everything that the answer needs. Queues the copies that would answer later requests.
    pub(super) fn represented(&self, request: &FetchRequest<'_>, entry: &Arc<IndexEntry>) -> Option<Fetched> {
        match self.representation(request, entry) {
            Representation::Copy(copy) => Some(copy.answer(request)),
            Representation::Unasked => {
                let answer = self.stored_answer(request, entry)?;
                // Only a copy may fit into a response.
                if matches!(answer, Fetched::TooLarge(_)) {
                    return None;
                }
                self.queue_question(request, entry);
                Some(answer)
            }
            Representation::Object(wanted) => {
                let answer = self.stored_answer(request, entry)?;
                if let (Some(kind), Fetched::Object(_)) = (wanted, &answer) {
                    self.queue_copy(entry, kind, None);
                }
                Some(answer)
            }
        }
    }

    /// Replaces an object that S3 has just sent or confirmed by the copy that the client prefers.
    pub(super) async fn represent(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        response: FetchResponse,
        deadline: Instant,
    ) -> FetchResponse {
        let head = match &response.result {
            Ok(
                Fetched::Object(Object { head, range: None, .. })
                | Fetched::TooLarge(head)
                | Fetched::NotModified(head),
            ) if request.accepts.is_some() && head.copy().is_none() => head,
            _ => return response,
        };
        let is_source = |entry: &Arc<IndexEntry>| head.etag.as_ref() == Some(&entry.version.etag);
        let Some(entry) = self.index.entry(request.key).filter(is_source) else { return response };
        if response.source != Source::Stale {
            if let (Some(overflow), Representation::Unasked) = (request.overflow, self.representation(request, &entry))
            {
                // An open body holds one of the connections that the questions need.
                drop(overflow.take());
            }
            let wait = match response.result {
                Ok(Fetched::TooLarge(_)) => deadline,
                _ => deadline.min(Instant::now() + ASK_WAIT),
            };
            self.ask_for_copies(request, &entry, deadline, wait).await;
        }
        match self.representation(request, &entry) {
            Representation::Copy(copy) => return FetchResponse { result: Ok(copy.answer(request)), ..response },
            Representation::Object(Some(kind)) => {
                if let Ok(Fetched::Object(object)) = &response.result {
                    self.queue_copy(&entry, kind, (!self.index.keeps(&object.head)).then(|| object.body.unreserved()));
                }
            }
            Representation::Object(None) | Representation::Unasked => {}
        }
        response
    }
}
