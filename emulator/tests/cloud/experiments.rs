//! Visitors of a site with a test, by the kind of their requests.

use std::collections::BTreeSet;

use emulator::cloud::Options;
use http::{Method, StatusCode};

use crate::support::{SECRET, TestCloud, TestResponse, door, start};
use crate::visitor::{ASSIGNMENTS, Browser, CHROME, Fetch, ID, Laboratory, eventually, set_cookies};

/// A definition whose default is v3, with a test of v1 and v2, and these members of its rule.
pub(crate) fn definition(members: &str) -> String {
    format!(
        r#"{{"features": {{"test_version": {{"defaultValue": "v3", "rules": [{{"key": "new-checkout", "variations": ["v1", "v2"],
            "hashVersion": 2, "meta": [{{"key": "control"}}, {{"key": "treatment"}}]{members}}}]}}}}}}"#
    )
}

/// Whether the response is for one visitor only.
pub(crate) fn is_private(response: &TestResponse) -> bool {
    response.header("cache-control") == "private, no-store"
}

/// The variant of an answer, which its body and its headers agree on.
pub(crate) fn variant(response: &TestResponse) -> String {
    assert_eq!(response.status, StatusCode::OK, "{:?}", response.headers);
    let variant = response.text().split_once('/').map_or("", |(variant, _)| variant).to_owned();
    assert_eq!(response.header("x-variant"), variant);
    let timing = match &*variant {
        "v1" => "nearedge;desc=\"new-checkout.control\"",
        "v2" => "nearedge;desc=\"new-checkout.treatment\"",
        _ => "",
    };
    assert_eq!(response.header("server-timing"), timing);
    variant
}

/// A cloud with the test, and a browser that has navigated to its page.
async fn visited(env: &[(&str, &str)]) -> (Laboratory, TestCloud, Browser, String) {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory.start(env).await;
    let mut browser = Browser::new();
    let variant = variant(&browser.navigate(&cloud, "/page.html").await);
    (laboratory, cloud, browser, variant)
}

#[tokio::test]
async fn a_new_visitor_gets_two_cookies_and_a_private_page() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory.start(&[]).await;
    let etag = cloud.cdn("/page.html", &[("test_version", "v1")]).await.header("etag").to_owned();
    for (name, value) in [
        ("if-none-match", &*etag),
        ("if-none-match", "*"),
        ("if-modified-since", "Fri, 31 Dec 2100 00:00:00 GMT"),
        ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("if-match", "\"other\""),
        ("range", "bytes=0-1"),
    ] {
        let mut browser = Browser::new();
        let page = browser.send(&cloud, (Method::GET, "/page.html", Fetch::Page), &[(name, value)]).await;
        let variant = variant(&page);
        assert!(is_private(&page), "{name}: {:?}", page.headers);
        assert_eq!(page.text(), format!("{variant}/page.html"), "{name}");
        assert_eq!(page.header("vary"), "test_version, redirect, cookie");
        let [id, assignments] = set_cookies(&page)[..] else { panic!("{:?}", page.headers) };
        let shared = "; Path=/; SameSite=Lax; Max-Age=31536000";
        let parts: Vec<&str> = browser.cookie(ID).split('.').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("1", 22, 4), "{id}");
        assert_eq!(id, format!("nearedge={}{shared}; HttpOnly", browser.cookie(ID)));
        let variation = if variant == "v1" { "control" } else { "treatment" };
        assert_eq!(assignments, format!("nearedge_v=new-checkout__0.{variation}{shared}"));
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_cookies_have_the_attributes_of_the_settings() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory
        .start(&[
            ("experiments_cookie", "ab"),
            ("experiments_cookie_secs", "3600"),
            ("experiments_cookie_domain", "example.com"),
            ("experiments_cookie_secure", "true"),
        ])
        .await;
    let mut browser = Browser::new();
    let page = browser.navigate(&cloud, "/").await;
    let shared = "; Path=/; SameSite=Lax; Secure; Domain=example.com; Max-Age=3600";
    assert_eq!(
        set_cookies(&page),
        [format!("ab={}{shared}; HttpOnly", browser.cookie("ab")), format!("ab_v={}{shared}", browser.cookie("ab_v")),]
    );
    let expected = variant(&page);
    assert_eq!(variant(&browser.get(&cloud, "/logo.png", Fetch::Asset).await), expected);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_malformed_id_makes_a_new_visitor() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory.start(&[]).await;
    for id in
        ["", "1", "1.short.", "2.AAECAwQFBgcICQoLDA0ODw.", "1.AAECAwQFBgcICQoLDA0OD*.", "1.AAECAwQFBgcICQoLDA0ODw.x"]
    {
        let mut browser = Browser::new();
        browser.jar.insert(ID.to_owned(), id.to_owned());
        browser.jar.insert(ASSIGNMENTS.to_owned(), "new-checkout__0.treatment".to_owned());
        let asset = browser.get(&cloud, "/style.css", Fetch::Asset).await;
        assert_eq!((variant(&asset), is_private(&asset), set_cookies(&asset)), ("v3".to_owned(), true, vec![]), "{id}");
        let page = browser.navigate(&cloud, "/page.html").await;
        assert_eq!((set_cookies(&page).len(), is_private(&page)), (2, true), "{id}");
        assert_ne!(browser.cookie(ID), id);
        assert_ne!(variant(&page), "v3");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_returning_visitor_gets_the_same_and_no_cookies() {
    let (_laboratory, cloud, mut browser, expected) = visited(&[]).await;
    let page = browser.navigate(&cloud, "/page.html").await;
    assert_eq!((variant(&page), set_cookies(&page)), (expected.clone(), vec![]));
    assert_eq!((page.header("cache-control"), page.header("vary")), ("", "test_version, redirect, cookie"));
    let etag = page.header("etag").to_owned();
    let get = (Method::GET, "/page.html", Fetch::Page);
    let unchanged = browser.send(&cloud, get.clone(), &[("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status, unchanged.header("x-variant")), (StatusCode::NOT_MODIFIED, &*expected));
    let part = browser.send(&cloud, get, &[("range", "bytes=0-1")]).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, &*expected));
    for fetch in [Fetch::Frame, Fetch::Prefetch, Fetch::Asset, Fetch::Script] {
        for path in ["/page.html", "/style.css", "/logo.png", "/"] {
            let response = browser.get(&cloud, path, fetch).await;
            assert_eq!((variant(&response), set_cookies(&response)), (expected.clone(), vec![]), "{fetch:?} {path}");
            assert!(!is_private(&response), "{fetch:?} {path}");
        }
    }
    let head = browser.send(&cloud, (Method::HEAD, "/page.html", Fetch::Page), &[]).await;
    assert_eq!((head.header("x-variant"), head.body.len(), set_cookies(&head)), (&*expected, 0, vec![]));
    cloud.shut_down().await;
}

#[tokio::test]
async fn other_requests_of_an_unknown_visitor_get_the_default() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory.start(&[]).await;
    let mut browser = Browser::new();
    for fetch in [Fetch::Prefetch, Fetch::Asset, Fetch::Script] {
        let response = browser.get(&cloud, "/page.html", fetch).await;
        assert_eq!(variant(&response), "v3", "{fetch:?}");
        assert!(is_private(&response), "{fetch:?}: an id could change the answer");
        assert_eq!(set_cookies(&response), [""; 0], "{fetch:?}");
    }
    let purpose = browser.send(&cloud, (Method::GET, "/", Fetch::Page), &[("purpose", "prefetch")]).await;
    assert_eq!((variant(&purpose), set_cookies(&purpose)), ("v3".to_owned(), vec![]));
    let head = browser.send(&cloud, (Method::HEAD, "/page.html", Fetch::Page), &[]).await;
    assert_eq!((head.header("x-variant"), is_private(&head), set_cookies(&head)), ("v3", true, vec![]));
    cloud.shut_down().await;
}

#[tokio::test]
async fn iframes_and_old_browsers_navigate_too() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory.start(&[]).await;
    let frame = Browser::new().get(&cloud, "/page.html", Fetch::Frame).await;
    assert_eq!((set_cookies(&frame).len(), is_private(&frame)), (2, true));
    // Without Sec-Fetch-Dest, the header Accept decides.
    for (accept, cookies) in [("text/html,*/*;q=0.8", 2), ("*/*", 0), ("image/png", 0)] {
        let response = cloud.cdn("/page.html", &[("user-agent", CHROME), ("accept", accept)]).await;
        assert_eq!(set_cookies(&response).len(), cookies, "{accept}");
    }
    let script = [("user-agent", CHROME), ("accept", "text/html"), ("sec-fetch-dest", "empty")];
    assert_eq!(set_cookies(&cloud.cdn("/page.html", &script).await).len(), 0, "a script that fetches HTML");
    cloud.shut_down().await;
}

#[tokio::test]
async fn bots_get_the_default_and_no_cookies() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = laboratory.start(&[("experiments_bots", "Acme-Monitor, other")]).await;
    for user_agent in [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        "curl/8.5.0",
        "acme-monitor/1.0",
    ] {
        let mut bot = Browser::with_user_agent(user_agent);
        let page = bot.navigate(&cloud, "/page.html").await;
        assert_eq!(
            (variant(&page), set_cookies(&page), is_private(&page)),
            ("v3".to_owned(), vec![], true),
            "{user_agent}"
        );
    }
    // A visitor stays one, whatever the user agent says later.
    let mut browser = Browser::new();
    let expected = variant(&browser.navigate(&cloud, "/page.html").await);
    browser.headers.clear();
    let page = browser.send(&cloud, (Method::GET, "/page.html", Fetch::Page), &[("user-agent", "curl/8")]).await;
    assert_eq!((variant(&page), set_cookies(&page)), (expected, vec![]));
    cloud.shut_down().await;
}

#[tokio::test]
async fn consent_starts_the_test_and_its_withdrawal_ends_it() {
    for (setting, value) in [("ok", "anything"), ("ok=yes", "yes")] {
        let laboratory = Laboratory::new(&definition(""));
        let cloud = laboratory.start(&[("experiments_consent", setting)]).await;
        let mut browser = Browser::new();
        for refused in [None, Some("no")].into_iter().filter(|refused| setting != "ok" || refused.is_none()) {
            browser.jar.extend(refused.map(|refused| ("ok".to_owned(), refused.to_owned())));
            let page = browser.navigate(&cloud, "/page.html").await;
            assert_eq!((variant(&page), set_cookies(&page), is_private(&page)), ("v3".to_owned(), vec![], true));
        }
        browser.jar.insert("ok".to_owned(), value.to_owned());
        let page = browser.navigate(&cloud, "/page.html").await;
        assert_eq!((set_cookies(&page).len(), is_private(&page)), (2, true), "consent is given later");
        let given = variant(&page);
        assert_ne!(given, "v3");
        assert_eq!(variant(&browser.get(&cloud, "/style.css", Fetch::Asset).await), given);
        browser.jar.remove("ok");
        let asset = browser.get(&cloud, "/style.css", Fetch::Asset).await;
        assert_eq!(
            (variant(&asset), set_cookies(&asset)),
            ("v3".to_owned(), vec![]),
            "only a navigation expires cookies"
        );
        let page = browser.navigate(&cloud, "/page.html").await;
        let shared = "; Path=/; SameSite=Lax; Max-Age=0";
        assert_eq!(set_cookies(&page), [format!("nearedge={shared}; HttpOnly"), format!("nearedge_v={shared}")]);
        assert_eq!((variant(&page), is_private(&page), browser.jar.len()), ("v3".to_owned(), true, 0));
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn an_added_experiment_is_a_new_exposure_of_the_same_visitor() {
    let (laboratory, cloud, mut browser, expected) = visited(&[]).await;
    let (id, before) = (browser.cookie(ID).to_owned(), browser.cookie(ASSIGNMENTS).to_owned());
    // A holdout before the test: its variations leave the decision to the next rule.
    let second = r#"{"key": "holdout", "variations": ["v1", "v2"], "hashVersion": 2,
        "meta": [{"key": "in", "passthrough": true}, {"key": "out", "passthrough": true}]}, {"key": "new-checkout""#;
    laboratory.define(definition("").replace(r#"{"key": "new-checkout""#, second));
    eventually("the new experiment assigns new visitors", async || {
        let mut other = Browser::new();
        other.navigate(&cloud, "/page.html").await;
        !other.variation("holdout").is_empty()
    })
    .await;
    // The other environment may still have the old definition.
    let mut asset = browser.get(&cloud, "/style.css", Fetch::Asset).await;
    eventually("both environments have the new definition", async || {
        asset = browser.get(&cloud, "/style.css", Fetch::Asset).await;
        let second = browser.get(&cloud, "/style.css", Fetch::Asset).await;
        asset.header("server-timing").contains("holdout") && second.header("server-timing").contains("holdout")
    })
    .await;
    assert_eq!((set_cookies(&asset), is_private(&asset)), (vec![], true), "an asset counts nothing");
    let page = browser.navigate(&cloud, "/page.html").await;
    assert_eq!((page.header("x-variant"), is_private(&page), set_cookies(&page).len()), (&*expected, true, 2));
    assert_eq!(browser.cookie(ID)[..24], id[..24], "the id stays");
    assert_eq!(browser.cookie(ID).len(), id.len() + 4, "both exposures are counted");
    assert_eq!(browser.cookie(ASSIGNMENTS), format!("holdout__0.{}~{before}", browser.variation("holdout")));
    let page = browser.navigate(&cloud, "/page.html").await;
    assert_eq!((page.header("x-variant"), is_private(&page), set_cookies(&page)), (&*expected, false, vec![]));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_requests_own_version_wins_and_is_logged_as_forced() {
    let (_laboratory, cloud, mut browser, _) = visited(&[]).await;
    for forced in ["v1", "v2", "v3"] {
        let page = browser.send(&cloud, (Method::GET, "/page.html", Fetch::Page), &[("test_version", forced)]).await;
        assert_eq!((page.text(), page.header("server-timing")), (&*format!("{forced}/page.html"), ""));
        assert_eq!((set_cookies(&page), is_private(&page)), (vec![], false));
    }
    cloud.wait_for_logs(3, |line| line.contains("\"assigned\":\"forced\"")).await;
    let malformed = browser.send(&cloud, (Method::GET, "/", Fetch::Page), &[("test_version", "../v1")]).await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
    cloud.shut_down().await;
}

#[tokio::test]
async fn conditions_use_the_headers_that_the_cdn_forwards() {
    let members = r#", "condition": {"country": {"$in": ["CN", "HK"]}, "bot": false, "query.ref": {"$ne": "x"}}"#;
    let laboratory = Laboratory::new(&definition(members));
    let cloud = laboratory.start(&[]).await;
    for (country, path, takes_part) in [
        ("CN", "/page.html", true),
        ("HK", "/page.html?ref=y", true),
        ("DE", "/page.html", false),
        ("CN", "/page.html?ref=x", false),
    ] {
        let mut browser = Browser::new().with("cloudfront-viewer-country", country);
        let page = browser.navigate(&cloud, path).await;
        assert_eq!(variant(&page) != "v3", takes_part, "{country} {path}");
        assert!(is_private(&page) && set_cookies(&page).len() == 2, "everybody gets an id");
        let again = browser.navigate(&cloud, path).await;
        assert!(is_private(&again) && set_cookies(&again).is_empty(), "the country is not in a cache key");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn no_cookie_makes_an_error() {
    let (_laboratory, cloud, browser, expected) = visited(&[]).await;
    let id = browser.cookie(ID).to_owned();
    let many = |pair: &str, times: usize| vec![pair; times].join("; ");
    let cookies = [
        many("nearedge=1.AAECAwQFBgcICQoLDA0ODw.", 200),
        many("nearedge_v=new-checkout__0.control", 200),
        format!("{}; nearedge={id}", many("a=b", 1_900)),
        format!("nearedge={id}; nearedge_v={}", "x".repeat(9_000)),
        format!("nearedge={id}; nearedge_v={}", many("new-checkout__0.treatment", 1).repeat(200)),
        format!("nearedge={}", "A".repeat(9_900)),
        "nearedge=1.%00%00.; nearedge_v=%".to_owned(),
        "nearedge=\"1.AAECAwQFBgcICQoLDA0ODw.\"; nearedge_v=\"new-checkout__0.treatment\"".to_owned(),
        "nearedge; nearedge_v; =; ;;; nearedge==1".to_owned(),
        format!("nearedge={id}; nearedge_v=new-checkout__0.nothing~gone__0.1~~.__"),
        format!("nearedge={id}; nearedge_v=new-checkout__99999999999999999999.treatment"),
        format!("nearedge=1.AAECAwQFBgcICQoLDA0ODw.{}", "abcdef".repeat(1_000)),
    ];
    for cookie in &cookies {
        for (fetch, path) in [(Fetch::Page, "/page.html"), (Fetch::Asset, "/style.css")] {
            let mut hostile = Browser::new();
            let response = hostile.send(&cloud, (Method::GET, path, fetch), &[("cookie", cookie)]).await;
            assert_eq!(response.status, StatusCode::OK, "{cookie:.80}");
            variant(&response);
            assert!(response.headers.get_all("set-cookie").iter().all(|set| set.len() < 1_024));
        }
    }
    // More than 10,240 bytes in one header is an API's limit.
    let mut hostile = Browser::new();
    let huge = format!("a={}; nearedge={id}", "x".repeat(10_240));
    let refused = hostile.send(&cloud, (Method::GET, "/page.html", Fetch::Page), &[("cookie", &huge)]).await;
    assert_eq!(refused.status.is_client_error(), door().header_bytes_max().is_some(), "{}", refused.status);
    let mut browser = browser;
    assert_eq!(variant(&browser.navigate(&cloud, "/page.html").await), expected);
    cloud.shut_down().await;
}

#[tokio::test]
async fn visitors_keep_their_side_in_four_environments_and_after_a_restart() {
    let laboratory = Laboratory::new(&definition(""));
    let mut visitors: Vec<(Browser, String)> = Vec::new();
    for _ in 0..2 {
        let options = Options { environments: 4, freeze: false, ..laboratory.options(&[]) };
        let cloud = start(options).await;
        if visitors.is_empty() {
            for _ in 0..24 {
                let mut browser = Browser::new();
                let variant = variant(&browser.navigate(&cloud, "/page.html").await);
                visitors.push((browser, variant));
            }
            let seen: BTreeSet<&String> = visitors.iter().map(|(_, variant)| variant).collect();
            assert_eq!(seen.len(), 2, "both sides are seen");
        }
        let all = visitors.iter().map(|(browser, expected)| {
            let (cloud, mut browser) = (&cloud, browser.clone());
            async move {
                for (path, fetch) in [("/page.html", Fetch::Page), ("/style.css", Fetch::Asset), ("/", Fetch::Page)] {
                    let response = browser.get(cloud, path, fetch).await;
                    assert_eq!((&variant(&response), set_cookies(&response)), (expected, vec![]));
                }
            }
        });
        futures_util::future::join_all(all).await;
        assert!(cloud.cloud.lambda.started() > 1, "several environments have answered");
        // Deleted assignments are the same again, by the id.
        for (browser, expected) in &visitors {
            let mut browser = browser.clone();
            browser.jar.remove(ASSIGNMENTS);
            assert_eq!(&variant(&browser.get(&cloud, "/style.css", Fetch::Asset).await), expected);
            let page = browser.navigate(&cloud, "/page.html").await;
            assert_eq!((&variant(&page), set_cookies(&page).len()), (expected, 2));
        }
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn the_secret_is_needed_for_a_visit_too() {
    let (_laboratory, cloud, browser, expected) = visited(&[]).await;
    let cookies = format!("nearedge={}; nearedge_v={}", browser.cookie(ID), browser.cookie(ASSIGNMENTS));
    let headers = [("accept", "text/html"), ("cookie", &*cookies)];
    let forbidden = cloud.api("/page.html", &headers).await;
    assert_eq!((forbidden.status, set_cookies(&forbidden)), (StatusCode::FORBIDDEN, vec![]));
    let page = cloud.api("/page.html", &[&headers[..], &[SECRET]].concat()).await;
    assert_eq!(variant(&page), expected);
    cloud.shut_down().await;
}
