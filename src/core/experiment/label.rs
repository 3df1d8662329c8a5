//! Names of experiments and variations in cookies and header fields.

use std::borrow::Cow;
use std::sync::Arc;

use compact_str::ToCompactString;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::experiment::mark::Mark;

/// All characters except RFC 3986's unreserved ones (§2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The names of an experiment and of its variations, percent-encoded once, and what its cookies say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Label {
    /// The key.
    pub(super) key: Arc<str>,
    /// The version of the assignments.
    pub(super) version: Box<str>,
    /// Assignments of a version below this one exclude the visitor.
    min_version: u64,
    /// The keys of the variations.
    pub(super) variations: Box<[Arc<str>]>,
    /// The members of Server-Timing, as the content of a JSON string.
    pub(super) timings: Box<[Box<str>]>,
    /// The names in logs and metrics.
    pub(super) names: Names,
    /// The mark of an exposure.
    pub(super) mark: Mark,
    /// The mark of a preview.
    pub(super) preview: Mark,
    /// The mark of a visitor who has seen a preview.
    pub(super) excluded: Mark,
}

/// The names of an experiment as the definition writes them. Each count shares them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    pub(super) key: Arc<str>,
    pub(super) phase: Arc<str>,
    /// The keys of the variations.
    pub(super) variations: Box<[Arc<str>]>,
}

impl Label {
    pub(super) fn new<'a>(
        key: &str,
        bucket_version: u64,
        phase: &str,
        min_version: u64,
        variations: impl Iterator<Item = Cow<'a, str>>,
    ) -> Self {
        let encode = |plain: &Arc<str>| match Cow::from(utf8_percent_encode(plain, ENCODED)) {
            Cow::Borrowed(_) => plain.clone(),
            Cow::Owned(encoded) => encoded.into(),
        };
        let plain_key = key.into();
        let encoded_key = encode(&plain_key);
        let plain: Box<[Arc<str>]> = variations.map(|variation| (*variation).into()).collect();
        let variations: Box<[Arc<str>]> = plain.iter().map(encode).collect();
        let timing = |variation: &str| -> Box<str> {
            // Percent-encoded names need no escapes, but in JSON the quotation marks do.
            ["nearedge;desc=\\\"", &encoded_key, ".", variation, "\\\""].concat().into()
        };
        Self {
            timings: variations.iter().map(|variation| timing(variation)).collect(),
            names: Names { key: plain_key, phase: phase.into(), variations: plain },
            mark: Mark::exposure(key, phase),
            preview: Mark::preview(key),
            excluded: Mark::excluded(key, phase),
            version: bucket_version.to_compact_string().as_str().into(),
            min_version,
            key: encoded_key,
            variations,
        }
    }

    /// Whether an assignment of this version excludes the visitor.
    pub(super) fn blocks(&self, version: &str) -> bool {
        let is_canonical = version == "0" || !version.starts_with(['0', '+']);
        self.min_version > 0 && is_canonical && version.parse::<u64>().is_ok_and(|version| version < self.min_version)
    }
}
