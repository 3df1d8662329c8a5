//! Stage: stream an object that is too large for memory, if the door takes streams.

use std::time::Instant;

use nearedge_core::object::{Body, Head, Object};
use nearedge_core::request::door::{STREAM_BYTES_MAX, Transfer};
use nearedge_core::response::{Context, Outcome};
use nearedge_core::store::{FetchRequest, OpenBody, RangeOutsideObject, Store};

use crate::origin::Origin;

impl<S: Store> Origin<S> {
    /// Opens the object, or the requested range of it; `None` if the door takes no streams or none of this size.
    pub(super) async fn stream(
        &self,
        request: &FetchRequest<'_>,
        head: &Head,
        context: &Context<'_, '_>,
        deadline: Instant,
    ) -> Option<(Outcome, Option<OpenBody>)> {
        if context.transfer() == Transfer::Buffered {
            return None;
        }
        let range = match request.select_range(head) {
            Ok(range) => range,
            Err(RangeOutsideObject) => return Some((Outcome::RangeNotSatisfiable(head.size_bytes), None)),
        };
        let bytes = range.clone().unwrap_or(0..head.size_bytes);
        if bytes.end.saturating_sub(bytes.start) > STREAM_BYTES_MAX {
            return None;
        }
        let opened = match request.overflow.and_then(|overflow| overflow.take(&bytes)) {
            Some(body) => Ok(body),
            // Boxed, because few responses need it.
            None => Box::pin(self.store.open(request.key, head, bytes, deadline)).await,
        };
        Some(match opened {
            Ok(body) => (Outcome::Found(Object { head: head.clone(), range, body: Body::default() }), Some(body)),
            Err(error) => (Outcome::NotFetched(request.key.clone(), error), None),
        })
    }
}
