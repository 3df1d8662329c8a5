//! Stage: respond for an object that does not fit into a Lambda response.

use std::time::{Duration, Instant};

use nearedge_core::object::ObjectKey;
use nearedge_core::response::Outcome;
use nearedge_core::rules::decision::Candidate;
use nearedge_core::rules::redirect::location;
use nearedge_core::store::{Part, Store};

use crate::origin::Origin;

/// How the origin responds for an object that does not fit into a Lambda response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// 307 to a presigned S3 URL.
    Presign,
    /// 307 to `redirect_path` for a variant's object, which the distribution serves straight from S3.
    Redirect,
    /// 413.
    Reject,
}

/// The settings of responses without the requested object.
#[derive(Debug, Clone)]
pub struct Exceptions {
    /// The object that is the body of a 404.
    pub error_document: Option<ObjectKey>,
    /// How the origin responds for an object that does not fit into a Lambda response.
    pub oversize: Oversize,
    /// The lifetime of a presigned URL.
    pub presign_ttl: Duration,
}

impl<S: Store> Origin<S> {
    /// Redirects to where the object fits, or refuses it, as the setting `oversize` says.
    pub(super) async fn oversize(
        &self,
        candidate: &Candidate,
        part: Part,
        size_bytes: u64,
        deadline: Instant,
    ) -> Outcome {
        let Candidate { key, of_variant } = candidate;
        match self.exceptions.oversize {
            Oversize::Reject => Outcome::TooLarge(key.clone(), size_bytes),
            // No URL leads to such a key: clients resolve dot segments.
            _ if key.has_dot_segment() => Outcome::TooLarge(key.clone(), size_bytes),
            // The distribution serves only variant prefixes straight from S3; any other address would loop.
            Oversize::Redirect if *of_variant => Outcome::Oversized(location(&self.policy.redirect_path, key, None)),
            Oversize::Redirect | Oversize::Presign => {
                match self.store.presign(key, part, self.exceptions.presign_ttl, deadline).await {
                    Ok(url) => Outcome::Oversized(url),
                    Err(error) => Outcome::NotFetched(key.clone(), error),
                }
            }
        }
    }
}
