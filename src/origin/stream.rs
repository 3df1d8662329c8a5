//! Stage: stream an object that is too large for memory, if the door takes streams.

use std::sync::Arc;

use nearedge_core::object::{Body, Head, Object};
use nearedge_core::request::door::{STREAM_BYTES_MAX, Transfer};
use nearedge_core::response::Context;
use nearedge_core::store::{FetchRequest, OpenBody, Overflow, Part};

/// Upper bound of the status, the header fields and the cookies of a stream, in bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// Where a fetch leaves the body of an object that is too large for memory; `None` if the door takes no streams.
pub(super) fn overflow(context: &Context<'_, '_>) -> Option<Arc<Overflow>> {
    (context.transfer() == Transfer::Streamed).then(Arc::default)
}

/// The object, or the requested range of it, and its body; `None` if the door takes no streams or none of this size.
pub(super) fn stream(request: &FetchRequest<'_>, head: &Head) -> Option<(Object, Option<OpenBody>)> {
    let overflow = request.overflow?;
    let (range, body) = match request.part {
        Part::Head => (None, None),
        Part::Whole => overflow.take().map(|(range, body)| (range, Some(body)))?,
    };
    let bytes = range.as_ref().map_or(head.size_bytes, |range| range.end.saturating_sub(range.start));
    let object = Object { head: head.clone(), range, body: Body::default() };
    (bytes <= STREAM_BYTES_MAX - HEAD_BYTES_MAX).then_some((object, body))
}
