use super::*;
use crate::policy::policies::Policies;
use crate::policy::subject::Subject;
use crate::policy::template::{Template, read};

const VERSION: HeaderName = HeaderName::from_static("test_version");

/// The distribution of deploy/aws.yaml with these parameters.
fn template(parameters: &[(&str, &str)]) -> Behaviors {
    let text = include_str!("../../../../deploy/aws.yaml");
    let values: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let template = Template::new(read(text).unwrap(), "us-east-1", &values).unwrap();
    let subjects = Subject::from_template(&template, Policies::default(), false).unwrap();
    Behaviors::parse(&subjects[0].1.distribution).unwrap()
}

fn caching_on(extras: Extras) -> Behaviors {
    Behaviors::caching_on(&VERSION, &["v1".to_owned(), "v2".to_owned()], &[], &extras)
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[test]
fn the_option_cache_equals_the_template_with_caching_on() {
    assert_eq!(caching_on(Extras::default()), template(&[("Caching", "on")]));
    let spa = Extras { spa_fallback: true, ..Extras::default() };
    assert_eq!(caching_on(spa), template(&[("Caching", "on"), ("SpaFallback", "app.html")]));
    let headers = Extras { headers: true, ..Extras::default() };
    assert_eq!(caching_on(headers), template(&[("Caching", "on"), ("Headers", "_headers")]));
    let redirects = Extras { redirects: true, ..Extras::default() };
    let conditions = ("ExperimentsHeaders", "cloudfront-viewer-country,accept-language");
    assert_eq!(caching_on(redirects), template(&[("Caching", "on"), ("Redirects", "_redirects"), conditions]));
    let access = Extras { access: true, ..Extras::default() };
    assert_eq!(caching_on(access), template(&[("Caching", "on"), ("Access", "access.json")]));
}

/// The settings of the function with experiments and these ones.
fn with_experiments(settings: &[(&str, &str)]) -> Extras {
    Extras::of_settings(|name| match name {
        "experiments" => Some("experiments.json".to_owned()),
        _ => settings.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()),
    })
}

/// Names with their values.
type Pairs = &'static [(&'static str, &'static str)];

#[test]
fn the_option_cache_has_the_templates_key_with_experiments() {
    const COUNTRY: Pairs = &[("ExperimentsHeaders", "cloudfront-viewer-country"), ("ExperimentsCacheKey", "country")];
    let cases: [(Pairs, Pairs); 7] = [
        (&[], &[]),
        (&[("experiments_consent", "ok=1")], &[("ExperimentsConsent", "ok=1")]),
        (&[("experiments_preview", "true")], &[("ExperimentsPreview", "true")]),
        (&[("experiments_cache_key", "country")], COUNTRY),
        (&[("spa_fallback", "app.html")], &[("SpaFallback", "app.html")]),
        (&[("experiments_path", "/track")], &[("ExperimentsPath", "/track")]),
        (&[("formats", "avif")], &[("Formats", "avif")]),
    ];
    for (settings, parameters) in cases {
        let parameters = [&[("Caching", "on"), ("Experiments", "experiments.json")], parameters].concat();
        let (mut own, deployed) = (caching_on(with_experiments(settings)), template(&parameters));
        let to_api = own.list.iter_mut().zip(&deployed.list).filter(|(behavior, _)| behavior.target == Target::Api);
        let mut compared = 0;
        for (own, deployed) in to_api {
            let (request, deployed) = (&mut own.request.headers, &deployed.request.headers);
            // The local CDN forwards what any definition needs, a deployed one only what its definition needs.
            let (Names::Listed(all), Names::Listed(needed)) = (&request, deployed) else { panic!("{request:?}") };
            assert!(needed.len() <= limits::HEADERS_MAX && needed.is_subset(all), "{needed:?}");
            *request = deployed.clone();
            compared += 1;
        }
        assert_eq!(compared, 2, "the default behaviour and that of beacons");
        assert_eq!(own, deployed, "{settings:?}");
    }
}

#[test]
fn experiments_add_the_assignments_to_the_key_and_not_the_id() {
    let behaviors = caching_on(with_experiments(&[]));
    let default = behaviors.of("/x").unwrap();
    assert_eq!(default.cache.cookies, Names::exactly(["nearedge_v"]));
    let viewer = headers(&[("cookie", "nearedge_v=a; nearedge=id"), ("user-agent", "Browser"), ("x-other", "1")]);
    let forwarded = default.forwarded_headers(&Method::GET, &viewer);
    assert_eq!(forwarded["cookie"], "nearedge=id; nearedge_v=a", "all cookies, sorted by name");
    assert_eq!(forwarded["user-agent"], "Browser");
    assert!(!forwarded.contains_key("x-other"));
    assert!(!behaviors.rules(default, &Method::GET).collapses, "cookies are forwarded");
    let bucket = behaviors.of("/v1/x").unwrap();
    assert!(behaviors.rules(bucket, &Method::GET).collapses);
}

#[test]
fn beacons_have_all_methods_and_no_cache_in_each_distribution() {
    let china = include_str!("../../../../deploy/aws-cn.yaml");
    let values = [("Experiments", "experiments.json"), ("ExperimentsPath", "/track")];
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let china = Template::new(read(china).unwrap(), "cn-north-1", &values).unwrap();
    let china = Subject::from_template(&china, Policies::default(), true).unwrap();
    let default_path = [("Caching", "on"), ("Experiments", "experiments.json")];
    for (behaviors, path) in [
        (caching_on(with_experiments(&[])), "/.nearedge/goal/a"),
        (template(&default_path), "/.nearedge/goal/a"),
        (template(&default_path[1..]), "/.nearedge/goal/a"),
        (Behaviors::parse(&china[0].1.distribution).unwrap(), "/track/goal/a"),
    ] {
        let beacons = behaviors.of(path).unwrap();
        assert_eq!((beacons.target, beacons.methods.len()), (Target::Api, 7), "{beacons:?}");
        assert!(!behaviors.rules(beacons, &Method::GET).caches_objects, "{beacons:?}");
        let viewer = headers(&[("cookie", "nearedge_v=a; nearedge=id"), ("user-agent", "Browser"), ("host", "a")]);
        let forwarded = beacons.forwarded_headers(&Method::POST, &viewer);
        assert_eq!(forwarded["cookie"], "nearedge=id; nearedge_v=a");
        assert_eq!((forwarded["user-agent"].as_bytes(), forwarded.contains_key("host")), (&b"Browser"[..], false));
        assert_eq!(beacons.forwarded_query(Some("value=12.5")).as_deref(), Some("value=12.5"));
        let page = behaviors.of("/.nearedge.html").unwrap();
        assert!(page.pattern.is_none() && !page.methods.contains("POST"));
    }
    assert!(template(&[]).of("/.nearedge/goal/a").unwrap().pattern.is_none(), "without experiments");
}

#[test]
fn without_caching_and_copies_the_template_caches_no_response_of_the_api() {
    let behaviors = template(&[("Compress", "off")]);
    let default = behaviors.of("/x").unwrap();
    let rules = behaviors.rules(default, &Method::GET);
    assert!(!rules.caches_objects && !rules.caches_errors && !rules.collapses);
    assert!(behaviors.rules(behaviors.of("/v1/x").unwrap(), &Method::GET).caches_objects);
}

#[test]
fn without_caching_copies_cost_a_second_in_the_cache() {
    for parameters in [&[][..], &[("Compress", "off"), ("Precompressed", "br")]] {
        let behaviors = template(parameters);
        let default = behaviors.of("/x").unwrap();
        assert!(default.cache.ttl.is_brief() && default.cache.codings == Codings { gzip: true, brotli: true });
        let (on, mut off) = (template(&[parameters, &[("Caching", "on")]].concat()), default.cache.clone());
        off.ttl = on.of("/x").unwrap().cache.ttl;
        assert_eq!(off, on.of("/x").unwrap().cache, "the same key as with Caching=on");
    }
}

#[test]
fn accept_is_forwarded_and_in_the_key_for_other_image_formats() {
    let behaviors = template(&[("Formats", "avif,webp")]);
    let default = behaviors.of("/x").unwrap();
    assert!(
        default.cache.headers.contains("accept") == Some(true)
            && default.request.headers.contains("accept") == Some(true)
    );
}

#[test]
fn the_chinese_template_caches_no_object_with_legacy_settings() {
    let text = include_str!("../../../../deploy/aws-cn.yaml");
    let template = Template::new(read(text).unwrap(), "cn-north-1", &[]).unwrap();
    let subjects = Subject::from_template(&template, Policies::default(), true).unwrap();
    let behaviors = Behaviors::parse(&subjects[0].1.distribution).unwrap();
    let default = behaviors.of("/x").unwrap();
    assert!(default.legacy && default.forwards_cookies());
    assert!(!behaviors.rules(default, &Method::GET).caches_objects);
    assert!(behaviors.rules(default, &Method::GET).caches_errors, "errors are cached in spite of the TTLs");
}

#[test]
fn legacy_settings_forward_headers_that_are_not_in_the_key() {
    let mut behavior = caching_on(Extras::default()).of("/x").unwrap().clone();
    (behavior.legacy, behavior.request, behavior.cache.headers) = (true, nothing(), Names::listed(["accept"]));
    let viewer = headers(&[
        ("test_version", "v1"),
        ("accept", "a"),
        ("user-agent", "b"),
        ("authorization", "c"),
        ("host", "d"),
        ("cloudfront-viewer-country", "CN"),
        ("cookie", "a=1"),
    ]);
    let forwarded = behavior.forwarded_headers(&Method::GET, &viewer);
    let names: BTreeSet<&str> = forwarded.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["accept", "test_version"].into());
    assert!(behavior.forwarded_headers(&Method::POST, &viewer).contains_key("authorization"));
}

#[test]
fn only_other_methods_than_get_and_head_are_never_cached() {
    let behaviors = caching_on(Extras::default());
    let default = behaviors.of("/x").unwrap();
    for (method, cached) in [(Method::GET, true), (Method::HEAD, true), (Method::OPTIONS, false), (Method::POST, false)]
    {
        let rules = behaviors.rules(default, &method);
        assert_eq!((rules.caches_objects, rules.caches_errors), (cached, cached), "{method}");
    }
    let options = Behavior { caches_options: true, ..default.clone() };
    assert!(behaviors.rules(&options, &Method::OPTIONS).caches_objects);
}

#[test]
fn no_ttl_of_a_configuration_exceeds_a_century() {
    let mut behaviors = caching_on(Extras::default());
    behaviors.list[2].cache.ttl = Ttl { minimum: u64::MAX, default: u64::MAX, maximum: u64::MAX };
    behaviors.error_ttl_secs.insert(404, u64::MAX);
    let rules = behaviors.rules(behaviors.of("/x").unwrap(), &Method::GET);
    assert_eq!(rules.ttl, Ttl { minimum: TTL_SECS_MAX, default: TTL_SECS_MAX, maximum: TTL_SECS_MAX });
    assert_eq!(rules.error_ttl(http::StatusCode::NOT_FOUND).as_secs(), TTL_SECS_MAX);
}
