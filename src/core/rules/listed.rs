//! Stage: the site's list of redirects.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::ControlFlow;

use crate::access::jwt::Claims;
use crate::experiment::value::Value;
use crate::response::Outcome;
use crate::rules::action::{Draft, Stage, respond};
use crate::rules::active::Viewer;
use crate::rules::redirects::{self, Effect, Lookup};
use crate::rules::tested::Tested;

/// Applies the first rule that matches: a forced one now, any other if the object is missing.
pub(super) fn apply_rule<'a>(draft: &mut Draft<'a, '_>) -> Stage {
    let Some(list) = draft.active.redirects else { return ControlFlow::Continue(()) };
    let request = draft.request;
    let viewer = draft.active.viewer;
    let claims = draft.grant.as_ref().and_then(|grant| grant.claims.as_deref());
    let host = || viewer.map_or(Cow::Borrowed(""), Viewer::host);
    let facts = Facts { viewer, claims, tested: Cell::default() };
    let lookup = Lookup { host: &host, path: &request.path, query: &request.query, viewer: &facts };
    let found = list.find(&lookup);
    draft.tested = facts.tested.get();
    let Some(found) = found else { return ControlFlow::Continue(()) };
    draft.rule = Some(found.rule);
    match found.effect {
        Effect::Redirect { status, location } if found.rule.forced => respond(Outcome::Moved(status, location)),
        Effect::Rewrite { path } if found.rule.forced => {
            draft.path = Cow::Owned(path);
            ControlFlow::Continue(())
        }
        effect => {
            draft.effect = Some(effect);
            ControlFlow::Continue(())
        }
    }
}

/// The facts that conditions of rules test.
struct Facts<'a> {
    viewer: Option<&'a dyn Viewer>,
    claims: Option<&'a Claims>,
    tested: Cell<Tested>,
}

impl Facts<'_> {
    fn note(&self, note: impl FnOnce(&mut Tested)) {
        let mut tested = self.tested.get();
        note(&mut tested);
        self.tested.set(tested);
    }
}

impl redirects::Viewer for Facts<'_> {
    fn country(&self) -> Option<Cow<'_, str>> {
        self.note(|tested| tested.country = true);
        self.viewer?.country()
    }

    fn language(&self) -> Option<Cow<'_, str>> {
        self.note(|tested| tested.language = true);
        self.viewer?.language()
    }

    fn has_cookie(&self, name: &str) -> bool {
        self.note(|tested| tested.cookie = true);
        self.viewer.is_some_and(|viewer| !viewer.cookies(name).is_empty())
    }

    /// The claim `roles`, or Netlify's `app_metadata.authorization.roles`: a text or a list
    /// ([role-based redirects](https://docs.netlify.com/manage/security/secure-access-to-sites/role-based-access-control/)).
    fn has_role(&self, role: &str) -> bool {
        self.note(|tested| tested.role = true);
        let is_role = |value: &Value| value.as_str() == Some(role);
        let has = |roles: &Value| is_role(roles) || roles.as_list().unwrap_or_default().iter().any(is_role);
        let Some(claims) = self.claims else { return false };
        let of_netlify = || claims.get("app_metadata")?.get("authorization")?.get("roles");
        claims.get("roles").is_some_and(has) || of_netlify().is_some_and(has)
    }
}
