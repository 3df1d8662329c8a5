//! Concurrent requests for one key share one request to the store.

use tokio::task::JoinHandle;

use super::*;

/// Requests `a` concurrently, and returns when all requests wait.
async fn concurrent_gets(cache: &Arc<Cache<Bucket>>, count: usize) -> Vec<JoinHandle<FetchResponse>> {
    let get = |_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get("a").await })
    };
    let gets: Vec<_> = (0..count).map(get).collect();
    tokio::task::yield_now().await;
    gets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_misses_of_one_key_share_one_request() {
    for _ in 0..20 {
        let cache = Arc::new(cache_with(config()));
        cache.store().put("a", "1", 10, "");
        let mut sources = HashMap::new();
        for get in concurrent_gets(&cache, 1000).await {
            *sources.entry(object(&get.await.unwrap()).1).or_insert(0) += 1;
        }
        assert_eq!(sources[&Source::Miss], 1, "{sources:?}");
        assert_eq!(cache.requests(), ["GET a"]);
    }
}

#[tokio::test]
async fn a_cancelled_leader_does_not_fail_its_followers() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    let gate = cache.store().close_gate();
    let [leader, second, third] = concurrent_gets(&cache, 3).await.try_into().unwrap();
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    for follower in [second, third] {
        assert_eq!(object(&follower.await.unwrap()).1, Source::Coalesced);
    }
    assert_eq!(cache.requests(), ["GET a"], "the followers continue the same request");
}

#[tokio::test]
async fn a_request_without_callers_is_cancelled() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    let gate = cache.store().close_gate();
    let [only] = concurrent_gets(&cache, 1).await.try_into().unwrap();
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(object(&cache.get("a").await).1, Source::Miss);
    assert_eq!(cache.requests().len(), 2);
}

#[tokio::test]
async fn an_error_is_shared_by_all_callers_and_not_cached() {
    let cache = Arc::new(cache_with(config()));
    cache.store().set_failure(Some(Failure::Unavailable));
    let gate = cache.store().close_gate();
    let gets = concurrent_gets(&cache, 3).await;
    gate.add_permits(2);
    for get in gets {
        assert_eq!(error(&get.await.unwrap()), &FetchError::Unavailable(cause("unavailable")));
    }
    cache.store().set_failure(None);
    cache.store().put("a", "1", 10, "");
    assert_eq!(object(&cache.get("a").await).1, Source::Miss);
    assert_eq!(cache.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_s3_is_shared_like_other_errors() {
    let cache = Arc::new(cache_with(config()));
    cache.store().set_failure(Some(Failure::TimedOut));
    let gate = cache.store().close_gate();
    let gets = concurrent_gets(&cache, 20).await;
    gate.add_permits(20);
    for get in gets {
        assert!(matches!(error(&get.await.unwrap()), FetchError::TimedOut(_)));
    }
    assert_eq!(cache.requests(), ["GET a"]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_retries_after_the_leaders_deadline() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    cache.store().set_failure(Some(Failure::Hang));
    let gate = cache.store().close_gate();
    let leader = tokio::spawn({
        let cache = cache.clone();
        // The deadline has passed when the request fails.
        async move { cache.fetch(&whole(&key("a")), Instant::now()).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(cache.requests(), ["GET a"], "the leader's request is in flight");
    let [follower] = concurrent_gets(&cache, 1).await.try_into().unwrap();
    gate.add_permits(1);
    assert!(matches!(error(&leader.await.unwrap()), FetchError::TimedOut(_)));
    cache.store().set_failure(None);
    gate.add_permits(1);
    assert_eq!(object(&follower.await.unwrap()).0, "\"1\"");
}
