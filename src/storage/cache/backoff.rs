//! Backoff: how long the cache serves stale objects without a new attempt after S3 failed.

use std::time::Duration;

use nearedge_core::store::{FetchError, Fetched};
use parking_lot::Mutex;

use crate::moment::Moment;

/// How long no revalidation is attempted after a failure, unless S3 responds meanwhile: as long as `Retry-After` asks of
/// clients. Otherwise every stale object would wait out its own timeout while S3 hangs.
pub(super) const REVALIDATION_BACKOFF: Duration = Duration::from_secs(1);

/// The backoff of the whole store. Each index entry has another one of its own.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// When S3 failed, if its last result was a failure.
    failed_at: Mutex<Option<Moment>>,
}

impl Backoff {
    /// Starts the backoff after an outage, and ends it after any other result.
    ///
    /// An object that S3 refuses, such as an archived one, is no outage: other objects are revalidated as usual.
    pub(super) fn record(&self, result: &Result<Fetched, FetchError>) {
        let failed = result.as_ref().is_err_and(FetchError::is_outage);
        *self.failed_at.lock() = failed.then(Moment::now);
    }

    /// Starts the backoff.
    pub(super) fn start(&self) {
        *self.failed_at.lock() = Some(Moment::now());
    }

    /// Whether the backoff of the store, or that of an entry that failed at `entry_failed_at`, is still running.
    pub(super) fn is_active(&self, entry_failed_at: Option<Moment>, now: Moment) -> bool {
        let just_failed = |failed: Option<Moment>| failed.is_some_and(|at| now.is_within(REVALIDATION_BACKOFF, at));
        just_failed(entry_failed_at) || just_failed(*self.failed_at.lock())
    }
}
