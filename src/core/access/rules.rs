//! The rules of access.json, and which of them guard a path.

use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::access::index::Index;
use crate::access::jwt::TokenRule;
use crate::access::login::Login;
use crate::access::path::PathPattern;
use crate::access::reading::{Readings, is_plain};
use crate::access::signed_url::LinkRule;
use crate::access::source::Source;
use crate::object::is_version;

/// A rule of access.json.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The path as written.
    pub path: Box<str>,
    /// The requirement of the rule.
    pub kind: RuleKind,
    /// Whether guarded responses are `no-store` instead of `private`.
    pub no_store: bool,
    /// Where a client without a valid token logs in.
    pub login: Option<Login>,
    /// The position in the file, from 0; `None` for an object that is never served.
    pub position: Option<usize>,
    pub(super) pattern: PathPattern,
    /// The position among all rules.
    pub(super) id: usize,
}

/// The requirement of a rule on a request.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// A token.
    Token(Box<TokenRule>),
    /// A signed link or its cookie.
    Link(LinkRule),
    /// Nothing.
    Open,
    /// The object holds keys, and is never served.
    Hidden,
}

/// A path that leads to an object of the request, and the folder of the version that the origin puts before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The folder, if the origin adds one.
    pub version: Option<&'a str>,
    /// The decoded path, with or without its leading slash.
    pub path: &'a str,
}

impl<'a> From<&'a str> for Target<'a> {
    fn from(path: &'a str) -> Self {
        Self { version: None, path }
    }
}

/// The first segments of paths that are folders of versions.
#[derive(Clone, Copy)]
pub enum Versions<'a> {
    /// Nothing lists the versions: each segment may be one.
    Any,
    /// Those for which the function is true.
    Listed(&'a dyn Fn(&str) -> bool),
}

/// The rules that a request must satisfy.
pub type Guards<'r> = SmallVec<[&'r Rule; 2]>;

/// The rules of access.json.
#[derive(Debug, Clone)]
pub struct AccessRules {
    pub(super) rules: Vec<Rule>,
    index: Index,
    /// Distinguishes all rules that the process has parsed.
    generation: u64,
    vary: Box<str>,
}

/// The generation of the rules parsed last.
static GENERATION: AtomicU64 = AtomicU64::new(0);

impl AccessRules {
    /// Indexes at most 32,767 rules with distinct patterns.
    pub(super) fn new(mut rules: Vec<Rule>) -> Self {
        (0..).zip(&mut rules).for_each(|(id, rule)| rule.id = id);
        let index = Index::new(rules.iter().map(|rule| &rule.pattern).zip(0..));
        let vary = vary_of(&rules).into();
        Self { rules, index, generation: 1 + GENERATION.fetch_add(1, Ordering::Relaxed), vary }
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules of the file, without those that hide objects with keys.
    pub fn listed(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.position.is_some())
    }

    /// A number that no other parsed rules of this process have.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The objects in the bucket that hold keys of rules, and that the rules need, without repetitions.
    pub fn jwks_objects(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.token_rules().filter_map(TokenRule::jwks).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The parameters of the query that carry tokens and signatures for a path, whatever its first segment is.
    pub fn parameters(&self, path: &str) -> SmallVec<[&str; 2]> {
        consumed_parameters(&self.guards(path.into(), Versions::Any))
    }

    /// The request header fields that carry tokens, as a value of Vary.
    pub fn vary(&self) -> &str {
        &self.vary
    }

    /// Whether the keys of every rule are loaded.
    pub fn is_complete(&self) -> bool {
        self.token_rules().all(TokenRule::is_complete)
    }

    fn token_rules(&self) -> impl Iterator<Item = &TokenRule> {
        self.rules.iter().filter_map(|rule| match &rule.kind {
            RuleKind::Token(token) => Some(&**token),
            _ => None,
        })
    }

    /// The rules that guard a path; empty if it is open.
    ///
    /// The most specific rule of each reading of the path counts. The first segment may be the folder of a version, or the
    /// first ones of several: then the rule of the rest counts too. An open rule opens a path only if no reading leads to another rule. Allocates
    /// nothing for a path with one reading.
    pub fn guards(&self, target: Target<'_>, versions: Versions<'_>) -> Guards<'_> {
        let mut guards = Guards::new();
        self.add_guards(target, versions, &mut guards);
        guards
    }

    /// The readings of a path with the rules that guard each of them, for explanations.
    pub fn guards_by_reading(&self, target: Target<'_>, versions: Versions<'_>) -> Vec<(String, Guards<'_>)> {
        let readings = Readings::of(target.path.as_bytes());
        let guards_of = |reading: &[u8]| {
            let reading = String::from_utf8_lossy(reading).into_owned();
            let guards = self.guards(Target { path: &reading, ..target }, versions);
            (reading, guards)
        };
        readings.iter().map(guards_of).collect()
    }

    /// Adds the rules that guard a path to those of other paths: [`guards`](Self::guards).
    pub fn add_guards<'r>(&'r self, target: Target<'_>, versions: Versions<'_>, guards: &mut Guards<'r>) {
        let Target { version, path } = target;
        let path = path.as_bytes();
        let is_plain = is_plain(path);
        if let Some(version) = version
            && (!is_plain || !is_version(version) || self.index.names(version))
        {
            let slash: &[u8] = if path.first() == Some(&b'/') { b"" } else { b"/" };
            let key = [b"/", version.as_bytes(), slash, path].concat();
            // Without `/*`, which would match every version, whatever rule the path has in it.
            self.read(&key, guards, |this, reading, guards| {
                this.add_specific(reading, versions, guards);
            });
        }
        if is_plain {
            self.add_reading(path, versions, guards);
        } else {
            self.read(path, guards, |this, reading, guards| this.add_reading(reading, versions, guards));
        }
    }

    fn read<'r>(&'r self, path: &[u8], guards: &mut Guards<'r>, add: impl Fn(&'r Self, &[u8], &mut Guards<'r>)) {
        let readings = Readings::of(path);
        if readings.is_cut {
            // It may lead anywhere.
            *guards = self.rules.iter().filter(|rule| !matches!(rule.kind, RuleKind::Open)).collect();
            return;
        }
        readings.iter().for_each(|reading| add(self, reading, guards));
    }

    /// Adds the rules of one reading. `/*` holds where nothing more specific does.
    fn add_reading<'r>(&'r self, path: &[u8], versions: Versions<'_>, guards: &mut Guards<'r>) {
        if !self.add_specific(path, versions, guards) {
            self.add(self.index.root(), guards);
        }
    }

    /// Adds the rules of one reading other than `/*`. Returns whether one of them, even an open one, replaces `/*`.
    fn add_specific<'r>(&'r self, path: &[u8], versions: Versions<'_>, guards: &mut Guards<'r>) -> bool {
        let mut rest = path;
        let mut is_specific = false;
        loop {
            let found = self.index.find(rest);
            self.add(found, guards);
            is_specific |= found.is_some();
            let Some(end) = rest.iter().skip(1).position(|byte| *byte == b'/') else { break };
            let (first, others) = rest.split_at(end + 1);
            match versions {
                Versions::Listed(is_version) if str::from_utf8(&first[1..]).is_ok_and(is_version) => rest = others,
                Versions::Listed(_) => break,
                Versions::Any => {
                    // The first segment only may be a version, so a rule of the rest cannot lift `/*`.
                    self.add(self.index.find(others), guards);
                    break;
                }
            }
        }
        is_specific
    }

    fn add<'r>(&'r self, rule: Option<u16>, guards: &mut Guards<'r>) {
        let Some(rule) = rule.and_then(|rule| self.rules.get(usize::from(rule))) else { return };
        let is_new = || !guards.iter().any(|known| std::ptr::eq(*known, rule));
        if !matches!(rule.kind, RuleKind::Open) && is_new() {
            guards.push(rule);
        }
    }
}

fn vary_of(rules: &[Rule]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for rule in rules {
        let sources = match &rule.kind {
            RuleKind::Token(token) => token.sources(),
            _ => &[],
        };
        let of_token = sources.iter().filter_map(|source| match source {
            Source::Header(name) => Some(&**name),
            Source::Cookie(_) => Some("cookie"),
            Source::Query(_) => None,
        });
        let has_session = matches!(&rule.kind, RuleKind::Link(link) if link.cookie().is_some());
        for name in of_token.chain(has_session.then_some("cookie")) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.join(", ")
}

/// The parameters of the query that hold tokens and signatures.
pub(super) fn consumed_parameters<'r>(guards: &[&'r Rule]) -> SmallVec<[&'r str; 2]> {
    let mut names = SmallVec::new();
    let mut add = |name: &'r str| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for rule in guards {
        match &rule.kind {
            RuleKind::Token(token) => token.sources().iter().for_each(|source| {
                if let Source::Query(name) = source {
                    add(name);
                }
            }),
            RuleKind::Link(link) => add(link.parameter()),
            RuleKind::Open | RuleKind::Hidden => {}
        }
    }
    names
}
