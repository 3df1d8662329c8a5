//! Previews, which the address of a page requests, and experiments that redirect to other addresses.

use emulator::cloud::Options;
use emulator::gateway::door::Door;
use http::{Method, StatusCode};

use crate::experiments::{definition, is_private, variant};
use crate::support::{TestResponse, door, start};
use crate::visitor::{ASSIGNMENTS, Browser, Fetch, ID, Laboratory, set_cookies};

#[tokio::test]
async fn a_preview_is_for_the_page_its_assets_and_one_browser_session() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory.start(&[("experiments_preview", "true")]).await;
    let mut browser = Browser::new();
    for (index, variation, expected) in [(1, "treatment", "v2"), (0, "control", "v1"), (1, "treatment", "v2")] {
        let page = browser.navigate(&cloud, &format!("/page.html?a=b&new-checkout={index}")).await;
        assert_eq!((variant(&page), is_private(&page)), (expected.to_owned(), true));
        let [id, assignments] = set_cookies(&page)[..] else { panic!("{:?}", page.headers) };
        assert!(id.contains("Max-Age=31536000"), "{id}");
        assert_eq!(
            assignments,
            format!("nearedge_v=new-checkout__0.{variation}; Path=/; SameSite=Lax"),
            "a session cookie"
        );
        for (path, fetch) in [("/style.css", Fetch::Asset), ("/page.html", Fetch::Page), ("/", Fetch::Script)] {
            let response = browser.get(&cloud, path, fetch).await;
            assert_eq!((variant(&response), set_cookies(&response)), (expected.to_owned(), vec![]), "{path}");
        }
    }
    // After the session, the id decides, and the exposure is not counted any more. The mark of the preview is dropped.
    let during = browser.cookie(ID).to_owned();
    browser.jar.remove(ASSIGNMENTS);
    let page = browser.navigate(&cloud, "/page.html").await;
    let (id, marks) = browser.cookie(ID).rsplit_once('.').unwrap();
    assert!(
        during.starts_with(id)
            && during.contains(marks)
            && !marks.is_empty()
            && during.len() > browser.cookie(ID).len()
    );
    assert!(set_cookies(&page).iter().all(|cookie| cookie.contains("Max-Age")), "{:?}", page.headers);
    assert_eq!(variant(&browser.navigate(&cloud, "/page.html").await), variant(&page));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_preview_shows_nothing_that_the_definition_lacks() {
    let laboratory = Laboratory::new(&definition(r#", "coverage": 0"#));
    let cloud = laboratory.start(&[("experiments_preview", "true")]).await;
    for query in ["new-checkout=2", "new-checkout=-1", "new-checkout=", "new-checkout=x", "other=1", "NEW-CHECKOUT=1"] {
        let page = Browser::new().navigate(&cloud, &format!("/page.html?{query}")).await;
        assert_eq!(variant(&page), "v3", "{query}");
    }
    let shown = Browser::new().navigate(&cloud, "/page.html?new-checkout=1").await;
    assert_eq!(variant(&shown), "v2", "a preview needs no coverage");
    // An asset can be previewed by its own address, and sets nothing.
    let asset = Browser::new().get(&cloud, "/style.css?new-checkout=1", Fetch::Asset).await;
    assert_eq!((variant(&asset), is_private(&asset), set_cookies(&asset)), ("v2".to_owned(), true, vec![]));
    cloud.shut_down().await;
}

#[tokio::test]
async fn without_the_setting_an_address_previews_nothing() {
    let laboratory = Laboratory::new(&definition(r#", "weights": [1, 0]"#));
    let cloud = laboratory.start(&[]).await;
    let page = Browser::new().navigate(&cloud, "/page.html?new-checkout=1").await;
    assert_eq!(variant(&page), "v1");
    cloud.shut_down().await;
}

/// A definition that redirects everybody from /page.html, with these members, and gives v3 otherwise.
fn redirecting(address: &str, members: &str) -> String {
    format!(
        r#"{{"features": {{"test_version": {{"defaultValue": "v3"}}}}, "experiments": [{{"key": "move",
            "variations": [{{}}, {{"urlRedirect": "{address}"}}], "weights": [0, 1], "hashVersion": 2,
            "urlPatterns": [{{"type": "simple", "pattern": "/page.html"}}]{members}}}]}}"#
    )
}

/// The Location of a response; empty without a redirect.
fn location(response: &TestResponse) -> &str {
    assert!(matches!(response.status, StatusCode::OK | StatusCode::FOUND), "{}", response.status);
    assert_eq!(response.status == StatusCode::FOUND, !response.header("location").is_empty());
    response.header("location")
}

#[tokio::test]
async fn a_redirect_experiment_sends_navigations_elsewhere() {
    for (members, expected) in [
        ("", "https://shop.example/new.html?x=0"),
        (r#", "persistQueryString": true"#, "https://shop.example/new.html?x=0&utm_source=a&b=%20c"),
    ] {
        let laboratory = Laboratory::new(&redirecting("https://shop.example/new.html?x=0", members));
        let cloud = laboratory.start(&[]).await;
        let mut browser = Browser::new();
        for cookies in [2, 0] {
            let redirect = browser.navigate(&cloud, "/page.html?utm_source=a&b=%20c&x=1").await;
            let mut found = location(&redirect).replace("b=+c", "b=%20c");
            if let Door::Rest { .. } | Door::Alb { .. } = door() {
                // They hand over the parameters in another order.
                found = found.replace("b=%20c&utm_source=a", "utm_source=a&b=%20c");
            }
            assert_eq!(found, expected, "{members}");
            assert_eq!((is_private(&redirect), set_cookies(&redirect).len()), (true, cookies));
            assert_eq!(redirect.header("server-timing"), "nearedge;desc=\"move.1\"");
            assert!(redirect.header("vary").contains("cookie"));
        }
        assert_eq!(browser.variation("move"), "1");
        for (path, fetch) in [
            ("/page.html", Fetch::Script),
            ("/page.html", Fetch::Asset),
            ("/page.html", Fetch::Prefetch),
            ("/style.css", Fetch::Asset),
            ("/index.html", Fetch::Page),
        ] {
            let response = browser.get(&cloud, path, fetch).await;
            assert_eq!((location(&response), response.header("x-variant")), ("", "v3"), "{path} {fetch:?}");
        }
        let head = browser.send(&cloud, (Method::HEAD, "/page.html", Fetch::Page), &[]).await;
        assert_eq!(location(&head), "");
        let bot = Browser::with_user_agent("curl/8.5.0").navigate(&cloud, "/page.html").await;
        assert_eq!((location(&bot), is_private(&bot)), ("", true), "a bot is not redirected");
        let frame = Browser::new().get(&cloud, "/page.html", Fetch::Frame).await;
        assert_eq!(location(&frame), "https://shop.example/new.html?x=0");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_redirect_never_leads_to_itself() {
    // The site is the CDN's own address, which is known after the start.
    let laboratory = Laboratory::new(&definition(""));
    let cloud = start(Options { environments: 1, ..laboratory.options(&[]) }).await;
    let site = format!("http://{}", cloud.cloud.edge);
    for (address, path, expected) in [
        ("/page.html", "/page.html", ""),
        ("/page.html?a=1", "/page.html?a=1", ""),
        // The target is a page of the same experiment, so it would redirect again.
        ("/page.html?a=1", "/page.html", ""),
        ("/index.html", "/page.html", "/index.html"),
    ] {
        laboratory.define(redirecting(&format!("{site}{address}"), ""));
        let expected = if expected.is_empty() { String::new() } else { format!("{site}{expected}") };
        // The only environment loads the definition after an event, before the next one.
        Browser::new().navigate(&cloud, "/style.css").await;
        for _ in 0..4 {
            let mut browser = Browser::new();
            let page = browser.navigate(&cloud, path).await;
            assert_eq!(location(&page), expected, "{address} from {path}");
        }
    }
    cloud.shut_down().await;
}
