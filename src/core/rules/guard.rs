//! Stage: the rules of access.json.

use std::ops::ControlFlow;

use crate::access::check::{Denial, Grant, Verdict};
use crate::access::rules::{Target, Versions};
use crate::object::ObjectKey;
use crate::response::Outcome;
use crate::rules::action::{Action, Draft, Stage, respond};
use crate::rules::key::key_of_path;

/// Refuses a request whose path is guarded, unless it satisfies the rules.
pub(super) fn require_access(draft: &mut Draft<'_, '_>) -> Stage {
    if draft.active.access.is_none() {
        return ControlFlow::Continue(());
    }
    let request = draft.request;
    check(draft, &[Target::from(&*request.path)])
}

/// Refuses a request whose path leads to a guarded object: by a rewrite, an index document, or an address without extension.
pub(super) fn require_access_to_objects(draft: &mut Draft<'_, '_>, action: Action) -> Action {
    if draft.active.access.is_none() {
        return action;
    }
    let candidates = match &action {
        Action::Fetch { first, others, .. } => std::iter::once(first).chain(others),
        // The header `redirect` leads to where the distribution serves objects straight from S3.
        _ => return action,
    };
    let target = |key: &str, of_variant: bool| match draft.variant.filter(|_| of_variant) {
        Some(variant) => (Some(variant), key.get(variant.len() + 1..).unwrap_or_default().to_owned()),
        None => (None, key.to_owned()),
    };
    let targets: Vec<_> = candidates.map(|candidate| target(candidate.key.as_str(), candidate.of_variant)).collect();
    // The path comes first, because links are signed for it.
    let request = draft.request;
    let of_objects = targets.iter().map(|(version, path)| Target { version: *version, path });
    let targets: Vec<Target<'_>> = std::iter::once(Target::from(&*request.path)).chain(of_objects).collect();
    match check(draft, &targets) {
        ControlFlow::Continue(()) => action,
        ControlFlow::Break(refused) => refused,
    }
}

fn check(draft: &mut Draft<'_, '_>, targets: &[Target<'_>]) -> Stage {
    let Some(access) = draft.active.access else { return ControlFlow::Continue(()) };
    let (Some(rules), Some(viewer)) = (access.rules, draft.active.viewer) else {
        return respond(Outcome::AccessUnavailable);
    };
    let of_experiments = draft.active.experiments.and_then(|experiments| experiments.definition);
    let is_version = |segment: &str| {
        let in_settings = draft.policy.test_versions.iter().flatten().any(|listed| listed == segment);
        in_settings
            || of_experiments.is_some_and(|definition| definition.versions.iter().any(|given| **given == *segment))
    };
    // Without `test_versions`, a request may name any version itself.
    let versions = match draft.policy.test_versions {
        Some(_) => Versions::Listed(&is_version),
        None => Versions::Any,
    };
    let verdict = rules.check(targets, versions, viewer, access.known, access.now);
    if draft.guard.is_none() && !matches!(verdict, Verdict::Open) {
        let guards = targets.iter().find_map(|target| rules.guards(*target, versions).first().copied());
        draft.guard = guards.map(|rule| &*rule.path);
    }
    match verdict {
        Verdict::Open => ControlFlow::Continue(()),
        Verdict::Granted(grant) => {
            draft.grant = Some(match draft.grant.take() {
                None => grant,
                Some(before) => both(before, grant),
            });
            ControlFlow::Continue(())
        }
        // As for an object that does not exist.
        Verdict::Denied(Denial::Hidden) => {
            let key = key_of_path(&draft.request.path, &draft.policy.index_document).into_owned();
            ControlFlow::Break(Action::Missing { key: ObjectKey::new(key) })
        }
        Verdict::Denied(denial) => respond(Outcome::Denied(denial)),
    }
}

/// The grant of a request that satisfies the rules of its path and those of its object.
fn both<'r>(mut path: Grant<'r>, object: Grant<'r>) -> Grant<'r> {
    path.claims = path.claims.or(object.claims);
    path.expires = path.expires.min(object.expires);
    path.no_store |= object.no_store;
    for cookie in object.set_cookies {
        if !path.set_cookies.contains(&cookie) {
            path.set_cookies.push(cookie);
        }
    }
    path
}
