//! Rules for the connection to the API.

use crate::policy::distribution::Origin;
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = context.distribution.origins.iter().filter_map(domain).collect();
    for origin in context.api_origins() {
        if !origin.path.is_empty() {
            findings.push(Finding {
                severity: Severity::Warning,
                id: "origin-path",
                place: origin.name(),
                why: format!("its OriginPath {} becomes part of every key, unless it is the API's stage", origin.path),
                fix: "leave OriginPath empty, and use the API's stage $default".to_owned(),
            });
        }
        let Some(custom) = &origin.custom else { continue };
        if custom.protocol_policy != "https-only" && !is_unknown(&custom.protocol_policy) {
            findings.push(Finding {
                severity: Severity::Error,
                id: "secret-in-clear",
                place: origin.name(),
                why: format!(
                    "OriginProtocolPolicy is {}: the secret may be sent without TLS, and an HTTP API requires https",
                    custom.protocol_policy
                ),
                fix: "set OriginProtocolPolicy to https-only".to_owned(),
            });
        }
        let is_old = |version: &&str| !["TLSv1.2", "TLSv1.3"].contains(version) && !is_unknown(version);
        let old: Vec<&str> = custom.tls.iter().map(String::as_str).filter(is_old).collect();
        if !old.is_empty() {
            findings.push(Finding {
                severity: Severity::Warning,
                id: "old-tls",
                place: origin.name(),
                why: format!("CloudFront may connect to the API with {}", old.join(", ")),
                fix: "list only TLSv1.2 in OriginSslProtocols".to_owned(),
            });
        }
        // A streamed response may take longer: CloudFront waits that long for its first bytes, and between two parts of it.
        if custom.read_timeout_secs < context.subject.timeout_secs && !context.subject.streaming {
            findings.push(Finding {
                severity: Severity::Warning,
                id: "origin-timeout",
                place: origin.name(),
                why: format!(
                    "CloudFront waits {} s, but the function may take {} s: CloudFront's 504 precedes the function's",
                    custom.read_timeout_secs, context.subject.timeout_secs
                ),
                fix: "set OriginReadTimeout above the function's timeout".to_owned(),
            });
        }
    }
    findings
}

/// Finds a domain name that is a URL, such as an API's attribute `ApiEndpoint`.
///
/// [Origin domain](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesOrigin.html).
fn domain(origin: &Origin) -> Option<Finding> {
    origin.domain.contains("://").then(|| Finding {
        severity: Severity::Error,
        id: "origin-domain",
        place: origin.name(),
        why: format!("CloudFront requires a domain name, and DomainName is the URL {}", origin.domain),
        fix: "use only the host name; in a template, Fn::Select [2, Fn::Split [\"/\", URL]]".to_owned(),
    })
}
