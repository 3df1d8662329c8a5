//! A rule of `_headers`: a pattern and changes of fields.

use crate::rules::headers::name::NameId;
use crate::rules::headers::value::Value;
use crate::rules::url_pattern::{UrlExample, UrlPattern};

/// A rule of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderRule {
    /// The line of the path, from 1.
    pub line: usize,
    /// The path or URL that requests must match, as written.
    pub path: Box<str>,
    pub(super) pattern: UrlPattern,
    /// The fields to remove, before others are set.
    pub(super) removed: Vec<NameId>,
    /// The fields to set, each once.
    pub(super) set: Vec<(NameId, Value)>,
    /// Whether a value has captures.
    pub(super) inserts: bool,
}

impl HeaderRule {
    /// An example of a URL that the rule matches.
    pub fn example(&self) -> UrlExample {
        self.pattern.example()
    }
}
