//! Visitors behind a CDN that caches: none gets what belongs to another one.

use emulator::cloud::{Caching, Options};
use futures_util::StreamExt;
use http::Method;

use crate::experiments::{definition, is_private, variant};
use crate::support::{TestCloud, TestResponse, start};
use crate::visitor::{ASSIGNMENTS, Browser, Fetch, ID, Laboratory, set_cookies};

/// Settings with which the function requests no object twice in a test.
const CACHED: (&str, &str) = ("cache_ttl_secs", "3600");

fn caching(laboratory: &Laboratory, env: &[(&str, &str)]) -> Options {
    let env: Vec<_> = [CACHED].into_iter().chain(env.iter().copied()).collect();
    Options { caching: Caching::On, environments: 4, freeze: false, ..laboratory.options(&env) }
}

/// Whether the CDN has answered from its cache, perhaps after a revalidation. Such an answer has no cookies, and is for every visitor with its key.
fn is_hit(response: &TestResponse) -> bool {
    let is_hit = response.header("x-cache").contains("Hit");
    if is_hit {
        assert_eq!((set_cookies(response), is_private(response)), (vec![], false), "{:?}", response.headers);
    }
    is_hit
}

/// The variant for a variation.
fn variant_of(variation: &str) -> &'static str {
    match variation {
        "control" => "v1",
        "treatment" => "v2",
        _ => "v3",
    }
}

#[tokio::test]
async fn a_returning_visitor_is_served_from_the_cache() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = start(caching(&laboratory, &[])).await;
    let mut visitors: Vec<(Browser, String)> = Vec::new();
    for _ in 0..24 {
        let mut browser = Browser::new();
        let page = browser.navigate(&cloud, "/page.html").await;
        assert!(!is_hit(&page) && is_private(&page) && set_cookies(&page).len() == 2);
        visitors.push((browser, variant(&page)));
    }
    let mut misses = 0;
    for (browser, expected) in &mut visitors {
        for (path, fetch) in [("/page.html", Fetch::Page), ("/style.css", Fetch::Asset), ("/page.html", Fetch::Script)]
        {
            let response = browser.get(&cloud, path, fetch).await;
            misses += usize::from(!is_hit(&response));
            assert_eq!((&variant(&response), set_cookies(&response)), (&*expected, vec![]));
        }
    }
    assert_eq!(misses, 4, "each variant of two objects is requested once");
    let stranger = Browser::new().get(&cloud, "/style.css", Fetch::Asset).await;
    assert_eq!((variant(&stranger), is_hit(&stranger)), ("v3".to_owned(), false));
    cloud.shut_down().await;
}

/// What a simulated visitor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Keeps the cookies.
    Honest,
    /// Sends assignments that are not its own, beside its own id.
    Forger,
    /// Sends assignments with a part that the definition does not contain.
    Malformed,
    /// Sends assignments without an id.
    WithoutId,
    /// Blocks all cookies.
    Blocking,
    /// Is a bot.
    Bot,
}

const HABITS: [Habit; 6] =
    [Habit::Honest, Habit::Forger, Habit::Malformed, Habit::WithoutId, Habit::Blocking, Habit::Bot];

const PATHS: [(&str, Fetch); 6] = [
    ("/style.css", Fetch::Asset),
    ("/logo.png", Fetch::Asset),
    ("/page.html", Fetch::Page),
    ("/page.html", Fetch::Script),
    ("/", Fetch::Frame),
    ("/index.html", Fetch::Prefetch),
];

/// The results of a visitor: the variant of its first page, and how many of its requests were hits.
async fn visit(cloud: &TestCloud, number: usize) -> (Habit, String, usize) {
    let habit = if number.is_multiple_of(4) { HABITS[number / 4 % HABITS.len()] } else { Habit::Honest };
    let agent = if habit == Habit::Bot { "Mozilla/5.0 (compatible; Googlebot/2.1)" } else { crate::visitor::CHROME };
    let mut browser = Browser::with_user_agent(agent);
    let page = browser.navigate(cloud, "/page.html").await;
    assert!(!is_hit(&page) && is_private(&page), "{habit:?}: {:?}", page.headers);
    let first = variant(&page);
    let own = browser.variation("new-checkout").to_owned();
    assert_eq!(first, variant_of(&own), "the page is the one of the cookie");
    let other = if own == "control" { "treatment" } else { "control" };
    let sent = match habit {
        Habit::Honest | Habit::Bot => browser.cookie(ASSIGNMENTS).to_owned(),
        Habit::Forger | Habit::WithoutId => format!("new-checkout__0.{other}"),
        Habit::Malformed => format!("gone__0.1~new-checkout__0.{other}"),
        Habit::Blocking => String::new(),
    };
    if matches!(habit, Habit::WithoutId | Habit::Blocking) {
        browser.jar.remove(ID);
    }
    let mut hits = 0;
    for round in 0..ROUNDS {
        let (path, fetch) = PATHS[(round + number / 24) % PATHS.len()];
        browser.jar.insert(ASSIGNMENTS.to_owned(), sent.clone());
        if matches!(habit, Habit::Blocking | Habit::Bot) {
            browser.jar.clear();
        }
        if habit == Habit::WithoutId {
            browser.jar.remove(ID);
        }
        let method = if round == 3 { Method::HEAD } else { Method::GET };
        let response = browser.send(cloud, (method.clone(), path, fetch), &[]).await;
        let got = if method == Method::HEAD { response.header("x-variant").to_owned() } else { variant(&response) };
        let is_hit = is_hit(&response);
        hits += usize::from(is_hit);
        match habit {
            Habit::Honest => assert_eq!((&*got, set_cookies(&response)), (&*first, vec![]), "{path}"),
            // The cookie decides, as for a visitor with this assignment.
            Habit::Forger => assert_eq!(got, variant_of(other), "{path}"),
            Habit::Malformed => {
                assert_eq!(got, variant_of(other), "{path}");
                assert!(!is_hit && is_private(&response), "{path}");
            }
            // From the cache, what the cookie says; from the origin, the default or a new visitor's.
            Habit::WithoutId if is_hit => assert_eq!(got, variant_of(other), "{path}"),
            Habit::WithoutId | Habit::Blocking => {
                assert!(!is_hit && is_private(&response), "{path}");
                let set = set_cookies(&response).len();
                assert_eq!(set == 2, method == Method::GET && matches!(fetch, Fetch::Page | Fetch::Frame));
                assert_eq!(got == "v3", set == 0, "{path}");
            }
            Habit::Bot => assert_eq!((&*got, is_hit, is_private(&response)), ("v3", false, true), "{path}"),
        }
    }
    (habit, first, hits)
}

const VISITORS: usize = 2_000;

/// The requests of a visitor after its first page.
const ROUNDS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_visitor_gets_another_ones_variation() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = start(caching(&laboratory, &[])).await;
    let visits = futures_util::stream::iter((0..VISITORS).map(|number| visit(&cloud, number)));
    let visits: Vec<(Habit, String, usize)> = visits.buffer_unordered(24).collect().await;
    let people: Vec<&str> =
        visits.iter().filter(|(habit, ..)| *habit != Habit::Bot).map(|(_, variant, _)| &**variant).collect();
    let control = people.iter().filter(|variant| **variant == "v1").count() as f64;
    let deviation = (control - people.len() as f64 / 2.0).abs() / (people.len() as f64 / 4.0).sqrt();
    // Five standard deviations, because the ids are random in each run; the core's test has 100,000 visitors of one seed.
    assert!(deviation < 5.0, "{control} of {} visitors have the control", people.len());
    let hits_of =
        |wanted: Habit| -> usize { visits.iter().filter(|(habit, ..)| *habit == wanted).map(|(.., hits)| hits).sum() };
    let honest = visits.iter().filter(|(habit, ..)| *habit == Habit::Honest).count();
    assert!(hits_of(Habit::Honest) > honest * ROUNDS * 9 / 10, "{} hits of {honest}", hits_of(Habit::Honest));
    assert_eq!((hits_of(Habit::Malformed), hits_of(Habit::Bot), hits_of(Habit::Blocking)), (0, 0, 0));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_condition_on_the_country_is_cached_only_by_country() {
    for listed in ["", "country"] {
        let laboratory = Laboratory::new(&definition(r#", "condition": {"country": "CN"}"#));
        let options = caching(&laboratory, &[("experiments_cache_key", listed)]);
        let cloud = start(options).await;
        let mut hits = 0;
        for number in 0..60 {
            let (country, travels_to) = if number % 2 == 0 { ("CN", "DE") } else { ("DE", "CN") };
            let mut browser = Browser::new().with("cloudfront-viewer-country", country);
            for country in [country, country, travels_to, country] {
                browser.headers[1].1 = country.to_owned();
                for (path, fetch) in [("/page.html", Fetch::Page), ("/style.css", Fetch::Asset), ("/", Fetch::Page)] {
                    let response = browser.get(&cloud, path, fetch).await;
                    hits += usize::from(is_hit(&response));
                    // The country decides whether a visitor takes part, and its assignment as what.
                    let expected = match country {
                        "CN" => variant_of(browser.variation("new-checkout")),
                        _ => "v3",
                    };
                    assert_eq!(variant(&response), expected, "{country} {path}, with {listed:?} in the cache key");
                }
            }
        }
        assert_eq!(hits > 0, !listed.is_empty(), "{hits} hits with {listed:?} in the cache key");
        cloud.shut_down().await;
    }
}

#[tokio::test]
async fn an_attribute_of_the_account_reaches_no_other_visitor() {
    let laboratory = Laboratory::new(&definition(r#", "hashAttribute": "cookie.user""#));
    let cloud = start(caching(&laboratory, &[])).await;
    let mut seen = std::collections::BTreeMap::new();
    for number in 0..40 {
        let user = format!("u{}", number % 8);
        let mut browser = Browser::new();
        browser.jar.insert("user".to_owned(), user.clone());
        // An asset first, as with a page from another site.
        for (path, fetch) in [("/style.css", Fetch::Asset), ("/page.html", Fetch::Page), ("/logo.png", Fetch::Asset)] {
            let response = browser.get(&cloud, path, fetch).await;
            let variant = variant(&response);
            assert_eq!(*seen.entry(user.clone()).or_insert_with(|| variant.clone()), variant, "{user} {path}");
            assert_ne!(variant, "v3");
        }
        browser.jar.remove("user");
        let logged_out = browser.get(&cloud, "/logo.png", Fetch::Asset).await;
        assert_eq!((variant(&logged_out), is_hit(&logged_out)), ("v3".to_owned(), false));
    }
    assert_eq!(seen.values().collect::<std::collections::BTreeSet<_>>().len(), 2);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_withdrawn_consent_reaches_the_origin_through_the_cache() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = start(caching(&laboratory, &[("experiments_consent", "ok")])).await;
    let mut browser = Browser::new();
    browser.jar.insert("ok".to_owned(), "1".to_owned());
    let first = variant(&browser.navigate(&cloud, "/page.html").await);
    for _ in 0..2 {
        assert_eq!(variant(&browser.navigate(&cloud, "/page.html").await), first);
    }
    browser.jar.remove("ok");
    let page = browser.navigate(&cloud, "/page.html").await;
    assert_eq!((variant(&page), browser.jar.len()), ("v3".to_owned(), 0), "both cookies expire");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_preview_shows_the_other_side_behind_a_cache() {
    let laboratory = Laboratory::new(&definition(""));
    let cloud = start(caching(&laboratory, &[("experiments_preview", "true")])).await;
    let mut browser = Browser::new();
    let own = variant(&browser.navigate(&cloud, "/page.html").await);
    browser.navigate(&cloud, "/page.html").await;
    let (index, other) = if own == "v1" { (1, "v2") } else { (0, "v1") };
    let preview = format!("/page.html?new-checkout={index}");
    // With previews, the query string is in the key.
    for path in [&*preview, "/page.html", "/style.css", &preview] {
        assert_eq!(variant(&browser.navigate(&cloud, path).await), other, "{path}");
    }
    cloud.shut_down().await;
}
