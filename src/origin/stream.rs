//! Stage: stream an object that is too large for memory, if the door takes streams.

use nearedge_core::object::{Body, Head, Object};
use nearedge_core::request::door::STREAM_BYTES_MAX;
use nearedge_core::response::Outcome;
use nearedge_core::store::{FetchRequest, OpenBody, Part};

/// Upper bound of the status, the header fields and the cookies of a stream, in bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// The object, or the requested range of it, and its body; `None` if the door takes no streams or none of this size.
pub(super) fn stream(request: &FetchRequest<'_>, head: &Head) -> Option<(Outcome, Option<OpenBody>)> {
    let overflow = request.overflow?;
    let (range, body) = match request.part {
        Part::Head => (None, None),
        Part::Whole => overflow.take().map(|(range, body)| (range, Some(body)))?,
    };
    let bytes = range.as_ref().map_or(head.size_bytes, |range| range.end.saturating_sub(range.start));
    let object = Object { head: head.clone(), range, body: Body::default() };
    (bytes <= STREAM_BYTES_MAX - HEAD_BYTES_MAX).then_some((Outcome::Found(object), body))
}
