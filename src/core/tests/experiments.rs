//! Many visitors with cookie jars, and a shared cache in front of the origin's decisions.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::collections::HashMap;

use nearedge_core::experiment::assign::{Experiments, assign};
use nearedge_core::experiment::definition::{Constraints, Definition, FEATURE};
use nearedge_core::experiment::settings::{Consent, CookieSettings, ExperimentSettings};
use nearedge_core::request::event::parse_visit;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

/// What a response to a visitor contains.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    version: Option<String>,
    redirect: Option<String>,
    variations: Option<String>,
    private: bool,
    cookies: Option<[String; 2]>,
    exposures: Vec<(String, String)>,
}

impl Answer {
    /// What a viewer can see of it.
    fn content(&self) -> (&Option<String>, &Option<String>, &Option<String>) {
        (&self.version, &self.redirect, &self.variations)
    }
}

fn settings(cache_key: &[&str]) -> ExperimentSettings {
    ExperimentSettings {
        feature: FEATURE.to_owned(),
        cookies: CookieSettings::new("nearedge", 31_536_000, None, true),
        consent: None,
        bots: Vec::new(),
        preview: false,
        hash_ids: false,
        goal_path: "/.nearedge/goal/".to_owned(),
        cache_key: cache_key.iter().map(|name| (*name).to_owned()).collect(),
        site: "https://d1.cloudfront.net".to_owned(),
    }
}

fn definition(json: &Value) -> Definition {
    definition_with_key(json, &[])
}

/// A definition behind a CDN with these attributes in its cache key.
fn definition_with_key(json: &Value, cache_key: &[String]) -> Definition {
    let constraints = Constraints { feature: FEATURE, test_versions: None, cache_key };
    match Definition::parse(&json.to_string(), constraints) {
        Ok((definition, _)) => definition,
        Err(problems) => panic!("{}", problems[0]),
    }
}

/// A definition with one rule of the feature.
fn rule(rule: Value) -> Value {
    json!({"features": {"test_version": {"defaultValue": "v0", "rules": [rule]}}})
}

/// A request.
#[derive(Debug, Clone, Default)]
struct Visit {
    path: &'static str,
    query: &'static str,
    navigates: bool,
    country: Option<&'static str>,
    cookies: Vec<String>,
}

impl Visit {
    fn event(&self) -> String {
        let Self { path, query, navigates, country, cookies } = self;
        let (destination, accept) = if *navigates { ("document", "text/html") } else { ("image", "*/*") };
        let country =
            country.map(|country| format!(r#", "cloudfront-viewer-country": "{country}""#)).unwrap_or_default();
        let cookies =
            if cookies.is_empty() { String::new() } else { format!(r#""cookies": ["{}"], "#, cookies.join("\", \"")) };
        format!(
            r#"{{"version": "2.0", "rawPath": "{path}", "rawQueryString": "{query}", {cookies}"headers": {{"sec-fetch-dest": "{destination}", "accept": "{accept}"{country}}}, "requestContext": {{"http": {{"method": "GET"}}}}}}"#
        )
    }

    /// What a CDN has in its cache key: the path, the assignments, and the listed attributes.
    fn cache_key(&self, listed: &[&str]) -> String {
        let assignments: Vec<&String> =
            self.cookies.iter().filter(|cookie| cookie.starts_with("nearedge_v=")).collect();
        let country = self.country.filter(|_| listed.contains(&"country"));
        format!("{} {assignments:?} {country:?}", self.path)
    }
}

fn answer(definition: &Definition, settings: &ExperimentSettings, visit: &Visit, id: [u8; 16]) -> Answer {
    let event = visit.event();
    let mut visit = nearedge_core::request::visit::Visit::with_detail(definition.detail());
    let request = parse_visit(event.as_bytes(), &mut visit).unwrap();
    let new_id = || Some(id);
    let experiments = Experiments { definition: Some(definition), settings, visit: &visit, new_id: &new_id };
    let assignment = assign(&request, experiments, None);
    Answer {
        version: assignment.version.map(str::to_owned),
        redirect: assignment.redirect.clone(),
        variations: assignment.personal.server_timing.as_deref().map(str::to_owned),
        private: assignment.personal.private,
        cookies: assignment.personal.cookies.as_deref().cloned(),
        exposures: assignment
            .counted()
            .iter()
            .map(|exposure| (exposure.experiment.to_string(), exposure.variation.to_string()))
            .collect(),
    }
}

/// A generator of pseudo-random numbers: SplitMix64, so that every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn id(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_le_bytes()
    }
}

/// A browser that keeps cookies.
#[derive(Default)]
struct Jar(BTreeMap<String, String>);

impl Jar {
    fn send(&mut self, origin: (&Definition, &ExperimentSettings), visit: Visit, id: [u8; 16]) -> Answer {
        let cookies = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = answer(origin.0, origin.1, &Visit { cookies, ..visit }, id);
        for cookie in answer.cookies.iter().flatten() {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.0.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}

/// Whether a count is within three standard deviations of its expectation.
fn is_expected(count: u32, visitors: u32, probability: f64) -> bool {
    let (count, visitors) = (f64::from(count), f64::from(visitors));
    (count - visitors * probability).abs() <= 3.0 * (visitors * probability * (1.0 - probability)).sqrt()
}

const VISITORS: u32 = 100_000;

#[test]
fn a_hundred_thousand_visitors_are_split_and_never_switch() {
    let at = |coverage: f64| {
        definition(&rule(json!({
            "key": "checkout", "variations": ["v1", "v2", "v3"], "weights": [0.5, 0.3, 0.2], "coverage": coverage,
            "hashVersion": 2, "meta": [{"key": "control"}, {"key": "a"}, {"key": "b"}],
        })))
    };
    let ramp = [at(0.1), at(1.0)];
    let settings = settings(&[]);
    let mut random = Random(17);
    let mut participants = [0_u32; 2];
    let mut split = BTreeMap::<String, u32>::new();
    for _ in 0..VISITORS {
        let (mut jar, id) = (Jar::default(), random.id());
        let mut assigned: Option<String> = None;
        let mut exposures = 0;
        for (step, definition) in ramp.iter().enumerate() {
            let mut send =
                |path, navigates| jar.send((definition, &settings), Visit { path, navigates, ..Visit::default() }, id);
            let page = send("/", true);
            let variation = page.variations.clone();
            if let Some(earlier) = &assigned {
                assert_eq!(page.version.as_ref(), Some(earlier), "a participant has moved");
            }
            exposures += page.exposures.len();
            // A reload and the assets agree with the page, and are for every visitor with the same assignment.
            for (path, navigates) in [("/style.css", false), ("/", true)] {
                let other = send(path, navigates);
                assert_eq!((&other.version, &other.variations), (&page.version, &variation));
                assert_eq!(other.private, variation.is_none(), "{other:?}");
                assert!(other.cookies.is_none() && other.exposures.is_empty());
            }
            match variation {
                Some(_) => {
                    participants[step] += 1;
                    assigned = page.version;
                }
                None => assert_eq!(page.version.as_deref(), Some("v0")),
            }
        }
        assert_eq!(exposures, 1, "each participant is counted once");
        *split.entry(assigned.unwrap()).or_default() += 1;
    }
    assert!(is_expected(participants[0], VISITORS, 0.1), "{participants:?}");
    assert_eq!(participants[1], VISITORS, "with a coverage of 1, everybody takes part");
    for (version, weight) in [("v1", 0.5), ("v2", 0.3), ("v3", 0.2)] {
        assert!(is_expected(split[version], VISITORS, weight), "{split:?}");
    }
}

const IDS: [&str; 5] = [
    "AAECAwQFBgcICQoLDA0ODw",
    "BBECAwQFBgcICQoLDA0ODw",
    "CCECAwQFBgcICQoLDA0ODw",
    "DDECAwQFBgcICQoLDA0ODw",
    "EEECAwQFBgcICQoLDA0ODw",
];

/// A rule of an experiment, with any of the members that change who gets what.
fn any_rule() -> impl Strategy<Value = Value> {
    let members = vec![
        json!({"hashAttribute": "cookie.user"}),
        json!({"hashAttribute": "country"}),
        json!({"hashAttribute": "query.ref", "fallbackAttribute": "id"}),
        json!({"coverage": 0.5}),
        json!({"condition": {"country": "CN"}}),
        json!({"condition": {"cookie.user": {"$exists": true}}}),
        json!({"condition": {"path": "/a"}}),
        json!({"condition": {"$not": {"query.ref": "x"}}}),
        json!({"disableStickyBucketing": true}),
        json!({"namespace": ["n", 0, 0.5]}),
        json!({"filters": [{"seed": "f", "ranges": [[0, 0.5]]}]}),
        json!({"minBucketVersion": 1, "bucketVersion": 1}),
        json!({"meta": [{"key": "control"}, {"key": "p", "passthrough": true}]}),
    ];
    let key = select(vec!["one", "two"]);
    (key, subsequence(members, 0..3)).prop_map(|(key, members)| {
        let mut rule = json!({"key": key, "variations": [format!("{key}-a"), format!("{key}-b")], "hashVersion": 2});
        for (name, value) in members.iter().flat_map(|members| members.as_object().unwrap()) {
            rule[name] = value.clone();
        }
        rule
    })
}

fn any_definition() -> impl Strategy<Value = Value> {
    let redirect = |kind: &str, pattern: &str| {
        json!([{
            "key": "move", "urlPatterns": [{"type": kind, "pattern": pattern}], "hashVersion": 2,
            "variations": [{}, {"urlRedirect": "https://d1.cloudfront.net/b"}],
        }])
    };
    let redirects = select(vec![
        json!([]),
        redirect("simple", "/a"),
        redirect("simple", "/*"),
        redirect("simple", "/a?ref=x"),
        redirect("regex", "ref=x"),
    ]);
    (prop::collection::vec(any_rule(), 0..3), redirects).prop_map(|(rules, experiments)| {
        json!({"features": {"test_version": {"defaultValue": "v0", "rules": rules}}, "experiments": experiments})
    })
}

/// A request with any cookies, as honest and dishonest visitors send them.
fn any_visit() -> impl Strategy<Value = Visit> {
    let pair = prop_oneof![
        "(one|two|move)__[01]\\.(0|1|control|p)",
        Just("one__0.0~two__0.0".to_owned()),
        Just(String::new()),
    ];
    let assignments = prop::collection::vec(pair, 0..3);
    let id = prop::option::of(select(IDS.to_vec()));
    let user = prop::option::of(select(vec!["u1", "u2", "u3"]));
    let country = prop::option::of(select(vec!["CN", "DE"]));
    let (path, query) = (select(vec!["/a", "/b"]), select(vec!["", "ref=x", "ref=y"]));
    (path, query, any::<bool>(), id, assignments, user, country).prop_map(
        |(path, query, navigates, id, assignments, user, country)| {
            let id = id.map(|id| format!("nearedge=1.{id}."));
            let assignments = assignments.first().map(|_| format!("nearedge_v={}", assignments.join("~")));
            let user = user.map(|user| format!("user={user}"));
            let cookies = [id, assignments, user].into_iter().flatten().collect();
            Visit { path, query, navigates, country, cookies }
        },
    )
}

/// The same visit with the cookies that the origin has set.
fn with_cookies_of(visit: &Visit, answer: &Answer, navigates: bool) -> Option<Visit> {
    let set = answer.cookies.as_ref()?.iter().map(|cookie| cookie.split(';').next().unwrap_or_default().to_owned());
    let others = visit.cookies.iter().filter(|cookie| !cookie.starts_with("nearedge")).cloned();
    Some(Visit { cookies: set.chain(others).collect(), navigates, ..visit.clone() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_that_a_cache_may_keep_depend_on_its_key_only(
        json in any_definition(),
        listed in select(vec![&[][..], &["country"][..]]),
        visits in prop::collection::vec(any_visit(), 40),
    ) {
        let settings = settings(listed);
        let definition = definition_with_key(&json, &settings.cache_key);
        let mut kept: HashMap<String, (Visit, Answer)> = HashMap::new();
        let mut again = Vec::new();
        for visit in &visits {
            let answer = answer(&definition, &settings, visit, [7; 16]);
            again.extend([true, false].into_iter().filter_map(|navigates| with_cookies_of(visit, &answer, navigates)));
        }
        for visit in visits.into_iter().chain(again) {
            let answer = answer(&definition, &settings, &visit, [7; 16]);
            if answer.private {
                continue;
            }
            prop_assert!(answer.cookies.is_none(), "a cache would keep a visitor's cookies: {:?}", visit);
            match kept.get(&visit.cache_key(listed)) {
                Some((first, kept)) => {
                    prop_assert_eq!(kept.content(), answer.content(), "{}\n{:?}\n{:?}", json, first, visit);
                }
                None => drop(kept.insert(visit.cache_key(listed), (visit, answer))),
            }
        }
    }
}

/// A visit of the first visitor, with these assignments.
fn known(assignments: &str) -> Visit {
    let cookies = vec![format!("nearedge=1.{}.", IDS[0]), format!("nearedge_v={assignments}")];
    Visit { path: "/a", cookies, ..Visit::default() }
}

/// The answer to a visitor who has navigated to the page before.
fn answer_to_known(definition: &Definition, settings: &ExperimentSettings, visit: Visit) -> (Visit, Answer) {
    let mut jar = Jar(visit.cookies.iter().filter_map(|cookie| cookie.split_once('=')).map(own).collect());
    jar.send((definition, settings), Visit { navigates: true, ..visit.clone() }, [7; 16]);
    let cookies = jar.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let visit = Visit { cookies, ..visit };
    let answer = answer(definition, settings, &visit, [7; 16]);
    (visit, answer)
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_cache_keeps_no_answer_that_its_key_does_not_determine() {
    let with = |member: Value| {
        let mut experiment = json!({"key": "x", "variations": ["v1", "v2"], "hashVersion": 2});
        for (name, value) in member.as_object().unwrap() {
            experiment[name] = value.clone();
        }
        rule(experiment)
    };
    for (member, listed, expected) in [
        (json!({}), "", false),
        (json!({"condition": {"path": "/a"}}), "", false),
        (json!({"condition": {"country": {"$ne": "CN"}}}), "", true),
        (json!({"condition": {"country": {"$ne": "CN"}}}), "country", false),
        (json!({"condition": {"id": {"$exists": true}}}), "", true),
        (json!({"hashAttribute": "country"}), "", true),
        (json!({"hashAttribute": "country"}), "country", false),
        (json!({"hashAttribute": "cookie.user", "fallbackAttribute": "id"}), "", true),
    ] {
        let settings = settings(&[listed]);
        let definition = definition_with_key(&with(member.clone()), &settings.cache_key);
        let visit = Visit { query: "ref=x", country: Some("DE"), ..known("") };
        let (_, answer) = answer_to_known(&definition, &settings, visit);
        assert_eq!(answer.private, expected, "{member} with {listed:?} in the cache key: {answer:?}");
        assert_ne!(answer.version.as_deref(), Some("v0"), "{member}");
    }
}

#[test]
fn an_attribute_that_is_hashed_must_not_reach_other_visitors() {
    // Without cookies of ours, as a picture that is requested before the page.
    let definition = definition(&rule(json!({
        "key": "x", "variations": ["v1", "v2"], "hashAttribute": "cookie.user", "hashVersion": 2,
    })));
    for cookies in [vec![], vec!["user=u1".to_owned()]] {
        let visit = Visit { path: "/a", cookies, ..Visit::default() };
        assert!(answer(&definition, &settings(&[]), &visit, [7; 16]).private, "{visit:?}");
    }
}

#[test]
fn two_cookies_of_one_name_are_never_kept() {
    let definition = definition(&rule(json!({"key": "x", "variations": ["v1", "v2"]})));
    let (mut visit, kept) = answer_to_known(&definition, &settings(&[]), known(""));
    assert!(!kept.private);
    visit.cookies.push("nearedge_v=x__0.1".to_owned());
    assert!(answer(&definition, &settings(&[]), &visit, [7; 16]).private);
}

#[test]
fn assignments_that_exceed_the_cookie_are_never_kept() {
    let rules: Vec<Value> = (0..20)
        .map(|index| {
            let pass = |key: &str| json!({"key": key, "passthrough": true});
            let (key, meta) = (format!("{index:02}-{}", "k".repeat(50)), json!([pass("0"), pass("1")]));
            json!({"key": key, "variations": ["v1", "v2"], "meta": meta})
        })
        .chain([json!({"key": "last", "variations": ["v1", "v2"]})])
        .collect();
    let definition = definition(&json!({"features": {"test_version": {"rules": rules}}}));
    let (visit, answer) = answer_to_known(&definition, &settings(&[]), known(""));
    assert!(answer.private, "the cookie does not contain the assignment that decides: {visit:?}");
}

#[test]
fn a_withdrawn_consent_reaches_the_origin_unless_the_key_contains_it() {
    let definition = definition(&rule(json!({"key": "x", "variations": ["v1", "v2"]})));
    for (listed, expected) in [("", true), ("cookie.ok", false), ("cookie.other", true)] {
        let settings =
            ExperimentSettings { consent: Some(Consent { name: "ok".to_owned(), value: None }), ..settings(&[listed]) };
        let mut visit = known("");
        visit.cookies.push("ok=1".to_owned());
        let (_, answer) = answer_to_known(&definition, &settings, visit);
        assert_eq!(answer.private, expected, "{listed}");
    }
}

#[test]
fn a_query_string_that_decides_is_in_the_key_or_nothing_is_kept() {
    for (kind, pattern, listed, expected) in [
        ("simple", "/a", "", false),
        ("simple", "/a?ref=*", "", true),
        ("simple", "/a?ref=*", "url", false),
        ("regex", "/a", "", true),
    ] {
        let experiment = json!({
            "key": "x", "variations": [{}, {"urlRedirect": "https://d1.cloudfront.net/b"}], "weights": [1, 0],
            "urlPatterns": [{"type": kind, "pattern": pattern}],
        });
        let definition =
            definition(&json!({"features": {"test_version": {"defaultValue": "v0"}}, "experiments": [experiment]}));
        for query in ["", "ref=x"] {
            let (_, answer) = answer_to_known(&definition, &settings(&[listed]), Visit { query, ..known("") });
            assert_eq!(answer.private, expected, "{pattern} with {listed:?} in the key: {query:?}");
        }
    }
}

#[test]
fn a_redirect_is_not_hidden_by_a_kept_answer() {
    let redirects = json!([{
        "key": "move", "urlPatterns": [{"type": "simple", "pattern": "/a"}], "weights": [0, 1], "hashVersion": 2,
        "variations": [{}, {"urlRedirect": "https://d1.cloudfront.net/b"}],
    }]);
    let definition =
        definition(&json!({"features": {"test_version": {"defaultValue": "v0"}}, "experiments": redirects}));
    let settings = settings(&[]);
    let (visit, fetched) = answer_to_known(&definition, &settings, known(""));
    assert!(fetched.private && fetched.redirect.is_none(), "a prefetch has the key of the page: {fetched:?}");
    let page = answer(&definition, &settings, &Visit { navigates: true, ..visit.clone() }, [7; 16]);
    assert_eq!(page.redirect.as_deref(), Some("https://d1.cloudfront.net/b"));
    let stranger = answer(&definition, &settings, &Visit { cookies: vec![], ..visit.clone() }, [7; 16]);
    assert!(stranger.private, "a new visitor might be redirected");
    let target = answer(&definition, &settings, &Visit { path: "/b", ..visit }, [7; 16]);
    assert!(!target.private, "no experiment concerns this page");
}
