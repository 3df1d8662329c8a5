//! Stage: respond for a missing object.

use std::ops::Range;
use std::time::{Duration, Instant};

use nearedge_core::object::{Body, Head, Object, ObjectKey};
use nearedge_core::response::Outcome;
use nearedge_core::store::{FetchError, FetchRequest, Fetched, Missing, Part, Store};

use crate::origin::Origin;
use crate::origin::found::Found;

impl<S: Store> Origin<S> {
    /// Responds with the error document, or with a text if there is none.
    pub(super) async fn missing<'a>(
        &self,
        key: &ObjectKey,
        reason: Missing,
        part: Part,
        deadline: Instant,
    ) -> Found<'a> {
        let mut outcome = Outcome::NotFetched(key.clone(), FetchError::Missing(reason));
        let (mut waited, mut source) = (Duration::ZERO, None);
        if let Some(document) = &self.exceptions.error_document {
            let fits = |head: &Head, _: Option<&Range<u64>>| {
                let object = Object { head: head.clone(), range: None, body: Body::default() };
                self.fits(Outcome::ErrorDocument(object), None, None)
            };
            // If the document cannot be fetched either, the text is enough.
            let request = FetchRequest::unconditional(document, part, &fits);
            let response = self.store.fetch(&request, deadline).await;
            waited = response.waited;
            source = Some(response.source);
            if let Ok(Fetched::Object(object)) = response.result {
                outcome = Outcome::ErrorDocument(object);
            }
        }
        Found { requested: Some(key.clone()), missing: Some(reason), waited, source, ..outcome.into() }
    }
}
