//! The cache and the start, from outside: what S3 is asked, and when.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use emulator::cloud::{Options, Storage};
use emulator::fault::S3Fault;
use emulator::serve;
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::support::{FREE, SECRET, TestCloud, start, until, with_env};

type Asked = Arc<Mutex<Vec<String>>>;

/// An S3 whose every key is an object of ten bytes, that takes note of what it is asked. With a gate it answers one
/// request for each permit.
async fn noting(gate: Option<Arc<Semaphore>>) -> (serve::Server, Asked, Storage) {
    let asked = Asked::default();
    let listener = TcpListener::bind(FREE).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let notes = asked.clone();
    let server = serve::serve(listener, move |request, _| {
        let tag = request.headers().get("if-none-match").map(|tag| tag.to_str().unwrap().to_owned());
        let condition = tag.as_deref().map(|tag| format!(" unless {tag}")).unwrap_or_default();
        let key = request.uri().path().trim_start_matches("/lambda-api-2022/");
        notes.lock().unwrap().push(format!("{} {key}{condition}", request.method()));
        let gate = gate.clone();
        async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            let response = http::Response::builder().header("etag", "\"e\"");
            let response = match tag {
                Some(_) => response.status(304).body(serve::full("")),
                None => response.body(serve::full("0123456789")),
            };
            response.map_err(Into::into)
        }
    });
    (server, asked, Storage::Endpoint { url, credentials: Credentials::from_keys("AKIDEXAMPLE", "secret-key", None) })
}

fn taken(asked: &Asked) -> Vec<String> {
    std::mem::take(&mut asked.lock().unwrap())
}

async fn text(cloud: &TestCloud, path: &str) -> String {
    let answer = cloud.api(path, &[SECRET]).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.text().to_owned()
}

#[tokio::test]
async fn a_fresh_object_is_not_asked_for_and_an_expired_one_on_condition() {
    for (ttl, second) in [("3600", &[][..]), ("0", &["GET x unless \"e\""])] {
        let (_s3, asked, storage) = noting(None).await;
        let env = [("cache_ttl_secs", ttl)];
        let cloud = start(Options { storage, environments: 1, ..with_env(&env) }).await;
        assert_eq!(text(&cloud, "/x").await, "0123456789");
        assert_eq!(taken(&asked), ["GET x"]);
        assert_eq!(text(&cloud, "/x").await, "0123456789");
        assert_eq!(taken(&asked), second, "with cache_ttl_secs={ttl}");
        let word = if second.is_empty() { r#""cache":"hit""# } else { r#""cache":"revalidated""# };
        cloud.logged(|line| line.contains(word) && line.contains(r#""message":"answered""#)).await;
        cloud.end().await;
    }
}

#[tokio::test]
async fn head_conditions_and_ranges_of_a_fresh_object_are_answered_without_s3() {
    let (_s3, asked, storage) = noting(None).await;
    let cloud = start(Options { storage, environments: 1, ..with_env(&[("cache_ttl_secs", "3600")]) }).await;
    text(&cloud, "/x").await;
    taken(&asked);
    let url = format!("http://{}/x", cloud.cloud.gateway);
    assert_eq!(cloud.send(Method::HEAD, &url, &[SECRET]).await.header("content-length"), "10");
    assert_eq!(cloud.api("/x", &[SECRET, ("if-none-match", "\"e\"")]).await.status, StatusCode::NOT_MODIFIED);
    let part = cloud.api("/x", &[SECRET, ("range", "bytes=4-6")]).await;
    assert_eq!(
        (part.status, part.text(), part.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, "456", "bytes 4-6/10")
    );
    assert_eq!(taken(&asked), Vec::<String>::new());
    cloud.end().await;
}

#[tokio::test]
async fn several_at_once_of_one_key_are_one_request_to_s3() {
    let gate = Arc::new(Semaphore::new(0));
    let (_s3, asked, storage) = noting(Some(gate.clone())).await;
    let env = [("cache_ttl_secs", "3600")];
    let cloud = start(Options { storage, concurrency: 8, environments: 1, ..with_env(&env) }).await;
    let all = futures_util::future::join_all(["/x"; 8].map(|path| text(&cloud, path)));
    let opened = async {
        until(|| cloud.cloud.lambda.in_flight() == 8).await;
        gate.add_permits(1);
    };
    let (answers, ()) = tokio::join!(all, opened);
    assert_eq!(answers, ["0123456789"; 8]);
    assert_eq!(taken(&asked), ["GET x"]);
    cloud.end().await;
}

#[tokio::test]
async fn an_s3_that_fails_does_not_fail_a_page_that_is_in_memory() {
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
        assert!(other.status.is_server_error(), "what is not in memory is in trouble");
    }
    cloud.logged(|line| line.contains(r#""cache":"stale""#)).await;
    cloud.logged(|line| line.contains("\"WARN\"") && line.contains("503 SlowDown")).await;
    cloud.cloud.faults.set_s3(None);
    cloud.end().await;
}

#[tokio::test]
async fn a_hanging_s3_delays_a_page_that_is_in_memory_by_a_second_at_most() {
    let env = [("stale_if_error_secs", "300")];
    let cloud = start(Options { environments: 1, ..with_env(&env) }).await;
    text(&cloud, "/").await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Hang));
    let started = std::time::Instant::now();
    text(&cloud, "/").await;
    text(&cloud, "/").await;
    assert!(started.elapsed().as_secs() < 5, "far from the deadline: {:?}", started.elapsed());
    cloud.cloud.faults.set_s3(None);
    cloud.end().await;
}

#[tokio::test]
async fn stale_while_revalidate_asks_s3_after_the_answer_and_before_the_next_event() {
    let gate = Arc::new(Semaphore::new(1));
    let (_s3, asked, storage) = noting(Some(gate.clone())).await;
    let env = [("stale_while_revalidate_secs", "3600")];
    let cloud = start(Options { storage, environments: 1, ..with_env(&env) }).await;
    text(&cloud, "/x").await;
    // S3 does not answer any more, and the viewer has an answer nevertheless.
    assert_eq!(text(&cloud, "/x").await, "0123456789");
    until(|| asked.lock().unwrap().len() == 2).await;
    assert_eq!(taken(&asked), ["GET x", "GET x unless \"e\""]);
    gate.add_permits(1);
    assert_eq!(text(&cloud, "/x").await, "0123456789", "and the environment takes the next event");
    cloud.end().await;
}

#[tokio::test]
async fn preload_fills_the_cache_before_the_first_event_and_says_what_it_could_not_load() {
    let cloud =
        start(with_env(&[("cache_ttl_secs", "3600"), ("preload", "index.html, v1/test.html,nowhere.html")])).await;
    cloud.logged(|line| line.contains("preloaded") && line.contains(r#""objects":2"#)).await;
    cloud.logged(|line| line.contains("WARN") && line.contains("not preloaded") && line.contains("nowhere.html")).await;
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(503, "SlowDown")));
    text(&cloud, "/").await;
    assert_eq!(cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await.status, StatusCode::OK);
    cloud.end().await;
}

#[tokio::test]
async fn a_start_without_s3_is_a_start_all_the_same() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(FREE).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
    let credentials = Credentials::from_keys("AKIDEXAMPLE", "secret-key", None);
    let options = Options { storage: Storage::Endpoint { url, credentials }, ..with_env(&[("prewarm", "true")]) };
    let cloud = start(options).await;
    cloud.logged(|line| line.contains("WARN") && line.contains("no connection to S3 was opened")).await;
    assert_eq!(cloud.api("/x", &[SECRET, ("redirect", "true")]).await.status, StatusCode::FOUND);
    cloud.end().await;
}

#[tokio::test]
async fn without_a_cache_every_request_is_s3s() {
    let (_s3, asked, storage) = noting(None).await;
    let cloud = start(Options { storage, ..with_env(&[("cache_max_bytes", "0"), ("cache_ttl_secs", "3600")]) }).await;
    text(&cloud, "/x").await;
    text(&cloud, "/x").await;
    assert_eq!(taken(&asked), ["GET x", "GET x"]);
    cloud.end().await;
}
