//! Attacks on the origin, beyond the tests of secrets, versions and keys (docs/security.md).

use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{SECRET, buffered, options, start, with_env};

const V1: (&str, &str) = ("test_version", "v1");

/// Headers that other origins use for URLs, paths, methods or responses, and that no cache key contains.
const UNKEYED: [(&str, &str); 12] = [
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-scheme", "nothttps"),
    ("x-original-url", "/v2/test.html"),
    ("x-rewrite-url", "/v2/test.html"),
    ("x-http-method-override", "DELETE"),
    ("forwarded", "host=evil.example;proto=http"),
    ("origin", "https://evil.example"),
    ("accept-language", "zh"),
    ("accept-encoding", "br"),
    ("cookie", "test_version=v2; redirect=true; lambda_auth=x"),
    ("x-amz-security-token", "x"),
];

#[tokio::test]
async fn only_headers_in_vary_change_a_response() {
    let cloud = start(options()).await;
    for (path, selector) in [("/test.html", V1), ("/test.html", ("redirect", "true")), ("/none.html", V1)] {
        let plain = cloud.api(path, &[SECRET, selector]).await;
        assert_eq!(plain.header("vary"), "test_version, redirect");
        for extra in UNKEYED {
            let response = cloud.api(path, &[SECRET, selector, extra]).await;
            assert_eq!((response.status, &response.body), (plain.status, &plain.body), "{extra:?}");
            for (name, value) in &plain.headers {
                let varies =
                    name == "date" || name.as_str().contains("requestid") || name.as_str().contains("amz-apigw-id");
                assert!(varies || response.headers.get(name) == Some(value), "{name} with {extra:?}");
            }
        }
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn every_location_starts_with_redirect_path() {
    let cloud = start(options()).await;
    let redirect_path = format!("http://{}/", cloud.cloud.edge);
    for path in [
        "//evil.example/x",
        "/%2F%2Fevil.example",
        "/\\evil.example",
        "/@evil.example",
        "/.evil.example",
        "/%0d%0aSet-Cookie:x=1",
        "/https://evil.example/",
        "/%E2%80%AEx",
    ] {
        let response = cloud.api(path, &[SECRET, V1, ("redirect", "true")]).await;
        assert_eq!(response.status, StatusCode::FOUND, "{path}");
        let location = response.header("location");
        assert!(
            !location.split('/').any(|segment| matches!(segment, "." | "..")),
            "a client would normalize {location}"
        );
        assert!(location.starts_with(&redirect_path), "{path}: {location}");
        assert_eq!(authority(location), cloud.cloud.edge.to_string(), "{path}: {location}");
        assert!(!response.headers.contains_key("set-cookie"));
    }
    // A client would normalize these URLs before it follows them.
    for path in ["/..%2Fv2/test.html", "/a/..%2f..%2Fv2/test.html", "/../../evil.example", "/%2e"] {
        let response = cloud.api(path, &[SECRET, V1, ("redirect", "true")]).await;
        assert_eq!((response.status, response.headers.get("location")), (StatusCode::NOT_FOUND, None), "{path}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_large_object_without_a_safe_url_is_a_413() {
    for oversize in ["presign", "redirect"] {
        let cloud = start(buffered(with_env(&[("oversize", oversize)]))).await;
        cloud.put("v1/a/../large", vec![b'z'; 5_000_000], "video/mp4").await;
        let response = cloud.api("/a/..%2Flarge", &[SECRET, V1]).await;
        assert_eq!((response.status, response.headers.get("location")), (StatusCode::PAYLOAD_TOO_LARGE, None));
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_path_above_the_bucket_is_a_404_without_an_s3_request() {
    let cloud =
        start(with_env(&[("prewarm", "false"), ("variant_fallback", "true"), ("spa_fallback", "index.html")])).await;
    for path in ["/..%2F..%2Fx", "/%2e%2e/%2e%2e/x", "/a/..%2F..%2F..%2Fother-bucket/x"] {
        for redirect in ["false", "true"] {
            let response = cloud.cdn(path, &[V1, ("redirect", redirect)]).await;
            assert_eq!(response.status, StatusCode::NOT_FOUND, "{path}");
            assert!(response.text().starts_with("no file: v1/"), "{}", response.text());
        }
    }
    // S3 itself rejects such a key.
    let rejected = cloud.s3().get_object().bucket(&cloud.cloud.bucket).key("v1/../../x").send().await.unwrap_err();
    assert_eq!(rejected.raw_response().unwrap().status().as_u16(), 400);
    cloud.wait_for_logs(6, |line| line.contains("\"outcome\":\"missing\"")).await;
    let lines = cloud.journal.lines();
    assert!(!lines.iter().any(|line| line.contains("S3Requests") || line.contains("\"error\"")), "{lines:#?}");
    cloud.shut_down().await;
}

/// The authority of a URL without userinfo (RFC 3986 §3.2).
fn authority(location: &str) -> String {
    let rest = location.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap();
    authority.rsplit('@').next().unwrap().to_owned()
}

/// `hello, hello, hello`, compressed with gzip.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 203, 72, 205, 201, 201, 215, 81, 200, 64, 162, 0, 159, 161, 202, 9, 19, 0, 0, 0,
];

#[tokio::test]
async fn compressed_objects_are_never_decompressed() {
    let cloud = start(options()).await;
    let put = cloud.s3().put_object().bucket(&cloud.cloud.bucket).key("v1/a.html").content_encoding("gzip");
    put.body(GZIP.to_vec().into()).send().await.unwrap();
    for accepted in ["gzip", "identity", "gzip;q=0"] {
        let response = cloud.api("/a.html", &[SECRET, V1, ("accept-encoding", accepted)]).await;
        assert_eq!((response.status, response.header("content-encoding")), (StatusCode::OK, "gzip"));
        assert_eq!(&response.body[..], GZIP);
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn without_the_secret_no_key_is_revealed_and_s3_is_not_called() {
    let cloud = start(with_env(&[("prewarm", "false")])).await;
    let existing = cloud.api("/v1/test.html", &[]).await;
    let missing = cloud.api("/v1/none.html", &[]).await;
    assert_eq!((existing.status, &existing.body), (missing.status, &missing.body));
    let names = |headers: &http::HeaderMap| headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&existing.headers), names(&missing.headers));
    cloud.wait_for_logs(2, |line| line.contains("\"outcome\":\"forbidden\"")).await;
    let lines = cloud.journal.lines();
    assert!(!lines.iter().any(|line| line.contains("S3Requests")), "{lines:#?}");
    cloud.shut_down().await;
}

#[tokio::test]
async fn unfinished_requests_do_not_delay_others() {
    let cloud = start(options()).await;
    let mut unfinished = Vec::new();
    for _ in 0..200 {
        let mut slow = TcpStream::connect(cloud.cloud.edge).await.unwrap();
        slow.write_all(b"GET /test.html HTTP/1.1\r\nhost: cdn\r\nx-slow: ").await.unwrap();
        unfinished.push(slow);
    }
    let response = tokio::time::timeout(Duration::from_secs(10), cloud.cdn("/test.html", &[V1])).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    cloud.shut_down().await;
}
