//! Rules for the features that AWS China lacks.
//!
//! [CloudFront in AWS China](https://docs.amazonaws.cn/en_us/aws/latest/userguide/cloudfront.html).

use crate::policy::caching::Caching;
use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::context::Context;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    if !context.subject.china {
        return Vec::new();
    }
    let distribution = context.distribution;
    let mut findings = Vec::new();
    if distribution.behaviors.iter().any(|behavior| matches!(behavior.caching, Caching::Policies { .. })) {
        findings.push(unsupported(
            "cache policies and origin request policies",
            "use the legacy settings: ForwardedValues and the three TTLs",
        ));
    }
    if distribution.origins.iter().any(|origin| origin.access_control) {
        findings.push(unsupported("origin access control", "use an origin access identity"));
    }
    if distribution.acm_certificate {
        findings.push(unsupported("certificates of ACM", "upload the certificate to IAM, and set IAMCertificateId"));
    }
    if distribution.aliases.is_empty() {
        findings.push(finding(
            "its own domain name, *.cloudfront.cn, may not serve content".to_owned(),
            "add an alias with a completed ICP recordal",
        ));
    }
    findings
}

fn unsupported(feature: &str, fix: &str) -> Finding {
    finding(format!("CloudFront in AWS China does not support {feature}"), fix)
}

fn finding(why: String, fix: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        id: "not-in-china",
        place: "the distribution".to_owned(),
        why,
        fix: fix.to_owned(),
    }
}
