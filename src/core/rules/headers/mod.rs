//! Response headers by path: the file `_headers` of Cloudflare and Netlify.
//!
//! docs/rules.md describes the format. All matching rules apply, in the order of the file.

mod cors;
mod fields;
mod name;
mod parse;
mod rule;
mod value;

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::rules::host::RequestedHost;
use crate::rules::line_problem::{LineProblem, Problems};
use crate::rules::path_index::{Id, PathIndex};
use crate::rules::path_pattern::Captures;

pub use self::cors::{CorsFields, CorsPolicy};
pub use self::fields::{Field, FieldChange, Fields};
use self::fields::{Merged, select_origin};
use self::name::Names;
pub use self::name::is_in_not_modified;
pub use self::rule::HeaderRule;

/// The rules of a file, prepared once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Headers {
    rules: Box<[HeaderRule]>,
    index: PathIndex,
    names: Names,
    /// Whether a rule sets Access-Control-Allow-Origin.
    has_origins: bool,
}

impl Headers {
    /// Reads a file. Lines with errors are left out and reported; the other lines are used.
    pub fn parse(text: &str) -> (Self, Vec<LineProblem>) {
        let mut problems = Problems::default();
        let mut names = Names::default();
        let rules = parse::rules(text, &mut names, &mut problems);
        let index = PathIndex::new(rules.iter().map(|rule| &rule.pattern.path));
        let has_origins = names.find(cors::ALLOW_ORIGIN).is_some();
        (Self { rules: rules.into(), index, names, has_origins }, problems.into_sorted())
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
    pub fn rules(&self) -> &[HeaderRule] {
        &self.rules
    }

    /// Whether a rule sets Access-Control-Allow-Origin, which may depend on the request's Origin.
    pub fn uses_origins(&self) -> bool {
        self.has_origins
    }

    /// Whether a rule has a host.
    pub fn uses_hosts(&self) -> bool {
        self.rules.iter().any(|rule| rule.pattern.host.is_some())
    }

    /// The changes of a rule, as `name: value` and `! name`.
    pub fn lines<'r>(&'r self, rule: &'r HeaderRule) -> impl Iterator<Item = String> + 'r {
        let removed = rule.removed.iter().map(|id| format!("! {}", self.names.text(*id)));
        removed.chain(rule.set.iter().map(|(id, value)| format!("{}: {}", self.names.text(*id), value.written())))
    }

    /// The rules that match a request. `host` returns the requested host, `path` is percent-decoded once.
    pub fn find<'r, 'a>(&'r self, host: &'a dyn Fn() -> Cow<'a, str>, path: &'a str) -> SmallVec<[&'r HeaderRule; 4]> {
        let matching = self.matching(&RequestedHost::new(host), path);
        matching.into_iter().filter_map(|id| self.rules.get(id as usize)).collect()
    }

    /// The changes that all matching rules make together, one for each field.
    ///
    /// `origin` is the request's Origin, which selects one of several allowed origins.
    pub fn fields<'r, 'a>(
        &'r self,
        host: &'a dyn Fn() -> Cow<'a, str>,
        path: &'a str,
        origin: Option<&str>,
    ) -> Fields<'r> {
        let mut fields = self.merged(host, path);
        if self.has_origins {
            select_origin(&mut fields, origin);
        }
        fields
    }

    /// The changes of the response to a preflight request.
    pub fn preflight<'r, 'a>(
        &'r self,
        host: &'a dyn Fn() -> Cow<'a, str>,
        path: &'a str,
        origin: Option<&str>,
    ) -> Fields<'r> {
        let Some(policy) = self.cors(host, path) else { return Fields::new() };
        let owned = |(name, value): (&'static str, Cow<'_, str>)| {
            let value = Cow::Owned(value.into_owned());
            let change = if name == "vary" { FieldChange::Append(value) } else { FieldChange::Set(value) };
            Field { name, change }
        };
        policy.preflight(origin).into_iter().map(owned).collect()
    }

    /// The policy of a path for requests from other origins.
    ///
    /// `None` if no rule allows one.
    pub fn cors<'r, 'a>(&'r self, host: &'a dyn Fn() -> Cow<'a, str>, path: &'a str) -> Option<CorsPolicy<'r>> {
        if !self.has_origins {
            return None;
        }
        let mut fields = self.merged(host, path);
        let mut take = |name: &str| {
            let at = fields.iter().position(|field| field.name == name)?;
            match fields.swap_remove(at).change {
                FieldChange::Set(value) | FieldChange::Append(value) => Some(value),
                FieldChange::Remove => None,
            }
        };
        Some(CorsPolicy {
            origins: take(cors::ALLOW_ORIGIN)?,
            methods: take(cors::ALLOW_METHODS),
            headers: take(cors::ALLOW_HEADERS),
            credentials: take(cors::ALLOW_CREDENTIALS),
            max_age: take(cors::MAX_AGE),
            exposed: take(cors::EXPOSE_HEADERS),
        })
    }

    fn merged<'r, 'a>(&'r self, host: &'a dyn Fn() -> Cow<'a, str>, path: &'a str) -> Fields<'r> {
        let host = RequestedHost::new(host);
        let mut merged = Merged::new(&self.names);
        let mut captures = Captures::new();
        for id in self.matching(&host, path) {
            let Some(rule) = self.rules.get(id as usize) else { break };
            if rule.inserts {
                rule.pattern.matches(|| host.name(), path, &mut captures);
            }
            merged.add(rule, &captures);
        }
        merged.into_fields()
    }

    /// The rules that match a request, in the order of the file.
    fn matching(&self, host: &RequestedHost<'_>, path: &str) -> SmallVec<[Id; 8]> {
        let mut matching = SmallVec::new();
        let Some(rest) = path.strip_prefix('/') else { return matching };
        let mut captures = Captures::new();
        self.index.candidates(rest, |ids| {
            let is_match = |id: &Id| {
                self.rules.get(*id as usize).is_some_and(|HeaderRule { pattern, .. }| {
                    pattern.is_decided_by_index() || pattern.matches(|| host.name(), path, &mut captures)
                })
            };
            matching.extend(ids.iter().copied().filter(is_match));
        });
        matching.sort_unstable();
        matching
    }
}

#[cfg(test)]
mod tests;
