//! The test that `cargo run` starts: the sample site, `--experiments`, and what the banner says about them.

use emulator::serve;
use http::StatusCode;
use serde_json::Value;

use crate::command::{error_of, folder_of, start, text, url_of};
use crate::support::site;
use crate::visitor::{ASSIGNMENTS, Browser, Fetch, set_cookies};

const DEFINITION: &str = r#"{"features": {"test_version": {"defaultValue": "red", "rules": [
    {"key": "colour", "variations": ["red", "green"], "hashVersion": 2}]}}}"#;

/// The lines of the banner about the test.
fn test_of(banner: &[String]) -> Vec<&str> {
    let start = banner.iter().position(|line| line.contains(" running ("));
    start.map_or_else(Vec::new, |start| banner[start..].iter().take(3).map(String::as_str).collect())
}

fn notes(banner: &[String]) -> Vec<&str> {
    banner.iter().filter_map(|line| line.strip_prefix("Note: ")).collect()
}

#[tokio::test]
async fn visitors_of_the_sample_site_get_one_variant_of_everything() {
    let (mut child, _lines, banner) = start(&[]).await;
    let cdn = url_of(&banner, "CDN");
    let client = serve::client();
    let file = |key: &str| std::fs::read(site().join(key)).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    // Of 40 visitors, all get the same variant once in 10^12 runs.
    for _ in 0..40 {
        let mut browser = Browser::new();
        let page = browser.open(&client, &format!("{cdn}/"), Fetch::Page).await;
        let variant = page.header("x-variant").to_owned();
        assert_eq!((page.status, &page.body[..]), (StatusCode::OK, &file(&format!("{variant}/index.html"))[..]));
        assert!(set_cookies(&page).iter().all(|cookie| !cookie.contains("Secure")), "http: {:?}", page.headers);
        let variation = if variant == "v1" { "control" } else { "treatment" };
        assert_eq!(browser.cookie(ASSIGNMENTS), format!("sample__0.{variation}"));
        assert_eq!(page.header("server-timing"), format!("nearedge;desc=\"sample.{variation}\""));
        for asset in ["style.css", "test.png", "page.js"] {
            let response = browser.open(&client, &format!("{cdn}/{asset}"), Fetch::Asset).await;
            assert_eq!(response.body, file(&format!("{variant}/{asset}")), "{asset}");
            let link = format!("\"/{asset}\"");
            assert!(page.text().contains(&link), "the page does not refer to {link}");
        }
        let reload = browser.open(&client, &format!("{cdn}/"), Fetch::Page).await;
        assert_eq!((reload.header("x-variant"), set_cookies(&reload)), (&*variant, vec![]));
        let walk_through = browser.open(&client, &format!("{cdn}/index.html"), Fetch::Page).await;
        assert_eq!(walk_through.body, file("index.html"));
        seen.insert(variant);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["v1", "v2"]);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn the_banners_addresses_show_both_sides_of_the_test() {
    let (mut child, _lines, banner) = start(&[]).await;
    let cdn = url_of(&banner, "CDN");
    let test = test_of(&banner);
    assert!(test[0].contains("(sample in experiments.json): each new visitor gets v1 or v2"), "{banner:#?}");
    assert!(test[1].contains("private window"), "{banner:#?}");
    assert_eq!(test[2], format!("{cdn}/?sample=0 or {cdn}/?sample=1."));
    let (client, mut browser) = (serve::client(), Browser::new());
    for (address, variant) in [(0, "v1"), (1, "v2")] {
        let page = browser.open(&client, &format!("{cdn}/?sample={address}"), Fetch::Page).await;
        assert_eq!(page.header("x-variant"), variant);
        let style = browser.open(&client, &format!("{cdn}/style.css"), Fetch::Asset).await;
        assert_eq!(style.header("x-variant"), variant);
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn another_definition_is_read_again_when_it_changes() {
    let folder = folder_of(&["red/index.html", "green/index.html", "index.html"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), DEFINITION).unwrap();
    let arguments = ["--site", text(folder.path()), "--experiments", text(file.path()), "--env", "cache_ttl_secs=0"];
    let (mut child, _lines, banner) = start(&arguments).await;
    let (cdn, console) = (url_of(&banner, "CDN"), url_of(&banner, "console"));
    assert!(test_of(&banner)[0].contains("(colour in experiments.json): each new visitor gets red or green"));
    assert!(banner.iter().any(|line| line.contains("(red, green)")), "the site's variants: {banner:#?}");
    assert_eq!(notes(&banner), [""; 0], "the folders v1 and v2 are not expected");
    let (client, mut browser) = (serve::client(), Browser::new());
    let page = browser.open(&client, &format!("{cdn}/"), Fetch::Page).await;
    let variant = page.header("x-variant").to_owned();
    assert!(["red", "green"].contains(&&*variant), "{:?}", page.headers);
    let direct = browser.open(&client, &format!("{cdn}/green/index.html"), Fetch::Page).await;
    assert_eq!((direct.status, direct.header("apigw-requestid")), (StatusCode::OK, ""), "the CDN serves the folder");

    let counted = async {
        loop {
            let state = browser.clone().open(&client, &format!("{console}/api/state"), Fetch::Script).await;
            let state: Value = serde_json::from_slice(&state.body).unwrap();
            assert_eq!(state["variants"], serde_json::json!(["red", "green"]));
            if state["requests"].get(&*variant).is_some() {
                return state["requests"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            }
        }
    };
    let counted = tokio::time::timeout(std::time::Duration::from_secs(10), counted).await.expect("a metric");
    assert_eq!(counted, [variant], "the variant is not counted as other");
    let dashboard = browser.open(&client, &format!("{console}/api/dashboards/experiment"), Fetch::Script).await;
    assert!(dashboard.text().contains("green") && !dashboard.text().contains("v1"), "{}", dashboard.text());

    std::fs::write(file.path(), r#"{"features": {"test_version": {"defaultValue": "green"}}}"#).unwrap();
    let changed = async {
        while browser.open(&client, &format!("{cdn}/"), Fetch::Page).await.body != "green/index.html" {}
        while Browser::new().open(&client, &format!("{cdn}/"), Fetch::Page).await.body != "green/index.html" {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), changed).await.expect("the new definition");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn the_banner_notes_the_problems_of_a_definition() {
    let cases: [(&str, &[&str], &str); 4] = [
        ("{\n  \"features\": []}", &[], "cannot be used, and no visitor is assigned: line 2, column 15: features:"),
        ("{", &[], "cannot be used, and no visitor is assigned: line 1, column 1: invalid JSON"),
        (DEFINITION, &["--variants", "red,blue"], "green"),
        (DEFINITION, &["--env", "experiments=other.json"], "other.json does not exist, so no visitor is assigned"),
    ];
    for (definition, options, expected) in cases {
        let folder = folder_of(&["red/index.html", "green/index.html", "blue/index.html", "index.html"]);
        std::fs::write(folder.path().join("experiments.json"), definition).unwrap();
        let (mut child, _lines, banner) = start(&[&["--site", text(folder.path())], options].concat()).await;
        assert!(notes(&banner).iter().any(|note| note.contains(expected)), "expected {expected:?} in {banner:#?}");
        let client = serve::client();
        let page = Browser::new().open(&client, &format!("{}/", url_of(&banner, "CDN")), Fetch::Page).await;
        assert_eq!((page.status, page.text(), set_cookies(&page)), (StatusCode::OK, "index.html", vec![]));
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn settings_of_the_command_line_replace_those_of_the_test() {
    for (options, preview, secure) in [
        (&["--env", "experiments="][..], false, false),
        (&["--env", "experiments_preview=false"], false, false),
        (&["--env", "experiments_cookie_secure=true"], true, true),
    ] {
        let (mut child, _lines, banner) = start(options).await;
        let client = serve::client();
        let page = Browser::new().open(&client, &format!("{}/", url_of(&banner, "CDN")), Fetch::Page).await;
        let is_on = !options.contains(&"experiments=");
        assert_eq!(set_cookies(&page).len(), if is_on { 2 } else { 0 }, "{options:?}");
        assert_eq!(set_cookies(&page).iter().any(|cookie| cookie.contains("Secure")), secure, "{options:?}");
        assert_eq!(test_of(&banner).is_empty(), !is_on);
        assert_eq!(banner.iter().any(|line| line.contains("?sample=1")), preview, "{options:?}");
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn an_unusable_experiments_option_is_a_one_line_error() {
    for (arguments, expected) in [
        (&["--experiments", "/nowhere.json"][..], "--experiments /nowhere.json: No such file"),
        (&["--experiments", "/tmp"], "--experiments /tmp: expected a file"),
    ] {
        assert!(error_of(arguments).await.contains(expected));
    }
}
