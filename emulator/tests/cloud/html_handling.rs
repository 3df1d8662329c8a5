//! Addresses of pages without extension, through the CDN with the real handler.

use emulator::cloud::{Options, Storage};
use emulator::s3::MissingKey;
use http::{Method, StatusCode};

use crate::support::{FREE_PORT, TestCloud, start, wait_until, with_env};

async fn put_pages(cloud: &TestCloud, keys: &[&str]) {
    for key in keys {
        cloud.put(key, (*key).to_owned(), "text/html").await;
    }
}

/// The result of a path: the body, the Location, or the status.
async fn answer(cloud: &TestCloud, path: &str, headers: &[(&str, &str)]) -> String {
    let response = cloud.with(Method::GET, path, headers).await;
    match response.status {
        StatusCode::OK => response.text().to_owned(),
        StatusCode::TEMPORARY_REDIRECT => format!("-> {}", response.header("location")),
        status => status.as_u16().to_string(),
    }
}

#[tokio::test]
async fn each_mode_serves_a_page_at_one_address_and_redirects_the_others() {
    for (mode, expected) in [
        ("none", ["404", "404", "about.html", "docs/index.html", "404", "docs/index.html"]),
        (
            "auto-trailing-slash",
            ["about.html", "-> /about?a=1", "-> /about", "docs/index.html", "-> /docs/", "-> /docs/"],
        ),
        (
            "force-trailing-slash",
            ["-> /about/", "about.html", "-> /about/", "docs/index.html", "-> /docs/", "-> /docs/"],
        ),
        (
            "drop-trailing-slash",
            ["about.html", "-> /about?a=1", "-> /about", "-> /docs", "docs/index.html", "-> /docs"],
        ),
    ] {
        let cloud = start(with_env(&[("html_handling", mode)])).await;
        put_pages(&cloud, &["about.html", "docs/index.html"]).await;
        let paths = ["/about", "/about/?a=1", "/about.html", "/docs/", "/docs", "/docs/index.html"];
        for (path, expected) in paths.into_iter().zip(expected) {
            assert_eq!(answer(&cloud, path, &[]).await, expected, "{mode} {path}");
            let head = cloud.with(Method::HEAD, path, &[]).await.status;
            assert_eq!(head, cloud.with(Method::GET, path, &[]).await.status, "{mode} {path}");
        }
        assert_eq!(answer(&cloud, "/none", &[]).await, "404");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_variants_page_is_found_before_the_unversioned_one() {
    let cloud = start(with_env(&[("html_handling", "auto-trailing-slash"), ("variant_fallback", "true")])).await;
    put_pages(&cloud, &["v1/about.html", "about.html", "about/index.html", "faq.html", "v2/docs/index.html"]).await;
    for (path, version, expected) in [
        ("/about", "v1", "v1/about.html"),
        ("/about", "v2", "about.html"),
        ("/about/", "v1", "-> /about"),
        ("/faq", "v1", "faq.html"),
        ("/docs", "v2", "-> /docs/"),
        ("/docs/", "v2", "v2/docs/index.html"),
        ("/docs/", "v1", "404"),
    ] {
        assert_eq!(answer(&cloud, path, &[("test_version", version)]).await, expected, "{version} {path}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_address_with_repeated_slashes_leads_to_the_page_on_the_same_host() {
    let cloud = start(with_env(&[("html_handling", "auto-trailing-slash")])).await;
    put_pages(&cloud, &["about.html", "evil.com/index.html"]).await;
    for (path, expected) in [
        ("//about", "-> /about"),
        ("//about.html", "-> /about"),
        ("//evil.com/", "-> /evil.com/"),
        ("//evil.com", "-> /evil.com/"),
    ] {
        assert_eq!(answer(&cloud, path, &[]).await, expected, "{path}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_rewrite_serves_its_target_at_the_requested_address() {
    for mode in ["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash"] {
        let site = tempfile::tempdir().unwrap();
        let rules = "/shop/* /app.html 200!\n/docs/* /manual 200\n/* /index.html 200\n";
        for (name, text) in
            [("_redirects", rules), ("app.html", "app"), ("manual.html", "manual"), ("index.html", "home")]
        {
            std::fs::write(site.path().join(name), text).unwrap();
        }
        let storage =
            Storage::Folder { site: site.path().into(), address: FREE_PORT, missing_key: MissingKey::NoSuchKey };
        let cloud = start(Options { storage, ..with_env(&[("html_handling", mode)]) }).await;
        let manual = if mode == "force-trailing-slash" { "404" } else { "manual" };
        for (path, expected) in [("/shop/7", "app"), ("/docs/7", manual), ("/anything", "home"), ("/", "home")] {
            assert_eq!(answer(&cloud, path, &[]).await, expected, "{mode} {path}");
        }
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_missing_page_costs_few_requests_and_is_remembered() {
    let env = [("html_handling", "auto-trailing-slash"), ("cache_ttl_secs", "60"), ("cache_missing_ttl_secs", "60")];
    let cloud = start(Options { environments: 1, ..with_env(&env) }).await;
    put_pages(&cloud, &["about.html"]).await;
    for _ in 0..3 {
        assert_eq!(answer(&cloud, "/about", &[]).await, "about.html");
        assert_eq!(answer(&cloud, "/about.html", &[]).await, "-> /about");
    }
    // The lines arrive in order.
    assert_eq!(answer(&cloud, "/last", &[]).await, "404");
    wait_until(|| cloud.s3_requests() >= 5.0).await;
    assert_eq!(cloud.s3_requests(), 5.0, "/about: a missing key and the page; /last: three missing keys");
    cloud.shut_down().await;
}
