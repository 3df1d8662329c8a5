//! Definitions that are broken, missing, refused, too large or slow, and what visitors notice of a change.

use std::sync::atomic::{AtomicBool, Ordering};

use emulator::cloud::Options;
use emulator::fault::{Fault, Faults, S3Fault};
use http::StatusCode;

use crate::experiments::{definition, is_private, variant};
use crate::support::{TestCloud, start, start_with};
use crate::visitor::{ASSIGNMENTS, Browser, Fetch, Laboratory, eventually, set_cookies};

/// One environment, so that each request is followed by a load in it.
fn one_environment(laboratory: &Laboratory, env: &[(&str, &str)]) -> Options {
    Options { environments: 1, ..laboratory.options(env) }
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// The number of log lines with this text.
fn logged(cloud: &TestCloud, text: &str) -> usize {
    cloud.journal.lines().iter().filter(|line| line.contains(text)).count()
}

/// The site answers, and nobody is assigned: everybody gets the objects without a version.
async fn expect_nobody_assigned(cloud: &TestCloud) {
    for fetch in [Fetch::Page, Fetch::Asset] {
        let response = Browser::new().get(cloud, "/page.html", fetch).await;
        assert_eq!((response.status, response.text()), (StatusCode::OK, "page.html"));
        assert_eq!((set_cookies(&response), is_private(&response)), (vec![], true), "{fetch:?}");
    }
}

/// Waits until a visitor is assigned.
async fn expect_recovery(cloud: &TestCloud) {
    eventually("visitors are assigned", async || {
        let page = Browser::new().navigate(cloud, "/page.html").await;
        assert_eq!(page.status, StatusCode::OK);
        page.text() == "v1/page.html" || page.text() == "v2/page.html"
    })
    .await;
}

const CANNOT: &str = "experiments: the definition cannot be used, and";

#[tokio::test]
async fn a_broken_definition_at_the_start_assigns_nobody_until_it_is_fixed() {
    let list = "v1,".repeat(60_000);
    for (text, expected) in [
        ("{\n \"features\": {,}}", "line 2, column 15: invalid JSON: key must be a string: correct the syntax"),
        ("[]", "line 1, column 1: the definition is not a JSON object"),
        (
            "{\"features\":\n {\"test_version\": {\"defaultValue\": 7}}}",
            "line 2, column 36: features.test_version.defaultValue: a version is a string or null, not a number",
        ),
        ("{\"encryptedFeatures\": \"x\"}", "the features are encrypted: export them unencrypted"),
        (
            "{\"features\": {\"test_version\": {\"rules\": [{\"force\": \"../v1\"}]}}}",
            "features.test_version.rules[0].force: \"../v1\" is not a version",
        ),
        (
            &*format!("{{\"features\": {{\"test_version\": {{\"rules\": [{}]}}}}}}", "{},".repeat(1_000) + "{}"),
            "has 1001 rules and experiments, more than 1000",
        ),
        (
            &*format!("{{\"features\": {{\"{list}\": {{}}}}, \"{list}\": {{\"x\": \"{}\"}}}}", "x".repeat(1 << 20)),
            "bytes, more than 1048576",
        ),
        (&*"[".repeat(100_000), "recursion limit exceeded"),
        ("\u{feff}{}", "line 1, column 1"),
    ] {
        let laboratory = Laboratory::new(text);
        let cloud = start(one_environment(&laboratory, &[])).await;
        expect_nobody_assigned(&cloud).await;
        cloud.wait_for_log(|line| line.contains(CANNOT)).await;
        let lines = cloud.journal.lines();
        let line = lines.iter().find(|line| line.contains(CANNOT)).unwrap();
        assert!(line.replace('\\', "").contains(expected), "expected {expected:?} in {line:.900}");
        assert!(line.contains("\"level\":\"ERROR\"") && line.contains("and no visitor is assigned"), "{line:.600}");
        cloud.wait_for_log(|line| line.contains("\"DefinitionErrors\":")).await;
        laboratory.define(definition(""));
        expect_recovery(&cloud).await;
        assert_eq!(logged(&cloud, CANNOT), 1, "a problem is logged once");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn a_missing_or_refused_definition_assigns_nobody_until_it_can_be_read() {
    const MISSING: &str = "the object does not exist, or the role may not read it: upload it";
    for (is_there, refusal, expected) in [
        (false, None, MISSING),
        (false, Some("s3-refuse=list-denied:experiments.json"), MISSING),
        // S3 answers a missing key like this too.
        (true, Some("s3-refuse=denied:experiments.json"), MISSING),
        (true, Some("s3-refuse=explicit-deny:experiments.json"), "AccessDenied"),
        (true, Some("s3-refuse=kms-denied:experiments.json"), "kms:Decrypt"),
        (true, Some("s3-refuse=archived:experiments.json"), "InvalidObjectState"),
    ] {
        let laboratory = Laboratory::new(&if is_there { definition("") } else { String::new() });
        let options = one_environment(&laboratory, &[]);
        let faults = Faults::default();
        faults.set(refusal.map(fault).into_iter().collect());
        let cloud = start_with(options, faults).await;
        expect_nobody_assigned(&cloud).await;
        cloud.wait_for_log(|line| line.contains(CANNOT)).await;
        let lines = cloud.journal.lines();
        let line = lines.iter().find(|line| line.contains(CANNOT)).unwrap();
        assert!(line.contains(expected), "{refusal:?}: expected {expected:?} in {line}");
        cloud.cloud.faults.set(Vec::new());
        laboratory.define(definition(""));
        expect_recovery(&cloud).await;
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn the_last_good_definition_stays_active() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = start(one_environment(&laboratory, &[])).await;
    let mut browser = Browser::new();
    let expected = variant(&browser.navigate(&cloud, "/page.html").await);
    let large = format!("{{\"features\": {{}}, \"x\": \"{}\"}}", "x".repeat(2 << 20));
    type Break<'a> = (&'a str, Box<dyn Fn(&Laboratory, &TestCloud) + 'a>);
    let breaks: [Break<'_>; 8] = [
        ("invalid JSON", Box::new(|laboratory, _| laboratory.define("{"))),
        ("it is not UTF-8", Box::new(|laboratory, _| laboratory.define(b"{\"\xff\": 1}"))),
        ("bytes, more than 1048576", Box::new(|laboratory, _| laboratory.define(&large))),
        ("does not exist", Box::new(|laboratory, _| laboratory.undefine())),
        (
            "AccessDenied",
            Box::new(|_, cloud| cloud.cloud.faults.set(vec![fault("s3-refuse=explicit-deny:experiments.json")])),
        ),
        (
            "InvalidObjectState",
            Box::new(|_, cloud| cloud.cloud.faults.set(vec![fault("s3-refuse=archived:experiments.json")])),
        ),
        ("KMS", Box::new(|_, cloud| cloud.cloud.faults.set(vec![fault("s3-refuse=kms-disabled:experiments.json")]))),
        ("the definition is not a JSON object", Box::new(|laboratory, _| laboratory.define("7"))),
    ];
    for (what, break_it) in breaks {
        break_it(&laboratory, &cloud);
        let before = logged(&cloud, CANNOT);
        eventually(what, async || {
            let page = browser.navigate(&cloud, "/page.html").await;
            assert_eq!((variant(&page), set_cookies(&page)), (expected.clone(), vec![]), "{what}");
            logged(&cloud, CANNOT) > before
        })
        .await;
        let lines = cloud.journal.lines();
        let line = lines.iter().rfind(|line| line.contains(CANNOT)).unwrap();
        assert!(
            line.contains(what) && line.contains("and the last good definition stays active"),
            "{what}: {line:.600}"
        );
        assert_eq!(set_cookies(&Browser::new().navigate(&cloud, "/page.html").await).len(), 2, "{what}: new visitors");
        cloud.cloud.faults.set(Vec::new());
        // A fixed definition is active after one more request.
        laboratory.define(r#"{"features": {"test_version": {"defaultValue": "v3"}}}"#);
        eventually("the fixed definition is active", async || {
            browser.clone().navigate(&cloud, "/page.html").await.text() == "v3/page.html"
        })
        .await;
        laboratory.define(definition(""));
        expect_recovery(&cloud).await;
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_hanging_s3_leaves_the_definition_active() {
    // The site is cached, and only the definition is requested again.
    let laboratory = Laboratory::new(&definition(""));
    let env = [("cache_ttl_secs", "1"), ("stale_if_error_secs", "300")];
    let cloud = start(one_environment(&laboratory, &env)).await;
    let mut browser = Browser::new();
    let expected = variant(&browser.navigate(&cloud, "/page.html").await);
    for version in ["v1", "v2"] {
        // A new visitor may get either page, and S3 returns none of them later.
        Browser::new().with("test_version", version).navigate(&cloud, "/page.html").await;
    }
    cloud.cloud.faults.set_s3(Some(S3Fault::Hang));
    // The function caches the definition as it does the page: both have expired then.
    eventually("an expired page is served", async || {
        let page = browser.navigate(&cloud, "/page.html").await;
        assert_eq!((variant(&page), set_cookies(&page)), (expected.clone(), vec![]));
        logged(&cloud, "\"cache\":\"stale\"") >= 2
    })
    .await;
    assert_eq!(set_cookies(&Browser::new().navigate(&cloud, "/page.html").await).len(), 2, "new visitors are assigned");
    cloud.cloud.faults.set_s3(None);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_start_without_s3_ends_and_recovers() {
    let laboratory = Laboratory::new(&definition(""));
    let faults = Faults::default();
    faults.set_s3(Some(S3Fault::Hang));
    let cloud = start_with(one_environment(&laboratory, &[]), faults).await;
    cloud.cloud.faults.set_s3(None);
    eventually("the site answers, and visitors are assigned", async || {
        let page = Browser::new().navigate(&cloud, "/page.html").await;
        set_cookies(&page).len() == 2
    })
    .await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_change_under_load_makes_no_error_and_moves_nobody() {
    let laboratory = Laboratory::new(&definition(r#", "coverage": 0.1"#));
    let options = Options { environments: 4, freeze: false, ..laboratory.options(&[]) };
    let cloud = start(options).await;
    let stop = AtomicBool::new(false);
    let visitors = (0..8).map(|_| async {
        let mut checked = 0;
        while !stop.load(Ordering::SeqCst) {
            let mut browser = Browser::new();
            let mut assigned = None;
            for (path, fetch) in [
                ("/page.html", Fetch::Page),
                ("/style.css", Fetch::Asset),
                ("/", Fetch::Page),
                ("/logo.png", Fetch::Asset),
            ] {
                let response = browser.get(&cloud, path, fetch).await;
                assert_eq!(response.status, StatusCode::OK, "{:?}", response.headers);
                let variant = variant(&response);
                if let Some(assigned) = &assigned {
                    assert_eq!(&variant, assigned, "a participant has moved");
                } else if !browser.cookie(ASSIGNMENTS).is_empty() {
                    assigned = Some(variant);
                }
                checked += 1;
            }
        }
        checked
    });
    let changes = async {
        for round in 0..30 {
            laboratory.define(match round % 5 {
                0 => definition(r#", "coverage": 0.3"#),
                1 => "{ broken".to_owned(),
                2 => definition(r#", "coverage": 0.6"#),
                3 => format!("{}{}", definition(r#", "coverage": 0.6"#), " ".repeat(round)),
                _ => definition(""),
            });
            let before = cloud.journal.lines().len();
            eventually("more requests", async || {
                tokio::task::yield_now().await;
                cloud.journal.lines().len() > before + 20
            })
            .await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (checked, ()) = tokio::join!(futures_util::future::join_all(visitors), changes);
    assert!(checked.iter().sum::<i32>() > 150, "{checked:?}");
    expect_recovery(&cloud).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_ramp_up_moves_no_participant() {
    let laboratory = Laboratory::new(&definition(r#", "coverage": 0.1"#));
    let cloud = start(one_environment(&laboratory, &[])).await;
    let mut visitors: Vec<(Browser, String)> = Vec::new();
    for _ in 0..150 {
        let mut browser = Browser::new();
        let variant = variant(&browser.navigate(&cloud, "/page.html").await);
        visitors.push((browser, variant));
    }
    let participants = |visitors: &[(Browser, String)]| visitors.iter().filter(|(_, variant)| variant != "v3").count();
    let mut before = participants(&visitors);
    // 15 are expected; the probability of a number outside of this range is about 10^-6.
    assert!((1..=40).contains(&before), "{before}");
    for coverage in ["0.4", "0.7", "1"] {
        laboratory.define(definition(&format!(", \"coverage\": {coverage}")));
        // Its load follows the next event.
        Browser::new().navigate(&cloud, "/page.html").await;
        for (browser, expected) in &mut visitors {
            let page = browser.navigate(&cloud, "/page.html").await;
            let variant = variant(&page);
            assert!(*expected == "v3" || *expected == variant, "{expected} became {variant} at {coverage}");
            *expected = variant;
        }
        let now = participants(&visitors);
        assert!(now > before, "{now} participants at {coverage}, {before} before");
        before = now;
    }
    assert_eq!(before, 150);
    cloud.shut_down().await;
}
