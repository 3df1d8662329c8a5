//! A response never mixes versions, keys or the order of requests.

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_older_response_never_replaces_a_newer_one() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    let before = Moment::now();
    let old = cache.store().objects.lock().unwrap()["a"].clone();
    advance(Duration::from_millis(1)).await;
    cache.store().put("a", "2", 10, "");
    cache.get("a").await;
    cache.0.index.insert(&key("a"), &old, Some(&body(&old)), before);
    cache.0.index.insert_missing(&key("a"), Missing::NoSuchKey, before);
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Hit));
}

#[derive(Debug, Clone)]
enum Step {
    Put { key: u8, version: u8, bytes: u16, control: usize },
    Delete(u8),
    Fail(bool),
    Advance(u8),
    Get(u8),
    Head(u8),
    Range(u8, u16, u16),
    GetIfNoneMatch(u8, u8),
    RevalidateStale,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..3_u8;
    prop_oneof![
        (key.clone(), 0..4_u8, 0..2000_u16, 0..5_usize).prop_map(|(key, version, bytes, control)| Step::Put {
            key,
            version,
            bytes,
            control
        }),
        key.clone().prop_map(Step::Delete),
        any::<bool>().prop_map(Step::Fail),
        (0..20_u8).prop_map(Step::Advance),
        key.clone().prop_map(Step::Get),
        key.clone().prop_map(Step::Get),
        key.clone().prop_map(Step::Head),
        (key.clone(), 0..50_u16, 0..50_u16).prop_map(|(key, first, more)| Step::Range(key, first, first + more)),
        (key, 0..4_u8).prop_map(|(key, version)| Step::GetIfNoneMatch(key, version)),
        Just(Step::RevalidateStale),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every response holds one version of the requested key, with the bytes of that version.
    #[test]
    fn no_response_mixes_two_versions(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = Limits { stale_while_revalidate: Duration::from_secs(5), ..config().limits };
            let config = CacheConfig { max_bytes: 6000, object_max_bytes: 1500, limits, ..config() };
            let cache = cache_with(config.clone());
            let controls = ["", "no-store", "no-cache", "max-age=3", "must-revalidate"];
            let mut failing = false;
            for step in steps {
                let has_body = !matches!(step, Step::Head(_));
                let (key, response) = match step {
                    // As in S3, other bytes have another ETag.
                    Step::Put { key, version, bytes, control } => {
                        let etag = format!("{key}.{version}.{bytes}");
                        cache.store().put(&key.to_string(), &etag, bytes.into(), controls[control]);
                        continue;
                    }
                    Step::Delete(key) => { cache.store().delete(&key.to_string()); continue }
                    Step::Fail(fail) => {
                        failing = fail;
                        cache.store().set_failure(fail.then_some(Failure::Unavailable));
                        continue;
                    }
                    Step::Advance(seconds) => { advance(Duration::from_secs(seconds.into())).await; continue }
                    Step::RevalidateStale => { cache.revalidate_stale(deadline()).await; continue }
                    Step::Get(key) => (key, cache.get(&key.to_string()).await),
                    Step::Head(key) => (key, cache.head(&key.to_string()).await),
                    Step::Range(key, first, last) => {
                        (key, cache.range(&key.to_string(), ByteRange::Between(first.into(), last.into())).await)
                    }
                    Step::GetIfNoneMatch(key, version) => {
                        (key, cache.get_if_none_match(&key.to_string(), &format!("\"{key}.{version}.7\"")).await)
                    }
                };
                match &response.result {
                    Ok(Fetched::Object(found)) => {
                        let etag = found.head.etag.as_deref().unwrap();
                        assert!(etag.starts_with(&format!("\"{key}.")), "expected key {key}, found {response:?}");
                        if has_body { object(&response); }
                    }
                    Ok(_) => {}
                    Err(error) => assert!(error.cause().is_none() || failing, "{response:?}"),
                }
                cache.0.index.entries.run_pending_tasks();
                assert!(cache.stats().cached_bytes <= config.max_bytes, "{:?}", cache.stats());
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn another_size_under_the_same_tag_is_an_error_and_forgotten() {
    let strict = CacheConfig { limits: Limits { stale_if_error: Duration::ZERO, ..config().limits }, ..config() };
    let cache = cache_with(strict);
    cache.store().put_modified("a", "1", 10, "Fri, 31 Dec 2100 23:59:59 GMT");
    cache.get("a").await;
    cache.store().put_modified("a", "1", 7, "Fri, 31 Dec 2100 23:59:59 GMT");
    advance(TTL).await;
    assert!(matches!(error(&cache.get("a").await), FetchError::Failed(_)));
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Miss), "nothing of either is cached");
}
