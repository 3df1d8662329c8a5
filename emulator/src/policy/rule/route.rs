//! Rules for the origins that requests reach: every request of the test must reach the API first.

use crate::policy::distribution::{Behavior, OriginGroup};
use crate::policy::finding::{Finding, Severity};
use crate::policy::rule::context::Context;

/// Statuses of the API that are responses, not failures. CloudFront can also fail over on 429 and on 500 to 504
/// ([FailoverCriteria](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_OriginGroupFailoverCriteria.html)).
const RESPONSES: [u64; 3] = [403, 404, 416];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let distribution = context.distribution;
    let mut findings = Vec::new();
    for behavior in &distribution.behaviors {
        if !distribution.has_target(&behavior.target) {
            findings.push(missing(behavior.name(), &format!("its target {:?}", behavior.target)));
        }
    }
    for group in &distribution.groups {
        for member in group.members.iter().filter(|member| !distribution.has_target(member)) {
            findings.push(missing(group.name(), &format!("its member {member:?}")));
        }
        findings.extend(failover(context, group));
    }
    findings.extend(distribution.behaviors.last().and_then(|default| bypass(context, default)));
    findings.extend(root_object(context));
    findings
}

fn missing(place: String, what: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        id: "origin-missing",
        place,
        why: format!("{what} is not the id of an origin or origin group: CloudFront rejects the configuration"),
        fix: "use an Id from Origins or OriginGroups; ids are case-sensitive".to_owned(),
    }
}

/// Finds a default behaviour whose requests do not reach the API first.
fn bypass(context: &Context<'_>, default: &Behavior) -> Option<Finding> {
    let first = default.first_origin();
    let exists = context.distribution.origins.iter().any(|origin| origin.id == first);
    if context.is_api(first) || !exists {
        return None;
    }
    if context.reaches_api(default) {
        let group = context.distribution.groups.iter().find(|group| group.id == default.target)?;
        return Some(Finding {
            severity: Severity::Error,
            id: "test-bypassed",
            place: group.name(),
            why: format!("CloudFront requests every object from {first} first: viewers get it without the test"),
            fix: "list the API first, or use the API alone as the target of the default behaviour".to_owned(),
        });
    }
    let tested: Vec<String> = context.api_behaviors().map(Behavior::name).collect();
    let (severity, why) = if tested.is_empty() {
        (Severity::Error, format!("it sends requests to {first}, not to the API: no request takes part in the test"))
    } else {
        (
            Severity::Warning,
            format!("it sends requests to {first}, not to the API: only {} take part in the test", tested.join(", ")),
        )
    };
    Some(Finding {
        severity,
        id: "test-bypassed",
        place: default.name(),
        why,
        fix: format!(
            "set TargetOriginId of the default behaviour to the API's origin, which has the custom header {}",
            context.subject.auth_header
        ),
    })
}

/// Finds an origin group that replaces the API's responses by those of another origin.
fn failover(context: &Context<'_>, group: &OriginGroup) -> Option<Finding> {
    let is_used = context.distribution.behaviors.iter().any(|behavior| behavior.target == group.id);
    let api = group.members.iter().position(|member| context.is_api(member))?;
    let other = group.members.iter().skip(api + 1).find(|member| !context.is_api(member))?;
    let replaced: Vec<String> =
        RESPONSES.iter().filter(|status| group.statuses.contains(status)).map(u64::to_string).collect();
    if replaced.is_empty() || !is_used {
        return None;
    }
    Some(Finding {
        severity: Severity::Error,
        id: "failover-bypasses-test",
        place: group.name(),
        why: format!(
            "on {} CloudFront requests the object from {other}: a rejected or missing variant is replaced by an object \
             outside the test",
            replaced.join(", ")
        ),
        fix: "remove 403, 404 and 416 from FailoverCriteria; the function has variant_fallback for missing objects"
            .to_owned(),
    })
}

/// Finds a default root object that is not subject to the test
/// ([DefaultRootObject](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DefaultRootObject.html)).
fn root_object(context: &Context<'_>) -> Option<Finding> {
    let object = context.distribution.root_object.as_str();
    let folder = object.split('/').next().unwrap_or_default();
    let is_variant = context.subject.variants.iter().any(|variant| variant.eq_ignore_ascii_case(folder));
    let behavior = context.distribution.behavior_for(object)?;
    let why = if object.is_empty() {
        return None;
    } else if object.starts_with('/') {
        format!("{object} begins with /: CloudFront rejects it")
    } else if behavior.pattern.is_some() && !context.is_api(behavior.first_origin()) {
        format!("CloudFront requests {object} for /, and {} sends it past the API: all viewers get it", behavior.name())
    } else if is_variant {
        format!(
            "CloudFront requests {object} for /: the origin adds the variant's folder once more, and finds no object"
        )
    } else {
        return None;
    };
    Some(Finding {
        severity: Severity::Error,
        id: "root-object",
        place: "DefaultRootObject".to_owned(),
        why,
        fix: "leave it empty: the origin serves index.html of the variant for /".to_owned(),
    })
}
