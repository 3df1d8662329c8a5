//! Cache policies and origin request policies, by id.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::policy::caching::{CachePolicy, Codings, Names, RequestPolicy, Ttl};
use crate::policy::json::{boolean, is_unknown, number_or, text, texts};
use crate::policy::managed;

/// The policies that behaviours can name: the given ones, and CloudFront's managed ones.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    cache: BTreeMap<String, CachePolicy>,
    request: BTreeMap<String, RequestPolicy>,
}

impl Policies {
    /// Adds a policy: a `CachePolicyConfig` or an `OriginRequestPolicyConfig`, in the API's or CloudFormation's shape.
    ///
    /// # Errors
    /// If it is neither.
    pub fn add(&mut self, id: &str, policy: &Value) -> Result<(), String> {
        if let Some(config) = policy.get("CachePolicyConfig") {
            let key = &config["ParametersInCacheKeyAndForwardedToOrigin"];
            let policy = CachePolicy {
                headers: names(&key["HeadersConfig"], "HeaderBehavior", "Headers"),
                query_strings: exact_names(&key["QueryStringsConfig"], "QueryStringBehavior", "QueryStrings"),
                cookies: exact_names(&key["CookiesConfig"], "CookieBehavior", "Cookies"),
                codings: Codings {
                    gzip: boolean(&key["EnableAcceptEncodingGzip"]),
                    brotli: boolean(&key["EnableAcceptEncodingBrotli"]),
                },
                ttl: ttl(config),
            };
            self.cache.insert(id.to_owned(), policy);
            Ok(())
        } else if let Some(config) = policy.get("OriginRequestPolicyConfig") {
            let policy = RequestPolicy {
                headers: names(&config["HeadersConfig"], "HeaderBehavior", "Headers"),
                query_strings: exact_names(&config["QueryStringsConfig"], "QueryStringBehavior", "QueryStrings"),
                cookies: exact_names(&config["CookiesConfig"], "CookieBehavior", "Cookies"),
                added: added(&config["HeadersConfig"]),
            };
            self.request.insert(id.to_owned(), policy);
            Ok(())
        } else {
            Err("expected a cache policy or an origin request policy: use the output of `aws cloudfront \
                 get-cache-policy` or `get-origin-request-policy`"
                .to_owned())
        }
    }

    /// The cache policy with this id, given or managed.
    pub(super) fn cache_policy(&self, id: &str) -> Option<CachePolicy> {
        self.cache.get(id).cloned().or_else(|| managed::cache_policy(id))
    }

    /// The origin request policy with this id, given or managed.
    pub(super) fn request_policy(&self, id: &str) -> Option<RequestPolicy> {
        self.request.get(id).cloned().or_else(|| managed::request_policy(id))
    }
}

/// The TTLs of a cache policy or of a behaviour with legacy settings, with
/// [their defaults](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CachePolicyConfig.html).
pub(super) fn ttl(config: &Value) -> Ttl {
    // An unknown TTL gets a value that no rule reports.
    let minimum = number_or(&config["MinTTL"], 0, 0);
    let default = number_or(&config["DefaultTTL"], 86_400, minimum);
    Ttl { minimum, default, maximum: number_or(&config["MaxTTL"], 31_536_000, default.max(31_536_000)) }
}

/// The header names of a policy.
fn names(config: &Value, behavior: &str, list: &str) -> Names {
    match exact_names(config, behavior, list) {
        Names::Listed(names) => Names::listed(names.iter().map(String::as_str)),
        Names::AllExcept(names) => Names::all_except(names.iter().map(String::as_str)),
        all_or_none => all_or_none,
    }
}

/// The cookies or query strings of a policy, whose case matters.
fn exact_names(config: &Value, behavior: &str, list: &str) -> Names {
    let list = texts(&config[list]);
    match text(&config[behavior]).as_str() {
        unknown if is_unknown(unknown) => Names::exactly([unknown]),
        "whitelist" => Names::Listed(list.into_iter().collect()),
        "allExcept" => Names::AllExcept(list.into_iter().collect()),
        "all" | "allViewer" | "allViewerAndWhitelistCloudFront" => Names::All,
        _ => Names::None,
    }
}

fn added(headers: &Value) -> BTreeSet<String> {
    if headers["HeaderBehavior"] == "allViewerAndWhitelistCloudFront" {
        texts(&headers["Headers"]).iter().map(|name| name.to_ascii_lowercase()).collect()
    } else {
        BTreeSet::new()
    }
}
