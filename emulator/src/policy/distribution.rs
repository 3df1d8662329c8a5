//! The configuration of a CloudFront distribution, as the rules need it.
//!
//! It is parsed from a
//! [DistributionConfig](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_DistributionConfig.html) of
//! CloudFront's API (`aws cloudfront get-distribution-config`) or from CloudFormation's
//! [AWS::CloudFront::Distribution](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudfront-distribution.html).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::policy::caching::{CachePolicy, Caching, Codings, Names};
use crate::policy::feature::{Use, of_behavior, of_distribution, of_origin};
use crate::policy::json::{boolean, is_unknown, items, number, number_or, text, texts};
use crate::policy::path_pattern::matches;
use crate::policy::policies::{Policies, ttl};

/// CloudFront's default caching time for errors, in seconds
/// ([custom error pages](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html)).
pub const ERROR_TTL_DEFAULT_SECS: u64 = 10;

/// CloudFront's default
/// [origin response timeout](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CustomOriginConfig.html).
const READ_TIMEOUT_DEFAULT_SECS: u64 = 30;

/// CloudFormation's default for
/// [OriginSSLProtocols](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-cloudfront-distribution-customoriginconfig.html),
/// from the schema of the resource type. CloudFront's API always returns a list.
const ORIGIN_TLS_DEFAULT: [&str; 2] = ["TLSv1", "SSLv3"];

/// The name of the distribution in a finding.
pub const DISTRIBUTION: &str = "the distribution";

/// A cache behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    /// The path pattern; none for the default behaviour.
    pub pattern: Option<String>,
    /// The id of the origin or origin group.
    pub target: String,
    /// The ids of the origins in the order in which CloudFront sends a request to them: the members of the origin
    /// group, or only the target.
    pub origins: Vec<String>,
    /// The viewer protocol policy.
    pub viewer_protocol: String,
    /// The allowed methods; empty if the configuration does not name them.
    pub allowed_methods: BTreeSet<String>,
    /// The cached methods; empty if the configuration does not name them.
    pub cached_methods: BTreeSet<String>,
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

    /// The id of the origin that receives every request first.
    pub fn first_origin(&self) -> &str {
        self.origins.first().map_or("", String::as_str)
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
    /// Whether CloudFront signs requests to the origin: with an origin access control or an origin access identity.
    pub signed: bool,
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

    /// Whether it is a function URL by its domain name, `<id>.lambda-url.<region>.on.aws`.
    pub fn is_function_url(&self) -> bool {
        self.domain.to_ascii_lowercase().contains(".lambda-url.")
    }

    /// Whether CloudFront signs requests to it as a function URL: a custom origin with an origin access control, whose type then is
    /// `lambda`.
    pub fn is_signed_url(&self) -> bool {
        self.signed && self.custom.is_some()
    }

    /// The value of a custom header; its name is case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An origin group: CloudFront sends a request to the next member if the first fails.
///
/// [Origin failover](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/high_availability_origin_failover.html).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginGroup {
    /// The id.
    pub id: String,
    /// The ids of the origins, in order.
    pub members: Vec<String>,
    /// The statuses that count as a failure.
    pub statuses: Vec<u64>,
}

impl OriginGroup {
    /// The name of the group in a finding.
    pub fn name(&self) -> String {
        format!("the origin group {}", self.id)
    }
}

/// The certificate and the TLS versions for viewers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerCertificate {
    /// Whether it is a certificate of ACM.
    pub acm: bool,
    /// Whether it is a certificate in IAM.
    pub iam: bool,
    /// The configured minimum TLS version; empty without one.
    ///
    /// For the certificate of `*.cloudfront.net`, CloudFront's API returns `TLSv1`. This counts as no configured version.
    pub minimum_protocol: String,
}

impl ViewerCertificate {
    /// Whether CloudFront uses its own certificate, that of `*.cloudfront.net`.
    pub fn is_default(&self) -> bool {
        !self.acm && !self.iam
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
    /// The path that CloudFront requests for `/`; empty without one.
    pub root_object: String,
    /// The origins.
    pub origins: Vec<Origin>,
    /// The origin groups.
    pub groups: Vec<OriginGroup>,
    /// The behaviours in the order in which CloudFront matches them; the default behaviour is the last.
    pub behaviors: Vec<Behavior>,
    /// The custom error responses.
    pub errors: Vec<ErrorResponse>,
    /// The certificate for viewers.
    pub certificate: ViewerCertificate,
    /// The features in use that AWS China lacks.
    pub features: Vec<Use>,
}

impl Distribution {
    /// Parses a `DistributionConfig`.
    ///
    /// # Errors
    /// If it has no origins or no default behaviour.
    pub fn parse(config: &Value, policies: &Policies) -> Result<Self, String> {
        let origins = items(&config["Origins"]);
        if origins.is_empty() {
            return Err("expected a DistributionConfig, found no Origins".to_owned());
        }
        if !config["DefaultCacheBehavior"].is_object() {
            return Err("expected a DistributionConfig, found no DefaultCacheBehavior".to_owned());
        }
        let groups: Vec<OriginGroup> = items(&config["OriginGroups"]).iter().map(origin_group).collect();
        let mut features: Vec<Use> =
            of_distribution(config).map(|feature| Use { feature, place: DISTRIBUTION.to_owned() }).collect();
        let mut behaviors = Vec::new();
        for value in items(&config["CacheBehaviors"]).iter().chain([&config["DefaultCacheBehavior"]]) {
            let behavior = behavior(value, &groups, policies);
            features.extend(of_behavior(value).map(|feature| Use { feature, place: behavior.name() }));
            behaviors.push(behavior);
        }
        let parse_origin = |value: &Value| {
            let origin = origin(value);
            features.extend(of_origin(value).map(|feature| Use { feature, place: origin.name() }));
            origin
        };
        Ok(Self {
            aliases: texts(&config["Aliases"]),
            root_object: text(&config["DefaultRootObject"]),
            origins: origins.iter().map(parse_origin).collect(),
            groups,
            behaviors,
            errors: items(&config["CustomErrorResponses"]).iter().map(error_response).collect(),
            certificate: viewer_certificate(&config["ViewerCertificate"]),
            features,
        })
    }

    /// The behaviour that applies to a path.
    pub fn behavior_for(&self, path: &str) -> Option<&Behavior> {
        self.behaviors.iter().find(|behavior| behavior.pattern.as_ref().is_none_or(|pattern| matches(pattern, path)))
    }

    /// Whether an origin or an origin group has this id. An id that only AWS knows counts as one of them.
    pub fn has_target(&self, id: &str) -> bool {
        is_unknown(id)
            || self.origins.iter().any(|origin| origin.id == id)
            || self.groups.iter().any(|group| group.id == id)
    }

    /// How long CloudFront caches a response with this status, in seconds.
    pub fn error_ttl_secs(&self, code: u64) -> u64 {
        self.errors.iter().find(|error| error.code == code).map_or(ERROR_TTL_DEFAULT_SECS, |error| error.ttl_secs)
    }
}

fn origin_group(value: &Value) -> OriginGroup {
    OriginGroup {
        id: text(&value["Id"]),
        members: items(&value["Members"]).iter().map(|member| text(&member["OriginId"])).collect(),
        statuses: items(&value["FailoverCriteria"]["StatusCodes"]).iter().filter_map(number).collect(),
    }
}

fn behavior(value: &Value, groups: &[OriginGroup], policies: &Policies) -> Behavior {
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
            query_strings: match &forwarded["QueryString"] {
                Value::String(unknown) if is_unknown(unknown) => Names::listed([unknown.as_str()]),
                forwards if boolean(forwards) => Names::All,
                _ => Names::None,
            },
            cookies: match text(&forwarded["Cookies"]["Forward"]).as_str() {
                "all" => Names::All,
                "whitelist" => Names::Listed(texts(&forwarded["Cookies"]["WhitelistedNames"]).into_iter().collect()),
                _ => Names::None,
            },
            // CloudFront adds the codings to the key if the behaviour compresses
            // (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html).
            codings: Codings { gzip: boolean(&value["Compress"]), brotli: false },
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
    let target = text(&value["TargetOriginId"]);
    let group = groups.iter().find(|group| group.id == target);
    Behavior {
        pattern: value["PathPattern"].as_str().map(str::to_owned),
        origins: group.map_or_else(|| vec![target.clone()], |group| group.members.clone()),
        target,
        viewer_protocol: text(&value["ViewerProtocolPolicy"]),
        allowed_methods: texts(&value["AllowedMethods"]).into_iter().collect(),
        // CloudFront's API nests the cached methods in the allowed ones.
        cached_methods: ["/CachedMethods", "/AllowedMethods/CachedMethods"]
            .iter()
            .flat_map(|path| value.pointer(path).map(texts).unwrap_or_default())
            .collect(),
        caching,
    }
}

fn origin(value: &Value) -> Origin {
    let custom = value["CustomOriginConfig"].is_object().then(|| {
        let custom = &value["CustomOriginConfig"];
        let tls: BTreeSet<String> =
            ["OriginSslProtocols", "OriginSSLProtocols"].iter().flat_map(|name| texts(&custom[name])).collect();
        CustomOrigin {
            protocol_policy: text(&custom["OriginProtocolPolicy"]),
            tls: if tls.is_empty() { ORIGIN_TLS_DEFAULT.map(str::to_owned).into() } else { tls },
            read_timeout_secs: number_or(&custom["OriginReadTimeout"], READ_TIMEOUT_DEFAULT_SECS, u64::MAX),
        }
    });
    let headers = ["CustomHeaders", "OriginCustomHeaders"].iter().flat_map(|name| items(&value[name]));
    let signs = |identity: &Value| !text(identity).is_empty();
    Origin {
        id: text(&value["Id"]),
        domain: text(&value["DomainName"]),
        path: text(&value["OriginPath"]),
        headers: headers.map(|header| (text(&header["HeaderName"]), text(&header["HeaderValue"]))).collect(),
        signed: signs(&value["OriginAccessControlId"]) || signs(&value["S3OriginConfig"]["OriginAccessIdentity"]),
        custom,
    }
}

fn viewer_certificate(value: &Value) -> ViewerCertificate {
    let has = |names: [&str; 2]| names.iter().any(|name| !text(&value[*name]).is_empty());
    // CloudFront sets the source of its own certificate, and then sets the minimum TLS version too.
    let is_automatic = value["CertificateSource"] == "cloudfront";
    ViewerCertificate {
        acm: has(["AcmCertificateArn", "ACMCertificateArn"]),
        iam: has(["IamCertificateId", "IAMCertificateId"]),
        minimum_protocol: if is_automatic { String::new() } else { text(&value["MinimumProtocolVersion"]) },
    }
}

fn error_response(value: &Value) -> ErrorResponse {
    let non_empty = |value: &Value| Some(text(value)).filter(|text| !text.is_empty());
    ErrorResponse {
        code: number(&value["ErrorCode"]).unwrap_or(0),
        ttl_secs: number_or(&value["ErrorCachingMinTTL"], ERROR_TTL_DEFAULT_SECS, 0),
        page: non_empty(&value["ResponsePagePath"]),
        response_code: non_empty(&value["ResponseCode"]),
    }
}
