//! Objects, header fields and requests that S3 refuses or sends in an odd form: the origin's response, end to end.

use emulator::cloud::Options;
use http::{Method, StatusCode};

use crate::support::{SECRET, TestCloud, options, start, with_env};

fn set_faults(cloud: &TestCloud, faults: &[&str]) {
    cloud.cloud.faults.set(faults.iter().map(|fault| fault.parse().unwrap()).collect());
}

/// The statuses of a GET and a HEAD.
async fn statuses(cloud: &TestCloud, path: &str, headers: &[(&str, &str)]) -> (u16, u16) {
    let get = cloud.api(path, headers).await;
    let head = cloud.send(Method::HEAD, &format!("http://{}{path}", cloud.cloud.gateway), headers).await;
    (get.status.as_u16(), head.status.as_u16())
}

#[tokio::test]
async fn an_object_that_s3_refuses_is_no_outage() {
    let cloud = start(options()).await;
    for reason in ["archived", "sse-c", "kms-disabled", "kms-pending-deletion", "kms-not-found"] {
        set_faults(&cloud, &[&format!("s3-refuse={reason}:v1/test.html")]);
        let headers = [SECRET, ("test_version", "v1")];
        assert_eq!(statuses(&cloud, "/test.html", &headers).await, (403, 403), "{reason}");
        assert_eq!(statuses(&cloud, "/index.html", &[SECRET]).await, (200, 200), "{reason} concerns one key");
    }
    let refused = |line: &str| line.contains("\"outcome\":\"refused\"") && line.contains("\"ObjectRefused\":1");
    cloud.wait_for_logs(10, refused).await;
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    assert!(!lines.iter().any(|line| line.contains("\"OriginError\":1")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("restore it")), "the log says how to fix it: {lines:#?}");
}

#[tokio::test]
async fn a_denial_of_another_action_is_an_error_and_keeps_the_cached_copy() {
    for reason in ["kms-denied", "explicit-deny"] {
        let cloud = start(Options { environments: 1, ..with_env(&[("stale_if_error_secs", "300")]) }).await;
        assert_eq!(cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await.status, StatusCode::OK);
        set_faults(&cloud, &[&format!("s3-refuse={reason}")]);
        let stale = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
        assert_eq!(stale.status, StatusCode::OK, "{reason}: the stale copy");
        let unknown = cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
        assert_eq!(unknown.status, StatusCode::BAD_GATEWAY, "{reason}");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_denial_of_s3_list_bucket_is_a_missing_key() {
    let cloud = start(options()).await;
    set_faults(&cloud, &["s3-refuse=list-denied"]);
    assert_eq!(statuses(&cloud, "/none.html", &[SECRET]).await, (404, 404));
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_odd_header_field_does_not_change_the_status() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    for field in [
        "Content-Disposition:attachment;%20filename=\"%E9.pdf\"",
        "x-amz-meta-note:%E9",
        "Expires:%E9",
        "Last-Modified:%E9",
        "x-amz-mp-parts-count:many",
        "x-amz-object-lock-retain-until-date:%FF",
        "Content-Language:",
        "Cache-Control:%E9",
    ] {
        set_faults(&cloud, &[&format!("s3-header={field}")]);
        let headers = [SECRET, ("test_version", "v1")];
        assert_eq!(statuses(&cloud, "/test.html", &headers).await, (200, 200), "{field}");
    }
    set_faults(&cloud, &["s3-header=Content-Encoding:aws-chunked,gzip"]);
    let response = cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
    assert_eq!((response.status, response.header("content-encoding")), (StatusCode::OK, "gzip"));
    set_faults(&cloud, &["s3-header=Content-Encoding:"]);
    let response = cloud.api("/index.html", &[SECRET]).await;
    assert!(response.status == StatusCode::OK && !response.headers.contains_key("content-encoding"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn head_of_a_page_answered_by_the_shell_agrees_with_get() {
    let navigation = ("accept", "text/html");
    for env in [&[("spa_fallback", "index.html")][..], &[("spa_fallback", "index.html"), ("missing_status", "200")]] {
        let cloud = start(with_env(env)).await;
        let shell = cloud.api("/orders/1", &[SECRET, navigation]).await;
        let etag = shell.header("etag").to_owned();
        for (condition, status) in [
            (None, 200),
            (Some(("if-none-match", etag.as_str())), 304),
            (Some(("if-none-match", "\"other\"")), 200),
            (Some(("if-match", "\"other\"")), 412),
            (Some(("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")), 304),
            (Some(("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT")), 412),
        ] {
            let headers: Vec<_> = [SECRET, navigation].into_iter().chain(condition).collect();
            let got = statuses(&cloud, "/orders/1", &headers).await;
            assert_eq!(got, (status, status), "{env:?} {condition:?}");
        }
        let head =
            cloud.send(Method::HEAD, &format!("http://{}/orders/1", cloud.cloud.gateway), &[SECRET, navigation]).await;
        assert_eq!((head.header("etag"), head.header("content-type")), (etag.as_str(), shell.header("content-type")));
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_condition_too_long_for_s3_is_no_error() {
    let cloud = start(with_env(&[("cache_object_max_bytes", "16")])).await;
    let long = format!("\"{}\"", "x".repeat(7_500));
    for (path, range) in [("/test.html", Some("bytes=0-9")), ("/test.html", None), ("/none.html", Some("bytes=0-9"))] {
        for name in ["if-none-match", "if-match"] {
            let headers: Vec<_> = [SECRET, ("test_version", "v1"), (name, &*long)]
                .into_iter()
                .chain(range.map(|range| ("range", range)))
                .collect();
            let (get, head) = statuses(&cloud, path, &headers).await;
            let found = path == "/test.html";
            let (wanted_get, wanted_head) = match (found, name, range) {
                (false, ..) => (404, 404),
                (true, "if-match", _) => (412, 412),
                (true, _, Some(_)) => (206, 200),
                (true, _, None) => (200, 200),
            };
            assert_eq!((get, head), (wanted_get, wanted_head), "{path} {name} {range:?}");
        }
    }
    cloud.shut_down().await;
}
