//! Copies of objects in content codings and image formats, through the CDN with the real handler.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use emulator::cloud::{Options, Storage};
use emulator::s3::MissingKey;
use http::{Method, StatusCode};

use crate::support::{FREE_PORT, TestCloud, TestResponse, buffered, start, with_env};

const BROWSER: (&str, &str) = ("accept-encoding", "gzip, deflate, br, zstd");

fn page() -> String {
    (0..3000).map(|n| format!("<p>paragraph {n} of a page</p>\n")).collect()
}

fn site(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files.iter().chain(&[("page.html", page().as_bytes())]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

/// A function with a whole core, so that it makes copies soon.
fn options(site: &Path, env: &[(&str, &str)]) -> Options {
    let storage = Storage::Folder { site: site.to_owned(), address: FREE_PORT, missing_key: MissingKey::NoSuchKey };
    let env: Vec<_> = [("cache_ttl_secs", "600")].iter().chain(env).copied().collect();
    Options { storage, environments: 1, memory_mb: 1769, ..with_env(&env) }
}

/// Requests `path` until the response has a coding.
async fn coded(cloud: &TestCloud, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let response = cloud.cdn(path, headers).await;
        if !response.header("content-encoding").is_empty() {
            return response;
        }
        assert!(Instant::now() < end, "no copy: {:?}", response.headers);
    }
}

fn decoded(response: &TestResponse) -> Vec<u8> {
    let mut text = Vec::new();
    match response.header("content-encoding") {
        "" => return response.body.to_vec(),
        "br" => brotli_decompressor::Decompressor::new(&*response.body, 4096).read_to_end(&mut text).unwrap(),
        "gzip" => flate2::read::GzDecoder::new(&*response.body).read_to_end(&mut text).unwrap(),
        other => panic!("unexpected coding {other}"),
    };
    text
}

#[tokio::test]
async fn a_page_is_sent_as_a_copy_after_its_first_response() {
    let site = site(&[]);
    let cloud = start(options(site.path(), &[])).await;
    let first = cloud.cdn("/page.html", &[BROWSER]).await;
    assert_eq!((first.status, first.header("content-encoding"), first.text()), (StatusCode::OK, "", &*page()));
    // CloudFront removes the names of Vary that it does not forward.
    assert_eq!(first.header("vary"), "test_version, redirect, accept-encoding");
    let copy = coded(&cloud, "/page.html", &[BROWSER]).await;
    assert_eq!(
        (copy.header("content-encoding"), copy.header("vary")),
        ("br", "test_version, redirect, accept-encoding")
    );
    assert_eq!(decoded(&copy), page().as_bytes());
    assert!(copy.body.len() * 5 < page().len(), "{} bytes", copy.body.len());
    assert_eq!((copy.header("accept-ranges"), copy.header("content-type")), ("", first.header("content-type")));
    let tag = copy.header("etag");
    assert!(tag != first.header("etag") && tag.contains("-br-"), "{tag}");
    let confirmed = cloud.cdn("/page.html", &[BROWSER, ("if-none-match", tag)]).await;
    assert_eq!((confirmed.status, confirmed.header("etag")), (StatusCode::NOT_MODIFIED, tag));
    assert_eq!(confirmed.header("vary"), "test_version, redirect, accept-encoding");
    let head = cloud.send(Method::HEAD, &format!("http://{}/page.html", cloud.cloud.edge), &[BROWSER]).await;
    for name in ["content-encoding", "etag", "content-type", "vary"] {
        assert_eq!(head.header(name), copy.header(name), "{name}");
    }
    head.assert_length(&copy.body.len().to_string());
    let range = cloud.cdn("/page.html", &[BROWSER, ("range", "bytes=3-11")]).await;
    assert_eq!((range.status, range.text()), (StatusCode::PARTIAL_CONTENT, &page()[3..12]));
    let plain = cloud.cdn("/page.html", &[("accept-encoding", "identity")]).await;
    assert_eq!((plain.header("content-encoding"), plain.text()), ("", &*page()));
    let gzip = coded(&cloud, "/page.html", &[("accept-encoding", "gzip")]).await;
    assert_eq!((gzip.header("content-encoding"), decoded(&gzip)), ("gzip", page().into_bytes()));
    cloud.shut_down().await;
}

#[tokio::test]
async fn without_compress_nothing_is_coded_and_vary_is_as_before() {
    let site = site(&[]);
    let cloud = start(options(site.path(), &[("compress", "off")])).await;
    for _ in 0..3 {
        let response = cloud.with(Method::GET, "/page.html", &[BROWSER]).await;
        assert_eq!((response.header("content-encoding"), response.header("vary")), ("", "test_version, redirect"));
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn uploaded_copies_are_sent_with_the_first_response() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let large: String = page().repeat(70);
    let files: &[(&str, &[u8])] = &[
        ("page.html.gz", &gzip(&page())),
        ("large.txt", large.as_bytes()),
        ("large.txt.gz", &gzip(&large)),
        ("hero.jpg", &[0xff; 3000]),
        ("hero.jpg.webp", b"RIFF webp"),
        ("large.js", large.as_bytes()),
    ];
    let site = site(files);
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    for copy in ["page.html.gz", "large.txt.gz", "hero.jpg.webp"] {
        std::fs::File::open(site.path().join(copy)).unwrap().set_modified(later).unwrap();
    }
    let settings = [("compress", "off"), ("precompressed", "br,gzip"), ("formats", "avif,webp")];
    let cloud = start(buffered(options(site.path(), &settings))).await;
    let copy = cloud.cdn("/page.html", &[BROWSER]).await;
    assert_eq!((copy.header("content-encoding"), decoded(&copy)), ("gzip", page().into_bytes()));
    let copy = cloud.cdn("/large.txt", &[BROWSER]).await;
    assert!(copy.status == StatusCode::OK && decoded(&copy) == large.as_bytes(), "instead of a redirect");
    let redirect = cloud.cdn("/large.txt", &[("accept-encoding", "identity")]).await;
    assert_eq!(redirect.status, StatusCode::TEMPORARY_REDIRECT);
    let redirect = cloud.cdn("/large.js", &[BROWSER]).await;
    assert_eq!(redirect.status, StatusCode::TEMPORARY_REDIRECT, "it has no copy");
    let image = cloud.cdn("/hero.jpg", &[("accept", "image/avif,image/webp,*/*")]).await;
    assert_eq!((image.header("content-type"), &*image.body), ("image/webp", &b"RIFF webp"[..]));
    let image = cloud.cdn("/hero.jpg", &[("accept", "*/*")]).await;
    assert_eq!((image.header("content-type"), image.header("vary")), ("image/jpeg", "test_version, redirect, accept"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_guarded_page_is_not_coded_unless_the_setting_permits_it() {
    let rules =
        br#"{"rules": [{"path": "/page.html", "signed_url": {"keys": ["6jV0mB3nT8rXq2Lw"], "parameter": "verify", "ttl_secs": 3600}}]}"#;
    let site = site(&[("access.json", rules), ("key.txt", b"6jV0mB3nT8rXq2Lw")]);
    let sign = std::process::Command::new(crate::support::nearedge())
        .args(["sign", "/page.html", "--key-file"])
        .arg(site.path().join("key.txt"))
        .output()
        .unwrap();
    let signed = String::from_utf8(sign.stdout).unwrap();
    let signed = signed.trim();
    let cloud = start(options(site.path(), &[("access", "access.json")])).await;
    for _ in 0..20 {
        let response = cloud.cdn(signed, &[BROWSER]).await;
        assert_eq!((response.header("content-encoding"), response.text()), ("", &*page()));
        assert!(!response.header("vary").contains("accept-encoding"), "{}", response.header("vary"));
    }
    cloud.shut_down().await;
    let cloud = start(options(site.path(), &[("access", "access.json"), ("compress_guarded", "true")])).await;
    assert_eq!(decoded(&coded(&cloud, signed, &[BROWSER]).await), page().as_bytes());
    cloud.shut_down().await;
}

#[tokio::test]
async fn no_copy_bypasses_a_rule_of_access() {
    let data = page();
    let rules = br#"{"rules": [
        {"path": "/page.html", "signed_url": {"keys": ["6jV0mB3nT8rXq2Lw"], "parameter": "verify", "ttl_secs": 3600}},
        {"path": "/data.csv.gz", "signed_url": {"keys": ["6jV0mB3nT8rXq2Lw"], "parameter": "verify", "ttl_secs": 3600}}]}"#;
    let files: &[(&str, &[u8])] = &[
        ("access.json", rules),
        ("access.json.br", b"a copy of the keys"),
        ("page.html.br", b"a copy of the page"),
        ("data.csv", data.as_bytes()),
        ("data.csv.gz", b"guarded by a rule of its own"),
    ];
    let site = site(files);
    // The copy is newer than its source, as an upload makes it.
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::open(site.path().join("data.csv.gz")).unwrap().set_modified(later).unwrap();
    let env = [("access", "access.json"), ("precompressed", "br,gzip"), ("compress", "off")];
    let cloud = start(options(site.path(), &env)).await;
    assert_eq!(cloud.cdn("/access.json.br", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(cloud.cdn("/page.html.br", &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(cloud.cdn("/data.csv.gz", &[]).await.status, StatusCode::FORBIDDEN);
    for _ in 0..3 {
        let open = cloud.cdn("/data.csv", &[("accept-encoding", "gzip")]).await;
        assert_eq!((open.status, open.text()), (StatusCode::OK, &*page()));
    }
    cloud.shut_down().await;
}
