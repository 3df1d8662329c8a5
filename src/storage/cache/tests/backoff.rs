//! Timeouts and backoff while S3 fails.

use tokio::time::{Instant as Clock, advance};

use super::*;
use crate::storage::cache::backoff::REVALIDATION_BACKOFF;
use crate::storage::cache::revalidation::STALE_IF_ERROR_TIMEOUT;

#[tokio::test(start_paused = true)]
async fn a_stale_copy_limits_the_wait_for_a_hanging_s3() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().set_failure(Some(Failure::Hang));
    advance(TTL).await;
    let started = Clock::now();
    assert_eq!(object(&cache.get("a").await).1, Source::Stale);
    assert!(started.elapsed() <= STALE_IF_ERROR_TIMEOUT + Duration::from_millis(10), "{:?}", started.elapsed());
    assert!(matches!(error(&cache.get("b").await), FetchError::TimedOut(_)));
    assert!(started.elapsed() > Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_starts_a_backoff_for_all_objects() {
    let cache = cache_with(config());
    for key in ["a", "b", "c"] {
        cache.store().put(key, "1", 10, "");
        cache.get(key).await;
    }
    cache.requests();
    cache.store().set_failure(Some(Failure::Hang));
    advance(TTL).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Stale);
    let started = Clock::now();
    assert_eq!((object(&cache.get("b").await).1, object(&cache.get("c").await).1), (Source::Stale, Source::Stale));
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
    assert_eq!(cache.requests(), ["GET a if-none-match"]);
    advance(REVALIDATION_BACKOFF).await;
    assert_eq!(object(&cache.get("b").await).1, Source::Stale);
    assert_eq!(cache.requests(), ["GET b if-none-match"], "the backoff is over");

    cache.store().set_failure(None);
    cache.store().put("d", "1", 10, "");
    cache.get("d").await;
    assert_eq!(object(&cache.get("c").await).1, Source::Revalidated, "a success ends the backoff");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_object_starts_no_backoff_for_others() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().put("a", "2", 10, "");
    advance(TTL).await;
    cache.store().set_failure(Some(Failure::Rejected));
    assert_eq!(error(&cache.get("archived").await), &FetchError::Failed(cause("rejected")));
    cache.store().set_failure(None);
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_failed_background_revalidation_starts_a_backoff() {
    let limits =
        Limits { stale_while_revalidate: Duration::from_secs(30), stale_if_error: Duration::ZERO, ..config().limits };
    let cache = cache_with(CacheConfig { limits, ..config() });
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().set_failure(Some(Failure::Unavailable));
    advance(TTL).await;
    for _ in 0..3 {
        assert_eq!(object(&cache.get("a").await).1, Source::Stale);
        cache.revalidate_stale(deadline()).await;
    }
    assert_eq!(cache.requests(), ["GET a", "GET a if-none-match"]);
    advance(REVALIDATION_BACKOFF).await;
    cache.get("a").await;
    cache.revalidate_stale(deadline()).await;
    assert_eq!(cache.requests(), ["GET a if-none-match"]);
}
