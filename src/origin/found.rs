//! The result of carrying out a decision.

use std::time::Duration;

use nearedge_core::object::ObjectKey;
use nearedge_core::response::Outcome;
use nearedge_core::rules::Candidate;
use nearedge_core::store::{FetchError, Missing, OpenBody, Source};

/// The result of carrying out a decision.
pub(super) struct Found<'a> {
    pub(super) outcome: Outcome,
    /// The body of the outcome's object, if it is read while it is sent.
    pub(super) stream: Option<OpenBody>,
    /// The requested key.
    pub(super) requested: Option<ObjectKey>,
    /// The candidate that decided the outcome.
    pub(super) served: Option<&'a Candidate>,
    /// The variant that the object was found under.
    pub(super) variant: Option<&'a str>,
    /// Why S3 returned no object.
    pub(super) missing: Option<Missing>,
    /// Where the object came from.
    pub(super) source: Option<Source>,
    /// How long the request waited for S3.
    pub(super) waited: Duration,
    /// The S3 error, even if a cached copy hides it.
    pub(super) error: Option<FetchError>,
}

impl From<Outcome> for Found<'_> {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            stream: None,
            requested: None,
            served: None,
            variant: None,
            missing: None,
            source: None,
            waited: Duration::ZERO,
            error: None,
        }
    }
}

/// When one response needed two fetches, the source of the first that was not a cache hit.
pub(super) fn worst_source(before: Option<Source>, after: Source) -> Option<Source> {
    before.filter(|source| *source != Source::Hit).or(Some(after))
}
