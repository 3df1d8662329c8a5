//! Responses from the cache, and which responses the cache stores.

use tokio::time::advance;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_second_request_is_a_hit() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Miss));
    advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Hit));
    assert_eq!(cache.requests(), ["GET a"]);
}

#[tokio::test(start_paused = true)]
async fn a_cached_object_answers_head_conditions_and_ranges() {
    let cache = cache_with(config());
    cache.store().put("a", "tag", 10, "");
    cache.get("a").await;
    let head = cache.head("a").await;
    assert!(matches!(&head.result, Ok(Fetched::Object(object)) if object.body == Body::default()));
    assert!(matches!(cache.get_if_none_match("a", "\"tag\"").await.result, Ok(Fetched::NotModified(_))));
    assert_eq!(object(&cache.get_if_none_match("a", "\"other\"").await).1, Source::Hit);
    let part = cache.range("a", ByteRange::Between(2, 5)).await;
    assert!(matches!(&part.result, Ok(Fetched::Object(object)) if object.range == Some(2..6)));
    assert_eq!(object(&part).1, Source::Hit);
    assert_eq!(cache.range("a", ByteRange::From(10)).await.result, Ok(Fetched::Unsatisfiable(10)));
    assert_eq!(cache.requests(), ["GET a"]);
}

#[tokio::test(start_paused = true)]
async fn head_and_range_responses_cache_the_head() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.store().put("b", "1", 10, "");
    cache.head("a").await;
    assert!(matches!(cache.get_if_none_match("a", "\"1\"").await.result, Ok(Fetched::NotModified(_))));
    assert_eq!(object(&cache.get("a").await).1, Source::Miss, "the body is not cached yet");
    assert_eq!(object(&cache.range("b", ByteRange::Between(0, 1)).await).1, Source::Bypass);
    let second = cache.range("b", ByteRange::Between(0, 1)).await;
    assert_eq!(object(&second).1, Source::Miss, "the object is small enough to be cached whole");
    assert_eq!(object(&cache.get("b").await).1, Source::Hit);
    assert_eq!(cache.requests(), ["HEAD a", "GET a", "GET b bytes=0-1", "GET b"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_is_cached_briefly() {
    let cache = cache_with(config());
    assert_eq!(error(&cache.get("a").await), &FetchError::Missing(Missing::NoSuchKey));
    cache.store().put("a", "1", 10, "");
    let again = cache.head("a").await;
    assert_eq!((error(&again), again.source), (&FetchError::Missing(Missing::NoSuchKey), Source::Hit));
    assert_eq!(cache.requests(), ["GET a"]);
    advance(Duration::from_secs(2)).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Miss);
    assert_eq!(object(&cache.get("a").await).1, Source::Hit, "the missing entry is gone");
}

#[tokio::test(start_paused = true)]
async fn no_store_is_not_cached_and_no_cache_is_revalidated() {
    let cache = cache_with(config());
    cache.store().put("secret", "1", 10, "no-store");
    cache.store().put("checked", "1", 10, "no-cache");
    for (name, source) in [("secret", Source::Miss), ("checked", Source::Revalidated)] {
        cache.get(name).await;
        assert_eq!(object(&cache.get(name).await).1, source, "{name}");
    }
    assert_eq!(cache.requests(), ["GET secret", "GET secret", "GET checked", "GET checked if-none-match"]);
    cache.store().put("secret", "2", 10, "");
    cache.get("secret").await;
    cache.store().put("secret", "3", 10, "no-store");
    advance(TTL).await;
    cache.get("secret").await;
    assert_eq!(object(&cache.get("secret").await), ("\"3\"", Source::Miss), "the earlier version is removed too");
    cache.store().set_failure(Some(Failure::Unavailable));
    let unchanged = cache.get_if_none_match("secret", "\"2\"").await;
    assert!(error(&unchanged).cause().is_some(), "the earlier head is removed too");
}

#[tokio::test(start_paused = true)]
async fn an_object_without_an_etag_is_not_cached() {
    let cache = cache_with(config());
    let without_etag = Head::new(Metadata { size_bytes: 3, ..Metadata::default() });
    cache.store().objects.lock().unwrap().insert("a".to_owned(), without_etag);
    cache.get("a").await;
    cache.get("a").await;
    assert_eq!(cache.requests(), ["GET a", "GET a"]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_of_zero_bytes_is_off() {
    let cache = cache_with(CacheConfig { max_bytes: 0, ..config() });
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    assert_eq!(object(&cache.get("a").await).1, Source::Bypass);
    assert_eq!(cache.requests(), ["GET a", "GET a"]);
}
