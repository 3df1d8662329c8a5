//! Selects the part of a cached object that answers a request: its head, its body, or a range.

use std::ops::Range;

use nearedge_core::object::{Body, Head, Object};
use nearedge_core::store::{FetchRequest, Fetched, Part, RangeOutsideObject};

/// The part of an object that a response needs besides the head.
pub(super) enum Selection {
    /// Nothing: this is the answer.
    Answer(Fetched),
    /// The body, or a range of it.
    Body(Option<Range<u64>>),
}

impl Selection {
    /// Evaluates the conditions and the range of `request` for an object with this head.
    pub(super) fn new(request: &FetchRequest<'_>, head: &Head) -> Self {
        let selected = request.select_range(head);
        let answer = request.answer_without_body(head, selected.as_ref().ok().and_then(Option::as_ref));
        match (answer, selected) {
            // A range outside the object is unsatisfiable, whether or not the object fits into a response.
            (None | Some(Fetched::TooLarge(_)), Err(RangeOutsideObject)) => {
                Self::Answer(Fetched::Unsatisfiable(head.size_bytes))
            }
            (Some(answer), _) => Self::Answer(answer),
            (None, Ok(range)) if request.part == Part::Whole => Self::Body(range),
            (None, Ok(_)) => {
                Self::Answer(Fetched::Object(Object { head: head.clone(), range: None, body: Body::default() }))
            }
        }
    }
}

/// The object, or the range of it, from its whole body.
pub(super) fn slice(head: &Head, body: &Body, range: Option<Range<u64>>) -> Fetched {
    let part = range.clone().map_or_else(|| body.clone(), |range| body.slice(range));
    Fetched::Object(Object { head: head.clone(), range, body: part })
}
