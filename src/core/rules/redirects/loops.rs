//! Finds rules that redirect for ever.
//!
//! Each unconditional redirect gets an example request, and the redirects are followed for a viewer without cookies, country,
//! language and roles. A loop is certain if a request repeats, or if one rule applies again and again. A rule without `!`
//! counts too: it redirects for ever as soon as the object at its target is missing. Rewrites end a chain, because
//! the rules run once for each request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::rules::line_problem::Fault;
use crate::rules::path_index::Id;
use crate::rules::redirects::condition::Viewer;
use crate::rules::redirects::rule::{Effect, Lookup, Rule};

/// The longest chain that is followed. Browsers stop after 20.
const HOPS_MAX: usize = 100;

/// The hops for all rules together, which limits the duration.
const HOPS_TOTAL_MAX: usize = 100_000;

/// A rule that applies so often in one chain is in a loop. The example has two segments for `*`, so a rule that shortens
/// its path applies at most three times.
const VISITS_MAX: usize = 8;

/// A viewer for whom no condition holds.
struct PlainViewer;

impl Viewer for PlainViewer {
    fn country(&self) -> Option<Cow<'_, str>> {
        None
    }
    fn language(&self) -> Option<Cow<'_, str>> {
        None
    }
    fn has_cookie(&self, _: &str) -> bool {
        false
    }
    fn has_role(&self, _: &str) -> bool {
        false
    }
}

/// Finds the first rule that matches, and its effect.
///
/// A redirect to itself has no effect.
pub(super) trait First: Fn(&Lookup<'_>, &dyn Fn(Id) -> bool) -> Option<(Id, Option<Effect>)> {}

impl<F: Fn(&Lookup<'_>, &dyn Fn(Id) -> bool) -> Option<(Id, Option<Effect>)>> First for F {}

/// The rules that close loops, and why. A chain ends at rules that cannot be part of a loop.
pub(super) fn find(rules: &[Rule], can_loop: impl Fn(&Rule) -> bool, first: impl First) -> BTreeMap<Id, Fault> {
    let first = |lookup: &Lookup<'_>, removed: &dyn Fn(Id) -> bool| {
        first(lookup, removed).filter(|(id, _)| rules.get(*id as usize).is_some_and(&can_loop))
    };
    let mut closing = BTreeMap::new();
    // Rules with one request, whose chain ends.
    let mut ending = vec![false; rules.len()];
    let mut budget = HOPS_TOTAL_MAX;
    for (rule, id) in rules.iter().zip(0..) {
        if rule.is_conditional() || !rule.is_redirect() {
            continue;
        }
        while !closing.contains_key(&id)
            && let Some(members) = follow(rules, id, &first, &|id| closing.contains_key(&id), &mut ending, &mut budget)
        {
            // The last line closed the loop.
            let Some(last) = members.iter().max().copied() else { break };
            closing.insert(last, fault(rules, last, &members));
        }
    }
    closing
}

/// The rules of the loop that the example of a rule enters.
fn follow(
    rules: &[Rule],
    start: Id,
    first: &impl First,
    removed: &dyn Fn(Id) -> bool,
    ending: &mut [bool],
    budget: &mut usize,
) -> Option<Vec<Id>> {
    let pattern = &rules.get(start as usize)?.pattern;
    // Rules with a host can end the chain of one host, and not that of another one.
    let is_any_host = pattern.host.is_none();
    let host = pattern.host.as_ref().map_or("host.invalid".to_owned(), |host| host.example());
    let mut path = format!("/{}", pattern.path.example());
    let mut query = String::new();
    // The rules of the chain, and their requests.
    let mut chain: Vec<(Id, String)> = Vec::new();
    for _ in 0..HOPS_MAX.min(*budget) {
        *budget -= 1;
        let lookup = Lookup { host: &|| Cow::Borrowed(&host), path: &path, query: &query, viewer: &PlainViewer };
        let Some((id, effect)) = first(&lookup, removed) else { break };
        if chain.is_empty() && id != start {
            // Another rule takes the example. Its own example shows its loop.
            return None;
        }
        let request = format!("{path}?{query}");
        let is_literal = rules.get(id as usize).is_some_and(|rule| rule.pattern.path.literal().is_some());
        let repeated = chain.iter().position(|(_, earlier)| *earlier == request);
        let visits = chain.iter().filter(|(earlier, _)| *earlier == id).count();
        let begin = repeated.or_else(|| {
            (visits >= VISITS_MAX).then(|| chain.iter().rposition(|(earlier, _)| *earlier == id).unwrap_or_default())
        });
        if let Some(begin) = begin {
            return Some(chain.split_off(begin).into_iter().map(|(id, _)| id).collect());
        }
        if is_any_host && is_literal && query.is_empty() && ending.get(id as usize) == Some(&true) {
            break;
        }
        chain.push((id, request));
        let next = match effect {
            None => return Some(vec![id]),
            Some(Effect::Redirect { location, .. }) => on_same_site(&location, &host),
            Some(Effect::Rewrite { .. } | Effect::Respond { .. }) => None,
        };
        match next {
            Some(next) => (path, query) = next,
            None => {
                if is_any_host {
                    mark_ending(rules, &chain, ending);
                }
                return None;
            }
        }
    }
    // A chain that was cut at a limit is not known to end.
    if is_any_host && chain.len() < HOPS_MAX && *budget > 0 {
        mark_ending(rules, &chain, ending);
    }
    None
}

/// Marks rules with one request, which all had no query string.
fn mark_ending(rules: &[Rule], chain: &[(Id, String)], ending: &mut [bool]) {
    for (id, request) in chain {
        let is_literal = rules
            .get(*id as usize)
            .is_some_and(|rule| rule.pattern.path.literal().is_some() && rule.pattern.host.is_none());
        if let (true, true, Some(mark)) = (is_literal, request.ends_with('?'), ending.get_mut(*id as usize)) {
            *mark = true;
        }
    }
}

/// The decoded path and the query of a Location on this host.
fn on_same_site(location: &str, host: &str) -> Option<(String, String)> {
    let rest = match location.split_once("://").filter(|_| !location.starts_with('/')) {
        Some((_, rest)) => rest.strip_prefix(host)?,
        None => location,
    };
    let rest = rest.split('#').next().filter(|rest| rest.starts_with('/'))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some((percent_decode_str(path).decode_utf8().ok()?.into_owned(), query.to_owned()))
}

fn fault(rules: &[Rule], last: Id, members: &[Id]) -> Fault {
    let line_of = |id: &Id| rules.get(*id as usize).map_or(0, |rule| rule.line);
    let mut others: Vec<String> = members.iter().filter(|id| **id != last).map(|id| line_of(id).to_string()).collect();
    others.dedup();
    if others.is_empty() {
        return Fault::new(
            "the rule matches its own target, so it redirects for ever",
            "choose a target that FROM does not match, or rewrite by 200; the scheme of FROM is not compared, so redirect http \
             to https in CloudFront",
        );
    }
    others.truncate(10);
    let lines = if others.len() == 1 { "line" } else { "lines" };
    let reason = format!("the rule and {lines} {} redirect to each other for ever", others.join(", "));
    Fault::new(reason, "remove one of them")
}
