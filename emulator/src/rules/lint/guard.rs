//! Guarded paths from and to which redirects lead, and login pages.

use nearedge_core::access::rules::{Guards, Rule as AccessRule, RuleKind};
use nearedge_core::rules::redirects::Rule;
use percent_encoding::percent_decode_str;

use crate::rules::finding::{Finding, Severity};
use crate::rules::lint::chain::{Chain, HOST};
use crate::rules::site::Site;

/// Checks every redirect and every login page.
pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    check_roles(site, findings);
    if site.access().is_none() {
        return;
    }
    if let Some((file, redirects)) = site.redirects() {
        for rule in redirects.rules() {
            check_redirect(site, (&file.name, rule.line), rule, findings);
        }
    }
    check_logins(site, findings);
}

fn check_redirect(site: &Site, place: (&str, usize), rule: &Rule, findings: &mut Vec<Finding>) {
    let from = site.guards(rule.example().path.as_str().into());
    let target = target_path(rule);
    let to = target.as_deref().map(|path| site.guards(path.into())).unwrap_or_default();
    if let Some(guard) = first(&from) {
        let reason =
            format!("{} guards {}, so the rule applies only to requests that may pass", named(site, guard), rule.from);
        let fix = "nothing, if this is intended; otherwise add an open rule for the path";
        findings.push(Finding::new(place, Severity::Note, reason, fix));
    }
    let Some(guard) = first(&to).filter(|guard| !from.iter().any(|other| std::ptr::eq(*other, *guard))) else { return };
    if !rule.is_redirect() {
        let reason = format!(
            "{} is open, but {} guards its object {}: requests need what that rule requires",
            rule.from,
            named(site, guard),
            rule.to
        );
        findings.push(Finding::new(place, Severity::Note, reason, "nothing, if this is intended"));
    } else if let RuleKind::Link(link) = &guard.kind
        && link.cookie().is_none()
    {
        let reason = format!(
            "the target needs a link that {} accepts, and a link is valid for its own path only",
            named(site, guard)
        );
        let fix = "link to the target directly, or guard it by a rule with a session cookie";
        findings.push(Finding::new(place, Severity::Warning, reason, fix));
    }
}

/// The decoded path of a target on this site that inserts nothing.
fn target_path(rule: &Rule) -> Option<String> {
    let path = rule.to.split(['?', '#']).next().filter(|path| path.starts_with('/'))?;
    let example = path.replace(":splat", "y1-/y2-");
    Some(percent_decode_str(&example).decode_utf8_lossy().into_owned())
}

/// The first rule of the file.
fn first<'r>(guards: &Guards<'r>) -> Option<&'r AccessRule> {
    guards.iter().find(|guard| guard.position.is_some()).copied()
}

fn named(site: &Site, guard: &AccessRule) -> String {
    let (file, line) = site.place_of(guard);
    format!("{file}:{line} ({})", guard.path)
}

fn check_logins(site: &Site, findings: &mut Vec<Finding>) {
    let Some((_, rules)) = site.access() else { return };
    for rule in rules.rules() {
        let Some(login) = rule.login.as_ref().map(|login| login.template()) else { continue };
        let Some(path) = login.split(['?', '#']).next().filter(|path| path.starts_with('/')) else { continue };
        let place = site.place_of(rule);
        // The parser warns if the path itself is guarded.
        if site.is_guarded(&percent_decode_str(path).decode_utf8_lossy()) {
            continue;
        }
        let versions = site.possible_versions();
        let versions = std::iter::once(None).chain(versions.iter().map(|version| Some(&**version)));
        let chains: Vec<Chain> = versions.filter_map(|version| Chain::follow(site, HOST, path, version)).collect();
        let status = |chain: &Chain| chain.last().map_or(0, |reply| reply.status);
        let is_refused = |chain: &Chain| chain.replies.iter().any(|reply| is_refusal(reply.outcome));
        let all = |found: &dyn Fn(&Chain) -> bool| !chains.is_empty() && chains.iter().all(found);
        if all(&|chain| is_refused(chain)) {
            let reason = format!("the login page {path} leads to a guarded object: visitors cannot log in");
            findings.push(Finding::new(place, Severity::Warning, reason, "add an open rule for that object"));
        } else if site.objects.is_complete() && all(&|chain| !chain.leaves && status(chain) >= 400) {
            let reason = format!("the site has no login page {path}");
            findings.push(Finding::new(place, Severity::Warning, reason, "add the page, or correct login"));
        }
    }
}

fn is_refusal(outcome: &str) -> bool {
    matches!(outcome, "login" | "unauthorized" | "access_denied" | "link_expired" | "access_unavailable")
}

/// Roles come from tokens, so a condition on one never holds without a rule that requires a token.
fn check_roles(site: &Site, findings: &mut Vec<Finding>) {
    let Some((file, redirects)) = site.redirects() else { return };
    if !redirects.uses().roles || site.has_tokens() {
        return;
    }
    let lines: Vec<&str> = file.text.lines().collect();
    for rule in redirects.rules() {
        let line = lines.get(rule.line.saturating_sub(1)).copied().unwrap_or_default();
        if line.split_whitespace().any(|token| token.to_ascii_lowercase().starts_with("role=")) {
            let reason = "Role= never holds: no rule of access.json has jwt, so no request has claims";
            let fix = "guard the path by a rule with jwt, or remove the condition";
            findings.push(Finding::new((&file.name, rule.line), Severity::Warning, reason, fix));
        }
    }
}
