//! The copies that the function makes: which ones, in which order, and when.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use nearedge_core::object::{Body, CopyKind};
use nearedge_core::store::Store;
use nix::time::{ClockId, clock_gettime};

use crate::storage::cache::copy_queue::{CopyQueue, Wanted};
use crate::storage::cache::index::IndexEntry;
use crate::storage::cache::known_copies::{ABSENT, CachedCopy, MADE, NOT_UPLOADED, PENDING};
use crate::storage::cache::shared::Shared;
use crate::storage::copies::{Job, Progress};

/// The most copies that wait to be made. Later ones are requested again by later clients.
const QUEUE_LEN_MAX: usize = 64;

/// The part of an invocation's time in which no slice starts any more.
const SLICE_MARGIN: Duration = Duration::from_millis(50);

/// The most jobs at once: each has the tables of an encoder, up to 3 MB.
const JOBS_MAX: usize = 2;

/// A text that is smaller than the rest of the current one by this factor is copied first.
const SMALL_FACTOR: u64 = 4;

impl<S: Store> Shared<S> {
    /// Queues a copy, unless too many wait; `body` is that of a source that the cache does not keep.
    pub(super) fn queue_copy(&self, source: &Arc<IndexEntry>, kind: CopyKind, body: Option<Body>) {
        let (Some(known), Some(mut queue)) = (&source.copies, self.copy_work.queue.try_lock()) else { return };
        let has_room = match body {
            None => queue.waiting.len() < QUEUE_LEN_MAX,
            // Bodies outside the cache would add up.
            Some(_) => queue.waiting.is_empty() && queue.jobs.is_empty(),
        };
        if has_room {
            known.set(kind, PENDING);
            queue.waiting.push(Wanted { source: source.clone(), kind, body });
            queue.budget.earn(SystemTime::now());
            self.copy_work.is_empty.store(false, Ordering::Relaxed);
        }
    }

    /// Works on the copies to be made, as long as the budget and `deadline` allow.
    pub(super) fn make_copies(&self, deadline: Instant) {
        if self.copy_work.is_empty.load(Ordering::Relaxed) {
            return;
        }
        // Another invocation is working on the queue.
        let Some(mut queue) = self.copy_work.queue.try_lock() else { return };
        queue.budget.earn(SystemTime::now());
        while queue.budget.is_left() && Instant::now() + SLICE_MARGIN < deadline {
            let started = cpu_time();
            let has_more = self.work_on(&mut queue);
            queue.budget.spend(cpu_time().saturating_sub(started));
            if !has_more {
                self.copy_work.is_empty.store(true, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Works on one slice of a copy. Returns whether there is more to do.
    fn work_on(&self, queue: &mut CopyQueue) -> bool {
        self.begin_smallest(queue);
        let Some((wanted, job)) = queue.jobs.pop() else { return false };
        let Wanted { source, kind, .. } = &wanted;
        match job.step() {
            Progress::Continues(job) => queue.jobs.push((wanted, job)),
            Progress::Done(body, coded) => {
                let head = source.head.of_copy(*kind, body.len(), &coded);
                self.store_copy(source, *kind, MADE, CachedCopy { head, body });
            }
            Progress::Useless => {
                if let Some(known) = &source.copies {
                    known.set(*kind, ABSENT);
                }
            }
        }
        !queue.jobs.is_empty() || !queue.waiting.is_empty()
    }

    /// Begins the smallest waiting copy if no job runs, or if it is small compared with the rest of that job.
    fn begin_smallest(&self, queue: &mut CopyQueue) {
        loop {
            let sizes = queue.waiting.iter().map(|wanted| wanted.source.head.size_bytes).enumerate();
            let Some((index, size)) = sizes.min_by_key(|(_, size)| *size) else { return };
            let may_begin = match queue.jobs.last() {
                None => true,
                Some((_, job)) => queue.jobs.len() < JOBS_MAX && size * SMALL_FACTOR < job.remaining_bytes(),
            };
            if !may_begin {
                return;
            }
            let mut wanted = queue.waiting.swap_remove(index);
            let body = wanted.body.take().or_else(|| self.index.body(&wanted.source.version));
            match body.and_then(|body| Job::new(body, wanted.kind)) {
                Some(job) => return queue.jobs.push((wanted, job)),
                // Evicted: a later request queues it again.
                None => wanted.source.copies.iter().for_each(|known| known.set(wanted.kind, NOT_UPLOADED)),
            }
        }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
