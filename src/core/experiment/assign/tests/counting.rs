//! What is counted, and when.

use super::*;
use crate::response::Outcome;

const GOALS: &str = r#", "goals": [{"key": "signup", "path": "/thanks.html"}, {"key": "video"},
    {"key": "any", "path": "/api/*", "anyGet": true}]"#;

/// A visitor of a definition with goals.
fn visitor() -> Case {
    Case { members: GOALS.to_owned(), ..navigation(HALVES) }
}

impl Case {
    /// The same visitor on another page, with the cookies that an answer has set, or with the earlier ones.
    fn then(mut self, seen: &Seen, path: &'static str) -> Self {
        if !seen.cookies.is_empty() {
            self.visit.cookies = Default::default();
            self = self.returning(seen);
        }
        self.request.path = path.into();
        self
    }

    fn beacon(&self, key: &str) -> (Outcome, Seen, Option<f64>) {
        let definition = self.definition();
        let (outcome, assignment) = beacon(&self.request, self.experiments(&definition), key);
        let assignment = assignment.unwrap_or_default();
        let value = assignment.counted().iter().find_map(|count| match &count.kind {
            CountKind::Conversion { value, .. } => value.as_ref()?.as_f64(),
            CountKind::Exposure { .. } => None,
        });
        (outcome, Seen::new(&assignment), value)
    }
}

fn goals(seen: &Seen) -> Vec<&str> {
    seen.conversions.iter().map(|(_, _, goal)| goal.as_str()).collect()
}

#[test]
fn a_goal_counts_once_after_the_exposure() {
    let first = visitor().assign();
    let variation = first.exposures[0].1.clone();
    let case = visitor().then(&first, "/thanks.html");
    let thanks = case.assign();
    assert_eq!(thanks.conversions, [("test".to_owned(), variation, "signup".to_owned())]);
    assert!(thanks.exposures.is_empty() && thanks.cookies.len() == 2 && thanks.private);
    let again = case.then(&thanks, "/thanks.html").assign();
    assert!(is_silent(&again), "a reload counts nothing: {again:?}");
}

#[test]
fn a_goal_on_the_first_page_is_before_the_exposure() {
    let first = visitor().then(&Seen::default(), "/thanks.html");
    let seen = first.assign();
    assert_eq!((seen.exposures.len(), seen.conversions.len()), (1, 0));
    // The visitor returns to it later.
    assert_eq!(goals(&first.then(&seen, "/thanks.html").assign()), ["signup"]);
}

#[test]
fn other_requests_reach_only_the_goals_of_any_get() {
    let first = visitor().assign();
    let image = |path| visitor().then(&first, path).asset();
    assert!(is_silent(&image("/thanks.html").assign()));
    let reached = image("/api/order").assign();
    assert_eq!((goals(&reached), reached.cookies.len(), reached.private), (vec!["any"], 2, true));
    let mut head = image("/api/order");
    head.request.method = Method::Head;
    assert!(is_silent(&head.assign()));
    let mut prefetch = image("/api/order");
    prefetch.visit.sec_purpose = Some("prefetch;prerender".into());
    assert!(is_silent(&prefetch.assign()));
}

#[test]
fn the_pages_of_goals_are_for_no_cache() {
    // Neither a visitor whom a cache serves nor one who fills it would reach the goal at the origin.
    for case in [visitor().asset(), visitor().then(&visitor().assign(), "/")] {
        let mut page = case.clone();
        assert!(!page.assign().private || page.visit.cookies.get("nearedge").is_none());
        page.request.path = "/thanks.html".into();
        assert!(page.assign().private);
    }
}

#[test]
fn a_beacon_counts_once_with_its_value() {
    let first = visitor().assign();
    let mut case = visitor().then(&first, "/.nearedge/goal/video").asset();
    case.request.query = "value=12.50&x=1".into();
    let (outcome, seen, value) = case.beacon("video");
    assert_eq!((outcome, goals(&seen), value), (Outcome::GoalReached, vec!["video"], Some(12.5)));
    assert!(seen.private && seen.cookies.len() == 2);
    let (outcome, again, _) = case.clone().then(&seen, "/.nearedge/goal/video").beacon("video");
    assert_eq!((outcome, is_silent(&again)), (Outcome::GoalReached, true));
    // The goal of a page counts by a beacon too, and only once by either.
    let (_, signup, _) = case.clone().then(&seen, "/.nearedge/goal/signup").beacon("signup");
    assert_eq!(goals(&signup), ["signup"]);
    assert!(is_silent(&visitor().then(&signup, "/thanks.html").assign()));
}

#[test]
fn a_beacon_of_no_counted_visitor_counts_nothing() {
    let first = visitor().assign();
    let returning = || visitor().then(&first, "/.nearedge/goal/video").asset();
    let changed = |change: &dyn Fn(&mut Case)| {
        let mut case = returning();
        change(&mut case);
        let (outcome, seen, _) = case.beacon("video");
        (outcome, is_silent(&seen))
    };
    assert_eq!(changed(&|_| ()), (Outcome::GoalReached, false));
    let uncounted: [&dyn Fn(&mut Case); 6] = [
        &|case| case.request.method = Method::Head,
        &|case| case.request.test_version = Some("v1".into()),
        &|case| case.visit.sec_purpose = Some("prefetch".into()),
        &|case| case.visit.user_agent = Some("Googlebot/2.1".into()),
        &|case| case.settings.consent = Some(Consent { name: "consent".to_owned(), value: None }),
        &|case| case.visit.cookies = Default::default(),
    ];
    for (index, change) in uncounted.into_iter().enumerate() {
        assert_eq!(changed(change), (Outcome::GoalReached, true), "{index}");
    }
}

#[test]
fn a_beacon_with_an_unknown_goal_or_value_is_refused() {
    let mut case = visitor().then(&visitor().assign(), "/");
    for key in ["", "other", "video/", "Video"] {
        assert_eq!(case.beacon(key).0, Outcome::GoalUnknown, "{key}");
    }
    for value in ["abc", "1e400", "12,5", "%7B%7D"] {
        case.request.query = format!("value={value}").into();
        let (outcome, seen, _) = case.beacon("video");
        assert!(matches!(outcome, Outcome::ValueRefused(_)) && is_silent(&seen), "{value}");
    }
    case.request.query = "value=".into();
    assert_eq!(goals(&case.beacon("video").1), ["video"]);
}

#[test]
fn exposures_can_be_restricted_to_the_pages_that_differ() {
    let members = r#", "exposures": [{"experiment": "test", "path": "/checkout/*"}, {"experiment": "test", "path": "/cart"}],
        "goals": [{"key": "signup", "path": "/thanks.html"}]"#;
    let case = Case { members: members.to_owned(), ..navigation(HALVES) };
    let home = case.assign();
    assert_eq!((home.exposures.len(), home.cookies.len()), (0, 2), "assigned, but not counted");
    assert!(case.clone().then(&home, "/thanks.html").assign().conversions.is_empty());
    for path in ["/checkout/pay", "/cart"] {
        let page = case.clone().then(&home, path);
        let seen = page.assign();
        assert_eq!((seen.exposures.len(), seen.private), (1, true), "{path}");
        let again = page.then(&seen, path).assign();
        assert!(is_silent(&again) && again.private, "another visitor may not have been counted");
    }
}

#[test]
fn a_new_phase_counts_afresh() {
    let phase =
        |phase: &str| HALVES.replace("\"key\": \"test\"", &format!("\"key\": \"test\", \"phase\": \"{phase}\""));
    let first = Case { rules: phase("0"), ..visitor() }.assign();
    let thanks = Case { rules: phase("0"), ..visitor() }.then(&first, "/thanks.html").assign();
    let next = Case { rules: phase("1"), ..visitor() }.then(&thanks, "/");
    let seen = next.assign();
    assert_eq!((&seen.exposures, &seen.version), (&first.exposures, &first.version));
    assert_eq!(goals(&next.then(&seen, "/thanks.html").assign()), ["signup"]);
}

#[test]
fn whoever_has_seen_a_preview_no_longer_counts() {
    let first = visitor().assign();
    let mut preview = visitor().then(&first, "/");
    preview.settings.preview = true;
    preview.request.query = "test=0".into();
    let previewed = preview.assign();
    assert!(previewed.exposures.is_empty() && previewed.conversions.is_empty());
    // In the same session, and after the browser has been closed.
    let during = visitor().then(&previewed, "/thanks.html");
    assert!(during.assign().conversions.is_empty());
    let visitor_cookie = previewed.cookies[0].split(';').next().unwrap();
    let mut after = visitor().cookie(visitor_cookie);
    after.request.path = "/thanks.html".into();
    assert!(after.assign().conversions.is_empty());
}

#[test]
fn a_conversion_counts_for_each_experiment_with_an_exposure() {
    let both = r#"{"key": "all", "variations": ["v8", "v9"], "hashVersion": 2, "meta": [{"passthrough": true}, {"passthrough": true}]},"#;
    let case = Case { rules: format!("{both} {HALVES}"), ..visitor() };
    let first = case.assign();
    assert_eq!(first.exposures.len(), 2);
    let thanks = case.then(&first, "/thanks.html").assign();
    let experiments: Vec<&str> = thanks.conversions.iter().map(|(experiment, ..)| experiment.as_str()).collect();
    assert_eq!(experiments, ["all", "test"]);
}

#[test]
fn lines_have_the_attributes_of_the_rules_but_no_secret() {
    let rules = HALVES.replace(
        "\"key\": \"test\"",
        r#""key": "test", "condition": {"country": "CN", "header.x-secret": {"$exists": true}, "query.q": {"$exists": true}}"#,
    );
    let mut case = Case { rules, ..visitor() };
    let long = "y".repeat(200);
    case.visit.country = Some("CN".into());
    case.visit.detail = crate::request::visit::Detail::Visit;
    case.visit.event = br#"{"headers": {"x-secret": "Bearer hunter2secret"}}"#;
    case.request.lambda_auth = Some("hunter2secret".into());
    case.request.query = format!("q={long}").into();
    let definition = case.definition();
    let assignment = assign(&case.request, case.experiments(&definition), None);
    let attributes = &assignment.counts.as_ref().unwrap().attributes;
    let names: Vec<&str> = attributes.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["country", "query.q"]);
    assert_eq!(&*attributes[1].1, &long[..128]);
}

proptest! {
    /// Whatever a browser requests: each exposure and conversion counts once, and no conversion before its exposure.
    #[test]
    fn each_exposure_and_conversion_counts_once(
        steps in prop::collection::vec((0_usize..4, 0_usize..3, any::<bool>()), 1..12)
    ) {
        let paths = ["/", "/thanks.html", "/api/order", "/other"];
        let mut case = visitor();
        let mut counted: Vec<(String, String)> = Vec::new();
        for (path, kind, beacons) in steps {
            case.request.path = paths[path].into();
            case.request.method = [Method::Get, Method::Get, Method::Head][kind];
            case.visit.sec_fetch_dest = Some(["document", "image", "document"][kind].into());
            let seen = if beacons { case.beacon("video").1 } else { case.assign() };
            let exposures = seen.exposures.iter().map(|(experiment, _)| (experiment.clone(), String::new()));
            let conversions = seen.conversions.iter().map(|(experiment, _, goal)| (experiment.clone(), goal.clone()));
            for conversion in conversions {
                prop_assert!(counted.contains(&(conversion.0.clone(), String::new())), "{:?} before the exposure", conversion);
                prop_assert!(!counted.contains(&conversion), "{:?} counts twice", conversion);
                counted.push(conversion);
            }
            for exposure in exposures {
                prop_assert!(!counted.contains(&exposure), "{:?} counts twice", exposure);
                counted.push(exposure);
            }
            case = case.then(&seen, "/");
        }
    }
}
