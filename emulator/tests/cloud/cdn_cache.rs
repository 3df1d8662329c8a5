//! The cache of the CDN, in front of the real function: what viewers get from it, and which requests reach the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use emulator::cloud::{Caching, Options};
use emulator::cloudfront::behavior::Behaviors;
use emulator::fault::S3Fault;
use emulator::gateway::door::Door;
use emulator::policy::policies::Policies;
use emulator::policy::subject::Subject;
use emulator::serve;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{TestCloud, example, fake_s3, start, wait_until, with_env};

const V1: (&str, &str) = ("test_version", "v1");
const V2: (&str, &str) = ("test_version", "v2");

fn caching(env: &[(&str, &str)]) -> Options {
    Options { caching: Caching::On, ..with_env(env) }
}

/// A distribution with this cache policy, which forwards the variant and these cookies.
fn policy(cache: &Value, cookies: &str) -> Caching {
    let mut policies = Policies::default();
    policies.add("cache", &json!({"CachePolicyConfig": cache})).unwrap();
    let request = json!({
        "HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": ["test_version"]},
        "QueryStringsConfig": {"QueryStringBehavior": "all"},
        "CookiesConfig": {"CookieBehavior": cookies},
    });
    policies.add("request", &json!({"OriginRequestPolicyConfig": request})).unwrap();
    let config = json!({
        "Origins": [{"Id": "api", "DomainName": "api.example", "CustomOriginConfig": {}}],
        "DefaultCacheBehavior": {"TargetOriginId": "api", "CachePolicyId": "cache", "OriginRequestPolicyId": "request"},
    });
    let subject = Subject::from_config(&config, &policies, false).unwrap();
    Caching::By(Behaviors::parse(&subject.distribution).unwrap())
}

/// The variant in the cache key, and these TTLs.
fn cache_policy(minimum: u64, default: u64) -> Value {
    json!({
        "MinTTL": minimum, "DefaultTTL": default, "MaxTTL": 3600,
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": ["test_version"]},
        },
    })
}

/// A cloud whose handler returns its event as the body.
fn echo(caching: Caching, env: &[(&str, &str)]) -> Options {
    let env: Vec<_> = [("mode", "echo")].iter().chain(env).copied().collect();
    Options {
        door: Door::HttpApi,
        bootstrap: example("misbehaving"),
        foreign_handler: true,
        environments: 1,
        caching,
        ..with_env(&env)
    }
}

/// The headers of the event that the handler returns.
async fn event(cloud: &TestCloud, path: &str, headers: &[(&str, &str)]) -> Value {
    serde_json::from_slice(&cloud.cdn(path, headers).await.body).unwrap()
}

/// The requests that have reached the API, from the CDN.
fn api_requests(cloud: &TestCloud) -> usize {
    cloud.journal.lines().iter().filter(|line| line.contains("cdn>api")).count()
}

/// Stores an object with this Cache-Control in the variants v1 and v2.
async fn put_with_cache_control(cloud: &TestCloud, key: &str, cache_control: &str) {
    for variant in ["v1", "v2"] {
        let body = aws_sdk_s3::primitives::ByteStream::from(variant.as_bytes().to_vec());
        let put = cloud.s3().put_object().bucket(&cloud.cloud.bucket).key(format!("{variant}/{key}")).body(body);
        put.content_type("text/plain").cache_control(cache_control).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_request_is_a_hit() {
    let cloud = start(caching(&[])).await;
    let miss = cloud.cdn("/test.html", &[V1]).await;
    assert_eq!((miss.status, miss.header("x-cache"), miss.header("age")), (StatusCode::OK, "Miss from cloudfront", ""));
    let hit = cloud.cdn("/test.html", &[V1]).await;
    assert_eq!((hit.status, hit.header("x-cache")), (StatusCode::OK, "Hit from cloudfront"));
    assert!(hit.header("age").parse::<u64>().is_ok(), "{:?}", hit.headers);
    assert_eq!(hit.body, miss.body);
    assert_eq!(api_requests(&cloud), 1);
    assert!(cloud.journal.lines().iter().any(|line| line.contains("cdn     GET  /test.html")));
    cloud.shut_down().await;
}

#[tokio::test]
async fn without_the_option_every_request_reaches_the_api() {
    let cloud = start(with_env(&[])).await;
    for _ in 0..2 {
        let response = cloud.cdn("/test.html", &[V1]).await;
        assert_eq!((response.header("x-cache"), response.header("age")), ("Miss from cloudfront", ""));
    }
    assert_eq!(api_requests(&cloud), 2);
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_variant_and_redirect_are_in_the_cache_key() {
    let cloud = start(caching(&[])).await;
    let v1 = cloud.cdn("/test.html", &[V1]).await;
    let v2 = cloud.cdn("/test.html", &[V2]).await;
    assert_eq!(v2.header("x-cache"), "Miss from cloudfront");
    assert_ne!(v1.body, v2.body);
    let redirect = cloud.cdn("/test.html", &[V1, ("redirect", "true")]).await;
    assert_eq!((redirect.status, redirect.header("x-cache")), (StatusCode::FOUND, "Miss from cloudfront"));
    assert_eq!(cloud.cdn("/test.html", &[V1]).await.body, v1.body);
    assert_eq!(
        cloud.cdn("/test.html?a=1", &[V2]).await.header("x-cache"),
        "Hit from cloudfront",
        "query strings are not"
    );
    assert_eq!(api_requests(&cloud), 3);
    cloud.shut_down().await;
}

#[tokio::test]
async fn no_store_is_respected() {
    let cloud = start(caching(&[])).await;
    for directive in ["no-store", "private", "no-cache", "max-age=0"] {
        put_with_cache_control(&cloud, "x.txt", directive).await;
        let before = api_requests(&cloud);
        for variant in [V1, V1, V2] {
            let response = cloud.cdn("/x.txt", &[variant]).await;
            assert_ne!(response.header("x-cache"), "Hit from cloudfront", "{directive}");
            assert_eq!(response.text(), variant.1, "{directive}");
        }
        assert_eq!(api_requests(&cloud) - before, 3, "{directive}");
    }
    // The function sends no-store with every redirect.
    for _ in 0..2 {
        let redirect = cloud.cdn("/test.html", &[V1, ("redirect", "true")]).await;
        assert_eq!(redirect.header("x-cache"), "Miss from cloudfront");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_cache_answers_head_conditions_and_ranges() {
    let cloud = start(caching(&[])).await;
    let whole = cloud.cdn("/test.html", &[V1]).await;
    let etag = whole.header("etag").to_owned();
    let url = format!("http://{}/test.html", cloud.cloud.edge);
    let head = cloud.send(Method::HEAD, &url, &[V1]).await;
    assert_eq!((head.status, head.header("x-cache")), (StatusCode::OK, "Hit from cloudfront"));
    assert_eq!(head.body.len(), 0);
    head.assert_length(&whole.body.len().to_string());
    let unchanged = cloud.cdn("/test.html", &[V1, ("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status, unchanged.header("x-cache")), (StatusCode::NOT_MODIFIED, "Hit from cloudfront"));
    let part = cloud.cdn("/test.html", &[V1, ("range", "bytes=2-4")]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &whole.body[2..5]));
    assert_eq!(part.header("content-range"), format!("bytes 2-4/{}", whole.body.len()));
    let beyond = cloud.cdn("/test.html", &[V1, ("range", "bytes=999999-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(api_requests(&cloud), 1);
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_object_that_expires_at_once_is_revalidated() {
    let cloud = start(caching(&[])).await;
    put_with_cache_control(&cloud, "x.txt", "max-age=0").await;
    assert_eq!(cloud.cdn("/x.txt", &[V1]).await.header("x-cache"), "Miss from cloudfront");
    let refreshed = cloud.cdn("/x.txt", &[V1]).await;
    assert_eq!((refreshed.status, refreshed.text()), (StatusCode::OK, "v1"));
    assert_eq!(refreshed.header("x-cache"), "RefreshHit from cloudfront");
    assert!(cloud.journal.lines().iter().any(|line| line.contains("cdn>api") && line.contains(" 304 ")));
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_expired_object_replaces_an_error_of_the_function() {
    let cloud = start(caching(&[])).await;
    put_with_cache_control(&cloud, "x.txt", "max-age=0").await;
    cloud.cdn("/x.txt", &[V1]).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(503, "SlowDown")));
    let stale = cloud.cdn("/x.txt", &[V1]).await;
    assert_eq!((stale.status, stale.text(), stale.header("x-cache")), (StatusCode::OK, "v1", "Hit from cloudfront"));
    // With `Caching=on`, ErrorCachingMinTTL is 0.
    assert_eq!(cloud.cdn("/test.html", &[V1]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    cloud.cloud.faults.set_s3(None);
    assert_eq!(cloud.cdn("/test.html", &[V1]).await.status, StatusCode::OK);
    cloud.shut_down().await;
}

#[tokio::test]
async fn errors_are_cached_for_all_viewers_by_default() {
    let options = Options { caching: policy(&cache_policy(0, 60), "none"), ..with_env(&[]) };
    let cloud = start(options).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(503, "SlowDown")));
    let first = cloud.cdn("/test.html", &[V1]).await;
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(first.header("cache-control"), "no-store", "CloudFront ignores it for a 503");
    cloud.cloud.faults.set_s3(None);
    let second = cloud.cdn("/test.html", &[V1]).await;
    assert_eq!((second.status, second.header("x-cache")), (first.status, "Error from cloudfront"));
    assert_eq!(api_requests(&cloud), 1);
    assert_eq!(cloud.cdn("/test.html", &[V2]).await.status, StatusCode::OK, "another key");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_minimum_ttl_overrides_no_store_and_mixes_viewers() {
    // The variant reaches the function, and is not in the key.
    let leaking = json!({"MinTTL": 60, "DefaultTTL": 60, "MaxTTL": 60});
    let cloud = start(Options { caching: policy(&leaking, "all"), ..with_env(&[]) }).await;
    put_with_cache_control(&cloud, "x.txt", "private, no-store").await;
    assert_eq!(cloud.cdn("/x.txt", &[V1]).await.text(), "v1");
    let leak = cloud.cdn("/x.txt", &[V2]).await;
    assert_eq!((leak.text(), leak.header("x-cache")), ("v1", "Hit from cloudfront"));
    cloud.shut_down().await;
    let respecting = json!({"MinTTL": 0, "DefaultTTL": 60, "MaxTTL": 60});
    let cloud = start(Options { caching: policy(&respecting, "all"), ..with_env(&[]) }).await;
    put_with_cache_control(&cloud, "x.txt", "private, no-store").await;
    for variant in [V1, V2] {
        assert_eq!(cloud.cdn("/x.txt", &[variant]).await.text(), variant.1);
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn cookies_of_the_function_arrive_separately_and_are_cached() {
    let cookies = |headers: &HeaderMap| -> Vec<String> {
        headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().to_owned()).collect()
    };
    for (forwarded, expected) in [("all", &["a=1", "b=2"][..]), ("none", &[])] {
        let caching = policy(&cache_policy(0, 60), forwarded);
        let cloud = start(Options {
            door: Door::HttpApi,
            bootstrap: example("misbehaving"),
            environments: 1,
            caching,
            ..with_env(&[("mode", "cookies")])
        })
        .await;
        for x_cache in ["Miss from cloudfront", "Hit from cloudfront"] {
            let response = cloud.cdn("/", &[]).await;
            assert_eq!(
                (response.header("x-cache"), cookies(&response.headers)),
                (x_cache, expected.iter().map(|cookie| (*cookie).to_owned()).collect())
            );
        }
        cloud.shut_down().await;
    }
    let options = Options {
        door: Door::HttpApi,
        bootstrap: example("misbehaving"),
        environments: 1,
        ..with_env(&[("mode", "cookies")])
    };
    let cloud = start(options).await;
    assert_eq!(cookies(&cloud.cdn("/", &[]).await.headers), ["a=1", "b=2"], "without caching");
    cloud.shut_down().await;
}

#[tokio::test]
async fn all_cookies_reach_the_function_and_one_is_in_the_key() {
    let cookie = |value| [("cookie", value)];
    let cloud = start(echo(Caching::On, &[("experiments", "experiments.json")])).await;
    let first = event(&cloud, "/?a=1", &cookie("nearedge_v=x; nearedge=id1; c=3")).await;
    assert_eq!(
        (&first["cookies"], &first["rawQueryString"]),
        (&json!(["c=3", "nearedge=id1", "nearedge_v=x"]), &json!("a=1"))
    );
    let same = cloud.cdn("/", &cookie("nearedge=id2; nearedge_v=x")).await;
    assert_eq!(same.header("x-cache"), "Hit from cloudfront");
    let other = cloud.cdn("/", &cookie("nearedge=id1; nearedge_v=y")).await;
    assert_eq!(other.header("x-cache"), "Miss from cloudfront");
    cloud.shut_down().await;
    let cloud = start(echo(Caching::On, &[])).await;
    event(&cloud, "/", &cookie("nearedge_v=x")).await;
    let same = cloud.cdn("/", &cookie("nearedge_v=y")).await;
    assert_eq!(same.header("x-cache"), "Hit from cloudfront", "without experiments, no cookie is in the key");
    cloud.shut_down().await;
    let cloud = start(echo(Caching::Off, &[])).await;
    let passed = event(&cloud, "/", &cookie("nearedge_v=x; nearedge=id1; c=3")).await;
    assert_eq!(passed["cookies"], json!(["nearedge_v=x", "nearedge=id1", "c=3"]));
    cloud.shut_down().await;
}

#[tokio::test]
async fn experiments_add_the_headers_that_they_read() {
    const PHONE: &str = "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0 Mobile Safari/537.36";
    let sent = [
        ("accept", "text/html"),
        ("accept-language", "de"),
        ("cloudfront-viewer-country", "CN"),
        ("cloudfront-is-mobile-viewer", "forged"),
        ("purpose", "prefetch"),
        ("referer", "http://example.com/"),
        ("sec-fetch-dest", "document"),
        ("sec-purpose", "prefetch"),
        ("user-agent", PHONE),
        ("x-other", "1"),
        ("accept-encoding", "gzip"),
    ];
    for caching in [Caching::Off, Caching::On] {
        let cloud = start(echo(caching.clone(), &[("experiments", "experiments.json")])).await;
        let headers = event(&cloud, "/", &sent).await["headers"].clone();
        for (name, value) in &sent[..9] {
            let expected = if *name == "cloudfront-is-mobile-viewer" { "true" } else { value };
            assert_eq!(headers[name], expected, "{name}");
        }
        assert_eq!(headers["cloudfront-is-desktop-viewer"], "false");
        assert_eq!(headers["x-other"], Value::Null);
        assert_eq!(headers["accept-encoding"], "gzip");
        cloud.shut_down().await;
        let cloud = start(echo(caching, &[])).await;
        let headers = event(&cloud, "/", &sent).await["headers"].clone();
        assert_eq!(headers["user-agent"], "Amazon CloudFront");
        for (name, _) in sent.iter().filter(|(name, _)| !["user-agent", "accept-encoding"].contains(name)) {
            assert_eq!(headers[name], Value::Null, "{name}");
        }
        cloud.shut_down().await;
    }
}

/// An S3 that counts its requests; each response needs a permit.
async fn gated_s3(permits: Arc<Semaphore>) -> (serve::Server, Arc<AtomicUsize>, emulator::cloud::Storage) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let (server, storage) = fake_s3(move |_: Request<_>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let permits = permits.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            http::Response::builder().header("etag", "\"e\"").body(serve::full("body")).map_err(Into::into)
        }
    })
    .await;
    (server, requests, storage)
}

#[tokio::test]
async fn requests_are_collapsed_unless_cookies_are_forwarded() {
    for (cookies, expected) in [("none", 1), ("all", 3)] {
        let permits = Arc::new(Semaphore::new(0));
        let (_s3, at_s3, storage) = gated_s3(permits.clone()).await;
        let caching = policy(&cache_policy(0, 60), cookies);
        let cloud = start(Options { storage, caching, environments: 3, ..with_env(&[]) }).await;
        let viewers = futures_util::future::join_all((0..3).map(|_| cloud.cdn("/x", &[V1])));
        let open = async {
            wait_until(|| at_s3.load(Ordering::SeqCst) >= expected).await;
            permits.add_permits(100);
        };
        let (responses, ()) = tokio::join!(viewers, open);
        assert!(responses.iter().all(|response| response.text() == "body"));
        let hits = responses.iter().filter(|response| response.header("x-cache") == "Hit from cloudfront").count();
        assert_eq!((api_requests(&cloud), hits), (expected, 3 - expected), "cookies: {cookies}");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_cache_behaviour_refuses_other_methods() {
    let cloud = start(caching(&[])).await;
    let url = |path: &str| format!("http://{}{path}", cloud.cloud.edge);
    assert_eq!(cloud.send(Method::POST, &url("/x"), &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(cloud.send(Method::OPTIONS, &url("/x"), &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(cloud.send(Method::OPTIONS, &url("/v1/x"), &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(api_requests(&cloud), 1);
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_behaviours_of_the_variants_cache_objects_of_the_bucket() {
    let cloud = start(caching(&[])).await;
    for x_cache in ["Miss from cloudfront", "Hit from cloudfront"] {
        let response = cloud.cdn("/v1/test.html", &[]).await;
        assert_eq!((response.status, response.header("x-cache")), (StatusCode::OK, x_cache));
    }
    assert_eq!(api_requests(&cloud), 0);
    cloud.shut_down().await;
}
