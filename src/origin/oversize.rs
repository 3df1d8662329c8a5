//! Stage: respond for an object that does not fit into a Lambda response.

use std::time::Instant;

use nearedge_core::response::Outcome;
use nearedge_core::rules::Candidate;
use nearedge_core::rules::location;
use nearedge_core::store::{Part, Store};

use crate::origin::Origin;
use crate::origin::exceptions::Oversize;

impl<S: Store> Origin<S> {
    /// Redirects to where the object fits, or refuses it, as the setting `oversize` says.
    pub(super) async fn oversize(
        &self,
        candidate: &Candidate,
        part: Part,
        size_bytes: u64,
        deadline: Instant,
    ) -> Outcome {
        let Candidate { key, of_variant, .. } = candidate;
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
