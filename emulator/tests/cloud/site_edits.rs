//! Edits of the files that configure the function apply to the next request.

use std::path::Path;

use emulator::cloud::{Options, Storage};
use emulator::s3::MissingKey;
use http::{Method, StatusCode};
use nearedge_core::access::signed_url::sign;

use crate::command::{folder_of, start as command, text};
use crate::support::{FREE_PORT, TestCloud, TestResponse, start, with_env};

/// The key of signed links, and another one.
const KEYS: [&str; 2] = ["a key of at least 16 bytes", "another key of 16 bytes"];

fn access(key: &str) -> String {
    format!(
        r#"{{"rules": [{{"path": "/a.html", "signed_url": {{"keys": ["{key}"], "parameter": "verify", "ttl_secs": 3600}}}}]}}"#
    )
}

fn token_rule(jwks: &str) -> String {
    format!(
        r#"{{"rules": [{{"path": "/a.html", "jwt": {{"jwks": "{jwks}", "algorithms": ["HS256"], "from": ["cookie:token"]}}}}]}}"#
    )
}

/// A JWK Set with one symmetric key of 32 equal bytes.
fn jwks(byte: u8) -> String {
    let key = base64_simd::URL_SAFE_NO_PAD.encode_to_string([byte; 32]);
    format!(r#"{{"keys": [{{"kty": "oct", "k": "{key}"}}]}}"#)
}

/// The HMACs of one token, which expires in the year 3000, by the keys of 32 bytes of 1, 2 and 3.
const MACS: [&str; 3] = [
    "J4jrHjNwoGy7FcIYFYehzaufx_qa2XTPYB2AIcO1giA",
    "_Ejod-84o9INbvG4ShUU2DvmYmtSOhyWURqogSO1OuY",
    "7esKW17FDoN_RGGgr7AOY0TDfbQjTIuU3ndlzsPddM4",
];

/// A token that the key of [`jwks`] signs.
fn token(byte: u8) -> String {
    format!("eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjMyNTAzNjgwMDAwfQ.{}", MACS[usize::from(byte) - 1])
}

/// The settings of this test would hide an edit for an hour, if only the function looked.
async fn cloud(site: &Path) -> TestCloud {
    let storage = Storage::Folder { site: site.to_owned(), address: FREE_PORT, missing_key: MissingKey::NoSuchKey };
    let env = [("cache_ttl_secs", "3600"), ("cache_missing_ttl_secs", "3600")];
    start(Options { storage, reload: true, ..with_env(&env) }).await
}

async fn get(cloud: &TestCloud, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    cloud.with(Method::GET, path, headers).await
}

#[tokio::test]
async fn an_edited_list_applies_to_the_next_response() {
    let site = folder_of(&["a.html", "b.html"]);
    let write = |name: &str, text: &str| std::fs::write(site.path().join(name), text).unwrap();
    write("_redirects", "/old /a.html 301\n");
    write("_headers", "/*\n  X-Edit: 1\n");
    let cloud = cloud(site.path()).await;
    for edit in 1..=4 {
        let old = get(&cloud, "/old", &[]).await;
        let target = if edit % 2 == 1 { "/a.html" } else { "/b.html" };
        assert_eq!((old.status, old.header("location")), (StatusCode::MOVED_PERMANENTLY, target), "edit {edit}");
        assert_eq!(old.header("x-edit"), edit.to_string());
        write("_redirects", if edit % 2 == 1 { "/old /b.html 301\n" } else { "/old /a.html 301\n" });
        write("_headers", &format!("/*\n  X-Edit: {}\n", edit + 1));
    }
    cloud.wait_for_log(|line| line.contains("_headers, _redirects changed: new execution environments load")).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn lists_that_appear_and_vanish_apply_too() {
    let site = folder_of(&["a.html"]);
    let cloud = cloud(site.path()).await;
    for _ in 0..2 {
        let before = get(&cloud, "/old", &[]).await;
        assert_eq!((before.status, before.header("x-edit")), (StatusCode::NOT_FOUND, ""));
        std::fs::write(site.path().join("_redirects"), "/old /a.html 301\n").unwrap();
        assert_eq!(get(&cloud, "/old", &[]).await.status, StatusCode::MOVED_PERMANENTLY);
        assert_eq!(get(&cloud, "/_redirects", &[]).await.status, StatusCode::NOT_FOUND);
        std::fs::write(site.path().join("_headers"), "/*\n  X-Edit: yes\n").unwrap();
        assert_eq!(get(&cloud, "/a.html", &[]).await.header("x-edit"), "yes");
        for file in ["_redirects", "_headers"] {
            std::fs::remove_file(site.path().join(file)).unwrap();
        }
        assert_eq!(get(&cloud, "/a.html", &[]).await.status, StatusCode::OK);
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn edited_rules_of_access_and_their_keys_apply_to_the_next_response() {
    let site = folder_of(&["a.html"]);
    let write = |name: &str, text: &str| std::fs::write(site.path().join(name), text).unwrap();
    write("access.json", &access(KEYS[0]));
    let cloud = cloud(site.path()).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let link = |key: &str| format!("/a.html?verify={}", sign(key, "/a.html", now));
    assert_eq!(get(&cloud, &link(KEYS[0]), &[]).await.status, StatusCode::OK);
    write("access.json", &access(KEYS[1]));
    assert_eq!(get(&cloud, &link(KEYS[0]), &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(get(&cloud, &link(KEYS[1]), &[]).await.status, StatusCode::OK);
    // A JWK Set that the rules name for the first time, then its edits.
    write("access.json", &token_rule("jwks.json"));
    assert_eq!(get(&cloud, "/a.html", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    for byte in [1, 2, 3] {
        write("jwks.json", &jwks(byte));
        for other in [1, 2, 3] {
            let cookie = format!("token={}", token(other));
            let expected = if other == byte { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(get(&cloud, "/a.html", &[("cookie", &cookie)]).await.status, expected, "{byte} {other}");
        }
    }
    write("access.json", "{");
    assert_eq!(get(&cloud, "/a.html", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    cloud.shut_down().await;
}

#[tokio::test]
async fn rules_of_access_that_vanish_open_nothing() {
    for is_present_at_start in [true, false] {
        let site = folder_of(&["a.html"]);
        let file = site.path().join("access.json");
        let write = || std::fs::write(&file, access(KEYS[0])).unwrap();
        if is_present_at_start {
            write();
        }
        let cloud = cloud(site.path()).await;
        write();
        assert_eq!(get(&cloud, "/a.html", &[]).await.status, StatusCode::FORBIDDEN);
        std::fs::remove_file(&file).unwrap();
        for path in ["/a.html", "/access.json"] {
            assert_eq!(get(&cloud, path, &[]).await.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        }
        cloud.wait_for_log(|line| line.contains("access.json is missing: every request is answered with 503")).await;
        write();
        assert_eq!(get(&cloud, "/a.html", &[]).await.status, StatusCode::FORBIDDEN);
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn an_edited_definition_applies_to_the_next_response() {
    let site = folder_of(&["index.html", "red/index.html", "green/index.html"]);
    let file = site.path().join("experiments.json");
    let cloud = cloud(site.path()).await;
    assert_eq!(get(&cloud, "/", &[]).await.text(), "index.html");
    for version in ["red", "green", "red"] {
        let definition = format!(r#"{{"features": {{"test_version": {{"defaultValue": "{version}"}}}}}}"#);
        std::fs::write(&file, definition).unwrap();
        assert_eq!(get(&cloud, "/", &[]).await.text(), format!("{version}/index.html"));
    }
    // Through the CDN, which forwards what experiments need since the file exists.
    let page = cloud.cdn("/", &[("accept", "text/html"), ("user-agent", "Mozilla/5.0 Firefox/130.0")]).await;
    assert_eq!(page.text(), "red/index.html");
    assert!(page.header("set-cookie").starts_with("nearedge"), "{:?}", page.headers);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(get(&cloud, "/", &[]).await.text(), "index.html");
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_unchanged_site_keeps_its_environment() {
    let site = folder_of(&["a.html", "_redirects"]);
    let cloud = cloud(site.path()).await;
    for _ in 0..5 {
        assert_eq!(get(&cloud, "/a.html", &[]).await.status, StatusCode::OK);
    }
    std::fs::write(site.path().join("a.html"), "an object, which configures nothing").unwrap();
    assert_eq!(get(&cloud, "/a.html", &[]).await.status, StatusCode::OK);
    assert!(!cloud.journal.lines().iter().any(|line| line.contains("changed:")), "{:#?}", cloud.journal.lines());
    // A second one starts if a request arrives before the first one has asked for it.
    assert!(cloud.cloud.lambda.started() <= 2);
    cloud.shut_down().await;
}

#[tokio::test]
async fn no_request_is_lost_while_files_change() {
    let site = folder_of(&["a.html"]);
    let cloud = cloud(site.path()).await;
    for edit in 0..5 {
        std::fs::write(site.path().join("_headers"), format!("/*\n  X-Edit: {edit}\n")).unwrap();
        let requests = (0..20).map(|_| get(&cloud, "/a.html", &[]));
        for response in futures_util::future::join_all(requests).await {
            assert_eq!((response.status, response.header("x-edit")), (StatusCode::OK, &*edit.to_string()));
        }
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_banner_lists_the_active_files() {
    let site = folder_of(&["index.html"]);
    for (name, content) in [("_redirects", "/a / 301\nx\n"), ("_headers", "/*\n  X-A: b\n"), ("access.json", "{}")] {
        std::fs::write(site.path().join(name), content).unwrap();
    }
    let folder = text(site.path());
    let (mut child, _lines, banner) = command(&["--site", folder]).await;
    let check = format!("`nearedge rules check {folder}`");
    for line in [
        format!("  rules      _redirects: 1 rule, 1 problem: {check}"),
        "             _headers: 1 rule".to_owned(),
        format!("             access.json cannot be used, so every request is answered with 503, 1 error: {check}"),
    ] {
        assert!(banner.contains(&line), "{line}: {banner:#?}");
    }
    child.kill().await.unwrap();
}
