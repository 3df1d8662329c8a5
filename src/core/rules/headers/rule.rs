//! A rule of a file of headers: a pattern and changes of fields.

use crate::rules::headers::name::NameId;
use crate::rules::headers::value::Value;
use crate::rules::path_index::Id;
use crate::rules::path_pattern::{Captures, UrlPattern};

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
}

/// A rule that matches a request, with the texts that its pattern captured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeaderMatch<'r, 'p> {
    /// The position of the rule.
    pub(super) id: Id,
    pub(super) rule: &'r HeaderRule,
    pub(super) captures: Captures<'p>,
}
