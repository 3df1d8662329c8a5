//! Stage: the keys to fetch.

use std::ops::ControlFlow;

use crate::object::ObjectKey;
use crate::request::Request;
use crate::rules::action::{Action, AddressRedirect, Candidate, Draft, Instead, Otherwise, Stage};
use crate::rules::html::{HtmlHandling, canonical};
use crate::rules::policy::Policy;
use crate::rules::redirect::site_location;

/// Fetches the first existing object among the key and its fallbacks. Ends the stages.
pub(super) fn fetch<T>(draft: &Draft<'_, '_>, first: Candidate, unversioned: &str) -> Stage<T> {
    let Draft { request, policy, variant, part, .. } = *draft;
    let is_page = is_navigation(request, policy.spa_fallback_dots);
    let shell = policy.spa_fallback.as_deref().filter(|_| first.key.can_exist() && is_page);
    let mut first = first;
    let mut others = match policy.html_handling {
        HtmlHandling::None => fallbacks(variant, unversioned, policy.variant_fallback),
        mode => {
            let mut pages = pages(draft, mode);
            // The list is empty only for a path of slashes.
            if !pages.is_empty() {
                first = pages.remove(0);
            }
            pages
        }
    };
    others.extend(shell.map(|shell| Candidate::new(variant, shell)));
    others.extend(shell.filter(|_| falls_back(draft)).map(|shell| Candidate::new(None, shell)));
    others.retain(|other| other.key.can_exist());
    ControlFlow::Break(match first.key.can_exist() || !others.is_empty() {
        true => Action::Fetch { first, others, part, otherwise: Otherwise::Missing },
        false => Action::Missing { key: first.key },
    })
}

/// Whether an object that is missing from the variant is served from the unversioned key.
fn falls_back(draft: &Draft<'_, '_>) -> bool {
    draft.policy.variant_fallback && draft.variant.is_some()
}

/// The key that replaces an object which is missing from the variant.
fn fallbacks(variant: Option<&str>, unversioned: &str, variant_fallback: bool) -> Vec<Candidate> {
    let fallback = (variant_fallback && variant.is_some()).then(|| Candidate::new(None, unversioned));
    fallback.into_iter().collect()
}

/// The pages that an address without extension can mean: first those of the variant, then the unversioned ones.
fn pages(draft: &Draft<'_, '_>, mode: HtmlHandling) -> Vec<Candidate> {
    let Draft { request, policy: Policy { index_document, .. }, variant, .. } = draft;
    let address = canonical(&request.path);
    let alternatives = mode.alternatives(&address, index_document);
    let mut candidates = Vec::with_capacity(alternatives.len());
    for variant in std::iter::once(*variant).chain(falls_back(draft).then_some(None)) {
        candidates.extend(alternatives.iter().map(|alternative| {
            let unless = |keys: &[String]| keys.iter().map(|key| Candidate::new(variant, key).key).collect();
            let redirect = match &alternative.redirect {
                Some(redirect) => Some((&*redirect.path, unless(&redirect.unless))),
                None if *address != *request.path => Some((&*address, Vec::<ObjectKey>::new())),
                None => None,
            };
            let instead = redirect.map(|(path, unless)| {
                let location = site_location(path, &request.query);
                Instead::Redirect(Box::new(AddressRedirect { location, unless }))
            });
            Candidate { instead, ..Candidate::new(variant, &alternative.key) }
        }));
    }
    candidates
}

/// Whether a browser navigates to a page: a request that accepts HTML, for a path without an extension.
///
/// HEAD gets the same response as GET, without the body (RFC 9110 §9.3.2).
fn is_navigation(request: &Request<'_>, with_dots: bool) -> bool {
    let last = || request.path.rsplit('/').next().unwrap_or_default();
    request.accepts_html() && (with_dots || !last().contains('.'))
}
