//! Stage: the shared secret, or IAM.

use std::ops::ControlFlow;

use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};

/// Responds 403 unless the request presents one of the secrets, or IAM has authenticated its sender.
pub(super) fn require_secret(draft: &mut Draft<'_, '_>) -> Stage {
    draft.secret = draft.policy.authenticate(draft.request);
    match draft.secret {
        Some(_) => ControlFlow::Continue(()),
        None => respond(Outcome::Forbidden),
    }
}
