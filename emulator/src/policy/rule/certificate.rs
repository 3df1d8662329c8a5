//! Rules for the certificate and the TLS versions for viewers.
//!
//! [ViewerCertificate](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_ViewerCertificate.html).

use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

/// Security policies that allow TLS versions below 1.2, which [RFC 8996](https://www.rfc-editor.org/rfc/rfc8996) and
/// [RFC 7568](https://www.rfc-editor.org/rfc/rfc7568) deprecate
/// ([supported protocols](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/secure-connections-supported-viewer-protocols-ciphers.html)).
const OLD: [&str; 4] = ["SSLv3", "TLSv1", "TLSv1_2016", "TLSv1.1_2016"];

const PLACE: &str = "ViewerCertificate";

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    missing(context).into_iter().chain(old_tls(context)).collect()
}

/// Finds an alias without a certificate
/// ([requirements](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/CNAMEs.html#alternate-domain-names-requirements)).
fn missing(context: &Context<'_>) -> Option<Finding> {
    let distribution = context.distribution;
    if distribution.aliases.is_empty() || !distribution.certificate.is_default() {
        return None;
    }
    Some(Finding {
        severity: Severity::Error,
        id: "certificate-missing",
        place: PLACE.to_owned(),
        why: format!("no certificate covers {}: CloudFront rejects the alias", distribution.aliases.join(", ")),
        fix: "set AcmCertificateArn, or in AWS China IamCertificateId".to_owned(),
    })
}

fn old_tls(context: &Context<'_>) -> Option<Finding> {
    let certificate = &context.distribution.certificate;
    let minimum = certificate.minimum_protocol.as_str();
    if minimum.is_empty() || is_unknown(minimum) {
        return None;
    }
    let (why, fix) = if certificate.is_default() {
        (
            format!(
                "CloudFront ignores MinimumProtocolVersion {minimum} for its own certificate, which lets viewers use TLSv1"
            ),
            "add an alias with its certificate, or remove MinimumProtocolVersion",
        )
    } else if OLD.contains(&minimum) {
        (
            format!("{minimum} lets viewers use TLS versions below 1.2, which are deprecated"),
            "set MinimumProtocolVersion to TLSv1.2_2021",
        )
    } else {
        return None;
    };
    Some(Finding {
        severity: Severity::Warning,
        id: "viewer-old-tls",
        place: PLACE.to_owned(),
        why,
        fix: fix.to_owned(),
    })
}
