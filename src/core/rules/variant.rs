//! Stage: the variant that `test_version` names, or that an experiment assigns.

use std::ops::ControlFlow;

use crate::object::is_version;
use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};

/// Takes the variant from the request, or else from the assignment; responds 400 if that of the request is malformed.
pub(super) fn select_variant(draft: &mut Draft<'_, '_>) -> Stage {
    let requested = draft.request.test_version.as_deref();
    if requested.is_some_and(|variant| !is_version(variant)) {
        return respond(Outcome::VersionRefused);
    }
    draft.variant = requested.or(draft.assignment.as_ref().and_then(|assignment| assignment.version));
    ControlFlow::Continue(())
}
