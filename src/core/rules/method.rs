//! Stage: the request method.

use std::ops::ControlFlow;

use crate::request::Method;
use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};
use crate::store::Part;

/// Lets GET and HEAD through; responds 204 to OPTIONS and 405 to every other method.
pub(super) fn select_part(draft: &mut Draft<'_, '_>) -> Stage {
    draft.part = match draft.request.method {
        Method::Get => Part::Whole,
        Method::Head => Part::Head,
        Method::Options => return respond(Outcome::MethodsListed),
        Method::Other => return respond(Outcome::MethodRefused),
    };
    ControlFlow::Continue(())
}
