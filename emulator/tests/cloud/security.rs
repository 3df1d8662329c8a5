//! What a stranger can try, beyond what the other tests say of secrets, versions and keys (docs/security.md).

use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{SECRET, options, start, with_env};

const V1: (&str, &str) = ("test_version", "v1");

/// Headers that other origins build addresses, paths, methods or answers from.
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
async fn no_header_that_vary_does_not_name_changes_an_answer() {
    let cloud = start(options()).await;
    for (path, chosen) in [("/test.html", V1), ("/test.html", ("redirect", "true")), ("/none.html", V1)] {
        let plain = cloud.api(path, &[SECRET, chosen]).await;
        assert_eq!(plain.header("vary"), "test_version, redirect");
        for extra in UNKEYED {
            let answer = cloud.api(path, &[SECRET, chosen, extra]).await;
            assert_eq!((answer.status, &answer.body), (plain.status, &plain.body), "{extra:?}");
            for (name, value) in &plain.headers {
                let of_the_moment = ["date", "apigw-requestid"].contains(&name.as_str());
                assert!(of_the_moment || answer.headers.get(name) == Some(value), "{name} with {extra:?}");
            }
        }
    }
    cloud.end().await;
}

#[tokio::test]
async fn a_location_leads_nowhere_but_to_redirect_path() {
    let cloud = start(options()).await;
    let home = format!("http://{}/", cloud.cloud.edge);
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
        let answer = cloud.api(path, &[SECRET, V1, ("redirect", "true")]).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{path}");
        let location = answer.header("location");
        assert!(
            !location.split('/').any(|segment| matches!(segment, "." | "..")),
            "{location} is folded by its client"
        );
        assert!(location.starts_with(&home), "{path} leads to {location}");
        assert_eq!(authority(location), cloud.cloud.edge.to_string(), "{path} leads to {location}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    // Whoever followed such an address would fold it first.
    for path in ["/..%2Fv2/test.html", "/a/..%2f..%2Fv2/test.html", "/../../evil.example", "/%2e"] {
        let answer = cloud.api(path, &[SECRET, V1, ("redirect", "true")]).await;
        assert_eq!((answer.status, answer.headers.get("location")), (StatusCode::NOT_FOUND, None), "{path}");
    }
    cloud.end().await;
}

#[tokio::test]
async fn a_large_object_to_which_no_address_leads_is_413() {
    for oversize in ["presign", "redirect"] {
        let cloud = start(with_env(&[("oversize", oversize)])).await;
        cloud.put("v1/a/../large", vec![b'z'; 5_000_000], "video/mp4").await;
        let answer = cloud.api("/a/..%2Flarge", &[SECRET, V1]).await;
        assert_eq!((answer.status, answer.headers.get("location")), (StatusCode::PAYLOAD_TOO_LARGE, None));
        cloud.end().await;
    }
}

#[tokio::test]
async fn a_path_that_climbs_out_of_the_bucket_is_no_file_and_no_trouble() {
    let cloud =
        start(with_env(&[("prewarm", "false"), ("variant_fallback", "true"), ("spa_fallback", "index.html")])).await;
    for path in ["/..%2F..%2Fx", "/%2e%2e/%2e%2e/x", "/a/..%2F..%2F..%2Fother-bucket/x"] {
        for redirect in ["false", "true"] {
            let answer = cloud.cdn(path, &[V1, ("redirect", redirect)]).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert!(answer.text().starts_with("no file: v1/"), "{}", answer.text());
        }
    }
    // S3 itself has no such name.
    let refused = cloud.s3().get_object().bucket(&cloud.cloud.bucket).key("v1/../../x").send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 400);
    cloud.logged_times(6, |line| line.contains("\"outcome\":\"missing\"")).await;
    let lines = cloud.journal.lines();
    assert!(!lines.iter().any(|line| line.contains("S3Requests") || line.contains("trouble")), "{lines:#?}");
    cloud.end().await;
}

/// The authority of an address, as RFC 3986 §3.2 has it: up to the first slash, without a user.
fn authority(location: &str) -> String {
    let rest = location.split_once("://").map_or("", |(_, rest)| rest);
    let with_user = rest.split(['/', '?', '#', '\\']).next().unwrap();
    with_user.rsplit('@').next().unwrap().to_owned()
}

/// `hello, hello, hello` by gzip: whoever unpacked it would send the words.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 203, 72, 205, 201, 201, 215, 81, 200, 64, 162, 0, 159, 161, 202, 9, 19, 0, 0, 0,
];

#[tokio::test]
async fn what_is_compressed_is_passed_on_and_never_unpacked() {
    let cloud = start(options()).await;
    let put = cloud.s3().put_object().bucket(&cloud.cloud.bucket).key("v1/a.html").content_encoding("gzip");
    put.body(GZIP.to_vec().into()).send().await.unwrap();
    for accepted in ["gzip", "identity", "gzip;q=0"] {
        let answer = cloud.api("/a.html", &[SECRET, V1, ("accept-encoding", accepted)]).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (StatusCode::OK, "gzip"));
        assert_eq!(&answer.body[..], GZIP);
    }
    cloud.end().await;
}

#[tokio::test]
async fn a_stranger_learns_no_key_and_costs_no_call_to_s3() {
    let cloud = start(with_env(&[("prewarm", "false")])).await;
    let there = cloud.api("/v1/test.html", &[]).await;
    let absent = cloud.api("/v1/none.html", &[]).await;
    assert_eq!((there.status, &there.body), (absent.status, &absent.body));
    let named = |headers: &http::HeaderMap| headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(named(&there.headers), named(&absent.headers));
    cloud.logged_times(2, |line| line.contains("\"outcome\":\"forbidden\"")).await;
    let lines = cloud.journal.lines();
    assert!(!lines.iter().any(|line| line.contains("S3Requests")), "{lines:#?}");
    cloud.end().await;
}

#[tokio::test]
async fn requests_that_never_end_hold_up_nobody() {
    let cloud = start(options()).await;
    let mut unfinished = Vec::new();
    for _ in 0..200 {
        let mut slow = TcpStream::connect(cloud.cloud.edge).await.unwrap();
        slow.write_all(b"GET /test.html HTTP/1.1\r\nhost: cdn\r\nx-slow: ").await.unwrap();
        unfinished.push(slow);
    }
    let answer = tokio::time::timeout(Duration::from_secs(10), cloud.cdn("/test.html", &[V1])).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    cloud.end().await;
}
