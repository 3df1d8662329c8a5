//! Stage: the visitor's assignment by experiments.

use std::ops::ControlFlow;

use crate::access::jwt::Claims;
use crate::experiment::assign::assign;
use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};

/// Assigns the visitor, unless the request states a version itself; redirects if an experiment does.
pub(super) fn assign_visitor(draft: &mut Draft<'_, '_>) -> Stage {
    let Some(experiments) = draft.active.experiments.filter(|_| draft.request.test_version.is_none()) else {
        return ControlFlow::Continue(());
    };
    let claims = draft.grant.as_ref().and_then(|grant| grant.claims.as_deref());
    let mut assignment = assign(draft.request, experiments, claims.map(Claims::value));
    let redirect = assignment.redirect.take();
    draft.assignment = Some(assignment);
    match redirect {
        Some(address) => respond(Outcome::Redirected(address)),
        None => ControlFlow::Continue(()),
    }
}
