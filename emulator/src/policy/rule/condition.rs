//! Rules for what conditions of redirects test, and for files of rules that the function does not load.

use std::collections::BTreeSet;

use crate::cloudfront::limits::HEADERS_MAX;
use crate::policy::caching::{CachePolicy, Caching, Names};
use crate::policy::distribution::Behavior;
use crate::policy::finding::{Finding, Severity, error};
use crate::policy::rule::context::{Context, arrives, list_name};
use crate::policy::rule::cors;

/// A name that no list contains: only sets of all names do.
const ANY_NAME: &str = "any name at all";

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let site = context.site();
    let mut findings: Vec<Finding> =
        [off(&site.access), off(&site.redirects), off(&site.headers)].into_iter().flatten().collect();
    for behavior in context.api_behaviors() {
        findings.extend(quota(context, behavior));
        let Some(redirects) = &site.redirects.rules else { continue };
        let needed =
            Needed { headers: headers(context), cookies: redirects.cookies(), parameters: redirects.parameters() };
        findings.extend(not_forwarded(&needed, behavior));
        if let Some(cache) = behavior.caching.cache_policy().filter(|cache| !cache.ttl.is_zero()) {
            findings.extend(not_in_key(&needed, behavior, cache));
        }
    }
    findings
}

/// Reports a given file that the function does not load.
fn off<T>(file: &crate::policy::site::RulesFile<T>) -> Option<Finding> {
    let setting = file.setting;
    let why = "it is not set: the function does not load the file, and no rule of it applies".to_owned();
    let parameter = setting.split_at(1).0.to_uppercase() + setting.split_at(1).1;
    let fix = format!("set it to the key of the file (for the templates in deploy/, --set {parameter}=KEY)");
    file.is_off().then(|| Finding { id: "rules-off", ..error(format!("the function's {setting}"), why, fix) })
}

/// The facts that the conditions of a list of redirects read.
struct Needed<'a> {
    /// The header fields and the conditions that read them.
    headers: Vec<(&'static str, &'static str)>,
    cookies: Vec<&'a str>,
    parameters: Vec<&'a str>,
}

/// The header fields that conditions read.
fn headers(context: &Context<'_>) -> Vec<(&'static str, &'static str)> {
    let uses = context.site().redirects.rules.as_ref().map(|redirects| redirects.uses()).unwrap_or_default();
    let all =
        [(uses.countries, "cloudfront-viewer-country", "Country="), (uses.languages, "accept-language", "Language=")];
    all.into_iter().filter(|(is_used, ..)| *is_used).map(|(_, header, condition)| (header, condition)).collect()
}

fn not_forwarded(needed: &Needed<'_>, behavior: &Behavior) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (header, condition) in &needed.headers {
        if arrives(behavior, header) == Some(false) {
            let why = format!("{header} does not reach the origin: no condition {condition} ever holds");
            let fix = format!(
                "list it in {} (for the templates in deploy/, with ExperimentsHeaders; with Access and without Caching, only \
                 with AccessAuthorization=false, because AllViewerExceptHostHeader has no header of CloudFront)",
                list_name(behavior)
            );
            findings.push(Finding { id: "condition-header", ..error(behavior.name(), why, fix) });
        }
    }
    let lost = |names: &[&str], contains: &dyn Fn(&str) -> Option<bool>| {
        names.iter().filter(|name| contains(name) == Some(false)).copied().collect::<Vec<_>>().join(", ")
    };
    let cookies = lost(&needed.cookies, &|name| behavior.caching.forwards_cookie(name));
    if !cookies.is_empty() {
        let why = format!("the cookies {cookies} do not reach the origin: no condition Cookie= of them ever holds");
        let fix = "forward all cookies in the origin request policy";
        findings.push(Finding { id: "condition-cookie", ..error(behavior.name(), why, fix) });
    }
    let parameters = lost(&needed.parameters, &|name| behavior.caching.forwards_query_string(name));
    let fix = "forward all query strings in the origin request policy";
    if !parameters.is_empty() {
        let why =
            format!("the parameters {parameters} do not reach the origin: the rules that require them never match");
        findings.push(Finding { id: "condition-query", ..error(behavior.name(), why, fix) });
    } else if behavior.caching.forwards_query_string(ANY_NAME) == Some(false) {
        let why = "redirects lose the query string, because it does not reach the origin".to_owned();
        findings.push(Finding {
            severity: Severity::Warning,
            id: "condition-query",
            ..error(behavior.name(), why, fix)
        });
    }
    findings
}

/// Finds conditions whose facts are not in the cache key. Redirects are never cached, but the object is that another viewer gets.
fn not_in_key(needed: &Needed<'_>, behavior: &Behavior, cache: &CachePolicy) -> Option<Finding> {
    let headers = needed.headers.iter().map(|(header, _)| (*header, cache.headers.contains(header)));
    let cookies = needed.cookies.iter().map(|name| (*name, cache.cookies.contains(name)));
    let parameters = needed.parameters.iter().map(|name| (*name, cache.query_strings.contains(name)));
    let missing: Vec<String> = (headers.map(|(name, is_in)| (name.to_owned(), is_in)))
        .chain(cookies.map(|(name, is_in)| (format!("the cookie {name}"), is_in)))
        .chain(parameters.map(|(name, is_in)| (format!("the parameter {name}"), is_in)))
        .filter(|(_, is_in)| *is_in == Some(false))
        .map(|(name, _)| name)
        .collect();
    let why = format!(
        "conditions test {}, which the cache key does not contain: an object that CloudFront keeps hides the rule from others",
        missing.join(", ")
    );
    let fix = "add them to the cache policy, or disable caching (managed policy CachingDisabled)";
    (!missing.is_empty()).then(|| Finding { id: "condition-key", ..error(behavior.name(), why, fix) })
}

/// Finds a list that exceeds CloudFront's quota, or would with the headers that rules need
/// ([quotas](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html)).
fn quota(context: &Context<'_>, behavior: &Behavior) -> Option<Finding> {
    let listed = match &behavior.caching {
        Caching::Legacy(cache) => &cache.headers,
        Caching::Policies { request: Some(Ok(request)), .. } => &request.headers,
        Caching::Policies { .. } => return None,
    };
    let Names::Listed(listed) = listed else { return None };
    let mut names: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let needed = headers(context).into_iter().map(|(header, _)| header).chain(cors::headers(context).iter().copied());
    names.extend(needed.filter(|name| arrives(behavior, name) == Some(false)));
    let is_ours = context.site().redirects.rules.is_some() || context.site().headers.rules.is_some();
    let why = format!(
        "{} needs {} of the {HEADERS_MAX} headers that CloudFront allows by default, and is refused: {}",
        list_name(behavior),
        names.len(),
        names.iter().copied().collect::<Vec<_>>().join(", ")
    );
    let fix = "use fewer conditions or attributes, or request a higher quota";
    (is_ours && names.len() > HEADERS_MAX)
        .then(|| Finding { id: "condition-quota", ..error(behavior.name(), why, fix) })
}
