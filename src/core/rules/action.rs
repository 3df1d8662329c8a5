//! The decisions of the stages.

use std::ops::ControlFlow;

use crate::access::secret::SecretMatch;
use crate::experiment::assign::{Assignment, Experiments};
use crate::object::ObjectKey;
use crate::request::Request;
use crate::response::Outcome;
use crate::rules::policy::Policy;
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
    },
}

/// A key whose object can be the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The key.
    pub key: ObjectKey,
    /// Whether the key lies under the requested variant.
    pub of_variant: bool,
}

impl Candidate {
    /// The key of `unversioned` under `variant`, or `unversioned` itself without a variant.
    pub(super) fn new(variant: Option<&str>, unversioned: &str) -> Self {
        match variant {
            // Faster than `format!`, which calls the formatter of each part.
            Some(variant) => Self { key: ObjectKey::new([variant, "/", unversioned].concat()), of_variant: true },
            None => Self { key: ObjectKey::new(unversioned.to_owned()), of_variant: false },
        }
    }
}

/// The state that the stages of one request share.
pub(super) struct Draft<'a, 'p> {
    pub(super) request: &'a Request<'a>,
    pub(super) policy: &'p Policy,
    /// The active experiments.
    pub(super) experiments: Option<Experiments<'a>>,
    /// Set by the access stage.
    pub(super) secret: Option<SecretMatch>,
    /// Set by the method stage.
    pub(super) part: Part,
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
