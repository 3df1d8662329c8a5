//! The table of visitors, and what may be cached.

mod counting;

use super::*;
use crate::experiment::definition::{Constraints, FEATURE};
use crate::experiment::settings::ExperimentSettings;
use crate::experiment::settings::{Consent, CookieSettings};
use crate::request::Method;
use crate::request::visit::Visit;
use proptest::prelude::*;

const ID: &str = "AAECAwQFBgcICQoLDA0ODw";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0";
const HALVES: &str = r#"{"key": "test", "variations": ["v1", "v2"], "hashVersion": 2,
    "meta": [{"key": "control"}, {"key": "treatment"}]}"#;

/// A request of a visitor, and the settings that it meets.
#[derive(Clone)]
struct Case {
    rules: String,
    automatic: String,
    /// Further members of the definition.
    members: String,
    settings: ExperimentSettings,
    request: Request<'static>,
    visit: Visit<'static>,
}

/// A navigation of a browser without cookies.
fn navigation(rules: &str) -> Case {
    let visit = Visit { sec_fetch_dest: Some("document".into()), user_agent: Some(BROWSER.into()), ..Visit::default() };
    let settings = ExperimentSettings {
        feature: FEATURE.to_owned(),
        cookies: CookieSettings::new("nearedge", 600, None, true),
        consent: None,
        bots: Vec::new(),
        preview: false,
        hash_ids: false,
        goal_path: "/.nearedge/goal/".to_owned(),
        cache_key: Vec::new(),
        site: "https://www.example.com".to_owned(),
    };
    let request = Request { path: "/index.html".into(), ..Request::default() };
    Case { rules: rules.to_owned(), automatic: String::new(), members: String::new(), settings, request, visit }
}

/// What a test sees of an assignment.
#[derive(Debug, Clone, PartialEq, Default)]
struct Seen {
    version: Option<String>,
    redirect: Option<String>,
    private: bool,
    vary_cookie: bool,
    timing: Option<String>,
    cookies: Vec<String>,
    /// Experiment and variation.
    exposures: Vec<(String, String)>,
    /// Experiment, variation and goal.
    conversions: Vec<(String, String, String)>,
}

impl Case {
    fn cookie(mut self, cookie: &str) -> Self {
        self.visit.cookies.push(cookie.to_owned());
        self
    }

    /// The same visitor with the cookies that an answer has set.
    fn returning(self, seen: &Seen) -> Self {
        let values = seen.cookies.iter().map(|cookie| cookie.split(';').next().unwrap().to_owned());
        values.fold(self, |case, cookie| case.cookie(&cookie))
    }

    /// The request for an asset of the page.
    fn asset(mut self) -> Self {
        self.visit.sec_fetch_dest = Some("image".into());
        self
    }

    fn definition(&self) -> Definition {
        let text = format!(
            r#"{{"features": {{"test_version": {{"defaultValue": "base", "rules": [{}]}}}}, "experiments": [{}]{}}}"#,
            self.rules, self.automatic, self.members
        );
        let constraints = Constraints { feature: FEATURE, test_versions: None, cache_key: &self.settings.cache_key };
        Definition::parse(&text, constraints).unwrap().0
    }

    fn experiments<'a>(&'a self, definition: &'a Definition) -> Experiments<'a> {
        Experiments {
            definition: Some(definition),
            settings: &self.settings,
            visit: &self.visit,
            new_id: &|| Some(std::array::from_fn(|index| index as u8)),
        }
    }

    fn assign(&self) -> Seen {
        Seen::new(&assign(&self.request, self.experiments(&self.definition()), None))
    }
}

impl Seen {
    fn new(assignment: &Assignment<'_>) -> Self {
        let (mut exposures, mut conversions) = (Vec::new(), Vec::new());
        for Count { experiment, variation, kind, .. } in assignment.counted() {
            let (experiment, variation) = (experiment.to_string(), variation.to_string());
            match kind {
                CountKind::Exposure { .. } => exposures.push((experiment, variation)),
                CountKind::Conversion { goal, .. } => conversions.push((experiment, variation, goal.to_string())),
            }
        }
        Self {
            version: assignment.version.map(str::to_owned),
            redirect: assignment.redirect.clone(),
            private: assignment.personal.private,
            vary_cookie: assignment.personal.vary_cookie,
            timing: assignment.personal.server_timing.as_deref().map(|json| json.replace("\\\"", "\"")),
            cookies: assignment.personal.cookies.iter().flat_map(|cookies| cookies.iter()).cloned().collect(),
            exposures,
            conversions,
        }
    }
}

/// Nothing is set and nothing is counted.
fn is_silent(seen: &Seen) -> bool {
    seen.cookies.is_empty() && seen.exposures.is_empty() && seen.conversions.is_empty()
}

#[test]
fn a_first_navigation_creates_a_visitor_and_counts_once() {
    let first = navigation(HALVES).assign();
    let variation = if first.version.as_deref() == Some("v1") { "control" } else { "treatment" };
    assert_eq!(first.exposures.len(), 1);
    assert!(first.private && first.vary_cookie);
    assert!(first.cookies[0].starts_with(&format!("nearedge=1.{ID}.")), "{}", first.cookies[0]);
    assert!(
        first.cookies[0].ends_with("; Path=/; SameSite=Lax; Secure; Max-Age=600; HttpOnly"),
        "{}",
        first.cookies[0]
    );
    assert_eq!(first.cookies[1], format!("nearedge_v=test__0.{variation}; Path=/; SameSite=Lax; Secure; Max-Age=600"));
    assert_eq!(first.timing, Some(format!("nearedge;desc=\"test.{variation}\"")));
    let second = navigation(HALVES).returning(&first).assign();
    assert!(is_silent(&second) && !second.private && second.vary_cookie);
    assert_eq!(second.version, first.version);
}

#[test]
fn malformed_cookies_count_as_absent() {
    for cookie in ["nearedge=", "nearedge=1.short.", "nearedge=2.AAECAwQFBgcICQoLDA0ODw.", "nearedge"] {
        assert_eq!(navigation(HALVES).cookie(cookie).assign().exposures.len(), 1, "{cookie}");
    }
}

#[test]
fn an_asset_gets_the_variation_of_its_page_and_sets_nothing() {
    let first = navigation(HALVES).assign();
    let asset = navigation(HALVES).asset().returning(&first).assign();
    assert_eq!((asset.version.clone(), asset.private), (first.version, false));
    assert!(is_silent(&asset));
}

#[test]
fn without_an_id_the_default_is_served_and_not_cached_if_an_id_matters() {
    let asset = navigation(HALVES).asset().assign();
    assert_eq!(asset.version.as_deref(), Some("base"));
    assert!(is_silent(&asset) && asset.private && asset.vary_cookie);
    let asset = navigation(r#"{"force": "v9"}"#).asset().assign();
    assert_eq!((asset.version.as_deref(), asset.private, asset.vary_cookie), (Some("v9"), false, false));
}

#[test]
fn prefetches_and_heads_are_no_navigations() {
    let mut prefetch = navigation(HALVES);
    prefetch.visit.sec_purpose = Some("prefetch;prerender".into());
    assert!(is_silent(&prefetch.assign()));
    let mut prefetch = navigation(HALVES);
    prefetch.visit.purpose = Some("prefetch".into());
    assert!(is_silent(&prefetch.assign()));
    let mut head = navigation(HALVES);
    head.request.method = Method::Head;
    assert!(is_silent(&head.assign()));
}

#[test]
fn without_fetch_metadata_a_navigation_accepts_html() {
    let mut case = navigation(HALVES);
    case.visit.sec_fetch_dest = None;
    assert!(is_silent(&case.assign()));
    case.request.accept = Some("text/html,*/*;q=0.8".into());
    assert!(!is_silent(&case.assign()));
    case.visit.sec_fetch_dest = Some("iframe".into());
    assert!(!is_silent(&case.assign()));
    case.visit.sec_fetch_dest = Some("empty".into());
    assert!(is_silent(&case.assign()));
}

#[test]
fn bots_get_the_default_and_no_cookie() {
    let mut bot = navigation(HALVES);
    bot.visit.user_agent = Some("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)".into());
    assert!(is_silent(&bot.assign()) && bot.assign().version.as_deref() == Some("base"));
    let mut bot = navigation(HALVES);
    bot.settings.bots = vec!["gecko".to_owned()];
    assert!(is_silent(&bot.assign()));
}

#[test]
fn without_consent_there_is_no_id_and_withdrawing_it_expires_the_cookies() {
    let with_consent = |case: Case| Case {
        settings: ExperimentSettings {
            consent: Some(Consent { name: "ok".to_owned(), value: Some("yes".to_owned()) }),
            ..case.settings.clone()
        },
        ..case
    };
    let before = with_consent(navigation(HALVES)).assign();
    assert!(is_silent(&before) && before.private);
    let first = with_consent(navigation(HALVES)).cookie("ok=yes").assign();
    assert_eq!(first.exposures.len(), 1);
    let withdrawn = with_consent(navigation(HALVES)).cookie("ok=no").returning(&first);
    let seen = withdrawn.assign();
    assert_eq!((seen.version.as_deref(), seen.exposures.len(), seen.private), (Some("base"), 0, true));
    assert!(seen.cookies.iter().all(|cookie| cookie.contains("=; ") && cookie.contains("Max-Age=0")));
    assert!(is_silent(&withdrawn.asset().assign()));
}

#[test]
fn a_forged_assignment_is_followed_or_never_cached() {
    let first = navigation(HALVES).assign();
    let id = first.cookies[0].split(';').next().unwrap().to_owned();
    let with = |assignments: &str| navigation(HALVES).asset().cookie(&id).cookie(assignments).assign();
    // Another variation: the answer is that variation's, whose copies the cache keeps under the same key.
    for (variation, version) in [("control", "v1"), ("treatment", "v2")] {
        let seen = with(&format!("nearedge_v=test__0.{variation}"));
        assert_eq!((seen.version.as_deref(), seen.private), (Some(version), false));
    }
    for forged in ["nearedge_v=test__0.other", "nearedge_v=test__00.control", "nearedge_v=x"] {
        let seen = with(forged);
        assert_eq!((seen.version, seen.private), (first.version.clone(), true), "{forged}");
    }
    assert!(with("nearedge_v=test__0.control~").private);
    // On a navigation it is corrected.
    let corrected = navigation(HALVES).cookie(&id).cookie("nearedge_v=test__0.control~x").assign();
    assert_eq!((corrected.cookies.len(), corrected.exposures.len()), (2, 0));
}

#[test]
fn attributes_outside_the_cache_key_make_the_answer_private() {
    let rule = HALVES.replace(r#""key": "test""#, r#""key": "test", "condition": {"country": "CN"}"#);
    let first = Case { visit: Visit { country: Some("CN".into()), ..navigation(&rule).visit }, ..navigation(&rule) };
    let returning = first.clone().returning(&first.assign());
    assert!(returning.assign().private);
    let keyed = Case {
        settings: ExperimentSettings { cache_key: vec!["country".to_owned()], ..returning.settings.clone() },
        ..returning
    };
    assert!(!keyed.assign().private);
    let by_path = HALVES.replace(r#""key": "test""#, r#""key": "test", "condition": {"path": {"$regex": "^/index"}}"#);
    let case = navigation(&by_path);
    assert!(!case.clone().returning(&case.assign()).assign().private);
}

#[test]
fn a_visitor_outside_the_coverage_is_never_cached() {
    let rule = HALVES.replace(r#""key": "test""#, r#""key": "test", "coverage": 0"#);
    let first = navigation(&rule).assign();
    assert_eq!((first.version.as_deref(), first.exposures.len()), (Some("base"), 0));
    assert!(navigation(&rule).returning(&first).assign().private);
}

#[test]
fn a_new_phase_counts_again_and_keeps_the_variation() {
    let first = navigation(HALVES).assign();
    let next = HALVES.replace(r#""key": "test""#, r#""key": "test", "phase": "1", "weights": [0.01, 0.99]"#);
    let seen = navigation(&next).returning(&first).assign();
    assert_eq!((seen.exposures.len(), seen.version.clone()), (1, first.version));
    assert!(is_silent(&navigation(&next).returning(&seen).assign()));
}

#[test]
fn several_experiments_are_listed_in_one_order() {
    let holdout = r#"{"key": "all", "variations": ["v8", "v9"], "hashVersion": 2, "meta": [{"passthrough": true}, {"passthrough": true}]}"#;
    let first = navigation(&format!("{holdout}, {HALVES}")).assign();
    let assignments = first.cookies[1].split(';').next().unwrap();
    assert!(assignments.starts_with("nearedge_v=all__0.") && assignments.contains("~test__0."), "{assignments}");
    assert_eq!(first.exposures.len(), 2);
    assert!(first.timing.is_some_and(|timing| timing.contains(", nearedge;desc=\"test.")));
}

#[test]
fn a_preview_shows_a_variation_for_the_session_without_counting() {
    for (index, version, key) in [("0", "v1", "control"), ("1", "v2", "treatment")] {
        let mut preview = navigation(HALVES);
        preview.settings.preview = true;
        preview.request.query = format!("test={index}").into();
        let seen = preview.assign();
        assert_eq!((seen.version.as_deref(), seen.exposures.len(), seen.private), (Some(version), 0, true));
        assert_eq!(seen.cookies[1], format!("nearedge_v=test__0.{key}; Path=/; SameSite=Lax; Secure"));
        assert_eq!(navigation(HALVES).asset().returning(&seen).assign().version.as_deref(), Some(version));
        let next = navigation(HALVES).returning(&seen).assign();
        assert_eq!((next.version.as_deref(), is_silent(&next)), (Some(version), true));
    }
    let mut off = navigation(HALVES);
    off.request.query = "test=1".into();
    assert_eq!(off.assign().version, navigation(HALVES).assign().version);
}

#[test]
fn a_preview_ends_with_the_session_even_if_another_experiment_starts() {
    let preview = |rules: &str| {
        let mut case = navigation(rules);
        case.settings.preview = true;
        case
    };
    let own = navigation(HALVES).assign();
    let (index, other) = if own.version.as_deref() == Some("v1") { ("1", "v2") } else { ("0", "v1") };
    let mut previewing = preview(HALVES).returning(&own);
    previewing.request.query = format!("test={index}").into();
    let previewed = previewing.assign();
    // Another experiment starts before the browser is closed.
    let both = format!(
        r#"{{"key": "all", "variations": ["v8", "v9"], "hashVersion": 2, "meta": [{{"passthrough": true}}, {{"passthrough": true}}]}}, {HALVES}"#
    );
    let during = preview(&both).returning(&previewed).assign();
    assert_eq!((during.version.as_deref(), during.exposures.len()), (Some(other), 1));
    assert!(!during.cookies[1].contains("Max-Age"), "{}", during.cookies[1]);
    // The browser is closed: only the visitor's cookie is left.
    let visitor = during.cookies[0].split(';').next().unwrap();
    let after = preview(&both).cookie(visitor).assign();
    assert_eq!((after.version, after.exposures.len()), (own.version, 0));
    assert!(after.cookies[1].contains("Max-Age"), "{}", after.cookies[1]);
}

#[test]
fn a_redirect_experiment_redirects_navigations_only() {
    let automatic = r#"{"key": "move", "variations": [{}, {"urlRedirect": "https://www.example.com/new?a=1"}], "weights": [0, 1],
        "urlPatterns": [{"type": "simple", "include": true, "pattern": "/index.html"}], "persistQueryString": true}"#;
    let mut case = Case { automatic: automatic.to_owned(), ..navigation(HALVES) };
    case.request.query = "b=2".into();
    let seen = case.assign();
    assert_eq!(seen.redirect.as_deref(), Some("https://www.example.com/new?a=1&b=2"));
    assert_eq!(
        (seen.exposures.clone(), seen.private, seen.version.clone()),
        (vec![("move".to_owned(), "1".to_owned())], true, None)
    );
    assert!(case.clone().asset().returning(&seen).assign().redirect.is_none());
    assert!(case.clone().returning(&seen).assign().redirect.is_some());
    case.request.path = "/new".into();
    assert!(case.assign().redirect.is_none());
    // To the requested URL itself.
    case.automatic = automatic.replace("/new?a=1", "/index.html");
    case.request.path = "/index.html".into();
    assert!(case.assign().redirect.is_none());
}

#[test]
fn without_a_definition_nothing_is_assigned_or_cached() {
    let case = navigation(HALVES);
    let experiments = Experiments { definition: None, settings: &case.settings, visit: &case.visit, new_id: &|| None };
    let assignment = assign(&case.request, experiments, None);
    assert_eq!((assignment.version, assignment.personal.cookies.is_some()), (None, false));
    assert!(assignment.personal.private);
}

#[test]
fn without_random_bytes_a_visitor_gets_the_default() {
    let case = navigation(HALVES);
    let text = format!(r#"{{"features": {{"test_version": {{"rules": [{HALVES}]}}}}}}"#);
    let constraints = Constraints { feature: FEATURE, test_versions: None, cache_key: &[] };
    let (definition, _) = Definition::parse(&text, constraints).unwrap();
    let experiments =
        Experiments { definition: Some(&definition), settings: &case.settings, visit: &case.visit, new_id: &|| None };
    assert_eq!(assign(&case.request, experiments, None).personal.cookies, None);
}

proptest! {
    #[test]
    fn no_cookie_of_a_visitor_breaks_the_rules(
        visitor in "(1\\.)?[A-Za-z_-]{0,24}\\.?[a-z]{0,12}", assignments in "(test__[0-9]\\.(control|treatment|x))?~?.{0,10}",
        navigates in any::<bool>(),
    ) {
        let case = navigation(HALVES).cookie(&format!("nearedge={visitor}")).cookie(&format!("nearedge_v={assignments}"));
        let case = if navigates { case } else { case.asset() };
        let seen = case.assign();
        // A shared cache keeps an answer only under the key of the assignment that it shows.
        if !seen.private {
            let shown = if seen.version.as_deref() == Some("v1") { "test__0.control" } else { "test__0.treatment" };
            prop_assert_eq!(&*assignments, shown);
            prop_assert!(seen.cookies.is_empty());
        }
        prop_assert!(navigates || is_silent(&seen));
        prop_assert!(seen.cookies.iter().map(String::len).sum::<usize>() < 1_000);
    }
}
