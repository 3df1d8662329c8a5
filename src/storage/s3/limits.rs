//! Timeouts, backoff and retry limits of the S3 client. The invocation's deadline bounds them all.

use std::time::Duration;

/// Upper bound of the wait before the first retry; it doubles with each retry. The SDK's default of one second suits
/// batch jobs, but here a viewer waits.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(25);

/// Upper bound of the wait before any retry.
pub(super) const LAST_BACKOFF: Duration = Duration::from_millis(400);

/// Timeout for opening a connection. Within one region that takes a fraction of a second at worst.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeout for the first byte of a response, and between two chunks of it.
///
/// The slowest responses of S3, to the first request for a bucket, take one second. A connection that died unnoticed
/// never responds; after this timeout the client opens another.
pub(super) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of one attempt, until S3 has sent an object's headers or a complete error.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many retries in a row the client may send. Each further one must be earned by successes, so that a failing S3
/// does not receive three times the load.
pub(super) const RETRY_BURST: usize = 20;

/// The price of one retry in tokens of the SDK's token bucket; a success returns one token.
pub(super) const RETRY_COST: usize = 5;
