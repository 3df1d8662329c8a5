//! The memory of bodies in flight.

use std::sync::Arc;
use std::time::Duration;

use nearedge_core::object::{Reservation, base64_len};
use nearedge_core::request::door::PAYLOAD_BYTES_MAX;
use tokio::sync::Semaphore;

/// How long a body waits for memory. After that, the object is treated as too large for a response.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Bodies up to this size are not counted: a thousand of them have the size of ten of the largest.
const SMALL_BYTES: u64 = 64 << 10;

/// The unit of the semaphore, whose permits are 32-bit.
const PERMIT_BYTES: u64 = 1024;

/// Bounds the memory of bodies from S3 until their responses are posted.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget {
    semaphore: Arc<Semaphore>,
    permits: u32,
}

impl BodyBudget {
    /// A budget of `bytes` of base64 text.
    pub(super) fn new(bytes: u64) -> Self {
        let permits = u32::try_from((bytes / PERMIT_BYTES).min(Semaphore::MAX_PERMITS as u64)).unwrap_or(u32::MAX);
        Self { semaphore: Arc::new(Semaphore::new(permits as usize)), permits }
    }

    /// Reserves the memory of a body of `len` bytes; of the largest one that fits into a response if S3 announces no length.
    /// `None` if other bodies occupy the memory for too long. A small body needs no reservation, and does not wait behind
    /// large ones.
    pub(super) async fn reserve(&self, len: Option<u64>) -> Option<Reservation> {
        let bytes = len.map_or(PAYLOAD_BYTES_MAX, base64_len);
        if bytes <= SMALL_BYTES {
            return Some(Reservation::default());
        }
        // A body that exceeds the whole budget waits for all of it.
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.permits);
        let acquired = tokio::time::timeout(TIMEOUT, self.semaphore.clone().acquire_many_owned(permits)).await;
        acquired.ok()?.ok().map(Reservation::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_until_another_is_posted() {
        let budget = BodyBudget::new(1_000 * PERMIT_BYTES);
        let first = budget.reserve(Some(600_000)).await.unwrap();
        assert!(budget.reserve(Some(600_000)).await.is_none(), "no memory within the timeout");
        assert!(budget.reserve(Some(1_000)).await.is_some(), "a small body never waits");
        drop(first);
        assert!(budget.reserve(Some(600_000)).await.is_some());
    }

    #[tokio::test]
    async fn a_body_of_any_size_is_read_alone() {
        let budget = BodyBudget::new(1_000 * PERMIT_BYTES);
        let whole = budget.reserve(Some(1 << 30)).await.unwrap();
        drop(whole);
        assert!(budget.reserve(None).await.is_some());
    }
}
