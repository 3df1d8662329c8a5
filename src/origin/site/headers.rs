//! The list of response headers.

use std::sync::atomic::{AtomicBool, Ordering};

use nearedge_core::rules::headers::Headers;

use crate::origin::site::file::{FileFormat, ParsedFile};

/// The format of `_headers`.
#[derive(Debug, Default)]
pub(super) struct HeadersFormat {
    needs_visit: AtomicBool,
}

impl HeadersFormat {
    /// Whether the rules need the host or the origin of a request.
    pub(super) fn needs_visit(&self) -> bool {
        self.needs_visit.load(Ordering::Relaxed)
    }
}

impl FileFormat for HeadersFormat {
    type Parsed = Headers;

    const BYTES_MAX: u64 = 1 << 20;
    const SETTING: &'static str = "headers";
    const NOUN: &'static str = "list";
    const WITHOUT: &'static str = "no rule applies";
    const SMALLER: &'static str = "replace similar paths by one with *";
    const MISSING: &'static str = "upload it, or remove the setting headers";
    const CHECK: &'static str = "nearedge rules check";

    fn parse(&self, text: &str) -> Result<ParsedFile<Headers>, String> {
        let (parsed, problems) = Headers::parse(text);
        self.needs_visit.store(parsed.uses_hosts() || parsed.uses_origins(), Ordering::Relaxed);
        let summary = format!("{} rules", parsed.len());
        Ok(ParsedFile { parsed, summary, warnings: problems.iter().map(ToString::to_string).collect() })
    }
}
