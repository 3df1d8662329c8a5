//! The configuration of a CloudFront distribution, as the rules need it.
//!
//! It is parsed from a
//! [DistributionConfig](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_DistributionConfig.html) of
//! CloudFront's API (`aws cloudfront get-distribution-config`) or from CloudFormation's
//! [AWS::CloudFront::Distribution](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudfront-distribution.html).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::policy::caching::{CachePolicy, Caching, Names};
use crate::policy::json::{boolean, items, number, text, texts};
use crate::policy::path_pattern::matches;
use crate::policy::policies::{Policies, ttl};

/// CloudFront's default caching time for errors, in seconds
/// ([custom error pages](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html)).
pub const ERROR_TTL_DEFAULT_SECS: u64 = 10;

/// CloudFront's default
/// [origin response timeout](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CustomOriginConfig.html).
const READ_TIMEOUT_DEFAULT_SECS: u64 = 30;

/// A cache behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    /// The path pattern; none for the default behaviour.
    pub pattern: Option<String>,
    /// The id of the origin. For an origin group, that of its first member.
    pub origin: String,
    /// The viewer protocol policy.
    pub viewer_protocol: String,
    /// The cache key, TTLs and forwarded values.
    pub caching: Caching,
}

impl Behavior {
    /// The name of the behaviour in a finding.
    pub fn name(&self) -> String {
        self.pattern
            .as_ref()
            .map_or_else(|| "the default behaviour".to_owned(), |pattern| format!("the behaviour {pattern}"))
    }
}

/// An origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The id.
    pub id: String,
    /// The domain name.
    pub domain: String,
    /// The prefix of every path.
    pub path: String,
    /// The custom headers.
    pub headers: Vec<(String, String)>,
    /// The settings of a custom origin; none for a bucket.
    pub custom: Option<CustomOrigin>,
    /// Whether CloudFront signs requests to the bucket: with an origin access control or an origin access identity.
    pub signed: bool,
    /// Whether it has an origin access control.
    pub access_control: bool,
}

/// The settings of a custom origin, which is not a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomOrigin {
    /// `https-only`, `http-only` or `match-viewer`.
    pub protocol_policy: String,
    /// The TLS versions that CloudFront may use.
    pub tls: BTreeSet<String>,
    /// How long CloudFront waits for a response, in seconds.
    pub read_timeout_secs: u64,
}

impl Origin {
    /// The name of the origin in a finding.
    pub fn name(&self) -> String {
        format!("the origin {}", self.id)
    }

    /// The value of a custom header; its name is case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A custom error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The origin's status.
    pub code: u64,
    /// How long CloudFront caches it, in seconds.
    pub ttl_secs: u64,
    /// The path of the page that replaces the response.
    pub page: Option<String>,
    /// The status that viewers get instead.
    pub response_code: Option<String>,
}

/// A distribution's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The alternate domain names.
    pub aliases: Vec<String>,
    /// The origins.
    pub origins: Vec<Origin>,
    /// The behaviours in the order in which CloudFront matches them; the default behaviour is the last.
    pub behaviors: Vec<Behavior>,
    /// The custom error responses.
    pub errors: Vec<ErrorResponse>,
    /// Whether it uses a certificate of ACM.
    pub acm_certificate: bool,
}

impl Distribution {
    /// Parses a `DistributionConfig`.
    ///
    /// # Errors
    /// If it has no origins or no default behaviour.
    pub fn parse(config: &Value, policies: &Policies) -> Result<Self, String> {
        let origins: Vec<Origin> = items(&config["Origins"]).iter().map(origin).collect();
        if origins.is_empty() {
            return Err("expected a DistributionConfig, found no Origins".to_owned());
        }
        if !config["DefaultCacheBehavior"].is_object() {
            return Err("expected a DistributionConfig, found no DefaultCacheBehavior".to_owned());
        }
        // CloudFront sends each request to the first member of an origin group first.
        let groups: BTreeMap<String, String> = items(&config["OriginGroups"])
            .iter()
            .filter_map(|group| Some((text(&group["Id"]), text(&items(&group["Members"]).first()?["OriginId"]))))
            .collect();
        let parse_behavior = |value: &Value| {
            let mut behavior = behavior(value, policies);
            if let Some(first) = groups.get(&behavior.origin) {
                behavior.origin.clone_from(first);
            }
            behavior
        };
        Ok(Self {
            aliases: texts(&config["Aliases"]),
            behaviors: items(&config["CacheBehaviors"])
                .iter()
                .chain([&config["DefaultCacheBehavior"]])
                .map(parse_behavior)
                .collect(),
            errors: items(&config["CustomErrorResponses"]).iter().map(error_response).collect(),
            acm_certificate: ["AcmCertificateArn", "ACMCertificateArn"]
                .iter()
                .any(|name| !text(&config["ViewerCertificate"][name]).is_empty()),
            origins,
        })
    }

    /// The behaviour that applies to a path.
    pub fn behavior_for(&self, path: &str) -> Option<&Behavior> {
        self.behaviors.iter().find(|behavior| behavior.pattern.as_ref().is_none_or(|pattern| matches(pattern, path)))
    }

    /// How long CloudFront caches a response with this status, in seconds.
    pub fn error_ttl_secs(&self, code: u64) -> u64 {
        self.errors.iter().find(|error| error.code == code).map_or(ERROR_TTL_DEFAULT_SECS, |error| error.ttl_secs)
    }
}

fn behavior(value: &Value, policies: &Policies) -> Behavior {
    let caching = if value["ForwardedValues"].is_object() {
        let forwarded = &value["ForwardedValues"];
        let listed = texts(&forwarded["Headers"]);
        let headers = if listed.iter().any(|name| name == "*") {
            Names::All
        } else {
            Names::listed(listed.iter().map(String::as_str))
        };
        Caching::Legacy(CachePolicy {
            headers,
            query_strings: if boolean(&forwarded["QueryString"]) { Names::All } else { Names::None },
            ttl: ttl(value),
        })
    } else {
        let cache = text(&value["CachePolicyId"]);
        let request = text(&value["OriginRequestPolicyId"]);
        Caching::Policies {
            cache: policies.cache_policy(&cache).ok_or(cache),
            request: (!request.is_empty()).then(|| policies.request_policy(&request).ok_or(request)),
        }
    };
    Behavior {
        pattern: value["PathPattern"].as_str().map(str::to_owned),
        origin: text(&value["TargetOriginId"]),
        viewer_protocol: text(&value["ViewerProtocolPolicy"]),
        caching,
    }
}

fn origin(value: &Value) -> Origin {
    let custom = value["CustomOriginConfig"].is_object().then(|| {
        let custom = &value["CustomOriginConfig"];
        let tls = ["OriginSslProtocols", "OriginSSLProtocols"].iter().flat_map(|name| texts(&custom[name])).collect();
        CustomOrigin {
            protocol_policy: text(&custom["OriginProtocolPolicy"]),
            tls,
            read_timeout_secs: number(&custom["OriginReadTimeout"]).unwrap_or(READ_TIMEOUT_DEFAULT_SECS),
        }
    });
    let headers = ["CustomHeaders", "OriginCustomHeaders"].iter().flat_map(|name| items(&value[name]));
    let access_control = !text(&value["OriginAccessControlId"]).is_empty();
    Origin {
        id: text(&value["Id"]),
        domain: text(&value["DomainName"]),
        path: text(&value["OriginPath"]),
        headers: headers.map(|header| (text(&header["HeaderName"]), text(&header["HeaderValue"]))).collect(),
        signed: access_control || !text(&value["S3OriginConfig"]["OriginAccessIdentity"]).is_empty(),
        access_control,
        custom,
    }
}

fn error_response(value: &Value) -> ErrorResponse {
    let non_empty = |value: &Value| Some(text(value)).filter(|text| !text.is_empty());
    ErrorResponse {
        code: number(&value["ErrorCode"]).unwrap_or(0),
        ttl_secs: number(&value["ErrorCachingMinTTL"]).unwrap_or(ERROR_TTL_DEFAULT_SECS),
        page: non_empty(&value["ResponsePagePath"]),
        response_code: non_empty(&value["ResponseCode"]),
    }
}
