//! Redirects, rewrites and generated responses.
//!
//! They are read from the file `_redirects` of Cloudflare and Netlify, or from S3's routing rules.
//! docs/rules.md describes the format. The first rule of the file that matches a request applies.

mod condition;
mod loops;
mod parse;
mod query;
mod rule;
mod s3;
mod shadow;
mod target;
mod xml;

use crate::rules::host::RequestedHost;
use crate::rules::line_problem::{LineProblem, Problems};
use crate::rules::line_reader::is_blank;
use crate::rules::path_index::{Id, PathIndex};

pub use self::condition::Viewer;
use self::rule::Found;
pub use self::rule::{Effect, Lookup, Rule};

/// The rules of a file, prepared once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Redirects {
    rules: Box<[Rule]>,
    index: PathIndex,
}

/// The rule that applies to a request, and its effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Match<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// Its effect on this request.
    pub effect: Effect,
}

/// The facts that rules use beside the path and the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses {
    /// Cookies.
    pub cookies: bool,
    /// The viewer's country.
    pub countries: bool,
    /// The header Accept-Language.
    pub languages: bool,
    /// The viewer's roles.
    pub roles: bool,
    /// The requested host.
    pub hosts: bool,
}

impl Redirects {
    /// Reads a file. Lines with errors are left out and reported; the other lines are used.
    pub fn parse(text: &str) -> (Self, Vec<LineProblem>) {
        let mut problems = Problems::default();
        let rules = parse::rules(text, &mut problems);
        let lines: Vec<&str> = text.split('\n').map(|line| line.trim_matches(is_blank)).collect();
        // A rule without `!` redirects for ever as soon as the object at its target is missing.
        let redirects = Self::prepare(rules, &lines, |_| true, &mut problems);
        (redirects, problems.into_sorted())
    }

    /// Reads the routing rules of an S3 website, as JSON or XML. The line of a rule is its position.
    ///
    /// # Errors
    ///
    /// The text is no list of routing rules.
    pub fn of_s3_routing_rules(text: &str) -> Result<(Self, Vec<LineProblem>), String> {
        let mut problems = Problems::default();
        let s3::Imported { rules, texts } = s3::rules(text, &mut problems)?;
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        // It is usual that a rule for missing objects matches its target, such as an error document that exists.
        let redirects = Self::prepare(rules, &texts, |rule| rule.forced, &mut problems);
        Ok((redirects, problems.into_sorted()))
    }

    /// Removes rules that close loops, and reports unreachable ones.
    fn prepare(rules: Vec<Rule>, lines: &[&str], can_loop: impl Fn(&Rule) -> bool, problems: &mut Problems) -> Self {
        let text_of = |rule: &Rule| lines.get(rule.line - 1).copied().unwrap_or_default();
        let mut redirects = Self::new(rules);
        let first = |lookup: &Lookup<'_>, removed: &dyn Fn(Id) -> bool| redirects.first(lookup, removed);
        let closing = loops::find(&redirects.rules, can_loop, first);
        for (id, fault) in &closing {
            let rule = &redirects.rules[*id as usize];
            problems.reject(rule.line, text_of(rule), fault.clone());
        }
        if !closing.is_empty() {
            let kept = redirects.rules.into_iter().zip(0..).filter(|(_, id)| !closing.contains_key(id));
            redirects = Self::new(kept.map(|(rule, _)| rule).collect());
        }
        for (id, fault) in shadow::find(&redirects.rules) {
            let rule = &redirects.rules[id as usize];
            problems.warn(rule.line, text_of(rule), fault);
        }
        redirects
    }

    fn new(rules: Vec<Rule>) -> Self {
        let index = PathIndex::new(rules.iter().map(|rule| &rule.pattern.path));
        Self { rules: rules.into(), index }
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The facts that the rules use.
    pub fn uses(&self) -> Uses {
        let any = |uses: fn(&Rule) -> bool| self.rules.iter().any(uses);
        Uses {
            cookies: any(|rule| !rule.conditions.cookies.is_empty()),
            countries: any(|rule| !rule.conditions.countries.is_empty()),
            languages: any(|rule| !rule.conditions.languages.is_empty()),
            roles: any(|rule| !rule.conditions.roles.is_empty()),
            hosts: any(|rule| rule.pattern.host.is_some()),
        }
    }

    /// The cookies that conditions test, without repetitions.
    pub fn cookies(&self) -> Vec<&str> {
        distinct(self.rules.iter().flat_map(|rule| &rule.conditions.cookies).map(|name| &**name))
    }

    /// The query parameters that rules require, decoded and without repetitions.
    pub fn parameters(&self) -> Vec<&str> {
        distinct(self.rules.iter().flat_map(|rule| rule.query.names()))
    }

    /// The first rule that matches a request.
    ///
    /// A rule does not match if it would redirect the request to itself, or if a captured text has a segment `.` or `..`.
    pub fn find<'r>(&'r self, lookup: &Lookup<'_>) -> Option<Match<'r>> {
        let (id, effect) = self.select(lookup, |_, found| match found {
            Found::Effect(effect) => Some(effect),
            Found::Itself => None,
        })?;
        Some(Match { rule: self.rules.get(id as usize)?, effect })
    }

    /// The first remaining rule that matches, with its effect.
    ///
    /// A redirect to itself has no effect.
    fn first(&self, lookup: &Lookup<'_>, removed: &dyn Fn(Id) -> bool) -> Option<(Id, Option<Effect>)> {
        self.select(lookup, |id, found| match found {
            _ if removed(id) => None,
            Found::Effect(effect) => Some(Some(effect)),
            Found::Itself => Some(None),
        })
    }

    /// The lowest id whose effect `accept` takes.
    fn select<T>(&self, lookup: &Lookup<'_>, accept: impl Fn(Id, Found) -> Option<T>) -> Option<(Id, T)> {
        let path = lookup.path.strip_prefix('/')?;
        let host = RequestedHost::new(lookup.host);
        let host = || host.name();
        let mut best: Option<(Id, T)> = None;
        self.index.candidates(path, |ids| {
            let before = best.as_ref().map_or(Id::MAX, |(id, _)| *id);
            let found = ids.iter().take_while(|id| **id < before).find_map(|id| {
                let effect = self.rules.get(*id as usize)?.effect(lookup, lookup.path, host)?;
                Some((*id, accept(*id, effect)?))
            });
            if found.is_some() {
                best = found;
            }
        });
        best
    }
}

fn distinct<'r>(names: impl Iterator<Item = &'r str>) -> Vec<&'r str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
