//! Rules for what experiments need: header fields, cookies and query strings that reach the API, and a cache key that keeps
//! visitors apart.

use std::collections::BTreeSet;

use nearedge_core::experiment::attribute::Field;
use nearedge_core::experiment::definition::Definition;
use nearedge_core::experiment::spec::Experiment;

use crate::cloudfront::limits::HEADERS_MAX;
use crate::policy::caching::{CachePolicy, Caching, Names};
use crate::policy::distribution::Behavior;
use crate::policy::experiment::{BASE_HEADERS, Experiments};
use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::{Context, arrives, list_name};

/// Header fields that no origin request policy can list, or that reach the origin in another form, and what to test instead
/// ([origin request policies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-origin-requests.html)).
const UNUSABLE: [(&str, &str); 6] = [
    ("accept-encoding", "another attribute: an origin request policy cannot list Accept-Encoding"),
    ("authorization", "a cookie, as cookie.NAME: an origin request policy cannot list Authorization"),
    ("connection", "another attribute: CloudFront does not forward the fields of a connection"),
    ("cookie", "the cookie as cookie.NAME: the API passes cookies apart from the header fields"),
    ("host", "the attribute host: the API rejects the viewer's Host"),
    ("range", "another attribute: CloudFront requests ranges of its own"),
];

/// A name that no list contains: only sets of all names do.
const ANY_NAME: &str = "any name at all";

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(experiments) = context.experiments() else { return Vec::new() };
    let mut findings: Vec<Finding> = disabled(experiments).into_iter().chain(unusable(context, experiments)).collect();
    for behavior in context.api_behaviors() {
        findings.extend(headers(experiments, behavior));
        findings.extend(quota(experiments, behavior));
        findings.extend(cookies(experiments, behavior));
        findings.extend(queries(experiments, behavior));
        if let Some(cache) = behavior.caching.cache_policy().filter(|cache| !cache.ttl.is_zero()) {
            findings.extend(match behavior.caching {
                Caching::Legacy(_) => vec![legacy(experiments, behavior)],
                Caching::Policies { .. } => cookies_in_key(experiments, behavior, cache),
            });
            findings.extend(attributes_in_key(experiments, behavior, cache));
            findings.extend(queries_in_key(experiments, behavior, cache));
        }
    }
    findings
}

/// An error; the caller sets its id.
fn error(place: String, why: String, fix: impl Into<String>) -> Finding {
    Finding { severity: Severity::Error, id: Default::default(), place, why, fix: fix.into() }
}

fn disabled(experiments: &Experiments) -> Option<Finding> {
    (experiments.enabled == Some(false)).then(|| Finding {
        severity: Severity::Error,
        id: "experiments-off",
        place: "the function's experiments".to_owned(),
        why: "it is not set: the function reads no definition, and no visitor takes part in an experiment".to_owned(),
        fix: "set it to the key of the definition (for the templates in deploy/, --set Experiments=KEY)".to_owned(),
    })
}

/// Finds attributes whose header field cannot reach the origin.
fn unusable(context: &Context<'_>, experiments: &Experiments) -> Vec<Finding> {
    let finding = |field: &Field| {
        let Field::Header(name) = field else { return None };
        let (_, instead) = UNUSABLE.iter().find(|(unusable, _)| **unusable == **name)?;
        let arrives = context.api_behaviors().all(|behavior| behavior.caching.forwards_header(name) != Some(false));
        (!arrives || matches!(&**name, "cookie" | "host")).then(|| Finding {
            severity: Severity::Error,
            id: "experiment-attribute",
            place: "the definition".to_owned(),
            why: format!("the attribute {field} never has the viewer's value: its rules decide as if it were absent"),
            fix: format!("test {instead}"),
        })
    };
    experiments.fields().iter().filter_map(finding).collect()
}

/// The header fields that must reach the origin, and the effect of their absence.
fn needed_headers(experiments: &Experiments) -> Vec<(&str, String)> {
    let mut needed: Vec<(&str, String)> =
        BASE_HEADERS.iter().map(|(name, effect)| (*name, (*effect).to_owned())).collect();
    for field in experiments.fields() {
        for name in field.headers().filter(|name| UNUSABLE.iter().all(|(unusable, _)| unusable != name)) {
            let effect = format!("the attribute {field} is absent, and its rules decide without it");
            match needed.iter_mut().find(|(known, _)| *known == name) {
                Some((_, effects)) => effects.push_str(&format!("; {effect}")),
                None => needed.push((name, effect)),
            }
        }
    }
    needed
}

/// The header fields that this list has, or would have with those that are missing.
fn complete_list<'a>(experiments: &'a Experiments, behavior: &'a Behavior) -> BTreeSet<&'a str> {
    let listed = match &behavior.caching {
        Caching::Legacy(cache) => Some(&cache.headers),
        Caching::Policies { request: Some(Ok(request)), .. } => Some(&request.headers),
        Caching::Policies { .. } => None,
    };
    let mut complete: BTreeSet<&str> = match listed {
        Some(Names::Listed(names)) => names.iter().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    };
    let missing = needed_headers(experiments).into_iter().map(|(name, _)| name);
    complete.extend(missing.filter(|name| arrives(behavior, name) == Some(false)));
    complete
}

fn headers(experiments: &Experiments, behavior: &Behavior) -> Vec<Finding> {
    let (list, count) = (list_name(behavior), complete_list(experiments, behavior).len());
    let missing = needed_headers(experiments).into_iter().filter(|(name, _)| arrives(behavior, name) == Some(false));
    let finding = |(name, effect): (&str, String)| {
        let fix = format!(
            "list it in {list}, which then has {count} of the {HEADERS_MAX} headers that CloudFront allows (for the \
             templates in deploy/, with Experiments and ExperimentsHeaders)"
        );
        Finding {
            id: "experiment-header",
            ..error(behavior.name(), format!("{name} does not reach the origin: {effect}"), fix)
        }
    };
    missing.map(finding).collect()
}

/// Finds lists that exceed CloudFront's quota, or would with the headers that are missing
/// ([quotas](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html)).
fn quota(experiments: &Experiments, behavior: &Behavior) -> Vec<Finding> {
    let mut lists = vec![(list_name(behavior), complete_list(experiments, behavior))];
    if let (Caching::Policies { .. }, Some(cache)) = (&behavior.caching, behavior.caching.cache_policy())
        && let Names::Listed(names) = &cache.headers
    {
        lists.push(("the cache policy", names.iter().map(String::as_str).collect()));
    }
    let finding = |(list, names): (&str, BTreeSet<&str>)| {
        let why = format!(
            "{list} needs {} of the {HEADERS_MAX} headers that CloudFront allows by default, and is refused: {}",
            names.len(),
            names.iter().copied().collect::<Vec<_>>().join(", ")
        );
        let fix =
            "test fewer attributes in the definition, or request a higher quota; a cache policy has a list of its own";
        (names.len() > HEADERS_MAX).then(|| Finding { id: "experiment-quota", ..error(behavior.name(), why, fix) })
    };
    lists.into_iter().filter_map(finding).collect()
}

fn cookies(experiments: &Experiments, behavior: &Behavior) -> Vec<Finding> {
    let assignments = experiments.assignments_cookie();
    let mut needed = vec![
        (experiments.cookie.as_str(), "each visit of a page is a new visitor's".to_owned()),
        (&assignments, "the visitor's assignments are lost, and a change of weights moves visitors".to_owned()),
    ];
    needed.extend(experiments.consent.iter().map(|name| (&**name, "no visitor ever consents".to_owned())));
    for field in experiments.fields() {
        if let Field::Cookie(name) = field
            && needed.iter().all(|(known, _)| *known != &**name)
        {
            needed.push((name, format!("the attribute {field} is absent, and its rules decide without it")));
        }
    }
    let forwards_none = behavior.caching.forwards_cookie(ANY_NAME) == Some(false)
        && needed.iter().all(|(name, _)| behavior.caching.forwards_cookie(name) == Some(false));
    // https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html#request-custom-traffic-spikes
    let collapse = match behavior.caching.cache_policy() {
        Some(cache) if forwards_none && !cache.ttl.is_zero() => {
            "; without forwarded cookies CloudFront also collapses concurrent requests of several visitors into one"
        }
        _ => "",
    };
    let fix = match behavior.caching {
        Caching::Legacy(_) => "set Cookies.Forward to all, and the three TTLs to 0",
        Caching::Policies { .. } => "forward all cookies in the origin request policy",
    };
    let missing = needed
        .into_iter()
        .filter(|(name, _)| !is_unknown(name) && behavior.caching.forwards_cookie(name) == Some(false));
    let finding = |(name, effect): (&str, String)| {
        let why = format!("the cookie {name} does not reach the origin: {effect}{collapse}");
        Finding { id: "experiment-cookie", ..error(behavior.name(), why, fix) }
    };
    missing.map(finding).collect()
}

/// The query parameters that experiments read, with what reads them.
fn needed_queries(experiments: &Experiments) -> Vec<(&str, String)> {
    let mut needed: Vec<(&str, String)> = Vec::new();
    for field in experiments.fields() {
        match field {
            Field::Query(name) => needed.push((name, format!("the attribute {field}"))),
            Field::Utm(name) => needed.push((name, format!("the attribute {field}"))),
            Field::Url => needed.push((ANY_NAME, "the attribute url".to_owned())),
            _ => {}
        }
    }
    for experiment in experiments.definition.iter().flat_map(Definition::experiments) {
        if experiment.targets_queries() {
            needed.push((ANY_NAME, format!("the URL pattern of {}", experiment.key)));
        }
        if experiment.persist_query_string {
            needed.push((ANY_NAME, format!("persistQueryString of {}", experiment.key)));
        }
    }
    needed.extend(previews(experiments));
    needed
}

/// The query parameters that show a variation.
fn previews(experiments: &Experiments) -> Vec<(&str, String)> {
    match &experiments.definition {
        _ if !experiments.preview => Vec::new(),
        Some(definition) => {
            definition.experiments().map(|each| (&*each.key, format!("the preview of {}", each.key))).collect()
        }
        None => vec![(ANY_NAME, "previews".to_owned())],
    }
}

/// What reads the query parameters that a set of names does not contain, in one text.
fn readers(needed: Vec<(&str, String)>, contains: impl Fn(&str) -> Option<bool>) -> Option<String> {
    let mut readers: Vec<String> =
        needed.into_iter().filter(|(name, _)| contains(name) == Some(false)).map(|(_, reader)| reader).collect();
    readers.dedup();
    (!readers.is_empty()).then(|| readers.join(", "))
}

fn queries(experiments: &Experiments, behavior: &Behavior) -> Option<Finding> {
    let readers = readers(needed_queries(experiments), |name| behavior.caching.forwards_query_string(name))?;
    let why = format!("the query string does not reach the origin, which needs it for {readers}");
    Some(Finding {
        id: "experiment-query",
        ..error(behavior.name(), why, "forward all query strings in the origin request policy")
    })
}

/// Reports caching by legacy settings, whose cache key contains everything that they forward.
fn legacy(experiments: &Experiments, behavior: &Behavior) -> Finding {
    let why = format!(
        "legacy settings put every forwarded cookie into the cache key, also {}: no two visitors share an entry",
        experiments.cookie
    );
    Finding {
        id: "experiment-caching",
        ..error(behavior.name(), why, "turn caching off: set MinTTL, DefaultTTL and MaxTTL to 0")
    }
}

fn cookies_in_key(experiments: &Experiments, behavior: &Behavior, cache: &CachePolicy) -> Vec<Finding> {
    let (visitor, assignments) = (&experiments.cookie, experiments.assignments_cookie());
    let mut findings = Vec::new();
    if is_unknown(visitor) {
        return findings;
    }
    if cache.cookies.contains(&assignments) == Some(false) {
        let why =
            format!("the cookie {assignments} is not in the cache key: visitors get responses of other variations");
        let fix = format!("add the cookie {assignments} to the cache policy, or disable caching");
        findings.push(Finding { id: "experiment-key", ..error(behavior.name(), why, fix) });
    }
    if cache.cookies.contains(visitor) == Some(true) {
        findings.push(Finding {
            severity: Severity::Warning,
            id: "experiment-key",
            place: behavior.name(),
            why: format!(
                "the cookie {visitor}, with the visitor's id, is in the cache key: no two visitors share an entry"
            ),
            fix: format!("list only {assignments} in the cache policy; the origin request policy forwards {visitor}"),
        });
    }
    findings
}

/// Whether the cache key contains an attribute; `None` if that depends on a name that only AWS knows.
fn is_in_key(experiments: &Experiments, field: &Field, cache: &CachePolicy) -> Option<bool> {
    match field {
        Field::Path | Field::Host => Some(true),
        Field::Id => cache.cookies.contains(&experiments.cookie),
        Field::Url => cache.query_strings.contains(ANY_NAME),
        Field::Query(name) => cache.query_strings.contains(name),
        Field::Utm(name) => cache.query_strings.contains(name),
        Field::Cookie(name) => cache.cookies.contains(name),
        _ => field.headers().try_fold(true, |all, name| Some(all & cache.headers.contains(name)?)),
    }
}

/// The attributes on which responses depend: those of the definition, the URL of patterns with a query string, and the cookie
/// of the consent.
fn decisive(experiments: &Experiments) -> Vec<Field> {
    let mut fields = experiments.fields().to_vec();
    let mut experiment = experiments.definition.iter().flat_map(Definition::experiments);
    let url = experiment.any(Experiment::targets_queries).then_some(Field::Url);
    let consent = experiments.consent.as_ref().map(|name| Field::Cookie(name.as_str().into()));
    for field in url.into_iter().chain(consent) {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    fields
}

/// Compares `experiments_cache_key` and the attributes in use with the cache key.
fn attributes_in_key(experiments: &Experiments, behavior: &Behavior, cache: &CachePolicy) -> Vec<Finding> {
    let trusted: Vec<Field> = experiments.cache_key.iter().filter_map(|name| Field::of_name(name)).collect();
    let mut findings = Vec::new();
    for field in trusted.iter().filter(|field| is_in_key(experiments, field, cache) == Some(false)) {
        let part = match field {
            Field::Id => format!("the cookie {}", experiments.cookie),
            Field::Cookie(name) => format!("the cookie {name}"),
            Field::Query(_) | Field::Utm(_) | Field::Url => "the query string".to_owned(),
            _ => field.headers().collect::<Vec<_>>().join(", "),
        };
        let why = format!(
            "experiments_cache_key lists {field}, but {part} is not in the cache key: viewers get responses that others' \
             {field} decided"
        );
        let fix = format!("add {part} to the cache policy, or remove {field} from experiments_cache_key");
        findings.push(Finding { id: "experiment-key", ..error(behavior.name(), why, fix) });
    }
    if experiments.has_unknown_cache_key() {
        return findings;
    }
    let open: Vec<String> = decisive(experiments)
        .iter()
        .filter(|field| !matches!(field, Field::Id | Field::Path | Field::Host) && !trusted.contains(field))
        .map(ToString::to_string)
        .collect();
    if !open.is_empty() && !cache.ttl.is_brief() {
        findings.push(Finding {
            severity: Severity::Warning,
            id: "experiment-uncached",
            place: behavior.name(),
            why: format!(
                "experiments_cache_key does not list {}: no response that this decides is cached",
                open.join(", ")
            ),
            fix: "add what carries it to the cache policy, then the attribute to experiments_cache_key; ignore this \
                  finding where few responses depend on it"
                .to_owned(),
        });
    }
    findings
}

fn queries_in_key(experiments: &Experiments, behavior: &Behavior, cache: &CachePolicy) -> Option<Finding> {
    let readers = readers(previews(experiments), |name| cache.query_strings.contains(name))?;
    let why = format!("the query string is not in the cache key: a cached page takes the place of {readers}");
    let fix = "add all query strings to the cache policy (for the templates in deploy/, --set ExperimentsPreview=true)";
    Some(Finding { id: "experiment-key", ..error(behavior.name(), why, fix) })
}
