//! Unusual keys, from the client to S3 and back.

use http::StatusCode;

use crate::support::{SECRET, TestCloud, encode, http_api, options, start};

/// Keys that occur in real buckets and that clients, servers or libraries often get wrong.
fn corpus() -> Vec<String> {
    let plain = [
        "a b.html",
        "a+b.html",
        "100%.html",
        "100%25.html",
        "%2F.html",
        "a%20b.html",
        "a#b.html",
        "a&b=c.html",
        "\"quoted\".html",
        "it's.html",
        "a;b,c.html",
        "(a)[b]{c}.html",
        "a|b\\c^d`e.html",
        "<a>.html",
        "a:b@c!$*.html",
        "a//b.html",
        "a///b.html",
        "/leading.html",
        "a/../b.html",
        "../a.html",
        "./a.html",
        "a/./b.html",
        "..",
        "日本/東京.html",
        "中文 文件.html",
        "Привет, мир.html",
        "e\u{301}.html",
        "é.html",
        "🙂.png",
        "عربى.html",
        "a\tb.html",
        "a\u{7f}b.html",
        ".hidden",
        "no-extension",
        "a.b.c.d",
        "index.html/x",
        "~user/x",
        "a=b?".trim_end_matches('?'),
    ];
    let mut keys: Vec<String> = plain.iter().map(|key| (*key).to_owned()).collect();
    // The longest keys of S3: 1,024 bytes, in characters of one and of three bytes.
    keys.push("k".repeat(1024));
    keys.push("日".repeat(341));
    keys
}

/// The keys that are valid without a folder: S3 rejects a leading `..` with 400.
fn unversioned() -> impl Iterator<Item = String> {
    corpus().into_iter().filter(|key| !key.starts_with(".."))
}

/// A cloud with an object for each unversioned key.
async fn filled() -> TestCloud {
    let cloud = start(options()).await;
    for key in unversioned() {
        cloud.put(&key, format!("the object {key}"), "text/plain").await;
    }
    cloud
}

#[tokio::test]
async fn every_odd_key_works_through_the_api_and_the_cdn() {
    let cloud = filled().await;
    for key in unversioned() {
        let (path, content) = (format!("/{}", encode(&key)), format!("the object {key}"));
        let api = cloud.api(&path, &[SECRET]).await;
        assert_eq!((api.status, api.text()), (StatusCode::OK, content.as_str()), "API: {key:?}");
        let cdn = cloud.cdn(&path, &[]).await;
        assert_eq!((cdn.status, cdn.text()), (StatusCode::OK, content.as_str()), "CDN: {key:?}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn redirects_lead_to_every_odd_key_of_a_variant() {
    let cloud = start(options()).await;
    // The prefix `v1/` uses three of the 1,024 bytes.
    for key in corpus().into_iter().filter(|key| key.len() <= 1021) {
        cloud.put(&format!("v1/{key}"), format!("v1 of {key}"), "text/plain").await;
        let path = format!("/{}", encode(&key));
        let redirect = cloud.cdn(&path, &[("test_version", "v1"), ("redirect", "true")]).await;
        if key.split('/').any(|segment| matches!(segment, "." | "..")) {
            // Clients would normalize the URL to that of another key.
            assert_eq!(redirect.status, StatusCode::NOT_FOUND, "{key:?}");
            continue;
        }
        assert_eq!(redirect.status, StatusCode::FOUND, "{key:?}");
        let location = redirect.header("location");
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
        let path = location.strip_prefix(&format!("http://{}", cloud.cloud.edge)).unwrap();
        let followed = cloud.cdn(path, &[]).await;
        assert_eq!((followed.status, followed.text()), (StatusCode::OK, format!("v1 of {key}").as_str()), "{location}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_question_mark_ends_the_path_as_in_api_gateway() {
    let cloud = start(http_api()).await;
    cloud.put("what?.html", "behind the question mark", "text/plain").await;
    cloud.put("what", "before the question mark", "text/plain").await;
    assert_eq!(cloud.api("/what%3F.html", &[SECRET]).await.text(), "before the question mark");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_trailing_slash_selects_the_index_document() {
    let cloud = start(options()).await;
    for key in ["docs/index.html", "/index.html", "v1/index.html", "a b/index.html"] {
        cloud.put(key, key.to_owned(), "text/html").await;
    }
    assert_eq!(cloud.api("/docs/", &[SECRET]).await.text(), "docs/index.html");
    assert_eq!(cloud.api("//", &[SECRET]).await.text(), "/index.html");
    assert_eq!(cloud.api("/", &[SECRET, ("test_version", "v1")]).await.text(), "v1/index.html");
    assert_eq!(cloud.api("/a%20b/", &[SECRET]).await.text(), "a b/index.html");
    let folder = cloud.api("/docs", &[SECRET]).await;
    assert_eq!((folder.status, folder.text()), (StatusCode::NOT_FOUND, "no file: docs"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_key_longer_than_s3_allows_is_missing() {
    let cloud = start(options()).await;
    let key = "k".repeat(1025);
    let response = cloud.api(&format!("/{key}"), &[SECRET]).await;
    assert_eq!((response.status, response.text()), (StatusCode::NOT_FOUND, format!("no file: {key}").as_str()));
    cloud.shut_down().await;
}
