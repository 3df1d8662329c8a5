//! Stage: the keys to fetch.

use std::ops::ControlFlow;

use crate::request::Request;
use crate::rules::action::{Action, Candidate, Draft, Stage};

/// Fetches the first existing object among the key and its fallbacks. Ends the stages.
pub(super) fn fetch<T>(draft: &Draft<'_, '_>, first: Candidate, unversioned: &str) -> Stage<T> {
    let Draft { request, policy, variant, part, .. } = *draft;
    let shell = policy.spa_fallback.as_deref().filter(|_| first.key.can_exist() && is_navigation(request));
    let others = fallbacks(variant, unversioned, shell, policy.variant_fallback);
    ControlFlow::Break(match first.key.can_exist() || !others.is_empty() {
        true => Action::Fetch { first, others, part },
        false => Action::Missing { key: first.key },
    })
}

/// The keys that replace a missing object: the unversioned key, then the shell of a single-page application.
fn fallbacks(variant: Option<&str>, unversioned: &str, shell: Option<&str>, variant_fallback: bool) -> Vec<Candidate> {
    let falls_back = variant_fallback && variant.is_some();
    let mut fallbacks = Vec::new();
    fallbacks.extend(falls_back.then(|| Candidate::new(None, unversioned)));
    fallbacks.extend(shell.map(|shell| Candidate::new(variant, shell)));
    fallbacks.extend(shell.filter(|_| falls_back).map(|shell| Candidate::new(None, shell)));
    fallbacks.retain(|fallback| fallback.key.can_exist());
    fallbacks
}

/// Whether a browser navigates to a page: a request that accepts HTML, for a path without an extension.
///
/// HEAD gets the same response as GET, without the body (RFC 9110 §9.3.2).
fn is_navigation(request: &Request<'_>) -> bool {
    let last = request.path.rsplit('/').next().unwrap_or_default();
    request.accepts_html() && !last.contains('.')
}
