//! The decisions of the stages.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::access::check::Grant;
use crate::access::rules::Guards;
use crate::access::secret::SecretMatch;
use crate::experiment::assign::Assignment;
use crate::object::ObjectKey;
use crate::request::Request;
use crate::response::Outcome;
use crate::rules::active::Active;
use crate::rules::policy::Policy;
use crate::rules::redirects::{Effect, Rule};
use crate::rules::tested::Tested;
use crate::store::Part;

/// How the origin responds to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Respond without an object.
    Respond(Outcome),
    /// Redirect the viewer, without a request to S3.
    Redirect {
        /// The key behind the new address.
        key: ObjectKey,
        /// The value of Location: ASCII, no control characters.
        location: String,
    },
    /// Respond as for a missing object, without a request to S3.
    Missing {
        /// The key that cannot exist.
        key: ObjectKey,
    },
    /// Fetch the first candidate that exists.
    Fetch {
        /// The requested key.
        first: Candidate,
        /// The fallbacks, in this order.
        others: Vec<Candidate>,
        /// The whole object or its head.
        part: Part,
        /// How to respond if no candidate exists.
        otherwise: Otherwise,
    },
}

/// A key whose object can be the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The key.
    pub key: ObjectKey,
    /// Whether the key lies under the requested variant.
    pub of_variant: bool,
    /// The response if the object exists; `None` if that is the object.
    pub instead: Option<Instead>,
}

/// The response if the object of a candidate exists, other than the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// A redirect to the address of the page.
    Redirect(Box<AddressRedirect>),
    /// The object is the body of a generated response with this status.
    Body(u16),
}

/// A redirect to the address under which a page is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRedirect {
    /// The value of Location.
    pub location: String,
    /// The objects that would be served there instead; if one exists, there is no redirect.
    pub unless: Vec<ObjectKey>,
}

/// How to respond if no candidate exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// As for a missing object.
    Missing,
    /// A redirect with this status and Location.
    Redirect(u16, String),
    /// A generated response with this status, without a body of its own.
    Generated(u16),
}

impl Candidate {
    /// The key of `unversioned` under `variant`, or `unversioned` itself without a variant.
    pub(super) fn new(variant: Option<&str>, unversioned: &str) -> Self {
        match variant {
            // Faster than `format!`, which calls the formatter of each part.
            Some(variant) => Self::of_key([variant, "/", unversioned].concat(), true),
            None => Self::of_key(unversioned.to_owned(), false),
        }
    }

    fn of_key(key: String, of_variant: bool) -> Self {
        Self { key: ObjectKey::new(key), of_variant, instead: None }
    }
}

/// The state that the stages of one request share.
pub(super) struct Draft<'a, 'p> {
    pub(super) request: &'a Request<'a>,
    pub(super) policy: &'p Policy,
    /// The active files of the site.
    pub(super) active: Active<'a>,
    /// Set by the access stage.
    pub(super) secret: Option<SecretMatch>,
    /// Set by the method stage.
    pub(super) part: Part,
    /// The decoded path of the object: that of the request, or of a rewrite.
    pub(super) path: Cow<'a, str>,
    /// The rule of the list of redirects that matches. Set by the stage of the list.
    pub(super) rule: Option<&'a Rule>,
    /// The facts that conditions of rules have tested. Set by the stage of the list.
    pub(super) tested: Tested,
    /// The effect of this rule, if it has not been applied yet.
    pub(super) effect: Option<Effect>,
    /// The rules of access that the request satisfies, or the one that refuses it. Set by the stages of access rules.
    pub(super) guards: Guards<'a>,
    /// Set by the stages of access rules.
    pub(super) grant: Option<Box<Grant<'a>>>,
    /// Set by the experiment stage.
    pub(super) assignment: Option<Assignment<'a>>,
    /// Set by the variant stage.
    pub(super) variant: Option<&'a str>,
}

/// The result of a stage: continue with the next one, or break with the action.
pub(super) type Stage<T = ()> = ControlFlow<Action, T>;

/// Ends the stages with a response.
pub(super) fn respond<T>(outcome: Outcome) -> Stage<T> {
    ControlFlow::Break(Action::Respond(outcome))
}
