//! Caching and experiments.

use crate::rendered::Rendered;
use serde_json::{Value, json};

const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";

#[test]
fn with_caching_the_cache_key_contains_the_vary_headers() {
    let rendered = Rendered::in_region("eu-west-1", &[("Caching", "on"), ("SpaFallback", "index.html")]);
    assert_eq!(rendered.distribution()["DefaultCacheBehavior"]["CachePolicyId"], "${CachePolicy}");
    let policy = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
    let headers = &policy["ParametersInCacheKeyAndForwardedToOrigin"]["HeadersConfig"]["Headers"];
    assert_eq!(headers, &json!(["test_version", "redirect", "accept"]));
    assert_eq!(policy["MinTTL"], 0, "a minimum TTL would override no-store");
}

#[test]
fn experiments_are_off_by_default() {
    // Without the definition's key the other parameters have no effect.
    let others = [
        ("ExperimentsHeaders", "accept-language"),
        ("ExperimentsConsent", "ok=1"),
        ("ExperimentsPreview", "true"),
        ("ExperimentsPath", "/track"),
        ("ExperimentsLogIds", "hash"),
    ];
    for (plain, rendered) in Rendered::all(&[]).into_iter().zip(Rendered::all(&others)) {
        let [plain, rendered] = [plain, rendered].map(|rendered| {
            let kinds =
                ["Distribution", "OriginRequestPolicy", "CachePolicy"].map(|kind| format!("AWS::CloudFront::{kind}"));
            let resources = kinds.map(|kind| rendered.template.resources(&kind).unwrap());
            let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
            assert!(settings.as_object().unwrap().keys().all(|name| !name.starts_with("experiments")), "{settings}");
            (resources, settings)
        });
        assert_eq!(plain, rendered);
    }
}

#[test]
fn experiments_get_headers_cookies_and_settings() {
    let values = [
        ("Experiments", "experiments.json"),
        ("ExperimentsHeaders", "cloudfront-viewer-country,accept-language"),
        ("ExperimentsConsent", "ok=1"),
        ("ExperimentsPreview", "true"),
        ("SpaFallback", "index.html"),
    ];
    for rendered in Rendered::all(&values) {
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        assert_eq!(settings["experiments"], "experiments.json");
        assert_eq!(settings["experiments_consent"], "ok=1");
        assert_eq!(settings["experiments_preview"], "true");
        let (headers, cookies) = if rendered.china {
            let behavior = &rendered.distribution()["DefaultCacheBehavior"];
            assert_eq!((&behavior["MinTTL"], &behavior["MaxTTL"]), (&json!(0), &json!(0)), "caching stays off");
            let forwarded = &behavior["ForwardedValues"];
            (forwarded["Headers"].clone(), forwarded["Cookies"]["Forward"].clone())
        } else {
            let policy = rendered.only("AWS::CloudFront::OriginRequestPolicy")["OriginRequestPolicyConfig"].clone();
            (policy["HeadersConfig"]["Headers"].clone(), policy["CookiesConfig"]["CookieBehavior"].clone())
        };
        assert_eq!(cookies, "all");
        let headers: Vec<_> =
            headers.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_lowercase()).collect();
        let core = "test_version redirect accept user-agent sec-fetch-dest sec-purpose";
        assert_eq!(headers.join(" "), format!("{core} cloudfront-viewer-country accept-language"));
    }
}

#[test]
fn beacons_pass_uncached_with_every_method() {
    let experiments = ("Experiments", "experiments.json");
    for rendered in Rendered::all(&[experiments, ("ExperimentsPath", "/track"), ("ExperimentsLogIds", "hash")]) {
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        assert_eq!(
            (&settings["experiments_path"], &settings["experiments_log_ids"]),
            (&json!("/track"), &json!("hash"))
        );
        let distribution = rendered.distribution();
        let (default, beacons) = (&distribution["DefaultCacheBehavior"], &distribution["CacheBehaviors"][0]);
        assert_eq!(beacons["PathPattern"], "/track/*", "before the behaviours of the variants");
        assert_eq!(beacons["AllowedMethods"], json!(["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]));
        assert!(rendered.china || beacons["CachePolicyId"] == CACHING_DISABLED);
        let same = ["TargetOriginId", "ViewerProtocolPolicy", "OriginRequestPolicyId", "ForwardedValues"];
        for name in same.into_iter().chain(["MinTTL", "DefaultTTL", "MaxTTL"]) {
            assert_eq!(beacons[name], default[name], "{name}: as the default behaviour, which does not cache");
        }
    }
    let cached = Rendered::in_region("eu-west-1", &[experiments, ("Caching", "on")]);
    let beacons = &cached.distribution()["CacheBehaviors"][0];
    assert_eq!(beacons["PathPattern"], "/.nearedge/*");
    assert_eq!(beacons["CachePolicyId"], "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "CachingDisabled");
    let settings = cached.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
    assert!(settings.get("experiments_path").is_none() && settings.get("experiments_log_ids").is_none());
    for rendered in Rendered::all(&[]) {
        let behaviors = rendered.distribution()["CacheBehaviors"].clone();
        assert_eq!(behaviors.as_array().unwrap().len(), 2, "without experiments only the variants");
    }
}

#[test]
fn with_caching_the_key_contains_assignments_and_never_the_id() {
    let key = |values: &[(&str, &str)]| {
        let values = [&[("Caching", "on"), ("Experiments", "experiments.json")], values].concat();
        let rendered = Rendered::in_region("eu-west-1", &values);
        let policy = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
        assert_eq!(policy["MinTTL"], 0, "a minimum TTL would override no-store");
        let key = policy["ParametersInCacheKeyAndForwardedToOrigin"].clone();
        let settings = rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone();
        (
            key["HeadersConfig"]["Headers"].clone(),
            key["CookiesConfig"]["Cookies"].clone(),
            key["QueryStringsConfig"]["QueryStringBehavior"].clone(),
            settings["experiments_cache_key"].clone(),
        )
    };
    let header = ("ExperimentsHeaders", "cloudfront-viewer-country");
    let plain = json!(["test_version", "redirect"]);
    let v = json!(["nearedge_v"]);
    assert_eq!(key(&[header]), (plain.clone(), v.clone(), json!("none"), Value::Null));
    assert_eq!(key(&[("ExperimentsPreview", "true")]), (plain.clone(), v.clone(), json!("all"), Value::Null));
    assert_eq!(
        key(&[("ExperimentsConsent", "ok=1")]),
        (plain, json!(["nearedge_v", "ok"]), json!("none"), json!("cookie.ok"))
    );
    let all = [header, ("ExperimentsCacheKey", "country"), ("ExperimentsConsent", "ok"), ("SpaFallback", "a.html")];
    let headers = json!(["test_version", "redirect", "accept", "cloudfront-viewer-country"]);
    assert_eq!(key(&all), (headers, json!(["nearedge_v", "ok"]), json!("all"), json!("country,cookie.ok")));
}
