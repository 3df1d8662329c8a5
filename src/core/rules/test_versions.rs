//! Stage: the list of existing variants.

use std::ops::ControlFlow;

use crate::rules::action::{Action, Candidate, Draft, Stage};

/// Responds as for a missing object if `test_versions` does not list the variant.
pub(super) fn require_listed(draft: &Draft<'_, '_>, first: Candidate) -> Stage<Candidate> {
    let is_listed = |variant: &str| {
        draft.policy.test_versions.as_ref().is_none_or(|listed| listed.iter().any(|version| version == variant))
    };
    match draft.variant.is_none_or(is_listed) {
        true => ControlFlow::Continue(first),
        false => ControlFlow::Break(Action::Missing { key: first.key }),
    }
}
