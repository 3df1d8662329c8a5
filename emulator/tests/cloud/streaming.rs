//! Streamed responses: objects that are too large for memory, through doors that take streams.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use emulator::cloud::Options;
use emulator::fault::S3Fault;
use emulator::gateway::door::{Door, Streaming};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::site_rules::options;
use crate::support::{SECRET, TestCloud, start, wait_until, with_env};

const LARGE: usize = 12 << 20;

fn large() -> Bytes {
    (0..LARGE as u32 / 4).flat_map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>().into()
}

fn doors() -> [Door; 2] {
    let streaming = Some(Streaming::default());
    [
        Door::FunctionUrl { streaming, origin_access_control: false },
        Door::Rest { base_path: Some(String::new()), streaming },
    ]
}

async fn cloud_with(door: Door) -> TestCloud {
    let cloud = start(Options { door, environments: 1, ..with_env(&[("cache_ttl_secs", "60")]) }).await;
    cloud.put("v1/film.bin", large(), "video/mp4").await;
    cloud
}

/// Reads so many bytes, or to the end. Returns them and whether the body has ended as it should.
async fn read(mut body: Incoming, at_most: usize) -> (Bytes, bool) {
    let mut received = BytesMut::new();
    while received.len() < at_most {
        match body.frame().await {
            None => return (received.freeze(), true),
            Some(Err(_)) => return (received.freeze(), false),
            Some(Ok(frame)) => received.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    }
    (received.freeze(), false)
}

#[tokio::test]
async fn a_large_object_is_streamed_whole_and_in_ranges() {
    for door in doors() {
        let cloud = cloud_with(door).await;
        let version = ("test_version", "v1");
        // First without, then with its size in the cache.
        for _ in 0..2 {
            let response = cloud.open("/film.bin", &[version]).await;
            let fields = ["content-type", "accept-ranges", "x-variant"].map(|name| response.headers()[name].clone());
            assert_eq!(
                (response.status(), fields),
                (StatusCode::OK, ["video/mp4", "bytes", "v1"].map(|value| value.parse().unwrap()))
            );
            let (received, is_whole) = read(response.into_body(), usize::MAX).await;
            assert!(is_whole && received == large(), "{} bytes", received.len());
        }
        for (range, status, part) in [
            ("bytes=1000-11000000", StatusCode::PARTIAL_CONTENT, 1_000..11_000_001),
            ("bytes=1000-", StatusCode::PARTIAL_CONTENT, 1_000..LARGE),
            ("bytes=0-99", StatusCode::PARTIAL_CONTENT, 0..100),
            ("bytes=0-,5-6", StatusCode::OK, 0..LARGE),
        ] {
            let response = cloud.open("/film.bin", &[version, ("range", range)]).await;
            assert_eq!(response.status(), status, "{range}");
            let expected = format!("bytes {}-{}/{LARGE}", part.start, part.end - 1);
            let is_partial = status == StatusCode::PARTIAL_CONTENT;
            assert_eq!(
                response.headers().get("content-range").map(|value| value.to_str().unwrap()),
                is_partial.then_some(&*expected)
            );
            assert!(read(response.into_body(), usize::MAX).await == (large().slice(part), true), "{range}");
        }
        let response = cloud.open("/film.bin", &[version, ("range", "bytes=99999999-")]).await;
        assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_large_error_document_and_a_large_generated_body_are_streamed() {
    for door in doors() {
        let site = tempfile::tempdir().unwrap();
        std::fs::write(site.path().join("film.html"), large()).unwrap();
        std::fs::write(site.path().join("_redirects"), "/gone /film.html 410\n").unwrap();
        let env = [("error_document", "film.html"), ("redirects", "_redirects"), ("compress", "off")];
        let cloud = start(Options { door, ..options(site.path(), &env) }).await;
        for (path, status) in [("/none.html", StatusCode::NOT_FOUND), ("/gone", StatusCode::GONE)] {
            // First without, then with its size in the cache.
            for _ in 0..2 {
                let response = cloud.open(path, &[]).await;
                assert_eq!(response.status(), status, "{path}");
                assert!(response.headers()["content-type"].as_bytes().starts_with(b"text/html"), "{path}");
                let (received, is_whole) = read(response.into_body(), usize::MAX).await;
                assert!(is_whole && received == large(), "{path}: {} bytes", received.len());
            }
            let head = cloud.send(Method::HEAD, &format!("http://{}{path}", cloud.cloud.gateway), &[SECRET]).await;
            assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
        }
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_large_object_needs_one_request_to_s3() {
    for range in [None, Some(("range", "bytes=1000-"))] {
        let [door, _] = doors();
        let cloud = cloud_with(door).await;
        let headers: Vec<_> = [("test_version", "v1")].into_iter().chain(range).collect();
        for expected in [1.0, 2.0] {
            let response = cloud.open("/film.bin", &headers).await;
            assert!(read(response.into_body(), usize::MAX).await.1);
            wait_until(|| cloud.s3_requests() >= expected).await;
            assert_eq!(cloud.s3_requests(), expected, "{range:?}");
        }
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn an_interrupted_download_is_resumed() {
    for door in doors() {
        let cloud = cloud_with(door).await;
        let response = cloud.open("/film.bin", &[("test_version", "v1")]).await;
        let etag = response.headers()["etag"].to_str().unwrap().to_owned();
        // Drops the connection.
        let (first, _) = read(response.into_body(), 5 << 20).await;
        let range = format!("bytes={}-", first.len());
        let response = cloud.open("/film.bin", &[("test_version", "v1"), ("range", &range), ("if-range", &etag)]).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        let (rest, is_whole) = read(response.into_body(), usize::MAX).await;
        assert!(is_whole && [first, rest].concat() == large());
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_body_that_s3_breaks_off_never_looks_complete() {
    for door in doors() {
        let cloud = cloud_with(door).await;
        cloud.cloud.faults.set_s3(Some(S3Fault::HalfBody));
        let response = cloud.open("/film.bin", &[("test_version", "v1")]).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (received, is_whole) = read(response.into_body(), usize::MAX).await;
        assert!(!is_whole && received.len() < LARGE, "{} bytes, whole: {is_whole}", received.len());
        let logged = "S3 closed the connection within the body";
        cloud.wait_for_log(|line| line.contains("\"interrupted\"") && line.contains(logged)).await;
        cloud.cloud.faults.set_s3(None);
        let response = cloud.open("/film.bin", &[("test_version", "v1")]).await;
        assert!(read(response.into_body(), usize::MAX).await == (large(), true), "S3 has recovered");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn every_small_response_is_streamed_as_it_is_buffered() {
    for door in doors() {
        let cloud = cloud_with(door).await;
        for (path, headers, status) in [
            ("/test.html", &[SECRET, ("test_version", "v2")][..], 200),
            ("/test.html", &[SECRET, ("test_version", "v2"), ("range", "bytes=1-4")], 206),
            ("/test.png", &[SECRET, ("test_version", "v1")], 200),
            ("/none", &[SECRET, ("test_version", "v1")], 404),
            ("/test.html", &[SECRET, ("test_version", "v1"), ("redirect", "true")], 302),
            ("/test.html", &[("test_version", "v1")], 403),
        ] {
            let response = cloud.api(path, headers).await;
            assert_eq!(response.status.as_u16(), status, "{path} {headers:?}");
            if status == 200 {
                let etag = response.header("etag").to_owned();
                let current = cloud.api(path, &[headers, &[("if-none-match", &*etag)]].concat()).await;
                assert_eq!((current.status.as_u16(), current.body.len()), (304, 0));
            }
        }
        assert_eq!(cloud.api("/none", &[SECRET]).await.text(), "no file: none");
        let page = cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
        let part = cloud.api("/test.html", &[SECRET, ("test_version", "v2"), ("range", "bytes=1-4")]).await;
        assert_eq!(part.body, page.body.slice(1..5));
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_door_without_streams_gets_a_presigned_url() {
    let options = with_env(&[("streaming", "true")]);
    let cloud = start(Options { door: Door::HttpApi, environments: 1, ..options }).await;
    cloud.put("v1/film.bin", large(), "video/mp4").await;
    let response = cloud.api("/film.bin", &[SECRET, ("test_version", "v1")]).await;
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    // A move between doors: this one still gets base64.
    assert_eq!(cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await.status, StatusCode::OK);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_slow_client_ends_a_stream_before_the_timeout() {
    let streaming = Some(Streaming { bytes_per_sec: Some(1_000_000), drains: false });
    let door = Door::FunctionUrl { streaming, origin_access_control: false };
    let timeout = Duration::from_secs(2);
    let cloud = start(Options { door, timeout, environments: 1, ..with_env(&[("deadline_margin_ms", "500")]) }).await;
    cloud.put("v1/film.bin", large(), "video/mp4").await;
    let response = cloud.open("/film.bin", &[("test_version", "v1")]).await;
    let (received, is_whole) = read(response.into_body(), usize::MAX).await;
    assert!(!is_whole && received.len() < LARGE, "{} bytes, whole: {is_whole}", received.len());
    let logged = "the function's timeout ended the response";
    cloud.wait_for_log(|line| line.contains("\"interrupted\"") && line.contains(logged)).await;
    assert_eq!(cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await.status, StatusCode::OK);
    let killed = cloud.journal.lines().into_iter().filter(|line| line.contains("signal: 9")).collect::<Vec<_>>();
    assert_eq!(killed, Vec::<String>::new());
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_replaced_or_deleted_object_is_noticed_at_once() {
    let [door, _] = doors();
    let settings = [("cache_ttl_secs", "600"), ("variant_fallback", "true")];
    let cloud = start(Options { door, environments: 1, ..with_env(&settings) }).await;
    cloud.put("v1/film.bin", large(), "video/mp4").await;
    cloud.put("film.bin", large().slice(..6 << 20), "video/mp4").await;
    let get = async || {
        let response = cloud.open("/film.bin", &[("test_version", "v1")]).await;
        let status = response.status();
        (status, read(response.into_body(), usize::MAX).await)
    };
    assert_eq!(get().await, (StatusCode::OK, (large(), true)));
    let other = large().slice(1..);
    cloud.put("v1/film.bin", other.clone(), "video/mp4").await;
    assert!(get().await == (StatusCode::OK, (other, true)), "the new version");
    cloud.s3().delete_object().bucket(&cloud.cloud.bucket).key("v1/film.bin").send().await.unwrap();
    assert!(get().await == (StatusCode::OK, (large().slice(..6 << 20), true)), "the unversioned object");
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_head_of_a_large_object_needs_no_body() {
    for door in doors() {
        let cloud = cloud_with(door).await;
        let url = format!("http://{}/film.bin", cloud.cloud.gateway);
        for _ in 0..2 {
            let head = cloud.send(Method::HEAD, &url, &[SECRET, ("test_version", "v1")]).await;
            assert_eq!((head.status, head.header("content-type")), (StatusCode::OK, "video/mp4"));
        }
        cloud.wait_for_logs(2, |line| line.contains("\"BodyBytes\":0,") && line.contains("\"found\"")).await;
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn streams_recover_with_s3() {
    let [door, _] = doors();
    let cloud = cloud_with(door).await;
    let get = async || {
        let response = cloud.open("/film.bin", &[("test_version", "v1")]).await;
        let status = response.status();
        read(response.into_body(), usize::MAX).await;
        status
    };
    assert_eq!(get().await, StatusCode::OK);
    cloud.cloud.faults.set_s3(Some(S3Fault::Error(503, "SlowDown")));
    assert_eq!(get().await, StatusCode::SERVICE_UNAVAILABLE);
    cloud.wait_for_log(|line| line.contains("\"outcome\":\"unavailable\"") && line.contains("503 SlowDown")).await;
    cloud.cloud.faults.set_s3(None);
    for _ in 0..3 {
        assert_eq!(get().await, StatusCode::OK);
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_client_that_goes_is_no_error() {
    for door in doors() {
        let cloud = cloud_with(door).await;
        for _ in 0..3 {
            let response = cloud.open("/film.bin", &[("test_version", "v1")]).await;
            read(response.into_body(), 1).await;
        }
        let small = cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
        assert_eq!(small.status, StatusCode::OK);
        let errors = cloud.journal.lines().into_iter().filter(|line| line.contains("\"ERROR\"")).collect::<Vec<_>>();
        assert_eq!(errors, Vec::<String>::new());
        cloud.shut_down().await;
    }
}
