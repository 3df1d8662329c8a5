//! Size limits and eviction.

use super::*;

#[tokio::test(start_paused = true)]
async fn missing_keys_are_bounded_and_evict_no_objects() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    for missing in 0..5_000 {
        cache.get(&format!("missing/{missing}")).await;
    }
    cache.0.index.missing.run_pending_tasks();
    assert!(cache.0.index.missing.weighted_size() <= config().max_bytes / 64);
    assert_eq!(object(&cache.get("a").await).1, Source::Hit);
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_bounded_in_bytes_and_counts_evictions() {
    let config = CacheConfig { max_bytes: 1 << 20, ..config() };
    let cache = cache_with(config.clone());
    for number in 0..500 {
        cache.store().put(&format!("{number}"), &format!("{number}"), 10_000, "");
        cache.get(&format!("{number}")).await;
        assert!(cache.stats().cached_bytes <= config.max_bytes, "{:?} after {number}", cache.stats());
    }
    assert!(cache.stats().cached_bytes > config.max_bytes / 2, "{:?}", cache.stats());
    assert!(cache.stats().evictions > 400, "{:?}", cache.stats());
}

#[tokio::test(start_paused = true)]
async fn a_large_object_evicts_the_least_recently_used() {
    let cache = cache_with(CacheConfig { max_bytes: 4 << 20, ..config() });
    for number in 0..2_000 {
        cache.store().put(&format!("{number}"), "1", 1_000, "");
        cache.get(&format!("{number}")).await;
        cache.get("0").await;
    }
    cache.store().put("large", "1", 1 << 20, "");
    cache.get("large").await;
    assert_eq!(object(&cache.get("large").await).1, Source::Hit);
    assert_eq!(object(&cache.get("0").await).1, Source::Hit);
    assert_eq!(object(&cache.get("1").await).1, Source::Miss, "the least recently used object is evicted");
}

#[tokio::test(start_paused = true)]
async fn of_an_object_above_the_size_limit_only_the_head_is_cached() {
    let cache = cache_with(config());
    cache.store().put("film", "1", 2 << 20, "");
    assert_eq!(object(&cache.get("film").await).1, Source::Miss);
    assert_eq!(object(&cache.get("film").await).1, Source::Bypass);
    assert_eq!(object(&cache.range("film", ByteRange::Between(5, 9)).await).1, Source::Bypass);
    let unchanged = cache.get_if_none_match("film", "\"1\"").await;
    assert_eq!((unchanged.result.is_ok(), unchanged.source), (true, Source::Hit));
    assert_eq!(cache.requests(), ["GET film", "GET film", "GET film bytes=5-9"]);
    cache.0.index.entries.run_pending_tasks();
    assert_eq!(cache.0.index.entries.entry_count(), 1, "the head without the body");
}

#[tokio::test(start_paused = true)]
async fn an_object_too_large_for_a_response_is_requested_once() {
    let cache = cache_with(config());
    cache.store().put("film", "1", 100 << 20, "");
    for _ in 0..3 {
        assert!(matches!(cache.get("film").await.result, Ok(Fetched::TooLarge(head)) if head.size_bytes == 100 << 20));
    }
    assert_eq!(cache.requests(), ["GET film"]);
    let part = cache.range("film", ByteRange::Between(5, 9)).await;
    assert_eq!(object(&part).1, Source::Bypass, "a range that fits is requested");
    assert_eq!(cache.requests(), ["GET film bytes=5-9"]);
}

#[test]
fn evicted_bodies_are_freed_immediately() {
    const OBJECT: u64 = 750_000;
    let peak = allocation_counter::measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let cache = cache_with(config());
            for number in 0..60 {
                cache.store().put(&format!("{number}"), &format!("{number}"), OBJECT, "");
                cache.get(&format!("{number}")).await;
            }
        });
    })
    .bytes_max;
    // Besides the cache: the bucket's copy of the bytes, the new body, and the body that it evicts.
    let allowed = config().max_bytes + OBJECT + 2 * base64_len(OBJECT);
    assert!(peak < allowed, "expected a peak below {allowed} bytes, found {peak}");
}
