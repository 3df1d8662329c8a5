//! Rules for the features that AWS China lacks.
//!
//! Sources, as of November 2026:
//!
//! - [CloudFront in AWS China](https://docs.amazonaws.cn/en_us/aws/latest/userguide/cloudfront.html): the domain name, the
//!   ICP recordal, ACM
//! - [Content delivery in China](https://aws.amazon.com/developer/application-security-performance/articles/content-delivery-in-china):
//!   Lambda@Edge, Origin Shield
//! - [WAF](https://docs.amazonaws.cn/en_us/aws/latest/userguide/waf.html): only regional;
//!   [Lambda](https://docs.amazonaws.cn/en_us/aws/latest/userguide/lambda.html): no function URLs
//! - CloudFormation's resource types in cn-north-1 and cn-northwest-1, in the schemas of cfn-lint 1.58: [`MISSING_TYPES`]
//! - aws-cdk [#31033](https://github.com/aws/aws-cdk/issues/31033): `CachePolicyId can't be set for this region`, although
//!   the resource type exists; aws-solutions-constructs
//!   [#1050](https://github.com/awslabs/aws-solutions-constructs/issues/1050): origin access control
//! - [AWS's example](https://github.com/aws-samples/deploy-cloudfront-in-china-with-cdk): HTTP/2, no IPv6

use crate::policy::caching::Caching;
use crate::policy::distribution::DISTRIBUTION;
use crate::policy::feature::Feature;
use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::context::Context;

/// Resource types that AWS China does not support. CloudFormation rejects a template that contains one.
const MISSING_TYPES: [&str; 14] = [
    "AWS::CloudFront::AnycastIpList",
    "AWS::CloudFront::ConnectionFunction",
    "AWS::CloudFront::ConnectionGroup",
    "AWS::CloudFront::ContinuousDeploymentPolicy",
    "AWS::CloudFront::DistributionTenant",
    "AWS::CloudFront::FieldLevelEncryptionConfig",
    "AWS::CloudFront::FieldLevelEncryptionProfile",
    "AWS::CloudFront::Function",
    "AWS::CloudFront::KeyValueStore",
    "AWS::CloudFront::MonitoringSubscription",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::TrustStore",
    "AWS::CloudFront::VpcOrigin",
    // The type exists in cn-north-1, but the feature does not.
    "AWS::Lambda::Url",
];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    if !context.subject.china {
        return Vec::new();
    }
    let distribution = context.distribution;
    let mut findings = Vec::new();
    if distribution.behaviors.iter().any(|behavior| matches!(behavior.caching, Caching::Policies { .. })) {
        findings.push(unsupported(
            DISTRIBUTION.to_owned(),
            "cache policies and origin request policies",
            "use the legacy settings: ForwardedValues and the three TTLs",
        ));
    }
    if distribution.certificate.acm {
        findings.push(unsupported(
            DISTRIBUTION.to_owned(),
            "certificates of ACM",
            "upload the certificate to IAM, and set IAMCertificateId",
        ));
    }
    findings.extend(distribution.features.iter().map(|used| feature(used.feature, used.place.clone())));
    findings.extend(domain_names(context));
    for (id, kind) in &context.subject.resource_types {
        if MISSING_TYPES.contains(&kind.as_str()) {
            findings.push(error(
                format!("the resource {id}"),
                format!("AWS China does not support {kind}: the stack cannot be created"),
                "remove the resource; deploy/aws-cn.yaml shows the alternatives",
            ));
        }
    }
    findings
}

const ID: &str = "not-in-china";

fn feature(feature: Feature, place: String) -> Finding {
    match feature {
        Feature::Http3 => undocumented(place, "HTTP/3", "set HttpVersion to http2"),
        Feature::Ipv6 => undocumented(place, "IPv6", "set IsIPV6Enabled (in a template IPV6Enabled) to false"),
        Feature::PriceClass => undocumented(place, "price classes", "remove PriceClass"),
        Feature::WebAcl => unsupported(
            place,
            "web ACLs of AWS WAF, which is only regional there",
            "remove WebACLId; HTTP APIs cannot have a web ACL either",
        ),
        Feature::AnycastIps => unsupported(place, "static IP addresses", "remove AnycastIpListId"),
        Feature::ContinuousDeployment => unsupported(
            place,
            "continuous deployment",
            "remove ContinuousDeploymentPolicyId and Staging; variants of this origin need no staging distribution",
        ),
        Feature::Tenants => unsupported(place, "multi-tenant distributions", "remove ConnectionMode and TenantConfig"),
        Feature::MutualTls => unsupported(place, "client certificates of viewers", "remove ViewerMtlsConfig"),
        Feature::ForeignLogBucket => unsupported(
            place,
            "log buckets outside AWS China, and domain names of buckets without a region",
            "set Logging.Bucket to NAME.s3.REGION.amazonaws.com.cn, in a template GetAtt RegionalDomainName",
        ),
        Feature::EdgeFunction => unsupported(
            place,
            "Lambda@Edge",
            "remove LambdaFunctionAssociations; the function behind the API does this work",
        ),
        Feature::CloudFrontFunction => unsupported(
            place,
            "CloudFront Functions",
            "remove FunctionAssociations; the function behind the API does this work",
        ),
        Feature::FieldLevelEncryption => unsupported(place, "field-level encryption", "remove FieldLevelEncryptionId"),
        Feature::ResponseHeadersPolicy => undocumented(
            place,
            "response headers policies",
            "remove ResponseHeadersPolicyId, and set the header fields as metadata of the objects",
        ),
        Feature::OriginAccessControl => unsupported(place, "origin access control", "use an origin access identity"),
        Feature::OriginShield => unsupported(place, "Origin Shield", "remove OriginShield"),
        Feature::VpcOrigin => unsupported(place, "VPC origins", "use a custom origin with a public address"),
        Feature::OriginIpv6 => undocumented(place, "IPv6 to the origin", "set IpAddressType to ipv4"),
        Feature::FunctionUrl => {
            unsupported(place, "function URLs, which Lambda lacks there", "use an HTTP API of API Gateway")
        }
    }
}

/// Finds domain names at which the distribution may not serve content.
fn domain_names(context: &Context<'_>) -> Vec<Finding> {
    let subject = context.subject;
    let aliases = &context.distribution.aliases;
    let fix = "add an alias with a completed ICP recordal";
    let mut findings = Vec::new();
    if aliases.is_empty() {
        findings.push(error(
            DISTRIBUTION.to_owned(),
            "its own domain name, *.cloudfront.cn, may not serve content".to_owned(),
            fix,
        ));
    }
    for alias in aliases.iter().filter(|alias| is_of_cloudfront(alias)) {
        findings.push(error(
            DISTRIBUTION.to_owned(),
            format!("the alias {alias} is CloudFront's own domain name, which may not serve content"),
            fix,
        ));
    }
    for (alias, status) in subject.icp_recordals.iter().filter(|(_, status)| *status != "APPROVED") {
        findings.push(error(
            DISTRIBUTION.to_owned(),
            format!("the ICP recordal of the alias {alias} is {status}, so it may not serve content"),
            "complete the ICP recordal of the domain, or use another alias",
        ));
    }
    let host = subject.redirect_path.as_deref().map(|path| path.trim_start_matches("https://"));
    if host.and_then(|host| host.split(['/', ':']).next()).is_some_and(is_of_cloudfront) {
        findings.push(error(
            "the function's redirect_path".to_owned(),
            "redirects lead to CloudFront's own domain name, which may not serve content".to_owned(),
            "set it to an alias with a completed ICP recordal",
        ));
    }
    findings
}

fn is_of_cloudfront(domain: &str) -> bool {
    let domain = format!(".{}", domain.trim_end_matches('.').to_ascii_lowercase());
    domain.ends_with(".cloudfront.cn") || domain.ends_with(".cloudfront.net")
}

fn unsupported(place: String, feature: &str, fix: &str) -> Finding {
    error(place, format!("CloudFront in AWS China does not support {feature}"), fix)
}

/// Reports a feature about which AWS China's documentation says nothing.
fn undocumented(place: String, feature: &str, fix: &str) -> Finding {
    let why =
        format!("no AWS page says that CloudFront in AWS China supports {feature}, and AWS's examples do without");
    Finding { severity: Severity::Warning, ..error(place, why, fix) }
}

fn error(place: String, why: String, fix: &str) -> Finding {
    Finding { severity: Severity::Error, id: ID, place, why, fix: fix.to_owned() }
}
