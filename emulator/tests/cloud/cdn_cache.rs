//! The cache of the CDN, in front of the real function: what viewers get from it, and which requests reach the API.

use emulator::cloud::{Caching, Options};
use http::{Method, StatusCode};

use crate::support::{TestCloud, start, with_env};

const V1: (&str, &str) = ("test_version", "v1");
const V2: (&str, &str) = ("test_version", "v2");

fn caching(env: &[(&str, &str)]) -> Options {
    Options { caching: Caching::On, ..with_env(env) }
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
    assert_eq!((head.header("content-length"), head.body.len()), (whole.body.len().to_string().as_str(), 0));
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
