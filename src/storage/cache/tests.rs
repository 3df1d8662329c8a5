//! The cache over a bucket in memory, whose calls are counted and whose troubles are scripted. The clock is tokio's,
//! and stands still unless a test moves it.

use std::collections::HashMap;
use std::sync::Mutex;

use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::time::{Instant as Clock, advance};

use super::*;
use crate::storage::cache::backoff::REVALIDATION_BACKOFF;
use crate::storage::cache::index::{Entry, EntryKey};
use crate::storage::cache::revalidation::STALE_IF_ERROR_TIMEOUT;
use nearedge_core::http::conditional::Conditions;
use nearedge_core::http::freshness::Limits;
use nearedge_core::http::range::ByteRange;
use nearedge_core::object::{Body, BodyEncoder, Metadata, Object, base64_len};
use nearedge_core::response::payload::PAYLOAD_BYTES_MAX;
use nearedge_core::store::{Cause, Missing};

/// Names come from the network: who could foresee their hashes could make them all one. It does not compile with another.
#[test]
fn names_are_hashed_with_a_key_that_nobody_knows() {
    fn by_chance(_: &moka::sync::Cache<EntryKey, Entry, std::collections::hash_map::RandomState>) {}
    let hash =
        |state: &std::collections::hash_map::RandomState| std::hash::BuildHasher::hash_one(state, "v1/test.html");
    let states = [(); 2].map(|()| std::collections::hash_map::RandomState::new());
    assert_ne!(hash(&states[0]), hash(&states[1]));
    by_chance(&cache_with(config()).0.index.entries);
}

const TTL: Duration = Duration::from_secs(10);

/// A bucket in memory.
#[derive(Default)]
struct Bucket {
    objects: Mutex<HashMap<String, Head>>,
    calls: Mutex<Vec<String>>,
    trouble: Mutex<Option<Trouble>>,
    /// When there is one, each call takes a permit of it.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

#[derive(Clone, Copy)]
enum Trouble {
    Fails,
    /// S3's answer for an object in an archive, or under a key that is disabled.
    Refuses,
    Hangs,
    /// S3's own 504, long before any deadline.
    TimesOut,
}

/// The bytes of an object are made of its tag, so that a test can tell whose they are.
fn bytes_of(head: &Head) -> Vec<u8> {
    let etag = head.etag.clone().unwrap_or_default();
    etag.bytes().cycle().take(usize::try_from(head.size_bytes).unwrap()).collect()
}

fn body_of(head: &Head) -> Body {
    let bytes = bytes_of(head);
    let mut encoder = BodyEncoder::with_capacity(bytes.len());
    encoder.push(bytes.as_slice());
    encoder.finish()
}

impl Bucket {
    fn put(&self, key: &str, etag: &str, bytes: u64, cache_control: &str) {
        let metadata = Metadata {
            etag: Some(format!("\"{etag}\"")),
            cache_control: Some(cache_control.to_owned()).filter(|field| !field.is_empty()),
            size_bytes: bytes,
            ..Metadata::default()
        };
        self.objects.lock().unwrap().insert(key.to_owned(), Head::new(metadata));
    }

    fn delete(&self, key: &str) {
        self.objects.lock().unwrap().remove(key);
    }

    fn is_in(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap() = trouble;
    }

    /// What it has been asked for since the last look.
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn close_gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    fn get(&self, request: &FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let head = self.objects.lock().unwrap().get(request.key.as_str()).cloned();
        let head = head.ok_or(FetchError::Missing(Missing::NoSuchKey))?;
        if request.cached.is_some_and(|cached| cached.etag == head.etag) {
            return Ok(Fetched::NotModified(head));
        }
        Ok(match Selection::new(request, &head) {
            Selection::Answer(fetched) => fetched,
            Selection::Body(range) => slice(&head, &body_of(&head), range),
        })
    }
}

impl Store for Bucket {
    async fn fetch(&self, request: &FetchRequest<'_>, deadline: Instant) -> FetchResponse {
        let gate = self.gate.lock().unwrap().clone();
        let method = if request.part == Part::Head { "HEAD" } else { "GET" };
        let condition = if request.cached.is_some() { " if changed" } else { "" };
        let range = request.range.map(|range| format!(" {range}")).unwrap_or_default();
        self.calls.lock().unwrap().push(format!("{method} {}{condition}{range}", request.key));
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let trouble = *self.trouble.lock().unwrap();
        let fetched = match trouble {
            None => self.get(request),
            Some(Trouble::Fails) => Err(FetchError::Unavailable(cause("it fails"))),
            Some(Trouble::Refuses) => Err(FetchError::Failed(cause("it refuses"))),
            Some(Trouble::TimesOut) => Err(FetchError::TimedOut(cause("it says so"))),
            Some(Trouble::Hangs) => {
                tokio::time::sleep(deadline.saturating_duration_since(Instant::now())).await;
                Err(FetchError::TimedOut(cause("it hangs")))
            }
        };
        FetchResponse::new(fetched, Source::Bypass)
    }

    async fn presign(&self, _: &ObjectKey, _: Part, _: Duration, _: Instant) -> Result<String, FetchError> {
        Err(FetchError::Failed(cause("nothing is signed here")))
    }
}

fn cause(text: &'static str) -> Cause {
    std::io::Error::other(text).into()
}

fn config() -> CacheConfig {
    CacheConfig {
        max_bytes: 8 << 20,
        object_max_bytes: 1 << 20,
        limits: Limits { ttl: TTL, stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::from_secs(300) },
        missing_ttl: Duration::from_secs(2),
    }
}

fn cache_with(config: CacheConfig) -> Cache<Bucket> {
    Cache::new(Bucket::default(), config)
}

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key.to_owned())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

const ANY: nearedge_core::store::Fits<'static> =
    &|head, part| base64_len(part.map_or(head.size_bytes, |part| part.end - part.start)) < PAYLOAD_BYTES_MAX;

impl Cache<Bucket> {
    fn calls(&self) -> Vec<String> {
        self.store().calls()
    }

    async fn get(&self, name: &str) -> FetchResponse {
        self.fetch(&FetchRequest::unconditional(&key(name), Part::Whole, ANY), soon()).await
    }

    async fn head(&self, name: &str) -> FetchResponse {
        self.fetch(&FetchRequest::unconditional(&key(name), Part::Head, ANY), soon()).await
    }

    async fn range(&self, name: &str, range: ByteRange) -> FetchResponse {
        self.fetch(
            &FetchRequest { range: Some(range), ..FetchRequest::unconditional(&key(name), Part::Whole, ANY) },
            soon(),
        )
        .await
    }

    async fn unless(&self, name: &str, etag: &str) -> FetchResponse {
        let conditions = Conditions { if_none_match: Some(etag), ..Conditions::default() };
        self.fetch(&FetchRequest { conditions, ..FetchRequest::unconditional(&key(name), Part::Whole, ANY) }, soon())
            .await
    }
}

/// The tag of the object that was given, whose bytes are its own, and where it came from.
fn object(response: &FetchResponse) -> (&str, Source) {
    let Ok(Fetched::Object(object)) = &response.result else { panic!("{response:?}") };
    let range = object.range.clone().unwrap_or(0..object.head.size_bytes);
    assert_eq!(object.body, body_of(&object.head).slice(range), "{response:?}");
    (object.head.etag.as_deref().unwrap(), response.source)
}

fn failed(response: &FetchResponse) -> &FetchError {
    response.result.as_ref().expect_err("an error")
}

#[tokio::test(start_paused = true)]
async fn a_second_request_is_answered_from_memory() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Miss));
    advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Hit));
    assert_eq!(cache.calls(), ["GET a"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_time_is_over_is_asked_for_on_condition_and_renewed() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    for _ in 0..3 {
        advance(TTL).await;
        assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Revalidated));
        assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Hit));
    }
    assert_eq!(cache.calls(), ["GET a", "GET a if changed", "GET a if changed", "GET a if changed"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_object_is_another_entry_and_the_old_body_goes() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 1000, "");
    cache.get("a").await;
    let before = cache.stats();
    cache.store().put("a", "2", 1000, "");
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Hit), "nobody has said so yet");
    advance(TTL).await;
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Miss));
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Hit));
    cache.0.index.entries.run_pending_tasks();
    assert_eq!((cache.stats().cached_bytes, cache.0.index.entries.entry_count()), (before.cached_bytes, 2));
}

#[tokio::test(start_paused = true)]
async fn changed_metadata_of_the_same_bytes_are_taken_over() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().put("a", "1", 10, "max-age=3");
    advance(TTL).await;
    let renewed = cache.get("a").await;
    assert_eq!(object(&renewed), ("\"1\"", Source::Revalidated));
    let Ok(Fetched::Object(Object { head, .. })) = renewed.result else { panic!() };
    assert_eq!(head.cache_control.as_deref(), Some("max-age=3"));
    advance(Duration::from_secs(3)).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Revalidated, "and count from now on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_misses_of_one_key_at_once_are_one_call() {
    for _ in 0..20 {
        let cache = Arc::new(cache_with(config()));
        cache.store().put("a", "1", 10, "");
        let gets = (0..1000).map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { object(&cache.get("a").await).1 })
        });
        let mut sources = HashMap::new();
        for get in gets.collect::<Vec<_>>() {
            *sources.entry(get.await.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(sources[&Source::Miss], 1, "{sources:?}");
        assert_eq!(cache.calls(), ["GET a"]);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_fail_the_others() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    let gate = cache.store().close_gate();
    let gets: Vec<_> = (0..3)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { object(&cache.get("a").await).1 })
        })
        .collect();
    tokio::task::yield_now().await;
    let [first, second, third] = gets.try_into().unwrap();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (Source::Coalesced, Source::Coalesced));
    assert_eq!(cache.calls(), ["GET a"], "it is the same call that goes on");
}

#[tokio::test]
async fn when_everyone_has_gone_away_the_call_is_dropped_and_the_next_one_asks_again() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    let gate = cache.store().close_gate();
    let only = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("a").await }
    });
    tokio::task::yield_now().await;
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(object(&cache.get("a").await).1, Source::Miss);
    assert_eq!(cache.calls().len(), 2);
}

#[tokio::test]
async fn an_error_is_everyones_who_waited_and_nobodys_after_that() {
    let cache = Arc::new(cache_with(config()));
    cache.store().is_in(Some(Trouble::Fails));
    let gate = cache.store().close_gate();
    let gets: Vec<_> = (0..3)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get("a").await })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.add_permits(2);
    for get in gets {
        assert_eq!(failed(&get.await.unwrap()), &FetchError::Unavailable(cause("it fails")));
    }
    cache.store().is_in(None);
    cache.store().put("a", "1", 10, "");
    assert_eq!(object(&cache.get("a").await).1, Source::Miss);
    assert_eq!(cache.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ran_out_of_anothers_time_is_made_again_in_ones_own() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    cache.store().is_in(Some(Trouble::Hangs));
    let gate = cache.store().close_gate();
    let short = tokio::spawn({
        let cache = cache.clone();
        // Its time is over by the time that the call comes back.
        async move { cache.fetch(&FetchRequest::unconditional(&key("a"), Part::Whole, ANY), Instant::now()).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(cache.calls(), ["GET a"], "the first is under way");
    let long = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("a").await }
    });
    tokio::task::yield_now().await;
    gate.add_permits(1);
    assert!(matches!(failed(&short.await.unwrap()), FetchError::TimedOut(_)));
    cache.store().is_in(None);
    gate.add_permits(1);
    assert_eq!(object(&long.await.unwrap()).0, "\"1\"");
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_remembered_for_a_moment() {
    let cache = cache_with(config());
    assert_eq!(failed(&cache.get("a").await), &FetchError::Missing(Missing::NoSuchKey));
    cache.store().put("a", "1", 10, "");
    let again = cache.head("a").await;
    assert_eq!((failed(&again), again.source), (&FetchError::Missing(Missing::NoSuchKey), Source::Hit));
    assert_eq!(cache.calls(), ["GET a"]);
    advance(Duration::from_secs(2)).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Miss);
    assert_eq!(object(&cache.get("a").await).1, Source::Hit, "and then forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_missing_and_never_served_stale() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().delete("a");
    advance(TTL).await;
    assert_eq!(failed(&cache.get("a").await), &FetchError::Missing(Missing::NoSuchKey));
    advance(Duration::from_secs(2)).await;
    cache.store().is_in(Some(Trouble::Fails));
    assert!(failed(&cache.get("a").await).cause().is_some());
}

#[tokio::test(start_paused = true)]
async fn missing_objects_are_bounded_and_cannot_push_objects_out() {
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
async fn the_cache_is_bounded_in_bytes_and_counts_what_made_room() {
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
async fn a_large_object_finds_room_among_many_small_ones_and_what_is_in_use_stays() {
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
    assert_eq!(object(&cache.get("1").await).1, Source::Miss, "the least recently used made room");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_never_replaces_what_was_asked_later() {
    let cache = Arc::new(cache_with(config()));
    cache.store().put("a", "1", 10, "");
    let before = Moment::now();
    let old = cache.store().objects.lock().unwrap()["a"].clone();
    advance(Duration::from_millis(1)).await;
    cache.store().put("a", "2", 10, "");
    cache.get("a").await;
    cache.0.index.insert(&key("a"), &old, Some(&body_of(&old)), before);
    cache.0.index.insert_missing(&key("a"), Missing::NoSuchKey, before);
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Hit));
}

#[tokio::test(start_paused = true)]
async fn s3s_own_time_outs_are_shared_as_other_errors_are() {
    let cache = Arc::new(cache_with(config()));
    *cache.store().trouble.lock().unwrap() = Some(Trouble::TimesOut);
    let gate = cache.store().close_gate();
    let gets: Vec<_> = (0..20)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get("a").await })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.add_permits(20);
    for get in gets {
        assert!(matches!(failed(&get.await.unwrap()), FetchError::TimedOut(_)));
    }
    assert_eq!(cache.calls(), ["GET a"]);
}

#[tokio::test(start_paused = true)]
async fn no_store_is_not_kept_and_no_cache_is_asked_about_each_time() {
    let cache = cache_with(config());
    cache.store().put("secret", "1", 10, "no-store");
    cache.store().put("checked", "1", 10, "no-cache");
    for (name, source) in [("secret", Source::Miss), ("checked", Source::Revalidated)] {
        cache.get(name).await;
        assert_eq!(object(&cache.get(name).await).1, source, "{name}");
    }
    assert_eq!(cache.calls(), ["GET secret", "GET secret", "GET checked", "GET checked if changed"]);
    cache.store().put("secret", "2", 10, "");
    cache.get("secret").await;
    cache.store().put("secret", "3", 10, "no-store");
    advance(TTL).await;
    cache.get("secret").await;
    assert_eq!(object(&cache.get("secret").await), ("\"3\"", Source::Miss), "nor is what was kept before");
    cache.store().is_in(Some(Trouble::Fails));
    assert!(failed(&cache.unless("secret", "\"2\"").await).cause().is_some(), "not even what was known of it");
}

#[tokio::test(start_paused = true)]
async fn an_s3_that_fails_does_not_fail_what_is_in_memory() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().is_in(Some(Trouble::Fails));
    advance(TTL).await;
    let stale = cache.get("a").await;
    assert_eq!(object(&stale), ("\"1\"", Source::Stale));
    assert_eq!(stale.hidden_error, Some(FetchError::Unavailable(cause("it fails"))), "and the log hears of it");
    assert!(matches!(cache.head("a").await.result, Ok(Fetched::Object(_))));
    assert!(matches!(cache.unless("a", "\"1\"").await.result, Ok(Fetched::NotModified(_))));
    assert_eq!(object(&cache.range("a", ByteRange::Suffix(3)).await).1, Source::Stale);
    assert_eq!(cache.calls(), ["GET a", "GET a if changed"], "for a moment it is not asked again");
    advance(REVALIDATION_BACKOFF).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Stale);
    assert_eq!(cache.calls(), ["GET a if changed"]);
    advance(Duration::from_secs(300)).await;
    assert_eq!(failed(&cache.get("a").await), &FetchError::Unavailable(cause("it fails")), "but not for ever");
    cache.store().is_in(None);
    assert_eq!(object(&cache.get("a").await).1, Source::Revalidated);
}

#[tokio::test(start_paused = true)]
async fn an_s3_that_hangs_is_waited_for_only_a_moment_where_there_is_a_stale_answer() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().is_in(Some(Trouble::Hangs));
    advance(TTL).await;
    let started = Clock::now();
    assert_eq!(object(&cache.get("a").await).1, Source::Stale);
    assert!(started.elapsed() <= STALE_IF_ERROR_TIMEOUT + Duration::from_millis(10), "{:?}", started.elapsed());
    assert!(matches!(failed(&cache.get("b").await), FetchError::TimedOut(_)));
    assert!(started.elapsed() > Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_s3_that_hangs_is_waited_for_once_in_a_moment_and_not_by_each_object_in_turn() {
    let cache = cache_with(config());
    for key in ["a", "b", "c"] {
        cache.store().put(key, "1", 10, "");
        cache.get(key).await;
    }
    cache.calls();
    cache.store().is_in(Some(Trouble::Hangs));
    advance(TTL).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Stale);
    let started = Clock::now();
    assert_eq!((object(&cache.get("b").await).1, object(&cache.get("c").await).1), (Source::Stale, Source::Stale));
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
    assert_eq!(cache.calls(), ["GET a if changed"]);
    advance(REVALIDATION_BACKOFF).await;
    assert_eq!(object(&cache.get("b").await).1, Source::Stale);
    assert_eq!(cache.calls(), ["GET b if changed"], "then it is tried again");

    cache.store().is_in(None);
    cache.store().put("d", "1", 10, "");
    cache.get("d").await;
    assert_eq!(object(&cache.get("c").await).1, Source::Revalidated, "it has answered since");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_s3_refuses_keeps_no_other_from_being_revalidated() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().put("a", "2", 10, "");
    advance(TTL).await;
    cache.store().is_in(Some(Trouble::Refuses));
    assert_eq!(failed(&cache.get("archived").await), &FetchError::Failed(cause("it refuses")));
    cache.store().is_in(None);
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Miss));
}

#[tokio::test(start_paused = true)]
async fn must_revalidate_allows_nothing_stale() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "max-age=5, must-revalidate");
    cache.get("a").await;
    cache.store().is_in(Some(Trouble::Fails));
    advance(Duration::from_secs(5)).await;
    assert!(failed(&cache.get("a").await).cause().is_some());
}

#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_answers_at_once_and_asks_after_the_answer() {
    let limits = Limits { stale_while_revalidate: Duration::from_secs(30), ..config().limits };
    let cache = cache_with(CacheConfig { limits, ..config() });
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().put("a", "2", 10, "");
    advance(TTL).await;
    for _ in 0..3 {
        assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Stale));
    }
    assert_eq!(cache.calls(), ["GET a"], "nothing before the answer");
    cache.revalidate_stale(soon()).await;
    assert_eq!(cache.calls(), ["GET a if changed"], "once, after it");
    assert_eq!(object(&cache.get("a").await), ("\"2\"", Source::Hit));
    cache.revalidate_stale(soon()).await;
    assert_eq!(cache.calls(), Vec::<String>::new());

    advance(TTL).await;
    cache.get("a").await;
    cache.revalidate_stale(Instant::now()).await;
    cache.revalidate_stale(soon()).await;
    assert_eq!(cache.calls(), Vec::<String>::new(), "without time it is dropped, not kept for another moment");

    advance(Duration::from_secs(30)).await;
    assert_eq!(object(&cache.get("a").await).1, Source::Revalidated, "past its window it is asked about first");
}

#[tokio::test(start_paused = true)]
async fn what_failed_after_an_answer_is_not_tried_after_the_next_one_at_once() {
    let limits =
        Limits { stale_while_revalidate: Duration::from_secs(30), stale_if_error: Duration::ZERO, ..config().limits };
    let cache = cache_with(CacheConfig { limits, ..config() });
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    cache.store().is_in(Some(Trouble::Fails));
    advance(TTL).await;
    for _ in 0..3 {
        assert_eq!(object(&cache.get("a").await).1, Source::Stale);
        cache.revalidate_stale(soon()).await;
    }
    assert_eq!(cache.calls(), ["GET a", "GET a if changed"]);
    advance(REVALIDATION_BACKOFF).await;
    cache.get("a").await;
    cache.revalidate_stale(soon()).await;
    assert_eq!(cache.calls(), ["GET a if changed"]);
}

#[tokio::test(start_paused = true)]
async fn head_conditions_and_ranges_are_answered_from_memory() {
    let cache = cache_with(config());
    cache.store().put("a", "tag", 10, "");
    cache.get("a").await;
    let head = cache.head("a").await;
    assert!(matches!(&head.result, Ok(Fetched::Object(object)) if object.body == Body::default()));
    assert!(matches!(cache.unless("a", "\"tag\"").await.result, Ok(Fetched::NotModified(_))));
    assert_eq!(object(&cache.unless("a", "\"other\"").await).1, Source::Hit);
    let part = cache.range("a", ByteRange::Between(2, 5)).await;
    assert!(matches!(&part.result, Ok(Fetched::Object(object)) if object.range == Some(2..6)));
    assert_eq!(object(&part).1, Source::Hit);
    assert_eq!(cache.range("a", ByteRange::From(10)).await.result, Ok(Fetched::Unsatisfiable(10)));
    assert_eq!(cache.calls(), ["GET a"]);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_learnt_from_whatever_is_asked() {
    let cache = cache_with(config());
    cache.store().put("a", "1", 10, "");
    cache.store().put("b", "1", 10, "");
    cache.head("a").await;
    assert!(matches!(cache.unless("a", "\"1\"").await.result, Ok(Fetched::NotModified(_))));
    assert_eq!(object(&cache.get("a").await).1, Source::Miss, "it has no body yet");
    assert_eq!(object(&cache.range("b", ByteRange::Between(0, 1)).await).1, Source::Bypass);
    assert_eq!(object(&cache.range("b", ByteRange::Between(0, 1)).await).1, Source::Miss, "small enough to be kept");
    assert_eq!(object(&cache.get("b").await).1, Source::Hit);
    assert_eq!(cache.calls(), ["HEAD a", "GET a", "GET b bytes=0-1", "GET b"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_too_large_to_keep_is_passed_on_and_its_head_is_kept() {
    let cache = cache_with(config());
    cache.store().put("film", "1", 2 << 20, "");
    assert_eq!(object(&cache.get("film").await).1, Source::Miss);
    assert_eq!(object(&cache.get("film").await).1, Source::Bypass);
    assert_eq!(object(&cache.range("film", ByteRange::Between(5, 9)).await).1, Source::Bypass);
    let unchanged = cache.unless("film", "\"1\"").await;
    assert_eq!((unchanged.result.is_ok(), unchanged.source), (true, Source::Hit));
    assert_eq!(cache.calls(), ["GET film", "GET film", "GET film bytes=5-9"]);
    cache.0.index.entries.run_pending_tasks();
    assert_eq!(cache.0.index.entries.entry_count(), 1, "without its body");
}

#[tokio::test(start_paused = true)]
async fn an_object_too_large_to_answer_with_is_not_asked_for_again() {
    let cache = cache_with(config());
    cache.store().put("film", "1", 100 << 20, "");
    for _ in 0..3 {
        assert!(matches!(cache.get("film").await.result, Ok(Fetched::TooLarge(head)) if head.size_bytes == 100 << 20));
    }
    assert_eq!(cache.calls(), ["GET film"]);
    assert_eq!(object(&cache.range("film", ByteRange::Between(5, 9)).await).1, Source::Bypass, "a part that fits is");
    assert_eq!(cache.calls(), ["GET film bytes=5-9"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_without_a_tag_is_not_kept() {
    let cache = cache_with(config());
    let untagged = Head::new(Metadata { size_bytes: 3, ..Metadata::default() });
    cache.store().objects.lock().unwrap().insert("a".to_owned(), untagged);
    cache.get("a").await;
    cache.get("a").await;
    assert_eq!(cache.calls(), ["GET a", "GET a"]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_of_no_bytes_is_no_cache() {
    let cache = cache_with(CacheConfig { max_bytes: 0, ..config() });
    cache.store().put("a", "1", 10, "");
    cache.get("a").await;
    assert_eq!(object(&cache.get("a").await).1, Source::Bypass);
    assert_eq!(cache.calls(), ["GET a", "GET a"]);
}

#[derive(Debug, Clone)]
enum Step {
    Put { key: u8, version: u8, bytes: u16, control: usize },
    Delete(u8),
    Fails(bool),
    Advance(u8),
    Get(u8),
    Head(u8),
    Range(u8, u16, u16),
    Unless(u8, u8),
    Settle,
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
        any::<bool>().prop_map(Step::Fails),
        (0..20_u8).prop_map(Step::Advance),
        key.clone().prop_map(Step::Get),
        key.clone().prop_map(Step::Get),
        key.clone().prop_map(Step::Head),
        (key.clone(), 0..50_u16, 0..50_u16).prop_map(|(key, first, more)| Step::Range(key, first, first + more)),
        (key, 0..4_u8).prop_map(|(key, version)| Step::Unless(key, version)),
        Just(Step::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What is served is always some version of that very key, with that version's bytes and no others'.
    #[test]
    fn whatever_happens_no_answer_mixes_two_versions(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = Limits { stale_while_revalidate: Duration::from_secs(5), ..config().limits };
            let config = CacheConfig { max_bytes: 6000, object_max_bytes: 1500, limits, ..config() };
            let cache = cache_with(config.clone());
            let controls = ["", "no-store", "no-cache", "max-age=3", "must-revalidate"];
            let mut failing = false;
            for step in steps {
                let asked = match &step {
                    Step::Get(key) | Step::Head(key) | Step::Range(key, ..) | Step::Unless(key, _) => Some(*key),
                    _ => None,
                };
                let wants_body = !matches!(step, Step::Head(_));
                let response = match step {
                    // As in S3, another content has another tag.
                    Step::Put { key, version, bytes, control } => {
                        let etag = format!("{key}.{version}.{bytes}");
                        cache.store().put(&key.to_string(), &etag, bytes.into(), controls[control]);
                        continue;
                    }
                    Step::Delete(key) => { cache.store().delete(&key.to_string()); continue }
                    Step::Fails(fails) => {
                        failing = fails;
                        cache.store().is_in(fails.then_some(Trouble::Fails));
                        continue;
                    }
                    Step::Advance(seconds) => { advance(Duration::from_secs(seconds.into())).await; continue }
                    Step::Settle => { cache.revalidate_stale(soon()).await; continue }
                    Step::Get(key) => cache.get(&key.to_string()).await,
                    Step::Head(key) => cache.head(&key.to_string()).await,
                    Step::Range(key, first, last) => {
                        cache.range(&key.to_string(), ByteRange::Between(first.into(), last.into())).await
                    }
                    Step::Unless(key, version) => cache.unless(&key.to_string(), &format!("\"{key}.{version}.7\"")).await,
                };
                match &response.result {
                    Ok(Fetched::Object(given)) => {
                        let etag = given.head.etag.as_deref().unwrap();
                        assert!(etag.starts_with(&format!("\"{}.", asked.unwrap())), "another key's: {response:?}");
                        if wants_body { object(&response); }
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

#[test]
fn what_made_room_is_freed_at_once() {
    const OBJECT: u64 = 750_000;
    let most = allocation_counter::measure(|| {
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
    // The bucket's own copy of the bytes, the body that is coming in, and the one that goes for it.
    let allowed = config().max_bytes + OBJECT + 2 * base64_len(OBJECT);
    assert!(most < allowed, "{most} bytes were cached at once, {allowed} are allowed");
}
