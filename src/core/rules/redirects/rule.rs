//! A redirect rule, and its effect on a request.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::rules::path_pattern::Captures;
use crate::rules::redirects::condition::{Conditions, Viewer};
use crate::rules::redirects::query::QueryPattern;
use crate::rules::redirects::target::{Address, Location, ObjectPath};
use crate::rules::url_pattern::{UrlExample, UrlPattern};

/// The facts about a request that rules test.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// Returns the requested host, in any case, with or without a port.
    ///
    /// Only rules with a host call it.
    pub host: &'a dyn Fn() -> Cow<'a, str>,
    /// The path, percent-decoded once, with its leading `/`.
    pub path: &'a str,
    /// The query string as received, without `?`.
    pub query: &'a str,
    /// The viewer. Only rules with conditions ask it.
    pub viewer: &'a dyn Viewer,
}

/// How a rule answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Redirect the viewer.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The value of Location: visible ASCII characters.
        location: String,
    },
    /// Serve another object, as if its path had been requested. No further rule applies.
    Rewrite {
        /// The decoded path of the object, with its leading `/`.
        path: String,
    },
    /// Respond with an error and an object as its body.
    Respond {
        /// 400 to 599.
        status: u16,
        /// The decoded path of the object, with its leading `/`.
        path: String,
    },
}

/// The prepared target of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Address(Address),
    Object(ObjectPath),
}

/// A rule of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The line, from 1; the position of a routing rule of S3.
    pub line: usize,
    /// The path or URL that requests must match, as written.
    pub from: Box<str>,
    /// The target, as written or implied.
    pub to: Box<str>,
    /// The status.
    ///
    /// 301, 302, 303, 307 and 308 redirect, 200 rewrites, 400 to 599 respond.
    pub status: u16,
    /// Whether the rule applies even if the requested object exists (`!`).
    pub forced: bool,
    pub(super) pattern: UrlPattern,
    pub(super) query: QueryPattern,
    pub(super) conditions: Conditions,
    pub(super) target: Target,
}

/// A redirect back to the requested URL has no effect.
pub(super) enum Found {
    /// The effect on the request.
    Effect(Effect),
    /// A redirect of the request to itself.
    Itself,
}

impl Rule {
    /// Whether the rule requires query parameters or facts about the viewer.
    pub fn is_conditional(&self) -> bool {
        !self.query.is_empty() || !self.conditions.is_empty()
    }

    /// An example of a URL that the rule matches, apart from its conditions.
    pub fn example(&self) -> UrlExample {
        self.pattern.example()
    }

    /// Whether the target is an address, which the viewer is sent to.
    pub fn is_redirect(&self) -> bool {
        matches!(self.target, Target::Address(_))
    }

    /// The effect on a request; `None` if the rule does not match it. `host` returns the host in lower case.
    pub(super) fn effect<'t>(&self, lookup: &Lookup<'_>, path: &'t str, host: impl Fn() -> &'t str) -> Option<Found> {
        let mut texts = Captures::new();
        let is_match = self.pattern.matches(&host, path, &mut texts)
            && (self.conditions.is_empty() || self.conditions.hold(lookup.viewer));
        if !is_match {
            return None;
        }
        // Of a shorter lifetime, which the values of query parameters have too.
        let mut captures: SmallVec<[Cow<'_, str>; 6]> = texts.iter().map(|text| Cow::Borrowed(*text)).collect();
        if !self.query.matches(lookup.query, |value| captures.push(value)) {
            return None;
        }
        Some(match &self.target {
            Target::Address(address) => {
                let location = address.location(&captures, lookup.query)?;
                if is_requested(address, &location, lookup, host) {
                    return Some(Found::Itself);
                }
                Found::Effect(Effect::Redirect { status: self.status, location: location.text })
            }
            Target::Object(object) => {
                let path = object.path(&captures)?;
                Found::Effect(match self.status {
                    200 => Effect::Rewrite { path },
                    status => Effect::Respond { status, path },
                })
            }
        })
    }
}

/// Whether a Location is the requested URL.
fn is_requested<'t>(address: &Address, location: &Location, lookup: &Lookup<'_>, host: impl Fn() -> &'t str) -> bool {
    location.is(lookup.path, lookup.query) && address.host().is_none_or(|target| target == host())
}
