//! Names of experiments and variations in cookies and header fields.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All characters except RFC 3986's unreserved ones (§2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The names of an experiment and of its variations, percent-encoded once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Label {
    /// The key.
    pub(super) key: Box<str>,
    /// The version of the assignments.
    pub(super) version: Box<str>,
    /// Assignments of a version below this one exclude the visitor.
    min_version: u64,
    /// The keys of the variations.
    pub(super) variations: Box<[Box<str>]>,
    /// The members of Server-Timing, as the content of a JSON string.
    pub(super) timings: Box<[Box<str>]>,
    /// Stands for the experiment and its phase among counted exposures.
    pub(super) mark: Mark,
    /// Stands for a preview of the experiment, until the browser is closed.
    pub(super) preview: Mark,
}

/// Stands for an experiment and its phase in the visitor's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark(pub(super) u32);

impl Label {
    pub(super) fn new<'a>(
        key: &str,
        bucket_version: u64,
        phase: &str,
        min_version: u64,
        variations: impl Iterator<Item = std::borrow::Cow<'a, str>>,
    ) -> Self {
        let encode = |text: &str| -> Box<str> { utf8_percent_encode(text, ENCODED).to_string().into() };
        let encoded_key = encode(key);
        let variations: Box<[Box<str>]> = variations.map(|variation| encode(&variation)).collect();
        let timing = |variation: &str| -> Box<str> {
            let mut timing = String::new();
            // Writing to a String cannot fail. Percent-encoded names need no escapes, but in JSON the quotation marks do.
            let _ = write!(timing, "nearedge;desc=\\\"{encoded_key}.{variation}\\\"");
            timing.into()
        };
        Self {
            timings: variations.iter().map(|variation| timing(variation)).collect(),
            mark: Mark(super::hash::fingerprint(&[key, "\0", phase])),
            preview: Mark(super::hash::fingerprint(&[key, "\0\0preview"])),
            version: bucket_version.to_string().into(),
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
