//! The cache and the start, observed at S3: which requests S3 receives, and when.

use std::sync::{Arc, Mutex};

use emulator::cloud::{Options, Storage};
use emulator::fault::S3Fault;
use emulator::serve;
use http::{Method, StatusCode};
use tokio::sync::Semaphore;

use crate::support::{SECRET, TestCloud, fake_s3, start, unreachable_s3, wait_until, with_env};

type Requests = Arc<Mutex<Vec<String>>>;

/// An S3 that records its requests and returns ten bytes for every key. With a gate, each response needs a permit.
async fn recording_s3(gate: Option<Arc<Semaphore>>) -> (serve::Server, Requests, Storage) {
    let requests = Requests::default();
    let received = requests.clone();
    let (server, storage) = fake_s3(move |request| {
        let etag = request.headers().get("if-none-match").map(|etag| etag.to_str().unwrap().to_owned());
        let condition = etag.as_deref().map(|etag| format!(" if-none-match {etag}")).unwrap_or_default();
        let key = request.uri().path().trim_start_matches("/lambda-api-2022/");
        received.lock().unwrap().push(format!("{} {key}{condition}", request.method()));
        let gate = gate.clone();
        async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            let response = http::Response::builder().header("etag", "\"e\"");
            let response = match etag {
                Some(_) => response.status(304).body(serve::full("")),
                None => response.body(serve::full("0123456789")),
            };
            response.map_err(Into::into)
        }
    })
    .await;
    (server, requests, storage)
}

/// The requests since the last call.
fn take(requests: &Requests) -> Vec<String> {
    std::mem::take(&mut requests.lock().unwrap())
}

async fn text(cloud: &TestCloud, path: &str) -> String {
    let response = cloud.api(path, &[SECRET]).await;
    assert_eq!(response.status, StatusCode::OK);
    response.text().to_owned()
}

#[tokio::test]
async fn a_fresh_object_is_a_hit_and_an_expired_one_is_revalidated() {
    for (ttl, second) in [("3600", &[][..]), ("0", &["GET x if-none-match \"e\""])] {
        let (_s3, requests, storage) = recording_s3(None).await;
        let env = [("cache_ttl_secs", ttl)];
        let cloud = start(Options { storage, environments: 1, ..with_env(&env) }).await;
        assert_eq!(text(&cloud, "/x").await, "0123456789");
        assert_eq!(take(&requests), ["GET x"]);
        assert_eq!(text(&cloud, "/x").await, "0123456789");
        assert_eq!(take(&requests), second, "with cache_ttl_secs={ttl}");
        let source = if second.is_empty() { r#""cache":"hit""# } else { r#""cache":"revalidated""# };
        cloud.wait_for_log(|line| line.contains(source) && line.contains(r#""message":"answered""#)).await;
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_fresh_object_answers_head_conditions_and_ranges() {
    let (_s3, requests, storage) = recording_s3(None).await;
    let cloud = start(Options { storage, environments: 1, ..with_env(&[("cache_ttl_secs", "3600")]) }).await;
    text(&cloud, "/x").await;
    take(&requests);
    let url = format!("http://{}/x", cloud.cloud.gateway);
    cloud.send(Method::HEAD, &url, &[SECRET]).await.assert_length("10");
    assert_eq!(cloud.api("/x", &[SECRET, ("if-none-match", "\"e\"")]).await.status, StatusCode::NOT_MODIFIED);
    let part = cloud.api("/x", &[SECRET, ("range", "bytes=4-6")]).await;
    assert_eq!(
        (part.status, part.text(), part.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, "456", "bytes 4-6/10")
    );
    assert_eq!(take(&requests), Vec::<String>::new());
    cloud.shut_down().await;
}

#[tokio::test]
async fn concurrent_requests_for_one_key_send_one_s3_request() {
    let gate = Arc::new(Semaphore::new(0));
    let (_s3, requests, storage) = recording_s3(Some(gate.clone())).await;
    let env = [("cache_ttl_secs", "3600")];
    let cloud = start(Options { storage, concurrency: 8, environments: 1, ..with_env(&env) }).await;
    let all = futures_util::future::join_all(["/x"; 8].map(|path| text(&cloud, path)));
    let opened = async {
        wait_until(|| cloud.cloud.lambda.in_flight() == 8).await;
        gate.add_permits(1);
    };
    let (responses, ()) = tokio::join!(all, opened);
    assert_eq!(responses, ["0123456789"; 8]);
    assert_eq!(take(&requests), ["GET x"]);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_cached_page_is_served_stale_while_s3_fails() {
    let env = [("stale_if_error_secs", "300")];
    let cloud = start(Options { environments: 1, ..with_env(&env) }).await;
    let page = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
    for fault in [S3Fault::Error(503, "SlowDown"), S3Fault::Error(500, "InternalError"), S3Fault::Reset] {
        cloud.cloud.faults.set_s3(Some(fault));
        let stale = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
        assert_eq!(
            (stale.status, &stale.body, stale.header("etag")),
            (StatusCode::OK, &page.body, page.header("etag"))
        );
        assert_eq!(stale.header("x-variant"), "v1");
        let other = cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
        assert!(other.status.is_server_error(), "an object that is not cached is an error");
    }
    cloud.wait_for_log(|line| line.contains(r#""cache":"stale""#)).await;
    cloud.wait_for_log(|line| line.contains("\"WARN\"") && line.contains("503 SlowDown")).await;
    cloud.cloud.faults.set_s3(None);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_hanging_s3_delays_a_cached_page_by_a_second_at_most() {
    let env = [("stale_if_error_secs", "300")];
    let cloud = start(Options { environments: 1, ..with_env(&env) }).await;
    text(&cloud, "/").await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Hang));
    let started = std::time::Instant::now();
    text(&cloud, "/").await;
    text(&cloud, "/").await;
    assert!(started.elapsed().as_secs() < 5, "expected less than 5 s, found {:?}", started.elapsed());
    cloud.cloud.faults.set_s3(None);
    cloud.shut_down().await;
}

#[tokio::test]
async fn stale_while_revalidate_runs_before_the_next_event() {
    let gate = Arc::new(Semaphore::new(1));
    let (_s3, requests, storage) = recording_s3(Some(gate.clone())).await;
    let env = [("stale_while_revalidate_secs", "3600")];
    let cloud = start(Options { storage, environments: 1, ..with_env(&env) }).await;
    text(&cloud, "/x").await;
    // S3 does not respond any more, but the viewer gets a response.
    assert_eq!(text(&cloud, "/x").await, "0123456789");
    wait_until(|| requests.lock().unwrap().len() == 2).await;
    assert_eq!(take(&requests), ["GET x", "GET x if-none-match \"e\""]);
    gate.add_permits(1);
    assert_eq!(text(&cloud, "/x").await, "0123456789", "the environment accepts the next event");
    cloud.shut_down().await;
}

#[tokio::test]
async fn preload_fills_the_cache_and_logs_what_it_cannot_load() {
    let cloud =
        start(with_env(&[("cache_ttl_secs", "3600"), ("preload", "index.html, v1/test.html,nowhere.html")])).await;
    cloud.wait_for_log(|line| line.contains("preloaded") && line.contains(r#""objects":2"#)).await;
    cloud
        .wait_for_log(|line| line.contains("WARN") && line.contains("not preloaded") && line.contains("nowhere.html"))
        .await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(503, "SlowDown")));
    text(&cloud, "/").await;
    assert_eq!(cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await.status, StatusCode::OK);
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_function_starts_without_s3() {
    let (_socket, storage) = unreachable_s3();
    let cloud = start(Options { storage, ..with_env(&[("prewarm", "true")]) }).await;
    cloud.wait_for_log(|line| line.contains("WARN") && line.contains("no connection to S3 during INIT")).await;
    assert_eq!(cloud.api("/x", &[SECRET, ("redirect", "true")]).await.status, StatusCode::FOUND);
    cloud.shut_down().await;
}

#[tokio::test]
async fn without_a_cache_every_request_goes_to_s3() {
    let (_s3, requests, storage) = recording_s3(None).await;
    let cloud = start(Options { storage, ..with_env(&[("cache_max_bytes", "0"), ("cache_ttl_secs", "3600")]) }).await;
    text(&cloud, "/x").await;
    text(&cloud, "/x").await;
    assert_eq!(take(&requests), ["GET x", "GET x"]);
    cloud.shut_down().await;
}
