use serde_json::{Value, json};

use super::*;
use crate::policy::policies::Policies;

/// The error for these settings of the default behaviour.
fn error_of(behavior: Value, policies: &[(&str, Value)]) -> Option<String> {
    let mut known = Policies::default();
    for (id, policy) in policies {
        known.add(id, policy).unwrap();
    }
    let mut default = json!({"TargetOriginId": "api", "CachePolicyId": "CachingDisabled"});
    default.as_object_mut().unwrap().extend(behavior.as_object().unwrap().clone());
    let config = json!({"Origins": [{"Id": "api", "DomainName": "x", "CustomOriginConfig": {}}], "DefaultCacheBehavior": default});
    check(&Distribution::parse(&config, &known).unwrap()).err()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("x-{number}")).collect()
}

fn cache_policy(config: Value) -> Value {
    json!({"CachePolicyConfig": config})
}

#[test]
fn a_policy_lists_at_most_ten_headers() {
    let cache = |count| {
        let headers = json!({"HeaderBehavior": "whitelist", "Headers": names(count)});
        cache_policy(json!({"MinTTL": 0, "ParametersInCacheKeyAndForwardedToOrigin": {"HeadersConfig": headers}}))
    };
    let request = |count| {
        let headers = json!({"HeaderBehavior": "whitelist", "Headers": {"Quantity": count, "Items": names(count)}});
        json!({"OriginRequestPolicyConfig": {"HeadersConfig": headers}})
    };
    let legacy = |count| json!({"CachePolicyId": null, "ForwardedValues": {"Headers": names(count)}});
    assert_eq!(error_of(json!({"CachePolicyId": "c"}), &[("c", cache(10))]), None);
    let error = error_of(json!({"CachePolicyId": "c"}), &[("c", cache(11))]).unwrap();
    assert_eq!(
        error,
        "the default behaviour: cache policy: expected at most 10 headers, found 11: list fewer headers, or request a quota increase"
    );
    assert_eq!(error_of(json!({"OriginRequestPolicyId": "r"}), &[("r", request(10))]), None);
    assert!(
        error_of(json!({"OriginRequestPolicyId": "r"}), &[("r", request(11))])
            .unwrap()
            .contains("origin request policy")
    );
    assert_eq!(error_of(legacy(10), &[]), None);
    assert!(error_of(legacy(11), &[]).unwrap().contains("ForwardedValues"));
}

#[test]
fn an_origin_request_policy_cannot_list_two_headers() {
    for name in ["Authorization", "accept-encoding"] {
        let policy =
            json!({"OriginRequestPolicyConfig": {"HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": [name]}}});
        let error = error_of(json!({"OriginRequestPolicyId": "r"}), &[("r", policy)]).unwrap();
        assert!(error.contains("cannot be listed"), "{error}");
    }
    let policy = json!({"OriginRequestPolicyConfig": {"HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": ["x-authorization"]}}});
    assert_eq!(error_of(json!({"OriginRequestPolicyId": "r"}), &[("r", policy)]), None);
}

#[test]
fn only_three_sets_of_methods_are_allowed() {
    let all = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"];
    for allowed in [&["GET", "HEAD"][..], &["HEAD", "GET", "OPTIONS"], &all] {
        assert_eq!(error_of(json!({"AllowedMethods": allowed}), &[]), None, "{allowed:?}");
    }
    for refused in [&["GET"][..], &["GET", "HEAD", "POST"], &["GET", "HEAD", "OPTIONS", "POST"]] {
        let error = error_of(json!({"AllowedMethods": refused}), &[]).unwrap();
        assert!(error.contains("AllowedMethods: expected GET,HEAD or GET,HEAD,OPTIONS or"), "{error}");
    }
    let nested = |cached: &[&str]| json!({"AllowedMethods": {"Quantity": 2, "Items": ["GET", "HEAD"], "CachedMethods": {"Items": cached}}});
    assert_eq!(error_of(nested(&["GET", "HEAD"]), &[]), None);
    assert!(error_of(nested(&["GET"]), &[]).unwrap().contains("CachedMethods: expected"));
    assert!(error_of(nested(&["GET", "HEAD", "OPTIONS"]), &[]).unwrap().contains("allow OPTIONS"));
}

#[test]
fn a_policy_with_caching_disabled_has_no_cache_key() {
    for key in [
        json!({"EnableAcceptEncodingGzip": true}),
        json!({"EnableAcceptEncodingBrotli": true}),
        json!({"HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": ["x"]}}),
        json!({"CookiesConfig": {"CookieBehavior": "all"}}),
        json!({"QueryStringsConfig": {"QueryStringBehavior": "all"}}),
    ] {
        let policy = |maximum| {
            cache_policy(
                json!({"MinTTL": 0, "DefaultTTL": 0, "MaxTTL": maximum, "ParametersInCacheKeyAndForwardedToOrigin": key}),
            )
        };
        let error = error_of(json!({"CachePolicyId": "c"}), &[("c", policy(0))]).unwrap();
        assert!(error.contains("is invalid for a policy with caching disabled"), "{error}");
        assert_eq!(error_of(json!({"CachePolicyId": "c"}), &[("c", policy(1))]), None);
    }
}

#[test]
fn legacy_settings_with_all_headers_need_a_minimum_of_zero() {
    let legacy = |minimum| json!({"ForwardedValues": {"Headers": ["*"]}, "MinTTL": minimum});
    assert_eq!(error_of(legacy(0), &[]), None);
    assert!(error_of(legacy(1), &[]).unwrap().contains("expected MinTTL 0"));
}
