//! Rules for the other origins: the bucket that serves redirect targets.

use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::context::Context;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for origin in context.other_origins() {
        let is_bucket = origin.custom.is_none();
        if origin.domain.contains(".s3-website") {
            findings.push(Finding {
                severity: Severity::Error,
                id: "bucket-website",
                place: origin.name(),
                why: "it is a bucket's website endpoint: it supports only http and requires a public bucket".to_owned(),
                fix: "use the bucket's regional domain name with origin access control".to_owned(),
            });
        } else if is_bucket && !origin.signed {
            findings.push(Finding {
                severity: Severity::Error,
                id: "bucket-open",
                place: origin.name(),
                why: "requests to the bucket are not signed: S3 responds with 403, unless the bucket is public"
                    .to_owned(),
                fix: "add an origin access control (in AWS China an origin access identity)".to_owned(),
            });
        }
        let behaviors = context.distribution.behaviors.iter().filter(|behavior| behavior.origins.contains(&origin.id));
        for behavior in behaviors {
            if is_bucket && behavior.caching.forwards_header("host") == Some(true) {
                findings.push(Finding {
                    severity: Severity::Error,
                    id: "host-forwarded",
                    place: behavior.name(),
                    why: "S3 interprets the viewer's Host as the bucket's name: every redirect ends in an error"
                        .to_owned(),
                    fix: "remove Host from the policy, or use no origin request policy".to_owned(),
                });
            }
        }
    }
    findings
}
