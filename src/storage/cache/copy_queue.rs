//! The copies to be made.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nearedge_core::object::{Body, CopyKind};
use parking_lot::Mutex;

use crate::storage::cache::index::IndexEntry;
use crate::storage::copies::{Budget, Job};

/// The copies to be made.
pub(super) struct CopyWork {
    pub(super) is_empty: AtomicBool,
    pub(super) queue: Mutex<CopyQueue>,
}

/// The copies that wait, and those that are in work.
pub(super) struct CopyQueue {
    pub(super) waiting: Vec<Wanted>,
    /// The work on a large text, and on a small one that does not wait for it.
    pub(super) jobs: Vec<(Wanted, Box<Job>)>,
    pub(super) budget: Budget,
}

/// A copy to be made.
pub(super) struct Wanted {
    pub(super) source: Arc<IndexEntry>,
    pub(super) kind: CopyKind,
    /// The body of a source that the cache does not keep.
    pub(super) body: Option<Body>,
}

impl CopyWork {
    pub(super) fn new(cpu_millis: u32) -> Self {
        let queue = CopyQueue { waiting: Vec::new(), jobs: Vec::new(), budget: Budget::new(cpu_millis) };
        Self { is_empty: AtomicBool::new(true), queue: Mutex::new(queue) }
    }

    /// Whether no copy has been begun.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.queue.lock().jobs.is_empty()
    }
}
