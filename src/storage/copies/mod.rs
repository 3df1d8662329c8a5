//! Copies of objects: which ones there may be, and how the function makes them.
//!
//! - `encoder`: encodes a body piece by piece; `job`: makes one copy in slices
//! - `budget`: how much CPU time that may take

mod budget;
mod encoder;
mod job;

use nearedge_core::object::{CopyKind, Copyable};
use nearedge_core::response::Negotiation;

pub(super) use self::budget::Budget;
pub(super) use self::job::{Job, Progress};

/// Which copies of objects are sent to clients that prefer them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopiesConfig {
    /// The codings in which the function makes copies, the preferred one first.
    pub made: Vec<CopyKind>,
    /// The codings of uploaded copies.
    pub uploaded: Vec<CopyKind>,
    /// The image formats of uploaded copies.
    pub formats: Vec<CopyKind>,
    /// The CPU time that the function has, in thousandths of a core.
    pub cpu_millis: u32,
}

impl CopiesConfig {
    /// The kinds of copies that the function makes of such an object.
    pub(super) fn made(&self, copyable: Copyable) -> &[CopyKind] {
        match copyable {
            Copyable::Text { may_transform: true } => &self.made,
            Copyable::Text { may_transform: false } | Copyable::Image | Copyable::No => &[],
        }
    }

    /// The kinds of copies of such an object that may have been uploaded.
    pub(super) fn uploaded(&self, copyable: Copyable) -> &[CopyKind] {
        match copyable {
            Copyable::Text { .. } => &self.uploaded,
            Copyable::Image => &self.formats,
            Copyable::No => &[],
        }
    }

    /// The kinds of copies that exist, for the fields of responses (`Vary`).
    pub fn negotiation(&self) -> Negotiation {
        Negotiation {
            made: !self.made.is_empty(),
            uploaded: !self.uploaded.is_empty(),
            formats: !self.formats.is_empty(),
        }
    }
}
