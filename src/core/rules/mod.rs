//! The rules: the list of request stages, in the contract's order.
//!
//! [`decide`] runs the stages. Each is a function in a file of its own; a new stage is one file, and its lines here.

mod access;
mod action;
mod active;
mod experiment;
mod goal;
mod guard;
pub mod headers;
mod host;
pub mod html;
mod key;
mod line_problem;
mod line_reader;
mod listed;
mod method;
mod object;
mod path_index;
mod path_pattern;
mod percent;
mod policy;
mod redirect;
pub mod redirects;
mod test_versions;
mod tested;
mod url_pattern;
mod variant;
mod viewer;

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::ControlFlow;

use crate::access::check::Grant;
use crate::access::rules::Guards;
use crate::access::secret::SecretMatch;
use crate::experiment::assign::Assignment;
use crate::object::ObjectKey;
use crate::request::Request;
use crate::store::Part;

pub use self::action::{Action, AddressRedirect, Candidate, Instead, Otherwise};
use self::action::{Draft, Stage};
pub use self::active::{AccessControl, Active, Viewer};
pub use self::line_problem::{LineProblem, Severity};
pub use self::policy::Policy;
pub use self::redirect::location;
use self::redirects::Rule;
pub use self::tested::Tested;
pub use self::url_pattern::UrlExample;
pub use self::viewer::RequestViewer;

/// The stages that every request passes. The first one that breaks decides.
///
/// The secret comes first: a request without it learns nothing from the later stages.
fn stages(draft: &mut Draft<'_, '_>) -> Stage<Infallible> {
    access::require_secret(draft)?;
    goal::answer_beacon(draft)?;
    method::select_part(draft)?;
    guard::require_access(draft)?;
    listed::apply_rule(draft)?;
    experiment::assign_visitor(draft)?;
    variant::select_variant(draft)?;
    let unversioned = key::unversioned(draft)?;
    let first = Candidate::new(draft.variant, &unversioned);
    let first = test_versions::require_listed(draft, first)?;
    let first = redirect::redirect(draft, first)?;
    let action = object::fetch(draft, first, &unversioned);
    guard::require_access_to_objects(draft, &action)?;
    ControlFlow::Break(action)
}

/// The result of the rules for one request.
#[derive(Debug)]
pub struct Decision<'a> {
    /// How the origin responds.
    pub action: Action,
    /// The secret that the request presented; `None` if it presented none and is refused.
    pub secret: Option<SecretMatch>,
    /// The requested variant, if it is well-formed, or the assigned one.
    pub variant: Option<&'a str>,
    /// What experiments decided; `None` if they are disabled, or if the request states a version itself.
    pub assignment: Option<Assignment<'a>>,
    /// The rules of access that the request satisfies, or the one that refuses it.
    pub guards: Guards<'a>,
    /// The rules of access; `None` if they are disabled.
    pub access: Option<AccessControl<'a>>,
    /// The permissions by the rules of access; `None` if no rule guards the request.
    pub grant: Option<Box<Grant<'a>>>,
    /// The facts about the viewer that conditions of rules have tested.
    pub tested: Tested,
    /// The rule of the list of redirects that applies if it is forced, or if the object is missing.
    pub rule: Option<&'a Rule>,
}

impl Decision<'_> {
    /// Whether a response may contain an object that the request does not name: a document that explains an error.
    pub fn may_contain(&self, key: &ObjectKey, policy: &Policy) -> bool {
        let satisfied = if self.grant.is_some() { &self.guards[..] } else { &[] };
        guard::is_open(key, policy, self.access, satisfied)
    }
}

/// Decides how to respond to `request`: a pure function of the request, the settings and the active files of the site.
pub fn decide<'a>(request: &'a Request<'_>, policy: &Policy, active: Active<'a>) -> Decision<'a> {
    let mut draft = Draft {
        request,
        policy,
        active,
        secret: None,
        part: Part::Whole,
        path: Cow::Borrowed(&request.path),
        rule: None,
        tested: Tested::default(),
        effect: None,
        guards: Guards::new(),
        grant: None,
        assignment: None,
        variant: None,
    };
    let ControlFlow::Break(action) = stages(&mut draft);
    let Draft { secret, variant, assignment, active: Active { access, .. }, guards, grant, rule, tested, .. } = draft;
    Decision { action, secret, variant, assignment, guards, access, grant, tested, rule }
}

#[cfg(test)]
mod tests;
