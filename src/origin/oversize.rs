//! Stage: respond for an object that does not fit into a Lambda response.

use std::time::{Duration, Instant};

use nearedge_core::object::Copyable;
use nearedge_core::response::Outcome;
use nearedge_core::rules::location;
use nearedge_core::rules::{Candidate, Decision};
use nearedge_core::store::{Part, Store};

use crate::origin::exceptions::Oversize;
use crate::origin::{Origin, unix_secs};

impl<S: Store> Origin<S> {
    /// Redirects to where an object of this size fits, or refuses it, as the setting `oversize` says.
    pub(super) async fn oversize(
        &self,
        candidate: &Candidate,
        part: Part,
        (size_bytes, copyable): (u64, Copyable),
        decision: &Decision<'_>,
        deadline: Instant,
    ) -> Outcome {
        let Candidate { key, of_variant, .. } = candidate;
        match self.exceptions.oversize {
            Oversize::Reject => Outcome::TooLarge(key.clone(), size_bytes, copyable),
            // No URL leads to such a key: clients resolve dot segments.
            _ if key.has_dot_segment() => Outcome::TooLarge(key.clone(), size_bytes, copyable),
            // The distribution serves only variant prefixes straight from S3; any other address would loop.
            // Straight from S3 no rule of access would guard it.
            Oversize::Redirect if *of_variant && decision.grant.is_none() => {
                Outcome::Oversized(location(&self.policy.redirect_path, key, None), copyable)
            }
            Oversize::Redirect | Oversize::Presign => {
                // The URL works no longer than what permitted it.
                let left = decision.grant.as_ref().map(|grant| grant.expires.saturating_sub(unix_secs()).max(1));
                let ttl = left.map_or(Duration::MAX, Duration::from_secs).min(self.exceptions.presign_ttl);
                match self.store.presign(key, part, ttl, deadline).await {
                    Ok(url) => Outcome::Oversized(url, copyable),
                    Err(error) => Outcome::NotFetched(key.clone(), error),
                }
            }
        }
    }
}
