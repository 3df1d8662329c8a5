//! Copies of objects: whether the fields that select them reach the origin.

use crate::policy::caching::{Caching, Names};
use crate::policy::distribution::Behavior;
use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::context::Context;

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    if !context.subject.copies.codings {
        return Vec::new();
    }
    // Beacons have no object.
    let has_objects = |behavior: &&Behavior| !behavior.allowed_methods.contains("POST");
    let behaviors = context.api_behaviors().filter(has_objects);
    behaviors.filter(|behavior| forwards_codings(&behavior.caching) == Some(false)).map(finding).collect()
}

/// Whether Accept-Encoding reaches the origin; `None` if that depends on an unknown policy.
///
/// The flags of a cache policy forward it, normalized, and so do legacy settings; an origin request policy cannot list it
/// ([compression](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html)).
fn forwards_codings(caching: &Caching) -> Option<bool> {
    match caching {
        Caching::Legacy(_) => Some(true),
        Caching::Policies { cache, request } => {
            let cache = cache.as_ref().ok()?;
            let forwards_all = match request {
                None => false,
                Some(Ok(request)) => matches!(request.headers, Names::All | Names::AllExcept(_)),
                Some(Err(_)) => return None,
            };
            Some(cache.codings.gzip || cache.codings.brotli || forwards_all)
        }
    }
}

fn finding(behavior: &Behavior) -> Finding {
    Finding {
        severity: Severity::Warning,
        id: "accept-encoding-not-forwarded",
        place: behavior.name(),
        why: "Accept-Encoding does not reach the origin: all texts are sent uncompressed".to_owned(),
        fix: "set EnableAcceptEncodingGzip and EnableAcceptEncodingBrotli in the cache policy, with MaxTTL 1 if CloudFront \
              must not cache; or set the function's compress to off"
            .to_owned(),
    }
}
