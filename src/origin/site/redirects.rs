//! The list of redirects.

use std::sync::atomic::{AtomicBool, Ordering};

use nearedge_core::rules::redirects::{Redirects, Uses};

use crate::origin::site::file::{FileFormat, ParsedFile};

/// The format of `_redirects`, or of S3's routing rules.
#[derive(Debug, Default)]
pub(super) struct RedirectsFormat {
    needs_visit: AtomicBool,
}

impl RedirectsFormat {
    /// Whether the rules test more of a request than its path and query.
    pub(super) fn needs_visit(&self) -> bool {
        self.needs_visit.load(Ordering::Relaxed)
    }
}

impl FileFormat for RedirectsFormat {
    type Parsed = Redirects;

    const BYTES_MAX: u64 = 1 << 20;
    const SETTING: &'static str = "redirects";
    const NOUN: &'static str = "list";
    const WITHOUT: &'static str = "no rule applies";
    const SMALLER: &'static str = "replace similar lines by one with * or :name";
    const MISSING: &'static str = "upload it, or remove the setting redirects";
    const CHECK: &'static str = "nearedge rules check";

    fn parse(&self, text: &str) -> Result<ParsedFile<Redirects>, String> {
        let (parsed, problems) = match text.trim_start().starts_with(['<', '{', '[']) {
            true => Redirects::of_s3_routing_rules(text)?,
            false => Redirects::parse(text),
        };
        self.needs_visit.store(parsed.uses() != Uses::default(), Ordering::Relaxed);
        let summary = format!("{} rules", parsed.len());
        Ok(ParsedFile { parsed, summary, warnings: problems.iter().map(ToString::to_string).collect() })
    }
}
