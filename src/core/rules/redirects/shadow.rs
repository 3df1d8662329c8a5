//! Finds rules that no request reaches.
//!
//! An earlier rule matches all of their requests.

use std::collections::{BTreeSet, HashMap};

use crate::rules::line_problem::Fault;
use crate::rules::path_index::Id;
use crate::rules::path_pattern::SegmentPattern;
use crate::rules::redirects::rule::Rule;

/// The rules without effect, and why.
pub(super) fn find(rules: &[Rule]) -> Vec<(Id, Fault)> {
    let mut found = Vec::new();
    let mut earlier = Earlier::default();
    for (rule, id) in rules.iter().zip(0..) {
        match earlier.covering(rule) {
            Some(other) => {
                let reason = format!("no request reaches this rule: line {} matches all of its requests", other.line);
                let fix = format!("remove it, or move it above the line with {}", other.from);
                found.push((id, Fault::new(reason, fix)));
            }
            None => earlier.add(rule),
        }
    }
    found
}

/// The rules seen so far.
#[derive(Default)]
struct Earlier<'r> {
    /// By pattern. Conditional rules are compared with their conditions.
    same: HashMap<(Option<&'r SegmentPattern>, &'r SegmentPattern), Vec<&'r Rule>>,
    /// The lengths of the prefixes in `prefixes`.
    lengths: BTreeSet<usize>,
    /// Unconditional rules that match all paths with a prefix.
    prefixes: HashMap<(Option<&'r SegmentPattern>, String), &'r Rule>,
}

impl<'r> Earlier<'r> {
    fn add(&mut self, rule: &'r Rule) {
        let pattern = &rule.pattern;
        self.same.entry((pattern.host.as_ref(), &pattern.path)).or_default().push(rule);
        if !rule.is_conditional()
            && let Some(prefix) = pattern.path.prefix()
        {
            self.lengths.insert(prefix.len());
            self.prefixes.entry((pattern.host.as_ref(), prefix)).or_insert(rule);
        }
    }

    /// A rule that matches all requests of `rule`.
    fn covering(&self, rule: &'r Rule) -> Option<&'r Rule> {
        let pattern = &rule.pattern;
        let hosts = [pattern.host.as_ref(), None];
        let hosts = if pattern.host.is_some() { &hosts[..] } else { &hosts[..1] };
        let is_weaker = |other: &&&Rule| {
            (other.conditions.is_empty() || other.conditions == rule.conditions)
                && (other.query.is_empty() || other.query.is_implied_by(&rule.query))
        };
        for host in hosts {
            let same = self.same.get(&(*host, &pattern.path));
            if let Some(other) = same.and_then(|rules| rules.iter().find(is_weaker)) {
                return Some(other);
            }
        }
        if self.prefixes.is_empty() {
            return None;
        }
        let certain = pattern.path.certain_prefix();
        let lengths = self.lengths.iter().take_while(|length| **length <= certain.len());
        let starts = lengths.filter_map(|length| certain.get(..*length));
        starts
            .flat_map(|start| hosts.iter().map(move |host| (*host, start.to_owned())))
            .find_map(|key| self.prefixes.get(&key).copied())
    }
}
