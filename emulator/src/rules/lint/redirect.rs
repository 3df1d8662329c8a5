//! Redirects that loop through the addresses of pages, and targets that do not exist.

use std::collections::BTreeSet;

use nearedge_core::rules::html::HtmlHandling;
use nearedge_core::rules::redirects::Rule;
use percent_encoding::utf8_percent_encode;

use crate::contents::PATH_ENCODED;
use crate::rules::finding::{Finding, Severity};
use crate::rules::lint::chain::{Chain, HOST};
use crate::rules::site::Site;

/// Checks every rule.
pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let Some((file, redirects)) = site.redirects() else { return };
    let mut loops: BTreeSet<Vec<String>> = BTreeSet::new();
    for rule in redirects.rules() {
        let place = (&*file.name, rule.line);
        let example = rule.example();
        let host = example.host.as_deref().unwrap_or(HOST);
        if rule.is_conditional() {
            continue;
        }
        let path = encoded(&example.path);
        let Some(chain) = Chain::follow(site, host, &path, None) else { continue };
        if let Some(start) = chain.repeats {
            let mut members: Vec<String> = chain.requested[start..].to_vec();
            let shown = [&members[..], &members[..1]].concat().join(" → ");
            members.sort();
            if loops.insert(members) {
                findings.push(Finding::new(
                    place,
                    Severity::Error,
                    loop_reason(site, &shown),
                    "redirect to the address of the page, or remove the rule",
                ));
            }
            continue;
        }
        if is_hidden_by_object(site, rule, &chain) {
            let reason = format!("the rule never applies: {} exists, and the rule has no !", example.path);
            let fix = format!("write the status as {}!, or remove the object or the rule", rule.status);
            findings.push(Finding::new(place, Severity::Warning, reason, fix));
            continue;
        }
        if site.objects.is_complete() && !inserts(rule) && !exists(site, host, &path, rule, &chain) {
            let reason = match rule.status {
                400.. => format!("the site has no object for the body {}", rule.to),
                _ => format!("{} leads to no object of the site, so the response is 404", rule.to),
            };
            findings.push(Finding::new(place, Severity::Warning, reason, "correct the target, or add the object"));
        }
    }
}

fn loop_reason(site: &Site, shown: &str) -> String {
    let mode = site.trial.config.policy.html_handling;
    let through = match mode {
        HtmlHandling::None => String::new(),
        mode => format!(" (with html_handling={})", mode.name()),
    };
    format!("the rule redirects for ever: {shown}{through}")
}

/// Whether the object at the only path of a rule hides the rule.
fn is_hidden_by_object(site: &Site, rule: &Rule, chain: &Chain) -> bool {
    let is_served = || chain.first().is_some_and(|reply| reply.outcome == "found");
    // A rule without a target serves the path itself.
    let is_itself = rule.from == rule.to;
    site.objects.is_complete()
        && !rule.forced
        && rule.example().is_only
        && !is_itself
        && rule.status != 200
        && is_served()
}

/// Whether the response in the end is one that the site has, for any version.
fn exists(site: &Site, host: &str, path: &str, rule: &Rule, chain: &Chain) -> bool {
    if rule.status >= 400 {
        let key = rule.to.trim_start_matches('/');
        let key = if key.is_empty() || key.ends_with('/') { format!("{key}index.html") } else { key.to_owned() };
        let of_version = |version: &String| site.objects.exists(&format!("{version}/{key}"));
        return site.objects.exists(&key) || site.possible_versions().iter().any(of_version);
    }
    let is_missing = |chain: &Chain| {
        !chain.leaves
            && chain.last().is_some_and(|reply| reply.outcome == "missing" || reply.outcome == "error_document")
    };
    if !is_missing(chain) {
        return true;
    }
    let of_version = |version: &String| Chain::follow(site, host, path, Some(version));
    site.possible_versions().iter().filter_map(of_version).any(|chain| !is_missing(&chain))
}

/// Whether a target has texts of the request.
fn inserts(rule: &Rule) -> bool {
    if rule.from.contains('*') && rule.to.contains(":splat") {
        return true;
    }
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let names =
        rule.from.split(':').skip(1).map(|rest| rest.split(|next| !is_of_name(next)).next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).any(|name| rule.to.contains(&format!(":{name}")))
}

/// A decoded path as a part of a URL.
pub(super) fn encoded(path: &str) -> String {
    utf8_percent_encode(path, PATH_ENCODED).to_string()
}
