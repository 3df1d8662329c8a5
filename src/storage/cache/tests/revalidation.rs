//! Expired objects: revalidation and stale responses.

use nearedge_core::object::Object;
use tokio::time::advance;

use super::*;
use crate::storage::cache::backoff::REVALIDATION_BACKOFF;

#[tokio::test(start_paused = true)]
async fn an_expired_object_is_revalidated_with_if_none_match() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    for _ in 0..3 {
        advance(TTL).await;
        assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Revalidated));
        assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Hit));
    }
    assert_eq!(cache.requests(), ["GET a", "GET a if-none-match", "GET a if-none-match", "GET a if-none-match"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_object_replaces_the_old_body() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 1000, "");
    cache.get("a").await;
    let before = cache.stats();
    cache.store().put("a", "2", 1000, "");
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Hit), "the entry has not expired yet");
    advance(TTL).await;
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Miss));
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Hit));
    cache.0.index.entries.run_pending_tasks();
    assert_eq!((cache.stats().cached_bytes, cache.0.index.entries.entry_count()), (before.cached_bytes, 2));
}

#[tokio::test(start_paused = true)]
async fn a_304_updates_the_cached_metadata() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().put("a", "1", 10, "max-age=3");
    advance(TTL).await;
    let renewed = cache.get("a").await;
    assert_eq!(object(&renewed), ("\"1\"", Source::Revalidated));
    let Ok(Fetched::Object(Object { head, .. })) = renewed.result else { panic!("expected an object") };
    assert_eq!(head.cache_control.as_deref(), Some("max-age=3"));
    advance(Duration::from_secs(3)).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Revalidated, "the new max-age applies");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_never_served_stale() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().delete("a");
    advance(TTL).await;
    assert_eq!(error(&cache.get("a").await), &FetchError::Missing(Missing::NoSuchKey));
    advance(Duration::from_secs(2)).await;
    cache.store().set_failure(Some(Failure::Unavailable));
    assert!(error(&cache.get("a").await).cause().is_some());
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_serves_the_cached_object() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().set_failure(Some(Failure::Unavailable));
    advance(TTL).await;
    let stale = cache.get("a").await;
    assert_eq!(object(&stale), ("\"1\"", Source::Stale));
    assert_eq!(stale.hidden_error, Some(FetchError::Unavailable(cause("unavailable"))), "the log reports the error");
    assert!(matches!(cache.head("a").await.result, Ok(Fetched::Object(_))));
    assert!(matches!(cache.get_if_none_match("a", "\"1\"").await.result, Ok(Fetched::NotModified(_))));
    assert_eq!(object(&cache.range("a", ByteRange::Suffix(3)).await).1, Source::Stale);
    assert_eq!(cache.requests(), ["GET a", "GET a if-none-match"], "no further attempt during the backoff");
    advance(REVALIDATION_BACKOFF).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Stale);
    assert_eq!(cache.requests(), ["GET a if-none-match"]);
    advance(Duration::from_secs(300)).await;
    assert_eq!(
        error(&cache.get("a").await),
        &FetchError::Unavailable(cause("unavailable")),
        "stale_if_error has passed"
    );
    cache.store().set_failure(None);
    assert_eq!(object(&cache.get("a").await).1, Source::Revalidated);
}

#[tokio::test(start_paused = true)]
async fn must_revalidate_forbids_stale_responses() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "max-age=5, must-revalidate");
    cache.get("a").await;
    cache.store().set_failure(Some(Failure::Unavailable));
    advance(Duration::from_secs(5)).await;
    assert!(error(&cache.get("a").await).cause().is_some());
}

#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_revalidates_after_the_response() {
    let limits = Limits { stale_while_revalidate: Duration::from_secs(30), ..config().limits };
    let cache = cache_with(CacheConfig { limits, ..config() });
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().put("a", "2", 10, "");
    advance(TTL).await;
    for _ in 0..3 {
        assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Stale));
    }
    assert_eq!(cache.requests(), ["GET a"], "no request before the response");
    cache.revalidate_stale(deadline()).await;
    assert_eq!(cache.requests(), ["GET a if-none-match"], "one request after it");
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Hit));
    cache.revalidate_stale(deadline()).await;
    assert_eq!(cache.requests(), Vec::<String>::new());

    advance(TTL).await;
    cache.get("a").await;
    cache.revalidate_stale(Instant::now()).await;
    cache.revalidate_stale(deadline()).await;
    assert_eq!(cache.requests(), Vec::<String>::new(), "a passed deadline empties the queue");

    advance(Duration::from_secs(30)).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Revalidated, "stale_while_revalidate has passed");
}

// Last-Modified has a resolution of one second: a second upload within it would be confirmed as the first.
#[tokio::test(start_paused = true)]
async fn a_version_as_young_as_its_date_is_read_again() {
    let cache = cache_with(config());
    cache.store().put_modified("young", "1", 10, "Fri, 31 Dec 2100 23:59:59 GMT");
    cache.store().put_modified("old", "1", 10, "Sun, 06 Nov 1994 08:49:37 GMT");
    for name in ["young", "old"] {
        cache.get(name).await;
    }
    advance(TTL).await;
    assert_eq!(object(&cache.get("young").await), ("\"1\"", Source::Miss));
    assert_eq!(object(&cache.get("old").await), ("\"1\"", Source::Revalidated));
    assert_eq!(cache.requests(), ["GET young", "GET old", "GET young", "GET old if-none-match"]);
}
