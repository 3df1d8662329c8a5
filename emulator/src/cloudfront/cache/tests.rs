use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{AGE, CACHE_CONTROL, IF_NONE_MATCH, RANGE, SET_COOKIE};
use tokio::sync::Semaphore;

use super::*;
use crate::policy::caching::{CachePolicy, Codings, Names, Ttl};

/// A cache with a clock and an origin of the test.
struct Test {
    cache: Arc<Cache>,
    now: Arc<Mutex<SystemTime>>,
    requests: Arc<Mutex<Vec<OriginRequest>>>,
    responses: Arc<Mutex<VecDeque<(OriginFields, bool)>>>,
    /// Each response of the origin takes a permit.
    permits: Arc<Semaphore>,
    rules: Rules,
}

/// Status, header fields and body.
type OriginFields = (u16, Vec<(&'static str, &'static str)>, &'static str);

fn rules(minimum: u64, default: u64, maximum: u64) -> Rules {
    Rules {
        caches_objects: true,
        caches_errors: true,
        collapses: true,
        ttl: Ttl { minimum, default, maximum },
        error_ttl_secs: BTreeMap::new(),
    }
}

fn key(method: &Method) -> Key {
    let ttl = Ttl { minimum: 0, default: 0, maximum: 1 };
    let (headers, query_strings, cookies) = (Names::None, Names::None, Names::None);
    let policy = CachePolicy { headers, query_strings, cookies, codings: Codings::default(), ttl };
    Key::of(method, "/x", None, &HeaderMap::new(), &policy)
}

/// What a viewer receives: source, status, body.
type Received = (Source, u16, String);

impl Test {
    fn new(rules: Rules) -> Self {
        let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
        let clock = now.clone();
        Self {
            cache: Cache::new(Arc::new(move || *clock.lock())),
            now,
            requests: Arc::default(),
            responses: Arc::default(),
            permits: Arc::new(Semaphore::new(1_000)),
            rules,
        }
    }

    fn pass_secs(&self, secs: u64) {
        *self.now.lock() += Duration::from_secs(secs);
    }

    fn respond_with(&self, status: u16, fields: &[(&'static str, &'static str)], body: &'static str) {
        self.responses.lock().push_back(((status, fields.to_vec(), body), true));
    }

    /// The origin is unreachable for one request.
    fn be_unreachable(&self) {
        self.responses.lock().push_back(((502, Vec::new(), "page"), false));
    }

    fn origin(&self) -> Origin {
        let (requests, responses, permits) = (self.requests.clone(), self.responses.clone(), self.permits.clone());
        Arc::new(move |request| {
            requests.lock().push(request);
            let ((status, fields, body), reachable) = responses.lock().pop_front().expect("a response for the request");
            let permits = permits.clone();
            async move {
                permits.acquire().await.unwrap().forget();
                let mut response = Response::builder().status(status);
                for (name, value) in fields {
                    response = response.header(name, value);
                }
                OriginResponse { response: response.body(serve::full(body)).unwrap(), reachable }
            }
            .boxed()
        })
    }

    async fn send(&self, method: Method, viewer: &[(HeaderName, &'static str)]) -> (Received, HeaderMap) {
        let viewer = viewer.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let (response, source) = self.cache.respond(key(&method), &viewer, &self.rules, self.origin()).await;
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        ((source, parts.status.as_u16(), body), parts.headers)
    }

    async fn get(&self) -> Received {
        self.send(Method::GET, &[]).await.0
    }

    fn requests(&self) -> Vec<OriginRequest> {
        std::mem::take(&mut self.requests.lock())
    }
}

fn received(source: Source, status: u16, body: &str) -> Received {
    (source, status, body.to_owned())
}

#[tokio::test]
async fn an_expired_object_is_revalidated_with_its_etag() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("etag", "\"a\""), ("x-n", "1")], "body");
    assert_eq!(test.get().await, received(Source::Miss, 200, "body"));
    test.pass_secs(59);
    let (hit, headers) = test.send(Method::GET, &[]).await;
    assert_eq!((hit, headers[AGE].to_str().unwrap()), (received(Source::Hit, 200, "body"), "59"));
    test.pass_secs(1);
    test.requests();
    test.respond_with(304, &[("etag", "\"a\""), ("x-n", "2")], "");
    let (confirmed, headers) = test.send(Method::GET, &[]).await;
    assert_eq!(confirmed, received(Source::RefreshHit, 200, "body"));
    assert_eq!(headers["x-n"], "2", "the fields of the 304 replace the stored ones");
    let condition = (IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
    assert_eq!(test.requests(), [OriginRequest::Revalidation(vec![condition])]);
    test.pass_secs(59);
    assert_eq!(test.get().await.0, Source::Hit);
    test.pass_secs(1);
    test.respond_with(200, &[("etag", "\"b\"")], "new");
    assert_eq!(test.get().await, received(Source::Miss, 200, "new"));
    assert_eq!(test.get().await, received(Source::Hit, 200, "new"));
}

#[tokio::test]
async fn a_condition_of_the_viewer_is_answered_after_a_revalidation() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("etag", "\"a\"")], "body");
    test.get().await;
    test.pass_secs(60);
    test.respond_with(304, &[("etag", "\"a\"")], "");
    let (unchanged, _) = test.send(Method::GET, &[(IF_NONE_MATCH, "\"a\"")]).await;
    assert_eq!(unchanged, received(Source::RefreshHit, 304, ""));
    test.pass_secs(60);
    test.respond_with(200, &[("etag", "\"b\"")], "0123");
    let (part, _) = test.send(Method::GET, &[(RANGE, "bytes=1-2")]).await;
    assert_eq!(part, received(Source::Miss, 206, "12"));
}

#[tokio::test]
async fn a_miss_forwards_the_conditions_and_the_range() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(304, &[], "");
    assert_eq!(test.send(Method::GET, &[(IF_NONE_MATCH, "\"a\"")]).await.0, received(Source::Miss, 304, ""));
    test.respond_with(206, &[], "1");
    assert_eq!(test.send(Method::GET, &[(RANGE, "bytes=1-1")]).await.0, received(Source::Miss, 206, "1"));
    test.respond_with(200, &[], "body");
    assert_eq!(test.get().await, received(Source::Miss, 200, "body"), "neither was stored");
    assert_eq!(test.requests(), vec![OriginRequest::AsReceived; 3]);
}

#[tokio::test]
async fn a_minimum_ttl_gives_one_visitors_cookies_to_all() {
    let private = [("cache-control", "private, no-store"), ("set-cookie", "nearedge=first"), ("set-cookie", "b=2")];
    let test = Test::new(rules(1, 60, 600));
    test.respond_with(200, &private, "first");
    test.get().await;
    let (leak, headers) = test.send(Method::GET, &[]).await;
    assert_eq!(leak, received(Source::Hit, 200, "first"));
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["nearedge=first", "b=2"]);
    // With a minimum of 0, no-store is respected.
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &private, "first");
    test.respond_with(200, &private, "second");
    assert_eq!(test.get().await, received(Source::Miss, 200, "first"));
    assert_eq!(test.get().await, received(Source::Miss, 200, "second"));
}

#[tokio::test]
async fn set_cookie_is_cached_unless_the_origin_forbids_it() {
    for (cache_control, cached) in [("max-age=60", true), (r#"max-age=60, no-cache="Set-Cookie""#, false)] {
        let test = Test::new(rules(0, 60, 600));
        test.respond_with(200, &[("cache-control", cache_control), ("set-cookie", "a=1")], "body");
        assert!(test.send(Method::GET, &[]).await.1.contains_key(SET_COOKIE));
        let (hit, headers) = test.send(Method::GET, &[]).await;
        assert_eq!((hit.0, headers.contains_key(SET_COOKIE)), (Source::Hit, cached), "{cache_control}");
    }
}

#[tokio::test]
async fn an_expired_object_replaces_the_origins_error() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[], "body");
    test.get().await;
    test.pass_secs(100);
    test.respond_with(503, &[], "down");
    assert_eq!(test.get().await, received(Source::Hit, 200, "body"));
    test.pass_secs(9);
    assert_eq!(test.get().await, received(Source::Hit, 200, "body"), "held for the error caching minimum TTL");
    test.pass_secs(1);
    test.be_unreachable();
    assert_eq!(test.get().await, received(Source::Hit, 200, "body"));
    test.pass_secs(600);
    test.respond_with(503, &[], "down");
    assert_eq!(test.get().await, received(Source::Miss, 503, "down"), "beyond the maximum TTL");
}

#[tokio::test]
async fn stale_if_error_limits_the_use_of_an_expired_object() {
    for (directive, stale) in [("max-age=10, stale-if-error=20", true), ("max-age=10, stale-if-error=0", false)] {
        let test = Test::new(rules(0, 60, 600));
        test.respond_with(200, &[("cache-control", directive)], "body");
        test.get().await;
        test.pass_secs(25);
        test.be_unreachable();
        assert_eq!(test.get().await.1 == 200, stale, "{directive}");
    }
}

#[tokio::test]
async fn no_store_does_not_apply_while_the_origin_is_unreachable() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("cache-control", "private, no-store")], "first");
    test.get().await;
    test.respond_with(503, &[], "down");
    assert_eq!(test.get().await, received(Source::Miss, 503, "down"), "the origin is reachable");
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("cache-control", "private, no-store")], "first");
    test.get().await;
    test.be_unreachable();
    assert_eq!(test.get().await, received(Source::Hit, 200, "first"));
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("cache-control", "private, no-store, stale-if-error=0")], "first");
    test.get().await;
    test.be_unreachable();
    assert_eq!(test.get().await, received(Source::Miss, 502, "page"));
}

#[tokio::test]
async fn a_clients_error_replaces_an_expired_object() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("etag", "\"a\"")], "body");
    test.get().await;
    test.pass_secs(60);
    test.respond_with(404, &[], "gone");
    assert_eq!(test.get().await, received(Source::Miss, 404, "gone"));
    assert_eq!(test.get().await, received(Source::Hit, 404, "gone"));
    test.pass_secs(10);
    test.respond_with(200, &[], "back");
    assert_eq!(test.get().await, received(Source::Miss, 200, "back"));
}

#[tokio::test]
async fn a_stale_object_is_served_while_it_is_revalidated() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("cache-control", "max-age=10, stale-while-revalidate=30")], "old");
    test.get().await;
    test.pass_secs(20);
    test.respond_with(200, &[("cache-control", "max-age=60")], "new");
    assert_eq!(test.send(Method::GET, &[(RANGE, "bytes=1-")]).await.0, received(Source::Hit, 206, "ld"));
    // The background task runs when this one yields.
    let refreshed = async {
        while test.get().await.2 != "new" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refreshed).await.expect("a revalidation in the background");
    let without_the_range = OriginRequest::Revalidation(Vec::new());
    assert_eq!(test.requests(), [OriginRequest::AsReceived, without_the_range]);
}

#[tokio::test]
async fn concurrent_requests_share_one_request_to_the_origin() {
    for (collapses, cache_control, origin_requests) in
        [(true, "max-age=60", 1), (false, "max-age=60", 5), (true, "no-store", 5), (true, "max-age=0", 5)]
    {
        let mut test = Test::new(rules(0, 60, 600));
        test.rules.collapses = collapses;
        test.permits.forget_permits(1_000);
        for _ in 0..origin_requests {
            test.respond_with(200, &[(CACHE_CONTROL.as_str(), cache_control)], "body");
        }
        let viewers = futures_util::future::join_all((0..5).map(|_| test.get()));
        let open = async {
            // The viewers have been polled once when this future is.
            tokio::task::yield_now().await;
            test.permits.add_permits(5);
        };
        let (received, ()) = tokio::join!(viewers, open);
        assert!(received.iter().all(|(_, status, body)| (*status, body.as_str()) == (200, "body")));
        let hits = received.iter().filter(|(source, ..)| *source == Source::Hit).count();
        assert_eq!(
            (test.requests().len(), hits),
            (origin_requests, 5 - origin_requests),
            "{collapses} {cache_control}"
        );
    }
}

#[tokio::test]
async fn a_follower_continues_when_the_leader_disconnects() {
    let test = Test::new(rules(0, 60, 600));
    test.permits.forget_permits(1_000);
    test.respond_with(200, &[], "first");
    let mut leader = Box::pin(test.get());
    assert!((&mut leader).now_or_never().is_none());
    let mut follower = Box::pin(test.get());
    assert!((&mut follower).now_or_never().is_none());
    assert_eq!(test.requests().len(), 1);
    drop(leader);
    test.respond_with(200, &[], "second");
    test.permits.add_permits(1);
    assert_eq!(follower.await, received(Source::Miss, 200, "second"));
}

#[tokio::test]
async fn head_is_answered_from_a_cached_get_and_not_the_reverse() {
    let test = Test::new(rules(0, 60, 600));
    test.respond_with(200, &[("x-n", "head")], "");
    assert_eq!(test.send(Method::HEAD, &[]).await.0.0, Source::Miss);
    assert_eq!(test.send(Method::HEAD, &[]).await.0.0, Source::Hit);
    test.respond_with(200, &[("x-n", "get")], "body");
    assert_eq!(test.get().await, received(Source::Miss, 200, "body"));
    let (head, headers) = test.send(Method::HEAD, &[]).await;
    assert_eq!((head, &headers["x-n"]), (received(Source::Hit, 200, ""), &HeaderValue::from_static("get")));
}

#[test]
fn a_full_store_evicts_what_was_used_least_recently() {
    let now = SystemTime::UNIX_EPOCH;
    let freshness = freshness(StatusCode::OK, &HeaderMap::new(), &rules(0, 60, 600), now).unwrap();
    let entry = || {
        let body = Bytes::from(vec![0; 100 * 1024 * 1024]);
        Arc::new(Entry::new(StatusCode::OK, &HeaderMap::new(), body, freshness, now))
    };
    let [first, second, third] = [Method::GET, Method::HEAD, Method::OPTIONS].map(|method| key(&method));
    let mut store = Store::default();
    store.insert(first.clone(), entry());
    store.insert(second.clone(), entry());
    store.find(&first, now);
    store.insert(third.clone(), entry());
    let mut is_stored = |key| !matches!(store.find(key, now), Found::Missing);
    assert_eq!([is_stored(&first), is_stored(&second), is_stored(&third)], [true, false, true]);
}
