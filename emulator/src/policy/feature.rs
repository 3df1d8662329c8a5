//! Features of CloudFront that are not available everywhere, and the places of a configuration that use them.

use serde_json::Value;

use crate::policy::json::{boolean, is_unknown, items, text};

/// A feature of CloudFront that AWS China lacks, or that no AWS page documents for AWS China.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// HTTP/3 between viewers and CloudFront.
    Http3,
    /// IPv6 between viewers and CloudFront.
    Ipv6,
    /// A selection of edge locations by price.
    PriceClass,
    /// A web ACL of AWS WAF.
    WebAcl,
    /// Static IP addresses of the edge locations.
    AnycastIps,
    /// A staging distribution.
    ContinuousDeployment,
    /// A multi-tenant distribution.
    Tenants,
    /// Client certificates of viewers.
    MutualTls,
    /// A log bucket outside AWS China, or a bucket's domain name without its region.
    ForeignLogBucket,
    /// A function of Lambda@Edge.
    EdgeFunction,
    /// A function of CloudFront Functions.
    CloudFrontFunction,
    /// Field-level encryption.
    FieldLevelEncryption,
    /// A response headers policy.
    ResponseHeadersPolicy,
    /// An origin access control.
    OriginAccessControl,
    /// An additional cache in front of the origin.
    OriginShield,
    /// An origin in a private subnet.
    VpcOrigin,
    /// IPv6 between CloudFront and the origin.
    OriginIpv6,
    /// A function URL of Lambda as the origin.
    FunctionUrl,
}

/// A place of a configuration that uses a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The feature.
    pub feature: Feature,
    /// The place, as a finding names it.
    pub place: String,
}

type Test = (Feature, fn(&Value) -> bool);

const OF_DISTRIBUTION: [Test; 9] = [
    (Feature::Http3, |config| text(&config["HttpVersion"]).ends_with('3')),
    (Feature::Ipv6, |config| ["IsIPV6Enabled", "IPV6Enabled"].iter().any(|name| boolean(&config[*name]))),
    (Feature::PriceClass, price_class),
    (Feature::WebAcl, |config| is_set(&config["WebACLId"])),
    (Feature::AnycastIps, |config| is_set(&config["AnycastIpListId"])),
    (Feature::ContinuousDeployment, |config| {
        is_set(&config["ContinuousDeploymentPolicyId"]) || boolean(&config["Staging"])
    }),
    (Feature::Tenants, |config| config["ConnectionMode"] == "tenant-only" || config["TenantConfig"].is_object()),
    (Feature::MutualTls, |config| {
        config["ViewerMtlsConfig"].is_object() || is_set(&config["ConnectionFunctionAssociation"]["Id"])
    }),
    (Feature::ForeignLogBucket, |config| is_foreign_log_bucket(&text(&config["Logging"]["Bucket"]))),
];

const OF_BEHAVIOR: [Test; 4] = [
    (Feature::EdgeFunction, |behavior| !items(&behavior["LambdaFunctionAssociations"]).is_empty()),
    (Feature::CloudFrontFunction, |behavior| !items(&behavior["FunctionAssociations"]).is_empty()),
    (Feature::FieldLevelEncryption, |behavior| is_set(&behavior["FieldLevelEncryptionId"])),
    (Feature::ResponseHeadersPolicy, |behavior| is_set(&behavior["ResponseHeadersPolicyId"])),
];

const OF_ORIGIN: [Test; 5] = [
    (Feature::OriginAccessControl, |origin| is_set(&origin["OriginAccessControlId"])),
    (Feature::OriginShield, |origin| boolean(&origin["OriginShield"]["Enabled"])),
    (Feature::VpcOrigin, |origin| origin["VpcOriginConfig"].is_object()),
    (Feature::OriginIpv6, |origin| {
        ["ipv6", "dualstack"].contains(&text(&origin["CustomOriginConfig"]["IpAddressType"]).as_str())
    }),
    (Feature::FunctionUrl, |origin| text(&origin["DomainName"]).to_ascii_lowercase().contains(".lambda-url.")),
];

/// The features of the distribution itself.
pub(super) fn of_distribution(config: &Value) -> impl Iterator<Item = Feature> {
    used(&OF_DISTRIBUTION, config)
}

/// The features of a behaviour.
pub(super) fn of_behavior(behavior: &Value) -> impl Iterator<Item = Feature> {
    used(&OF_BEHAVIOR, behavior)
}

/// The features of an origin.
pub(super) fn of_origin(origin: &Value) -> impl Iterator<Item = Feature> {
    used(&OF_ORIGIN, origin)
}

fn used<'a>(tests: &'static [Test], value: &'a Value) -> impl Iterator<Item = Feature> + use<'a> {
    tests.iter().filter(|(_, is_used)| is_used(value)).map(|(feature, _)| *feature)
}

fn is_set(value: &Value) -> bool {
    !text(value).is_empty()
}

/// Whether the configuration selects a price class.
///
/// CloudFront's API always returns one, and `PriceClass_All` if none is selected. Only the API's shape has a
/// `CallerReference`.
fn price_class(config: &Value) -> bool {
    let class = text(&config["PriceClass"]);
    let is_default = class.is_empty() || class == "PriceClass_All" && is_set(&config["CallerReference"]);
    !is_default && !is_unknown(&class)
}

/// Whether CloudFront in AWS China refuses a log bucket with this domain name
/// (aws-cdk [#10923](https://github.com/aws/aws-cdk/issues/10923)).
fn is_foreign_log_bucket(domain: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    domain.ends_with(".amazonaws.com") || domain.ends_with(".s3.amazonaws.com.cn")
}
