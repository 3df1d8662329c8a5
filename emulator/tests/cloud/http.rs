//! HTTP semantics (RFC 9110) that CDNs, browsers and video players depend on, through the API with the real handler.

use std::sync::{Arc, Mutex};

use aws_sdk_s3::primitives::DateTime;
use bytes::Bytes;
use emulator::cloud::{Options, Storage};
use emulator::gateway::door::Door;
use emulator::serve;
use http::{Method, StatusCode};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::{SECRET, TestCloud, buffered, door, fake_s3, options, start, with_env};

const V1: (&str, &str) = ("test_version", "v1");

#[tokio::test]
async fn metadata_passes_through_byte_for_byte() {
    let cloud = start(options()).await;
    let put =
        cloud.s3().put_object().bucket(&cloud.cloud.bucket).key("m").content_type("text/html; charset=ISO-8859-1");
    let put = put.cache_control("public,max-age=60 ").content_encoding("gzip").content_language("zh-CN, en");
    let put = put.content_disposition("attachment; filename=\"a b.html\"").expires(DateTime::from_secs(1_800_000_000));
    put.body(b"\xff\xfe not html".to_vec().into()).send().await.unwrap();
    for method in [Method::GET, Method::HEAD] {
        let response = cloud.with(method.clone(), "/m", &[]).await;
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.header("content-type"), "text/html; charset=ISO-8859-1");
        assert_eq!(response.header("cache-control"), "public,max-age=60");
        assert_eq!((response.header("content-encoding"), response.header("content-language")), ("gzip", "zh-CN, en"));
        assert_eq!(response.header("content-disposition"), "attachment; filename=\"a b.html\"");
        assert_eq!(response.header("expires"), "Fri, 15 Jan 2027 08:00:00 GMT");
        let s3 = cloud.s3().head_object().bucket(&cloud.cloud.bucket).key("m").send().await.unwrap();
        assert_eq!(Some(response.header("etag")), s3.e_tag());
        let modified = httpdate::parse_http_date(response.header("last-modified")).unwrap();
        assert_eq!(DateTime::from(modified).secs(), s3.last_modified().unwrap().secs());
        assert_eq!((response.header("accept-ranges"), response.header("vary")), ("bytes", "test_version, redirect"));
        response.assert_length("11");
        assert_eq!(response.body.len(), if method == Method::HEAD { 0 } else { 11 });
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_body_is_never_re_encoded() {
    let cloud = start(options()).await;
    let latin1 = b"<p>caf\xe9</p>".to_vec();
    let bom = b"\xef\xbb\xbf<p>x</p>".to_vec();
    let all: Vec<u8> = (0..=255).collect();
    for (key, content_type, body) in [
        ("latin1.html", "text/html", latin1.clone()),
        ("bom.html", "text/html; charset=utf-8", bom),
        ("x.svg", "image/svg+xml", all.clone()),
        ("x.json", "application/json", latin1),
        ("x.xml", "application/xml", all.clone()),
        ("empty", "text/plain", Vec::new()),
        ("bytes", "application/octet-stream", all),
    ] {
        cloud.put(key, body.clone(), content_type).await;
        let response = cloud.with(Method::GET, &format!("/{key}"), &[]).await;
        assert_eq!((response.status, response.body.to_vec()), (StatusCode::OK, body), "{key}");
        assert_eq!(response.header("content-type"), content_type);
    }
    cloud.shut_down().await;
}

/// A cloud with an object of ten bytes in v1; the ETag and the Last-Modified of the object.
async fn digits() -> (TestCloud, String, String) {
    let cloud = start(Options { environments: 1, ..options() }).await;
    let put = cloud.s3().put_object().bucket(&cloud.cloud.bucket).key("v1/d").content_type("text/plain");
    let put = put.cache_control("max-age=60").expires(DateTime::from_secs(1_800_000_000));
    put.body(b"0123456789".to_vec().into()).send().await.unwrap();
    let head = cloud.with(Method::HEAD, "/d", &[V1]).await;
    let (etag, modified) = (head.header("etag").to_owned(), head.header("last-modified").to_owned());
    (cloud, etag, modified)
}

#[tokio::test]
async fn rfc9110_13_conditional_requests_get_304_or_412() {
    let (cloud, etag, modified) = digits().await;
    let before = "Sun, 06 Nov 1994 08:49:37 GMT";
    let (weak, list, weak_list) = (format!("W/{etag}"), format!("\"a\", {etag}"), format!("\"a\",W/{etag}"));
    for (headers, status) in [
        (&[("if-none-match", etag.as_str())][..], 304),
        (&[("if-none-match", weak.as_str())], 304),
        (&[("if-none-match", list.as_str())], 304),
        (&[("if-none-match", weak_list.as_str())], 304),
        (&[("if-none-match", "\"a\""), ("if-none-match", etag.as_str())], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"a\"")], 200),
        (&[("if-none-match", "nonsense")], 200),
        (&[("if-none-match", "\"\u{e9}\"")], 200),
        (&[("if-match", "\"\u{e9}\"")], 412),
        (&[("if-modified-since", modified.as_str())], 304),
        (&[("if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT")], 304),
        (&[("if-modified-since", before)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        (&[("if-none-match", "\"a\""), ("if-modified-since", modified.as_str())], 200),
        (&[("if-match", etag.as_str())], 200),
        (&[("if-match", list.as_str())], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"a\"")], 412),
        (&[("if-match", weak.as_str())], 412),
        (&[("if-unmodified-since", before)], 412),
        (&[("if-unmodified-since", modified.as_str())], 200),
        (&[("if-match", etag.as_str()), ("if-unmodified-since", before)], 200),
        (&[("if-match", "\"a\""), ("if-none-match", etag.as_str())], 412),
        (&[("if-match", weak.as_str()), ("if-none-match", etag.as_str())], 412),
        (&[("if-match", "nonsense"), ("if-modified-since", modified.as_str())], 412),
        (&[("if-match", "*"), ("if-none-match", etag.as_str())], 304),
        (&[("if-match", etag.as_str()), ("if-none-match", etag.as_str())], 304),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let headers: Vec<_> = headers.iter().copied().chain([V1]).collect();
            let response = cloud.with(method.clone(), "/d", &headers).await;
            assert_eq!(response.status, status, "{method} {headers:?}");
            if status == 304 {
                assert_eq!((response.header("etag"), response.body.len()), (etag.as_str(), 0), "{headers:?}");
                assert_eq!((response.header("vary"), response.header("x-variant")), ("test_version, redirect", "v1"));
                assert_eq!((response.header("content-type"), response.header("last-modified")), ("", ""));
                let caching = (response.header("cache-control"), response.header("expires"));
                assert_eq!(
                    caching,
                    ("max-age=60", "Fri, 15 Jan 2027 08:00:00 GMT"),
                    "the same as in a 200: {headers:?}"
                );
            }
        }
    }
    let missing = cloud.with(Method::GET, "/none", &[("if-match", "*"), ("if-none-match", "*")]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "RFC 9110 §13.2.1: conditions apply only to a 200");
    cloud.shut_down().await;
}

#[tokio::test]
async fn rfc9110_14_only_a_single_range_gets_a_206() {
    let (cloud, etag, modified) = digits().await;
    let weak = format!("W/{etag}");
    for (headers, status, content_range, body) in [
        (&[("range", "bytes=2-4")][..], 206, "bytes 2-4/10", "234"),
        (&[("range", "bytes=7-")], 206, "bytes 7-9/10", "789"),
        (&[("range", "bytes=-2")], 206, "bytes 8-9/10", "89"),
        (&[("range", "bytes=0-99")], 206, "bytes 0-9/10", "0123456789"),
        (&[("range", "bytes=0-18446744073709551616")], 206, "bytes 0-9/10", "0123456789"),
        (&[("range", "bytes=-99")], 206, "bytes 0-9/10", "0123456789"),
        (&[("range", "Bytes=0-0")], 206, "bytes 0-0/10", "0"),
        (&[("range", "bytes=10-")], 416, "bytes */10", "range not satisfiable: the object has 10 bytes"),
        (
            &[("range", "bytes=18446744073709551616-")],
            416,
            "bytes */10",
            "range not satisfiable: the object has 10 bytes",
        ),
        (&[("range", "bytes=-0")], 416, "bytes */10", "range not satisfiable: the object has 10 bytes"),
        (&[("range", "bytes=0-1,4-5")], 200, "", "0123456789"),
        (&[("range", "bytes=4-2")], 200, "", "0123456789"),
        (&[("range", "items=0-1")], 200, "", "0123456789"),
        (&[("range", "bytes=a-b")], 200, "", "0123456789"),
        (&[("range", "nonsense")], 200, "", "0123456789"),
        (&[("range", "bytes=0-1"), ("if-range", etag.as_str())], 206, "bytes 0-1/10", "01"),
        (&[("range", "bytes=0-1"), ("if-range", modified.as_str())], 206, "bytes 0-1/10", "01"),
        (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], 200, "", "0123456789"),
        (&[("range", "bytes=0-1"), ("if-range", weak.as_str())], 200, "", "0123456789"),
        (&[("range", "bytes=0-1"), ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")], 200, "", "0123456789"),
        (&[("range", "bytes=99-"), ("if-range", "\"a\"")], 200, "", "0123456789"),
        (&[("if-range", etag.as_str())], 200, "", "0123456789"),
        (&[("range", "bytes=0-1"), ("if-none-match", etag.as_str())], 304, "", ""),
        (&[("range", "bytes=99-"), ("if-none-match", etag.as_str())], 304, "", ""),
        (&[("range", "bytes=0-1"), ("if-match", "\"a\"")], 412, "", "precondition failed"),
    ] {
        let headers: Vec<_> = headers.iter().copied().chain([V1]).collect();
        let response = cloud.with(Method::GET, "/d", &headers).await;
        assert_eq!(
            (response.status.as_u16(), response.header("content-range")),
            (status, content_range),
            "{headers:?}"
        );
        assert!(response.text().starts_with(body), "{headers:?}: {}", response.text());
        assert_eq!(response.text().is_empty(), body.is_empty());
    }
    let head = cloud.with(Method::HEAD, "/d", &[V1, ("range", "bytes=0-1")]).await;
    assert_eq!(head.status, StatusCode::OK, "RFC 9110 §14.2: Range applies only to GET");
    cloud.put("v1/empty", "", "text/plain").await;
    for (range, status) in [("bytes=0-", 416), ("bytes=-1", 416), ("bytes=1-0", 200)] {
        let response = cloud.with(Method::GET, "/empty", &[V1, ("range", range)]).await;
        assert_eq!(response.status.as_u16(), status, "{range}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn any_range_through_the_cdn_is_the_same_slice() {
    let cloud = start(Options { environments: 1, ..options() }).await;
    let body: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    cloud.put("bytes", body.clone(), "application/octet-stream").await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..64 {
        let (first, length) = (0_usize..5_000, 1_usize..5_000).new_tree(&mut runner).unwrap().current();
        let last = (first + length - 1).min(4_999);
        let response = cloud.cdn("/bytes", &[("range", &format!("bytes={first}-{}", first + length - 1))]).await;
        assert_eq!(response.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(response.header("content-range"), format!("bytes {first}-{last}/5000"));
        assert_eq!(response.body, &body[first..=last]);
    }
    cloud.shut_down().await;
}

/// The method, Range and If-None-Match of each request.
type Requests = Arc<Mutex<Vec<(String, String, String)>>>;

/// An S3 with one object of ten bytes that records its requests.
async fn recording_s3() -> (serve::Server, Requests, Storage) {
    let requests = Requests::default();
    let received = requests.clone();
    let (server, storage) = fake_s3(move |request| {
        let header = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (range, if_none_match) = (header("range"), header("if-none-match"));
        received.lock().unwrap().push((request.method().to_string(), range.clone(), if_none_match.clone()));
        let response = http::Response::builder().header("etag", "\"e\"");
        let response = match (range.as_str(), if_none_match.as_str()) {
            (_, "\"e\"") => {
                let complete = response.header("cache-control", "no-cache").header("expires", "0");
                complete.status(304).body(serve::full(""))
            }
            ("bytes=2-3", _) => response.status(206).header("content-range", "bytes 2-3/10").body(serve::full("23")),
            _ => response.body(serve::full("0123456789")),
        };
        std::future::ready(response.map_err(Into::into))
    })
    .await;
    (server, requests, storage)
}

#[tokio::test]
async fn a_304_or_a_range_does_not_read_the_whole_object() {
    let (_s3, requests, storage) = recording_s3().await;
    let cloud = start(Options { storage, ..with_env(&[("cache_max_bytes", "0")]) }).await;
    for (headers, status, expected) in [
        (&[("if-none-match", "\"e\"")][..], 304, &[("GET", "", "\"e\"")][..]),
        (&[("if-none-match", "W/\"e\"")], 304, &[("GET", "", "\"e\"")]),
        // Other S3 servers may not support lists, so the function sends a HEAD and evaluates the list itself.
        (&[("if-none-match", "\"a\", \"e\"")], 304, &[("HEAD", "", "")]),
        (&[("if-none-match", "*")], 304, &[("HEAD", "", "")]),
        // S3 does not receive the If-Match, so its 304 must not take precedence.
        (&[("if-match", "W/\"e\""), ("if-none-match", "\"e\"")], 412, &[("HEAD", "", "")]),
        (&[("if-none-match", "\"a\"")], 200, &[("GET", "", "\"a\"")]),
        (&[("range", "bytes=2-3")], 206, &[("GET", "bytes=2-3", "")]),
        (&[("range", "bytes=2-3"), ("if-range", "\"e\"")], 206, &[("GET", "bytes=2-3", "")]),
        (&[("range", "bytes=2-3,5-6")], 200, &[("GET", "", "")]),
    ] {
        requests.lock().unwrap().clear();
        assert_eq!(cloud.with(Method::GET, "/x", headers).await.status, status, "{headers:?}");
        let requests = requests.lock().unwrap();
        let sent: Vec<_> =
            requests.iter().map(|(method, range, etag)| (method.as_str(), range.as_str(), etag.as_str())).collect();
        assert_eq!(sent, expected, "{headers:?}");
    }
    requests.lock().unwrap().clear();
    assert_eq!(cloud.with(Method::HEAD, "/x", &[("range", "bytes=2-3")]).await.status, 200);
    assert_eq!(requests.lock().unwrap().as_slice(), [("HEAD".to_owned(), String::new(), String::new())]);
    cloud.shut_down().await;
}

#[tokio::test]
async fn rfc9110_5_3_repeated_fields_from_s3_are_joined() {
    let (_s3, storage) = fake_s3(|_| {
        let response =
            http::Response::builder().header("cache-control", "public").header("cache-control", "max-age=60");
        let response =
            response.header("content-language", "en").header("content-language", "zh-CN").header("expires", "0");
        std::future::ready(response.body(serve::full("x")).map_err(Into::into))
    })
    .await;
    let cloud = start(Options { storage, ..options() }).await;
    let response = cloud.with(Method::GET, "/x", &[]).await;
    assert_eq!((response.status, response.header("cache-control")), (StatusCode::OK, "public, max-age=60"));
    assert_eq!(response.header("content-language"), "en, zh-CN");
    assert_eq!(response.header("expires"), "0", "an invalid date passes through unchanged");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_304_keeps_its_etag_if_the_object_changes_meanwhile() {
    let (_s3, storage) = fake_s3(|request| {
        let response = http::Response::builder();
        let response = match *request.method() {
            Method::GET => response.header("etag", "\"old\"").status(304),
            _ => response.header("etag", "\"new\"").header("cache-control", "max-age=9"),
        };
        std::future::ready(response.body(serve::full("")).map_err(Into::into))
    })
    .await;
    // Without the cache, the function forwards the condition.
    let cloud = start(Options { storage, ..with_env(&[("cache_max_bytes", "0")]) }).await;
    let response = cloud.with(Method::GET, "/x", &[("if-none-match", "\"old\"")]).await;
    assert_eq!((response.status, response.header("etag")), (StatusCode::NOT_MODIFIED, "\"old\""));
    cloud.shut_down().await;
}

/// The length of the JSON response to a GET.
async fn response_bytes(cloud: &TestCloud, path: &str) -> usize {
    let event = serde_json::json!({
        "version": "2.0", "rawPath": path, "headers": {"lambda_auth": SECRET.1},
        "requestContext": {"http": {"method": "GET"}},
    });
    cloud.cloud.lambda.invoke(event.to_string().into(), String::new()).await.unwrap().result.unwrap().len()
}

#[tokio::test]
async fn the_largest_response_fits_and_one_more_byte_is_presigned() {
    // A load balancer has a smaller limit.
    let cloud = start(Options { door: Door::HttpApi, ..with_env(&[("presign_ttl_secs", "77")]) }).await;
    // Pads the content type until the remaining length is a multiple of four, like base64.
    cloud.put("tiny", "", "a/b").await;
    let overhead = response_bytes(&cloud, "/tiny").await;
    let content_type = format!("a/b{}", "c".repeat((6_291_556 - overhead) % 4));
    let largest = (6_291_556 - overhead) / 4 * 3;
    cloud.put("fits", vec![b'x'; largest], &content_type).await;
    assert_eq!(response_bytes(&cloud, "/fits").await, 6_291_556);
    // The same size of object, with a content type of one more byte.
    cloud.put("over", vec![b'y'; largest], &format!("{content_type}d")).await;
    let fits = cloud.with(Method::GET, "/fits", &[]).await;
    assert_eq!((fits.status, fits.body.len()), (StatusCode::OK, largest));
    assert_eq!(cloud.with(Method::HEAD, "/fits", &[]).await.header("content-length"), largest.to_string());
    let head = cloud.with(Method::HEAD, "/over", &[]).await;
    assert_eq!(head.status, StatusCode::TEMPORARY_REDIRECT, "HEAD and GET have the same limit");
    let followed = cloud.send(Method::HEAD, head.header("location"), &[]).await;
    assert_eq!((followed.status, followed.header("content-length")), (StatusCode::OK, largest.to_string().as_str()));
    let over = cloud.with(Method::GET, "/over", &[("range", "bytes=0-")]).await;
    assert_eq!((over.status, over.header("cache-control")), (StatusCode::TEMPORARY_REDIRECT, "no-store"));
    let url = over.header("location").to_owned();
    assert!(url.starts_with(&cloud.cloud.s3_endpoint) && url.contains("X-Amz-Expires=77"), "{url}");
    let part = cloud.send(Method::GET, &url, &[("range", "bytes=0-2")]).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "yyy"));
    assert_eq!(part.header("content-type"), format!("{content_type}d"));
    let whole = cloud.send(Method::GET, &url, &[]).await;
    assert_eq!((whole.status, whole.body.len()), (StatusCode::OK, largest));
    let tampered = cloud.send(Method::GET, &url.replace("/over?", "/fits?"), &[]).await;
    assert_eq!(tampered.status, StatusCode::FORBIDDEN, "the signature covers the key");
    let fitting = cloud.with(Method::GET, "/over", &[("range", "bytes=5-7")]).await;
    assert_eq!((fitting.status, fitting.text()), (StatusCode::PARTIAL_CONTENT, "yyy"), "a range that fits is served");
    cloud.shut_down().await;
}

#[tokio::test]
async fn oversized_objects_are_not_read_and_get_and_head_agree() {
    let large = vec![b'z'; 20 * 1024 * 1024];
    for (oversize, variant, status, location) in [
        ("presign", Some("v1"), 307, "/lambda-api-2022/v1/large"),
        ("redirect", Some("v1"), 307, "https://d1.cloudfront.net/v1/large"),
        ("redirect", None, 307, "/lambda-api-2022/large"),
        ("reject", Some("v1"), 413, ""),
    ] {
        let cloud =
            start(buffered(with_env(&[("oversize", oversize), ("redirect_path", "https://d1.cloudfront.net")]))).await;
        cloud.put("v1/large", large.clone(), "video/mp4").await;
        cloud.put("large", large.clone(), "video/mp4").await;
        let headers: Vec<_> = variant.map(|variant| ("test_version", variant)).into_iter().collect();
        for method in [Method::GET, Method::HEAD] {
            let response = cloud.with(method.clone(), "/large", &headers).await;
            assert_eq!(response.status.as_u16(), status, "{method} {oversize}");
            assert!(response.header("location").contains(location), "{oversize}: {}", response.header("location"));
        }
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn an_error_document_is_the_body_of_a_404() {
    let cloud = start(with_env(&[("error_document", "errors/404.html")])).await;
    let bare = cloud.with(Method::GET, "/none", &[]).await;
    assert_eq!(
        (bare.status, bare.text()),
        (StatusCode::NOT_FOUND, "no file: none"),
        "the error document itself is missing"
    );
    cloud.put("errors/404.html", "<h1>nothing here</h1>", "text/html").await;
    for headers in [&[][..], &[V1], &[("if-none-match", "*"), ("range", "bytes=0-1")]] {
        let response = cloud.with(Method::GET, "/none", headers).await;
        assert_eq!((response.status, response.text()), (StatusCode::NOT_FOUND, "<h1>nothing here</h1>"));
        assert_eq!((response.header("content-type"), response.header("cache-control")), ("text/html", "no-store"));
    }
    let head = cloud.with(Method::HEAD, "/none", &[]).await;
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (StatusCode::NOT_FOUND, "text/html", 0));
    head.assert_length("21");
    let put = cloud.s3().put_object().bucket(&cloud.cloud.bucket).key("errors/404.html").content_encoding("gzip");
    put.content_type("text/html").body(b"\x1f\x8b".to_vec().into()).send().await.unwrap();
    assert_eq!(
        cloud.with(Method::GET, "/none", &[]).await.header("content-encoding"),
        "gzip",
        "the body is compressed"
    );
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_error_document_that_is_too_large_for_a_response_is_a_text() {
    let cloud = start(buffered(with_env(&[("error_document", "errors/404.html")]))).await;
    cloud.put("errors/404.html", vec![b'x'; 4_718_640], "text/html").await;
    let too_large = cloud.with(Method::GET, "/none", &[]).await;
    assert_eq!((too_large.status, too_large.text()), (StatusCode::NOT_FOUND, "no file: none"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn spa_fallback_serves_navigations_and_not_assets() {
    let cloud = start(with_env(&[("spa_fallback", "app.html"), ("index_document", "app.html")])).await;
    cloud.put("v1/app.html", "shell of v1", "text/html").await;
    let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let page = cloud.with(Method::GET, "/cart/7", &[V1, html]).await;
    assert_eq!((page.status, page.text(), page.header("x-variant")), (StatusCode::OK, "shell of v1", "v1"));
    assert_eq!(page.header("vary"), "test_version, redirect, accept");
    assert_eq!(cloud.with(Method::GET, "/", &[V1]).await.text(), "shell of v1");
    for (path, accept) in [("/cart/7.js", html), ("/cart/7", ("accept", "*/*")), ("/cart/7", ("accept", "image/webp"))]
    {
        let asset = cloud.with(Method::GET, path, &[V1, accept]).await;
        assert_eq!(asset.status, StatusCode::NOT_FOUND, "{path} {accept:?}");
    }
    assert_eq!(cloud.with(Method::GET, "/cart", &[html]).await.status, StatusCode::NOT_FOUND, "no unversioned shell");
    cloud.shut_down().await;
}

#[tokio::test]
async fn x_variant_names_the_served_variant_and_can_be_off() {
    let cloud = start(with_env(&[("variant_fallback", "true")])).await;
    assert_eq!(cloud.with(Method::GET, "/test.html", &[V1]).await.header("x-variant"), "v1");
    cloud.put("shared.html", "shared", "text/html").await;
    let shared = cloud.with(Method::GET, "/shared.html", &[V1]).await;
    assert_eq!((shared.status, shared.header("x-variant")), (StatusCode::OK, ""), "served from the unversioned key");
    cloud.shut_down().await;
    let cloud = start(with_env(&[("variant_header", "false")])).await;
    assert_eq!(cloud.with(Method::GET, "/test.html", &[V1]).await.header("x-variant"), "");
    cloud.shut_down().await;
}

#[tokio::test]
async fn bad_input_is_a_4xx_or_ignored_and_never_a_5xx() {
    let (cloud, ..) = digits().await;
    let (long, path) = ("x".repeat(9_000), format!("/{}", "p".repeat(5_000)));
    let tags = "\"x\",".repeat(2_000);
    for (path, headers, status) in [
        ("/d", &[("if-none-match", long.as_str())][..], 200),
        ("/d", &[("if-none-match", tags.as_str())], 200),
        ("/d", &[("range", long.as_str())], 200),
        ("/d", &[("if-modified-since", long.as_str())], 200),
        ("/d", &[("accept", long.as_str())], 200),
        (path.as_str(), &[], 404),
        ("/a%00b", &[], 400),
        ("/a%0d%0ab", &[], 404),
        ("/%ff", &[], if door() == Door::HttpApi { 400 } else { 404 }),
        ("/d", &[("if-none-match", "\"\u{e9}\"")], 200),
        ("/d?%ff=%00&&&===", &[], 200),
        ("/d", &[("range", "bytes=18446744073709551615-18446744073709551615")], 416),
        ("/d", &[("if-unmodified-since", "Fri, 31 Dec 9999 23:59:59 GMT")], 200),
        ("/d", &[("cookie", "a=\"; b")], 200),
    ] {
        let headers: Vec<_> = headers.iter().copied().chain([V1]).collect();
        let response = cloud.with(Method::GET, path, &headers).await;
        assert_eq!(response.status.as_u16(), status, "{} {:.80?}", &path[..path.len().min(40)], headers);
    }
    let request = http::Request::get(format!("http://{}/d", cloud.cloud.gateway)).header(SECRET.0, SECRET.1);
    let with_body = request.header(V1.0, V1.1).body(Bytes::from_static(b"a body on a GET")).unwrap();
    assert_eq!(cloud.request(with_body).await.text(), "0123456789");
    for blank in ["/%20", "/%09", "/%C2%85", "/%E3%80%80"] {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(cloud.with(method, blank, &[]).await.status, StatusCode::NOT_FOUND, "{blank}");
        }
    }
    // API Gateway rejects these requests, so they go directly to the function.
    let long = "x".repeat(20_000);
    for (headers, status) in [
        (serde_json::json!({"lambda_auth": SECRET.1, "test_version": "v1\r\nx: y"}), 400),
        (serde_json::json!({"lambda_auth": SECRET.1, "test_version": long}), 400),
        (serde_json::json!({"lambda_auth": long}), 403),
        (serde_json::json!({"lambda_auth": SECRET.1, "test_version": "v1", "range": long, "if-none-match": long}), 200),
    ] {
        let context = serde_json::json!({"http": {"method": "GET"}});
        let event =
            serde_json::json!({"version": "2.0", "rawPath": "/d", "headers": headers, "requestContext": context});
        let response =
            cloud.cloud.lambda.invoke(event.to_string().into(), String::new()).await.unwrap().result.unwrap();
        let response: serde_json::Value = serde_json::from_slice(&response).unwrap();
        assert_eq!(response["statusCode"], status);
    }
    cloud.shut_down().await;
}
