//! Stage: respond for a missing object.

use std::ops::Range;
use std::time::{Duration, Instant};

use nearedge_core::object::{Body, Head, Object, ObjectKey};
use nearedge_core::response::{Context, Outcome};
use nearedge_core::rules::Decision;
use nearedge_core::store::{FetchError, FetchRequest, Fetched, Missing, Part, Store};

use crate::origin::Origin;
use crate::origin::found::Found;
use crate::origin::object::fits;
use crate::origin::stream::{overflow, stream};

impl<S: Store> Origin<S> {
    /// Responds with the error document, or with a text if there is none that the client may see.
    pub(super) async fn missing<'a>(
        &self,
        decision: &Decision<'_>,
        key: &ObjectKey,
        reason: Missing,
        part: Part,
        context: &Context<'_, '_>,
        deadline: Instant,
    ) -> Found<'a> {
        let mut outcome = Outcome::NotFetched(key.clone(), FetchError::Missing(reason));
        let (mut waited, mut source, mut opened) = (Duration::ZERO, None, None);
        let document = self.exceptions.error_document.as_ref();
        if let Some(document) = document.filter(|document| decision.may_contain(document, &self.policy)) {
            let has_room = |head: &Head, _: Option<&Range<u64>>| {
                let object = Object { head: head.clone(), range: None, body: Body::default() };
                fits(Outcome::ErrorDocument(object), context)
            };
            // If the document cannot be fetched either, the text is enough.
            let request = FetchRequest::unconditional(document, part, &has_room);
            let accepts = context.accepts.filter(|_| self.may_send_copies(decision, document));
            let overflow = overflow(context);
            let request = FetchRequest { accepts, overflow: overflow.as_ref(), ..request };
            let response = self.store.fetch(&request, deadline).await;
            waited = response.waited;
            source = Some(response.source);
            match response.result {
                Ok(Fetched::Object(object)) => outcome = Outcome::ErrorDocument(object),
                Ok(Fetched::TooLarge(head)) => {
                    if let Some((object, body)) = stream(&request, &head) {
                        (outcome, opened) = (Outcome::ErrorDocument(object), body);
                    }
                }
                _ => {}
            }
        }
        let requested = Some(key.clone());
        Found { requested, missing: Some(reason), waited, source, stream: opened, ..outcome.into() }
    }
}
