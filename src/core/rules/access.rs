//! Stage: the shared secret.

use std::ops::ControlFlow;

use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};

/// Responds 403 unless the request presents one of the secrets.
pub(super) fn require_secret(draft: &mut Draft<'_, '_>) -> Stage {
    draft.secret = draft.request.lambda_auth.as_deref().and_then(|presented| draft.policy.secrets.matches(presented));
    match draft.secret {
        Some(_) => ControlFlow::Continue(()),
        None => respond(Outcome::Forbidden),
    }
}
