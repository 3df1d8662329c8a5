//! A distribution's configuration as the rules see it, out of the two shapes that it comes in: that of CloudFront's API
//! (`aws cloudfront get-distribution-config`), whose lists are `{"Quantity", "Items"}`, and that of CloudFormation.
//!
//! [DistributionConfig](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_DistributionConfig.html),
//! [AWS::CloudFront::Distribution](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudfront-distribution.html).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::policy::caching::{CachePolicy, Caching, Names, RequestPolicy, Ttl};
use crate::policy::managed;

/// What CloudFront keeps an error for unless told otherwise, in seconds
/// ([custom error pages](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html)).
pub const ERROR_TTL_DEFAULT_SECS: u64 = 10;

/// A cache behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    /// Its path pattern; none for the default behaviour.
    pub pattern: Option<String>,
    /// The id of its origin.
    pub origin: String,
    /// Its viewer protocol policy.
    pub viewer_protocol: String,
    /// The methods that it takes.
    pub methods: BTreeSet<String>,
    /// What it caches by and forwards.
    pub caching: Caching,
    /// The events at which code of CloudFront Functions or Lambda@Edge runs.
    pub functions: Vec<String>,
    /// Whether it caches by the settings that came before policies.
    pub legacy: bool,
}

impl Behavior {
    /// How a person names it.
    pub fn name(&self) -> String {
        self.pattern
            .as_ref()
            .map_or_else(|| "the default behaviour".to_owned(), |pattern| format!("the behaviour {pattern}"))
    }
}

/// An origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its id.
    pub id: String,
    /// Its domain name.
    pub domain: String,
    /// What goes before every path.
    pub path: String,
    /// Its custom headers.
    pub headers: Vec<(String, String)>,
    /// Its custom settings; none where it is a bucket.
    pub custom: Option<CustomOrigin>,
    /// Whether requests to a bucket are signed: by origin access control, or for an origin access identity.
    pub signed: bool,
    /// Whether it has origin access control.
    pub access_control: bool,
}

/// What is told of an origin that is no bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomOrigin {
    /// `https-only`, `http-only` or `match-viewer`.
    pub protocol_policy: String,
    /// The TLS versions that CloudFront may use.
    pub tls: BTreeSet<String>,
    /// How long CloudFront waits for an answer, in seconds.
    pub read_timeout_secs: u64,
}

impl Origin {
    /// A custom header by its name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What happens to a status of the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The status.
    pub code: u64,
    /// How long it is kept, in seconds.
    pub ttl_secs: u64,
    /// The page that stands in for it.
    pub page: Option<String>,
    /// The status that viewers get instead.
    pub response_code: Option<String>,
}

/// A distribution's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Its alternate domain names.
    pub aliases: Vec<String>,
    /// Its origins.
    pub origins: Vec<Origin>,
    /// Its behaviours in the order in which they are tried, the default one last.
    pub behaviors: Vec<Behavior>,
    /// What is said of errors.
    pub errors: Vec<ErrorResponse>,
    /// Whether its certificate is ACM's.
    pub certificate_of_acm: bool,
}

/// The policies that are not managed, by their ids.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// Cache policies.
    pub cache: BTreeMap<String, CachePolicy>,
    /// Origin request policies.
    pub request: BTreeMap<String, RequestPolicy>,
}

impl Policies {
    /// Takes in a policy: `CachePolicyConfig` or `OriginRequestPolicyConfig`, in either shape.
    ///
    /// # Errors
    /// When it is neither.
    pub fn add(&mut self, id: &str, config: &Value) -> Result<(), String> {
        if let Some(config) = config.get("CachePolicyConfig") {
            let key = &config["ParametersInCacheKeyAndForwardedToOrigin"];
            let ttl = Ttl {
                minimum: number(&config["MinTTL"]).unwrap_or(0),
                // https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CachePolicyConfig.html
                default: number(&config["DefaultTTL"]).unwrap_or(86_400),
                maximum: number(&config["MaxTTL"]).unwrap_or(31_536_000),
            };
            let policy = CachePolicy {
                headers: names(&key["HeadersConfig"], "HeaderBehavior", "Headers"),
                query_strings: names(&key["QueryStringsConfig"], "QueryStringBehavior", "QueryStrings"),
                ttl,
            };
            self.cache.insert(id.to_owned(), policy);
            Ok(())
        } else if let Some(config) = config.get("OriginRequestPolicyConfig") {
            let policy = RequestPolicy {
                headers: names(&config["HeadersConfig"], "HeaderBehavior", "Headers"),
                query_strings: names(&config["QueryStringsConfig"], "QueryStringBehavior", "QueryStrings"),
            };
            self.request.insert(id.to_owned(), policy);
            Ok(())
        } else {
            Err("it is neither a cache policy nor an origin request policy: give what `aws cloudfront get-cache-policy` \
                 or `get-origin-request-policy` prints"
                .to_owned())
        }
    }
}

impl Distribution {
    /// Out of a `DistributionConfig` in either shape.
    ///
    /// # Errors
    /// When it has no origins or no default behaviour.
    pub fn read(config: &Value, policies: &Policies) -> Result<Self, String> {
        let origins: Vec<Origin> = items(&config["Origins"]).iter().map(origin).collect();
        if origins.is_empty() {
            return Err("it has no Origins: give a DistributionConfig".to_owned());
        }
        if !config["DefaultCacheBehavior"].is_object() {
            return Err("it has no DefaultCacheBehavior: give a DistributionConfig".to_owned());
        }
        let behaviors = items(&config["CacheBehaviors"]).iter().chain([&config["DefaultCacheBehavior"]]);
        // A behaviour may name a group of origins: its first is the one that is asked.
        let groups: BTreeMap<String, String> = items(&config["OriginGroups"])
            .iter()
            .filter_map(|group| Some((text(&group["Id"]), text(&items(&group["Members"]).first()?["OriginId"]))))
            .collect();
        let resolved = |mut behavior: Behavior| {
            if let Some(first) = groups.get(&behavior.origin) {
                behavior.origin.clone_from(first);
            }
            behavior
        };
        Ok(Self {
            aliases: texts(&config["Aliases"]),
            behaviors: behaviors.map(|each| resolved(behavior(each, policies))).collect(),
            errors: items(&config["CustomErrorResponses"]).iter().map(error_response).collect(),
            certificate_of_acm: ["AcmCertificateArn", "ACMCertificateArn"]
                .iter()
                .any(|name| !text(&config["ViewerCertificate"][name]).is_empty()),
            origins,
        })
    }

    /// The behaviour that a path gets.
    pub fn behavior_of(&self, path: &str) -> Option<&Behavior> {
        self.behaviors.iter().find(|behavior| behavior.pattern.as_ref().is_none_or(|pattern| matches(pattern, path)))
    }

    /// What is done with a status.
    pub fn error_ttl_secs(&self, code: u64) -> u64 {
        self.errors.iter().find(|error| error.code == code).map_or(ERROR_TTL_DEFAULT_SECS, |error| error.ttl_secs)
    }
}

/// Whether a path pattern takes a path: `*` is any characters, `?` is one, upper and lower case differ, and the first `/` may
/// be left out
/// ([path pattern](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html)).
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.strip_prefix('/').unwrap_or(pattern).chars().collect();
    let path: Vec<char> = path.strip_prefix('/').unwrap_or(path).chars().collect();
    // The last `*`, and what it has taken: one step back is enough, since a later `*` takes over from an earlier.
    let (mut at, mut of, mut star) = (0, 0, None);
    while of < path.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == path[of] => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((from, taken)) => {
                    star = Some((from, taken + 1));
                    at = from + 1;
                    of = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&left| left == '*')
}

fn behavior(of: &Value, policies: &Policies) -> Behavior {
    let legacy = of["ForwardedValues"].is_object();
    let caching = if legacy {
        let forwarded = &of["ForwardedValues"];
        let listed = texts(&forwarded["Headers"]);
        let headers = if listed.iter().any(|name| name == "*") {
            Names::All
        } else {
            Names::listed(listed.iter().map(String::as_str))
        };
        Caching::Legacy(CachePolicy {
            headers,
            query_strings: if truth(&forwarded["QueryString"]) { Names::All } else { Names::None },
            ttl: Ttl {
                minimum: number(&of["MinTTL"]).unwrap_or(0),
                default: number(&of["DefaultTTL"]).unwrap_or(86_400),
                maximum: number(&of["MaxTTL"]).unwrap_or(31_536_000),
            },
        })
    } else {
        let cache = text(&of["CachePolicyId"]);
        let request = text(&of["OriginRequestPolicyId"]);
        Caching::Policies {
            cache: policies.cache.get(&cache).cloned().or_else(|| managed::cache_policy(&cache)).ok_or(cache),
            request: (!request.is_empty()).then(|| {
                policies.request.get(&request).cloned().or_else(|| managed::request_policy(&request)).ok_or(request)
            }),
        }
    };
    let methods = match texts(&of["AllowedMethods"]) {
        // https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_AllowedMethods.html
        none if none.is_empty() => ["GET".to_owned(), "HEAD".to_owned()].into(),
        methods => methods.into_iter().collect(),
    };
    let functions = ["FunctionAssociations", "LambdaFunctionAssociations"]
        .iter()
        .flat_map(|kind| items(&of[kind]))
        .map(|association| text(&association["EventType"]))
        .collect();
    Behavior {
        pattern: of["PathPattern"].as_str().map(str::to_owned),
        origin: text(&of["TargetOriginId"]),
        viewer_protocol: text(&of["ViewerProtocolPolicy"]),
        methods,
        caching,
        functions,
        legacy,
    }
}

fn origin(of: &Value) -> Origin {
    let custom = of["CustomOriginConfig"].is_object().then(|| {
        let custom = &of["CustomOriginConfig"];
        let tls = ["OriginSslProtocols", "OriginSSLProtocols"].iter().flat_map(|name| texts(&custom[name])).collect();
        CustomOrigin {
            protocol_policy: text(&custom["OriginProtocolPolicy"]),
            tls,
            read_timeout_secs: number(&custom["OriginReadTimeout"]).unwrap_or(30),
        }
    });
    let headers = ["CustomHeaders", "OriginCustomHeaders"].iter().flat_map(|name| items(&of[name]));
    let access_control = !text(&of["OriginAccessControlId"]).is_empty();
    Origin {
        id: text(&of["Id"]),
        domain: text(&of["DomainName"]),
        path: text(&of["OriginPath"]),
        headers: headers.map(|header| (text(&header["HeaderName"]), text(&header["HeaderValue"]))).collect(),
        signed: access_control || !text(&of["S3OriginConfig"]["OriginAccessIdentity"]).is_empty(),
        access_control,
        custom,
    }
}

fn error_response(of: &Value) -> ErrorResponse {
    let some = |value: &Value| Some(text(value)).filter(|text| !text.is_empty());
    ErrorResponse {
        code: number(&of["ErrorCode"]).unwrap_or(0),
        ttl_secs: number(&of["ErrorCachingMinTTL"]).unwrap_or(ERROR_TTL_DEFAULT_SECS),
        page: some(&of["ResponsePagePath"]),
        response_code: some(&of["ResponseCode"]),
    }
}

fn names(config: &Value, behavior: &str, listed: &str) -> Names {
    let listed = texts(&config[listed]);
    let listed = listed.iter().map(String::as_str);
    match text(&config[behavior]).as_str() {
        "whitelist" => Names::listed(listed),
        "allExcept" => Names::all_but(listed),
        "all" | "allViewer" | "allViewerAndWhitelistCloudFront" => Names::All,
        _ => Names::None,
    }
}

/// A list in either shape.
fn items(list: &Value) -> &[Value] {
    list.as_array().or_else(|| list["Items"].as_array()).map_or(&[], Vec::as_slice)
}

fn texts(list: &Value) -> Vec<String> {
    items(list).iter().map(text).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// CloudFormation takes `"10"` for `10`.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value == "true")
}
