//! Stage: the keys to fetch.

use std::borrow::Cow;

use crate::object::ObjectKey;
use crate::request::Request;
use crate::response::Outcome;
use crate::rules::action::{Action, AddressRedirect, Candidate, Draft, Instead, Otherwise};
use crate::rules::html::{HtmlHandling, canonical};
use crate::rules::key::key_of_path;
use crate::rules::policy::Policy;
use crate::rules::redirect::site_location;
use crate::rules::redirects::Effect;

/// Fetches the first existing object among the key, its fallbacks, and the objects of the rule that applies otherwise.
pub(super) fn fetch(draft: &mut Draft<'_, '_>, first: Candidate, unversioned: &str) -> Action {
    let effect = draft.effect.take();
    let Draft { request, policy, variant, part, .. } = *draft;
    let mut first = first;
    let mut others = Vec::new();
    match policy.html_handling {
        HtmlHandling::None => others.extend(falls_back(draft).then(|| Candidate::new(None, unversioned))),
        mode => {
            others = match &draft.path {
                Cow::Borrowed(path) => pages(draft, path, mode),
                Cow::Owned(path) => rewritten_pages(draft, path, mode),
            };
            // The list is empty only for a path of slashes.
            if !others.is_empty() {
                first = others.remove(0);
            }
        }
    }
    let otherwise = match effect {
        None => {
            let is_page = policy.spa_fallback.is_some() && is_navigation(request, policy.spa_fallback_dots);
            let shell = policy.spa_fallback.as_deref().filter(|_| first.key.can_exist() && is_page);
            others.extend(shell.map(|shell| Candidate::new(variant, shell)));
            others.extend(shell.filter(|_| falls_back(draft)).map(|shell| Candidate::new(None, shell)));
            Otherwise::Missing
        }
        Some(Effect::Redirect { status, location }) => Otherwise::Redirect(status, location),
        Some(Effect::Rewrite { path }) => {
            others.extend(objects_of(draft, &path));
            Otherwise::Missing
        }
        Some(Effect::Respond { status, path }) => {
            let bodies = bodies_of(draft, status, &path);
            if draft.rule.is_some_and(|rule| rule.forced) {
                others.clear();
                if let Some(body) = bodies.first() {
                    first = body.clone();
                }
                others.extend(bodies.into_iter().skip(1));
            } else {
                others.extend(bodies);
            }
            Otherwise::Generated(status)
        }
    };
    let is_served = |candidate: &Candidate| candidate.key.can_exist() && !policy.is_hidden(candidate.key.as_str());
    others.retain(is_served);
    if !is_served(&first) {
        match (others.is_empty(), &otherwise) {
            (false, _) => first = others.remove(0),
            (true, Otherwise::Missing) => return Action::Missing { key: first.key },
            (true, Otherwise::Redirect(status, location)) => {
                return Action::Respond(Outcome::Moved(*status, location.clone()));
            }
            (true, Otherwise::Generated(status)) => return Action::Respond(Outcome::Generated(*status, None)),
        }
    }
    Action::Fetch { first, others, part, otherwise }
}

/// The objects that the path of a rewrite can mean.
fn objects_of(draft: &Draft<'_, '_>, path: &str) -> Vec<Candidate> {
    if draft.policy.html_handling != HtmlHandling::None {
        return rewritten_pages(draft, path, draft.policy.html_handling);
    }
    let key = key_of_path(path, &draft.policy.index_document);
    let fallback = falls_back(draft).then(|| Candidate::new(None, &key));
    std::iter::once(Candidate::new(draft.variant, &key)).chain(fallback).collect()
}

/// The objects that can be the body of a generated response: that of the variant, or else the unversioned one.
fn bodies_of(draft: &Draft<'_, '_>, status: u16, path: &str) -> Vec<Candidate> {
    let key = key_of_path(path, &draft.policy.index_document);
    let variants = draft.variant.map(Some).into_iter().chain([None]);
    variants
        .map(|variant| Candidate { instead: Some(Instead::Body(status)), ..Candidate::new(variant, &key) })
        .collect()
}

/// Whether an object that is missing from the variant is served from the unversioned key.
fn falls_back(draft: &Draft<'_, '_>) -> bool {
    draft.policy.variant_fallback && draft.variant.is_some()
}

/// The pages that the target of a rewrite can mean: the object of that name, or else the page of that address. The visitor
/// stays at the requested address, so none redirects.
fn rewritten_pages(draft: &Draft<'_, '_>, path: &str, mode: HtmlHandling) -> Vec<Candidate> {
    let key = key_of_path(path, &draft.policy.index_document);
    let pages = pages(draft, path, mode).into_iter().filter(|page| page.instead.is_none());
    let mut candidates: Vec<Candidate> = Vec::new();
    for candidate in pages {
        let named = Candidate::new(draft.variant.filter(|_| candidate.of_variant), &key);
        for candidate in [named, candidate] {
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
    }
    candidates
}

/// The pages that an address without extension can mean: first those of the variant, then the unversioned ones.
fn pages(draft: &Draft<'_, '_>, path: &str, mode: HtmlHandling) -> Vec<Candidate> {
    let Draft { request, policy: Policy { index_document, .. }, variant, .. } = draft;
    let address = canonical(path);
    let alternatives = mode.alternatives(&address, index_document);
    let mut candidates = Vec::with_capacity(alternatives.len());
    for variant in std::iter::once(*variant).chain(falls_back(draft).then_some(None)) {
        candidates.extend(alternatives.iter().map(|alternative| {
            let unless = |keys: &[String]| keys.iter().map(|key| Candidate::new(variant, key).key).collect();
            let redirect = match &alternative.redirect {
                Some(redirect) => Some((&*redirect.path, unless(&redirect.unless))),
                None if *address != *path => Some((&*address, Vec::<ObjectKey>::new())),
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
