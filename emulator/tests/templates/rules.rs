//! Redirects, header rules and access.

use crate::rendered::{Rendered, key_headers, listed_headers, settings};
use serde_json::json;

const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
const ALL_VIEWER_EXCEPT_HOST: &str = "b689b0a8-53d0-40ab-baf2-68738e2966ac";

#[test]
fn rules_are_off_unless_a_parameter_names_them() {
    let names = ["redirects", "headers", "access", "html_handling", "spa_fallback_dots", "object_redirects"];
    for rendered in Rendered::all(&[]) {
        let settings = settings(&rendered);
        assert!(names.iter().all(|name| settings.get(*name).is_none()), "{settings}");
    }
    let values = [
        ("Redirects", "_redirects"),
        ("Headers", "_headers"),
        ("Access", "conf/access.json"),
        ("HtmlHandling", "auto-trailing-slash"),
        ("SpaFallbackDots", "true"),
        ("ObjectRedirects", "true"),
    ];
    let given = ["_redirects", "_headers", "conf/access.json", "auto-trailing-slash", "true", "true"];
    for rendered in Rendered::all(&values) {
        let settings = settings(&rendered);
        assert_eq!(names.map(|name| settings[name].as_str().unwrap()), given);
        assert!(settings.get("oversize").is_none(), "presign: nothing leads to S3 without a signature");
    }
}

#[test]
fn pages_may_read_large_objects_behind_the_redirect_to_s3() {
    for rendered in Rendered::all(&[]) {
        let rule = rendered.only("AWS::S3::Bucket")["CorsConfiguration"]["CorsRules"][0].clone();
        assert_eq!(rule["AllowedOrigins"], json!(["*"]), "a page of another origin sends the origin null");
        assert_eq!((&rule["AllowedMethods"], &rule["AllowedHeaders"]), (&json!(["GET", "HEAD"]), &json!(["*"])));
        for name in ["ETag", "Content-Length", "Content-Range"] {
            assert!(rule["ExposedHeaders"].as_array().unwrap().contains(&json!(name)), "{name}");
        }
    }
    for rendered in Rendered::all(&[("CorsOrigins", "https://a.example,https://b.example")]) {
        let rules = rendered.only("AWS::S3::Bucket")["CorsConfiguration"]["CorsRules"].clone();
        assert_eq!(rules[0]["AllowedOrigins"], json!(["https://a.example", "https://b.example"]));
    }
    for rendered in Rendered::all(&[("CorsOrigins", "")]) {
        assert!(rendered.only("AWS::S3::Bucket").get("CorsConfiguration").is_none());
    }
}

#[test]
fn with_access_nothing_leads_past_the_function() {
    let four = [("VariantC", "v3"), ("VariantD", "v4"), ("Experiments", "experiments.json"), ("Access", "access.json")];
    for values in [&four[3..], &four] {
        for rendered in Rendered::all(values) {
            let distribution = rendered.distribution();
            let origins = distribution["Origins"].as_array().unwrap();
            assert_eq!((origins.len(), &origins[0]["Id"]), (1, &json!("api")), "the bucket is no origin");
            let behaviors = distribution["CacheBehaviors"].as_array().unwrap();
            assert_eq!(behaviors.len(), usize::from(values.len() > 1), "only beacons");
            assert!(behaviors.iter().all(|behavior| behavior["TargetOriginId"] == "api"));
            let policy = rendered.only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"].clone();
            assert!(policy.as_array().unwrap().iter().all(|statement| statement["Effect"] == "Deny"), "{policy}");
            for kind in ["AWS::CloudFront::OriginAccessControl", "AWS::CloudFront::CloudFrontOriginAccessIdentity"] {
                assert!(rendered.template.resources(kind).unwrap().is_empty(), "{kind}");
            }
        }
    }
}

#[test]
fn with_access_authorization_reaches_the_function() {
    let access = ("Access", "access.json");
    let experiments = ("Experiments", "experiments.json");
    for rendered in Rendered::all(&[access, experiments]) {
        let distribution = rendered.distribution();
        let (default, beacons) = (&distribution["DefaultCacheBehavior"], &distribution["CacheBehaviors"][0]);
        assert_eq!(default["Compress"], rendered.china, "BREACH; without caching the legacy settings compress nothing");
        for behavior in [default, beacons] {
            if rendered.china {
                let headers = behavior["ForwardedValues"]["Headers"].as_array().unwrap();
                assert!(headers.contains(&json!("Authorization")), "{headers:?}");
                assert_eq!(behavior["MaxTTL"], 0);
            } else {
                // An origin request policy cannot list it, and the cache key of CachingDisabled is empty.
                let policy = if behavior == default { "${CachePolicy}" } else { CACHING_DISABLED };
                assert_eq!(behavior["CachePolicyId"], policy);
                assert_eq!(behavior["OriginRequestPolicyId"], ALL_VIEWER_EXCEPT_HOST);
                assert!(!listed_headers(&rendered).contains(&"authorization".to_owned()));
            }
        }
    }
    let cached = Rendered::in_region("eu-west-1", &[access, experiments, ("Caching", "on")]);
    let distribution = cached.distribution();
    assert_eq!(distribution["DefaultCacheBehavior"]["OriginRequestPolicyId"], "${OriginRequestPolicy}");
    assert_eq!(distribution["CacheBehaviors"][0]["OriginRequestPolicyId"], ALL_VIEWER_EXCEPT_HOST, "beacons: no key");
    assert_eq!(key_headers(&[access]), json!(["test_version", "redirect", "authorization"]));
    let without = [access, ("AccessAuthorization", "false")];
    assert_eq!(key_headers(&without), json!(["test_version", "redirect"]));
    for rendered in Rendered::all(&without) {
        // Accept shows a navigation, which a login needs.
        assert_eq!(listed_headers(&rendered), ["test_version", "redirect", "accept"]);
        let policy = &rendered.distribution()["DefaultCacheBehavior"]["OriginRequestPolicyId"];
        assert!(rendered.china || policy == "${OriginRequestPolicy}");
    }
    for rendered in Rendered::all(&[]) {
        assert_eq!(listed_headers(&rendered), ["test_version", "redirect"], "not without Access");
    }
}

#[test]
fn with_headers_preflights_and_origins_reach_the_function() {
    let cors = ["origin", "access-control-request-method", "access-control-request-headers"];
    for rendered in Rendered::all(&[("Headers", "_headers")]) {
        assert_eq!(listed_headers(&rendered)[2..], cors);
        let methods = rendered.distribution()["DefaultCacheBehavior"]["AllowedMethods"].clone();
        assert!(methods.as_array().unwrap().contains(&json!("OPTIONS")));
        assert!(!rendered.distribution()["DefaultCacheBehavior"]["CachedMethods"].to_string().contains("OPTIONS"));
    }
    assert_eq!(key_headers(&[("Headers", "_headers")]), json!(["test_version", "redirect", "origin"]));
    // CloudFront allows ten headers in a list: experiments need six, and CORS three.
    let all = [("Headers", "_headers"), ("Experiments", "experiments.json"), ("ExperimentsHeaders", "accept-language")];
    for rendered in Rendered::all(&all) {
        assert_eq!(listed_headers(&rendered).len(), 10);
    }
}

#[test]
fn the_headers_of_conditions_are_forwarded_and_in_the_key() {
    let headers = ("ExperimentsHeaders", "cloudfront-viewer-country,accept-language");
    let values = [("Redirects", "_redirects"), headers];
    for rendered in Rendered::all(&values) {
        assert_eq!(listed_headers(&rendered)[2..], ["cloudfront-viewer-country", "accept-language"]);
    }
    let key = json!(["test_version", "redirect", "cloudfront-viewer-country", "accept-language"]);
    assert_eq!(key_headers(&values), key);
    let cached = Rendered::in_region("eu-west-1", &[("Redirects", "_redirects"), ("Caching", "on")]);
    let policy = cached.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
    let queries = &policy["ParametersInCacheKeyAndForwardedToOrigin"]["QueryStringsConfig"];
    assert_eq!(queries["QueryStringBehavior"], "all", "rules select by query parameters");
    for rendered in Rendered::all(&[headers]) {
        assert_eq!(listed_headers(&rendered), ["test_version", "redirect"], "nothing reads them");
    }
}
