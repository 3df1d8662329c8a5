//! Lists of redirects and headers, and rules of access, through the HTTP API with the real handler.

use std::path::Path;

use emulator::cloud::{Options, Storage};
use emulator::fault::{Fault, S3Fault};
use emulator::s3::MissingKey;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use nearedge_core::access::signed_url::sign;

use crate::support::{FREE_PORT, TestCloud, TestResponse, start, with_env};

/// The key of signed links.
pub(crate) const KEY: &str = "a key of at least 16 bytes";

pub(crate) const REDIRECTS: &str = "\
/old        /new.html          301!
/moved/*    /articles/:splat   302
/app/*      /app.html          200
/gone       /errors/gone.html  410!
/broken     /errors/none.html  503!
/cn         /zh/index.html     302! Country=cn
/beta       /beta.html         200! Cookie=beta
/store q=:q https://shop.example/find?term=:q 303!
/this is no rule
";

pub(crate) const HEADERS: &str = "\
/*
  X-Frame-Options: DENY
  Cache-Control: public, max-age=1
  Content-Security-Policy: default-src 'self'
/new.html
  ! Cache-Control
  Cache-Control: public, max-age=600
  ! ETag
/data/*
  Access-Control-Allow-Origin: https://a.example, https://b.example
  Access-Control-Allow-Headers: x-token
  Access-Control-Max-Age: 600
";

pub(crate) const ACCESS: &str = r#"{"rules": [
  {"path": "/files/*", "signed_url": {"keys": ["a key of at least 16 bytes"], "parameter": "verify", "ttl_secs": 3600}},
  {"path": "/preview/*", "signed_url": {"keys": ["a key of at least 16 bytes"], "parameter": "verify", "ttl_secs": 3600, "cookie": "preview"}},
  {"path": "/files/free.txt", "open": true}
]}"#;

/// A site with some objects and these files.
pub(crate) fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let objects = [
        "index.html",
        "new.html",
        "app.html",
        "beta.html",
        "articles/a.html",
        "moved/there.html",
        "errors/gone.html",
        "zh/index.html",
        "data/a.json",
        "files/a.txt",
        "files/free.txt",
        "v1/files/a.txt",
        "preview/index.html",
        "preview/style.css",
        "v1/new.html",
    ];
    for (name, text) in objects.map(|name| (name, name)).iter().chain(files) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// One environment: after a response by a new version of a file, all further ones are by this version too.
pub(crate) fn options(site: &Path, env: &[(&str, &str)]) -> Options {
    let storage = Storage::Folder { site: site.to_owned(), address: FREE_PORT, missing_key: MissingKey::NoSuchKey };
    Options { storage, environments: 1, ..with_env(env) }
}

pub(crate) async fn get(cloud: &TestCloud, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    cloud.with(Method::GET, path, headers).await
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn rules_redirect_rewrite_and_generate_responses() {
    let site = site(&[("_redirects", REDIRECTS)]);
    let cloud = start(options(site.path(), &[])).await;
    for (path, headers, status, expected) in [
        ("/old", &[][..], 301, "/new.html"),
        ("/old?a=1", &[], 301, "/new.html?a=1"),
        ("/moved/a.html", &[], 302, "/articles/a.html"),
        // The object exists, and the rule is not forced.
        ("/moved/there.html", &[], 200, "moved/there.html"),
        ("/app/cart/7", &[], 200, "app.html"),
        ("/gone", &[], 410, "errors/gone.html"),
        ("/broken", &[], 503, ""),
        ("/cn", &[], 404, "no file: cn"),
        ("/cn", &[("cloudfront-viewer-country", "CN")], 302, "/zh/index.html"),
        ("/beta", &[("cookie", "beta=1")], 200, "beta.html"),
        ("/beta", &[("cookie", "alpha=1")], 404, "no file: beta"),
        ("/store?q=a%26b", &[], 303, "https://shop.example/find?term=a%26b"),
        ("/store", &[], 404, "no file: store"),
        // The file configures the origin, and is never served.
        ("/_redirects", &[], 404, "no file: _redirects"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let response = cloud.with(method.clone(), path, headers).await;
            assert_eq!(response.status.as_u16(), status, "{method} {path} {headers:?}: {}", response.text());
            let found = if (300..400).contains(&status) { response.header("location") } else { response.text() };
            assert!(method == Method::HEAD && found.is_empty() || found == expected, "{method} {path}: {found}");
        }
    }
    // A response that depends on the viewer says so.
    for (path, headers, vary, caching) in [
        ("/cn", &[("cloudfront-viewer-country", "CN")][..], ", cloudfront-viewer-country", "no-store"),
        ("/beta", &[("cookie", "beta=1")], ", cookie", "private"),
        ("/new.html", &[], "", ""),
    ] {
        let response = get(&cloud, path, headers).await;
        let expected = format!("test_version, redirect{vary}");
        assert_eq!((response.header("vary"), response.header("cache-control")), (&*expected, caching), "{path}");
    }
    cloud.wait_for_log(|line| line.contains("line 9: `/this is no rule`")).await;
    // Rewrites lead to the variant's object; generated responses have no x-variant.
    let rewritten = get(&cloud, "/old", &[("test_version", "v1")]).await;
    assert_eq!((rewritten.status, rewritten.header("location")), (StatusCode::MOVED_PERMANENTLY, "/new.html"));
    cloud.put("v1/app.html", "app of v1", "text/html").await;
    let shell = get(&cloud, "/app/x", &[("test_version", "v1")]).await;
    assert_eq!((shell.text(), shell.header("x-variant")), ("app of v1", "v1"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn header_rules_apply_to_objects_errors_and_redirects() {
    let site = site(&[("_redirects", REDIRECTS), ("_headers", HEADERS)]);
    let cloud = start(options(site.path(), &[])).await;
    for path in ["/new.html", "/none", "/old", "/gone"] {
        let response = get(&cloud, path, &[]).await;
        assert_eq!(response.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(response.header("content-security-policy"), "default-src 'self'", "{path}");
    }
    let page = get(&cloud, "/new.html", &[]).await;
    assert_eq!((page.header("cache-control"), page.header("etag")), ("public, max-age=600", ""));
    let modified = page.header("last-modified").to_owned();
    let not_modified = get(&cloud, "/new.html", &[("if-modified-since", &modified)]).await;
    assert_eq!(not_modified.status, StatusCode::NOT_MODIFIED);
    assert_eq!(not_modified.header("cache-control"), "public, max-age=600");
    assert_eq!(not_modified.header("x-frame-options"), "", "RFC 9110 §15.4.5");
    // No rule lets a cache keep what describes the moment, or is for one client.
    for path in ["/none", "/broken"] {
        assert_eq!(get(&cloud, path, &[]).await.header("cache-control"), "no-store", "{path}");
    }
    assert_eq!(get(&cloud, "/gone", &[]).await.header("cache-control"), "public, max-age=1");
    assert_eq!(get(&cloud, "/old", &[]).await.header("cache-control"), "public, max-age=1");
    let forbidden = cloud.api("/new.html", &[]).await;
    assert_eq!((forbidden.status, forbidden.header("x-frame-options")), (StatusCode::FORBIDDEN, ""));
    cloud.shut_down().await;
}

#[tokio::test]
async fn listed_origins_are_reflected_and_preflights_answered() {
    let site = site(&[("_headers", HEADERS)]);
    let cloud = start(options(site.path(), &[])).await;
    for (origin, allowed) in [("https://b.example", "https://b.example"), ("https://c.example", "")] {
        let origin = [("origin", origin)];
        let response = get(&cloud, "/data/a.json", &origin).await;
        assert_eq!(response.header("access-control-allow-origin"), allowed);
        assert_eq!(response.header("vary"), "test_version, redirect, Origin");
        let preflight = cloud.with(Method::OPTIONS, "/data/a.json", &origin).await;
        assert_eq!(
            (preflight.status, preflight.header("access-control-allow-origin")),
            (StatusCode::NO_CONTENT, allowed)
        );
        let expected = if allowed.is_empty() { ("", "") } else { ("GET, HEAD", "x-token") };
        let methods = preflight.header("access-control-allow-methods");
        assert_eq!((methods, preflight.header("access-control-allow-headers")), expected);
    }
    assert_eq!(
        get(&cloud, "/new.html", &[("origin", "https://b.example")]).await.header("vary"),
        "test_version, redirect"
    );
    cloud.shut_down().await;
}

#[tokio::test]
async fn guarded_objects_need_a_valid_link() {
    let site = site(&[("access.json", ACCESS)]);
    let cloud = start(options(site.path(), &[])).await;
    let link = |path: &str, at: u64| format!("{path}?verify={}", sign(KEY, path, at));
    for (path, status) in [
        ("/files/a.txt", 403),
        ("/files/free.txt", 200),
        ("/new.html", 200),
        ("/access.json", 404),
        ("/v1/files/a.txt", 403),
        ("/files//a.txt", 403),
        ("/%66iles/a.txt", 403),
        ("/files%2fa.txt", 403),
        ("/x/../files/a.txt", 403),
        (&*link("/files/a.txt", now()), 200),
        (&*link("/files/a.txt", now() - 4_000), 410),
        (&*link("/files/a.txt", now() + 300), 403),
        (&*link("/files/b.txt", now()).replace("b.txt", "a.txt"), 403),
        (&*format!("{}&verify=1", link("/files/a.txt", now())), 403),
    ] {
        let response = get(&cloud, path, &[]).await;
        assert_eq!(response.status.as_u16(), status, "{path}: {}", response.text());
        assert!(status == 200 || !response.text().contains("files/a.txt"), "{path}: {}", response.text());
    }
    let granted = get(&cloud, &link("/files/a.txt", now()), &[]).await;
    assert_eq!((granted.text(), granted.header("cache-control")), ("files/a.txt", "private"));
    let variant = [("test_version", "v1")];
    assert_eq!(get(&cloud, "/files/a.txt", &variant).await.status, StatusCode::FORBIDDEN);
    assert_eq!(get(&cloud, &link("/files/a.txt", now()), &variant).await.text(), "v1/files/a.txt");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_preview_link_opens_a_folder_by_a_session() {
    let site = site(&[("access.json", ACCESS)]);
    let cloud = start(options(site.path(), &[])).await;
    assert_eq!(get(&cloud, "/preview/style.css", &[]).await.status, StatusCode::FORBIDDEN);
    let link = format!("/preview/?verify={}", sign(KEY, "/preview/", now()));
    let page = get(&cloud, &link, &[]).await;
    assert_eq!((page.status, page.text()), (StatusCode::OK, "preview/index.html"));
    let cookie = page.header("set-cookie").to_owned();
    assert!(
        cookie.starts_with("preview=") && cookie.contains("Path=/preview/") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    let session = cookie.split(';').next().unwrap();
    let style = get(&cloud, "/preview/style.css", &[("cookie", session)]).await;
    assert_eq!((style.status, style.text()), (StatusCode::OK, "preview/style.css"));
    assert_eq!(style.header("vary"), "test_version, redirect, cookie");
    assert_eq!(get(&cloud, "/files/a.txt", &[("cookie", session)]).await.status, StatusCode::FORBIDDEN);
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_error_document_is_subject_to_the_rules_of_access() {
    for (document, is_shown) in [
        ("errors/gone.html", true),
        ("files/free.txt", true),
        ("files/a.txt", false),
        ("access.json", false),
        ("_headers", false),
    ] {
        let site = site(&[("access.json", ACCESS), ("_headers", HEADERS)]);
        let cloud = start(options(site.path(), &[("error_document", document)])).await;
        let missing = get(&cloud, "/missing", &[]).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{document}");
        let expected = if is_shown { document } else { "no file: missing" };
        assert_eq!(missing.text(), expected, "{document}");
        // A request that satisfies the rules of the document may see it.
        let link = format!("/files/missing?verify={}", sign(KEY, "/files/missing", now()));
        let is_hidden = ["access.json", "_headers"].contains(&document);
        let expected = if is_hidden { "no file: files/missing" } else { document };
        assert_eq!(get(&cloud, &link, &[]).await.text(), expected, "{document}");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn objects_with_a_redirect_location_redirect_if_the_setting_says_so() {
    for (setting, location, expected) in [
        ("true", "/new.html", Some("/new.html")),
        ("true", "https://www.example.org/a?b", Some("https://www.example.org/a?b")),
        ("true", "//evil.example/", None),
        ("true", "javascript:alert(1)", None),
        ("false", "/new.html", None),
    ] {
        let site = site(&[("access.json", ACCESS)]);
        let cloud = start(options(site.path(), &[("object_redirects", setting)])).await;
        let name = HeaderName::from_static("x-amz-website-redirect-location");
        let fault = S3Fault::Header(name, HeaderValue::from_static(location));
        cloud.cloud.faults.set(vec![Fault::S3(fault)]);
        for _ in ["from S3", "from the cache"] {
            let page = get(&cloud, "/app.html", &[]).await;
            let (status, text) = if expected.is_some() { (301, "") } else { (200, "app.html") };
            assert_eq!((page.status.as_u16(), page.text()), (status, text), "{setting} {location}");
            assert_eq!(page.header("location"), expected.unwrap_or_default(), "{setting} {location}");
        }
        assert_eq!(get(&cloud, "/files/a.txt", &[]).await.status, StatusCode::FORBIDDEN, "{setting} {location}");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn without_usable_rules_of_access_every_request_is_a_503() {
    for file in ["", "{}", r#"{"rules": [{"path": "/files/*", "password": "x"}]}"#] {
        let site = site(&[("access.json", file)]);
        let cloud = start(options(site.path(), &[])).await;
        for path in ["/", "/files/a.txt", "/access.json"] {
            let response = get(&cloud, path, &[]).await;
            assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{file}: {path}");
            assert_eq!((response.header("retry-after"), response.header("cache-control")), ("1", "no-store"));
        }
        cloud
            .wait_for_log(|line| {
                line.contains("access: the file cannot be used, and every request is answered with 503")
            })
            .await;
        std::fs::write(site.path().join("access.json"), ACCESS).unwrap();
        let recovered = async { while get(&cloud, "/", &[]).await.status != StatusCode::OK {} };
        tokio::time::timeout(std::time::Duration::from_secs(10), recovered).await.unwrap();
        assert_eq!(get(&cloud, "/files/a.txt", &[]).await.status, StatusCode::FORBIDDEN);
        cloud.shut_down().await;
    }
}
