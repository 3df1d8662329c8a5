//! Stage: the rules of access.json.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::access::check::{Denial, Grant};
use crate::access::rules::{Guards, Rule, Target, Versions};
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
pub(super) fn require_access_to_objects(draft: &mut Draft<'_, '_>, action: &Action) -> Stage {
    // The header `redirect` leads to where the distribution serves objects straight from S3.
    let (Some(_), Action::Fetch { first, others, .. }) = (draft.active.access, action) else {
        return ControlFlow::Continue(());
    };
    // The path comes first, because links are signed for it.
    let request = draft.request;
    let mut targets: SmallVec<[Target<'_>; 4]> = SmallVec::new();
    targets.push(Target::from(&*request.path));
    let rooted = request.path.strip_prefix('/');
    for candidate in std::iter::once(first).chain(others) {
        let key = candidate.key.as_str();
        match draft.variant.filter(|_| candidate.of_variant) {
            Some(variant) => {
                let path = key.get(variant.len() + 1..).unwrap_or_default();
                targets.push(Target { version: Some(variant), path });
            }
            // The object of the path itself, whose rules the request satisfies already.
            None if Some(key) == rooted => {}
            None => targets.push(key.into()),
        }
    }
    if targets.len() == 1 {
        return ControlFlow::Continue(());
    }
    check(draft, &targets)
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
    let mut guards = Guards::new();
    for target in targets {
        rules.add_guards(*target, versions, &mut guards);
    }
    // Most objects have the rules of their path, which the request satisfies already.
    let is_satisfied = |rule: &&Rule| draft.guards.iter().any(|known| std::ptr::eq(*known, *rule));
    if guards.iter().all(is_satisfied) {
        return ControlFlow::Continue(());
    }
    let path = targets.first().map_or("/", |target| target.path);
    let verdict = rules.satisfy(&guards, path, viewer, access.known, access.now);
    draft.guards = guards;
    match verdict {
        Ok(grant) => {
            draft.grant = Some(match draft.grant.take() {
                None => Box::new(grant),
                Some(before) => Box::new(both(*before, grant)),
            });
            ControlFlow::Continue(())
        }
        // As for an object that does not exist.
        Err(Denial::Hidden) => {
            let key = key_of_path(&draft.request.path, &draft.policy.index_document).into_owned();
            ControlFlow::Break(Action::Missing { key: ObjectKey::new(key) })
        }
        Err(denial) => respond(Outcome::Denied(denial)),
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
