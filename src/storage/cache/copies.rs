//! The copies of cached objects: which one answers a request, where they come from, and when they are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::join_all;
use nearedge_core::http::accept::Weights;
use nearedge_core::object::{Body, CopyKind, Head, Object, ObjectKey, base64_len};
use nearedge_core::response::payload::PAYLOAD_BYTES_MAX;
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Fetched, Part, Source, Store};
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use tracing::{Instrument, Span, warn};

use crate::moment::Moment;
use crate::storage::cache::index::{IndexEntry, Insertion};
use crate::storage::cache::shared::Shared;
use crate::storage::cache::singleflight::Join;
use crate::storage::copies::{Budget, Job, Progress};

/// The most copies that wait to be made. Later ones are requested again by later clients.
const QUEUE_LEN_MAX: usize = 64;

/// How long a response waits for an uploaded copy that it can do without. A healthy S3 responds within this time.
const ASK_WAIT: Duration = Duration::from_millis(250);

/// The part of an invocation's time in which no slice starts any more.
const SLICE_MARGIN: Duration = Duration::from_millis(50);

/// A copy, ready to send.
pub(super) struct CachedCopy {
    pub(super) head: Head,
    pub(super) body: Body,
}

impl CachedCopy {
    fn answer(&self, request: &FetchRequest<'_>) -> Fetched {
        request.answer_without_body(&self.head, None).unwrap_or_else(|| {
            let body = if request.part == Part::Whole { self.body.clone() } else { Body::default() };
            Fetched::Object(Object { head: self.head.clone(), range: None, body })
        })
    }
}

/// What is known of the copies of one version of an object, by kind: one of the states below, or the size of a copy in bytes, with
/// [`MADE`] if the function has made it.
#[derive(Default)]
pub(super) struct KnownCopies([AtomicU64; CopyKind::ALL.len()]);

/// S3 was not asked, and the function has not begun to make the copy.
const UNKNOWN: u64 = 0;

/// S3 has none, and the function has not begun to make the copy.
const NOT_UPLOADED: u64 = 1;

/// The copy is to be made.
const PENDING: u64 = 2;

/// There is no such copy, or it is of no use.
const ABSENT: u64 = u64::MAX;

/// The bit that distinguishes a copy of the function from an uploaded one.
const MADE: u64 = 1 << 62;

impl KnownCopies {
    fn state(&self, kind: CopyKind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }

    fn set(&self, kind: CopyKind, state: u64) {
        self.0[kind as usize].store(state, Ordering::Relaxed);
    }

    /// The kinds of the copies that the cache has or had, and their sizes.
    pub(super) fn present(&self) -> impl Iterator<Item = (CopyKind, u64)> {
        let size = |kind| match self.state(kind) {
            UNKNOWN | NOT_UPLOADED | PENDING | ABSENT => None,
            state => Some((kind, state & !MADE)),
        };
        CopyKind::ALL.into_iter().filter_map(size)
    }

    /// Whether the function may begin to make the copy.
    fn is_wanted(&self, kind: CopyKind) -> bool {
        matches!(self.state(kind), UNKNOWN | NOT_UPLOADED)
    }

    /// Forgets a copy that the cache has evicted. An uploaded one is requested from S3 again.
    fn forget(&self, kind: CopyKind) {
        let was_made = self.state(kind) & MADE != 0;
        self.set(kind, if was_made { NOT_UPLOADED } else { UNKNOWN });
    }
}

/// The representation that answers a request.
pub(super) enum Representation {
    /// A copy.
    Copy(Arc<CachedCopy>),
    /// The object, as it is stored. If a copy may answer later requests, its kind.
    Object(Option<CopyKind>),
    /// The object, until S3 was asked for uploaded copies.
    Unasked,
}

/// The copies to be made.
pub(super) struct CopyWork {
    is_empty: AtomicBool,
    queue: Mutex<CopyQueue>,
}

struct CopyQueue {
    waiting: Vec<Wanted>,
    /// The work on a large text, and on a small one that does not wait for it.
    jobs: Vec<(Wanted, Job)>,
    budget: Budget,
}

/// The most jobs at once: each has the tables of an encoder, up to 3 MB.
const JOBS_MAX: usize = 2;

/// A text that is smaller than the rest of the current one by this factor is copied first.
const SMALL_FACTOR: u64 = 4;

/// A copy to be made.
struct Wanted {
    source: Arc<IndexEntry>,
    kind: CopyKind,
    /// The body of a source that the cache does not keep.
    body: Option<Body>,
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

impl<S: Store> Shared<S> {
    /// Selects the representation of a cached object that answers a request.
    pub(super) fn representation(&self, request: &FetchRequest<'_>, entry: &Arc<IndexEntry>) -> Representation {
        let (Some(accepts), Some(known)) = (request.accepts, &entry.copies) else {
            return Representation::Object(None);
        };
        // Ranges are those of the object (RFC 9110 §14.2).
        if request.range.is_some() && request.select_range(&entry.head) != Ok(None) {
            return Representation::Object(None);
        }
        let weights = accepts.weights(entry.head.copyable(), entry.head.content_type.as_deref());
        if self.unasked(entry, &weights).next().is_some() {
            return Representation::Unasked;
        }
        let made = self.index.config.copies.made(entry.head.copyable()).iter().copied();
        let best = made.filter(|kind| weights.prefers(*kind)).min_by_key(|kind| u16::MAX - weights.of(*kind));
        let wanted = best.filter(|kind| request.part == Part::Whole && known.is_wanted(*kind));
        if let Some(kind) = weights.choose(known.present()) {
            match self.index.copy(&entry.version, kind) {
                Some(copy) if (request.fits)(&copy.head, None) => {
                    // The client prefers another one, or as much.
                    if let Some(better) = wanted.filter(|better| weights.of(*better) >= weights.of(kind)) {
                        self.queue_copy(entry, better, None);
                    }
                    return Representation::Copy(copy);
                }
                Some(_) => {}
                None => known.forget(kind),
            }
        }
        Representation::Object(wanted)
    }

    /// The kinds of uploaded copies that the client prefers and S3 was not asked for.
    fn unasked<'e>(&self, entry: &'e IndexEntry, weights: &Weights) -> impl Iterator<Item = CopyKind> {
        let uploaded = self.index.config.copies.uploaded(entry.head.copyable()).iter().copied();
        uploaded.filter(|kind| {
            weights.prefers(*kind) && entry.copies.as_ref().is_some_and(|known| known.state(*kind) == UNKNOWN)
        })
    }

    /// Answers from the cache if it holds everything that the answer needs. Queues the copies that would answer later requests.
    pub(super) fn represented(&self, request: &FetchRequest<'_>, entry: &Arc<IndexEntry>) -> Option<Fetched> {
        match self.representation(request, entry) {
            Representation::Copy(copy) => Some(copy.answer(request)),
            Representation::Unasked => {
                let answer = self.stored_answer(request, entry)?;
                // Only a copy may fit into a response.
                if matches!(answer, Fetched::TooLarge(_)) {
                    return None;
                }
                self.queue_question(request, entry);
                Some(answer)
            }
            Representation::Object(wanted) => {
                let answer = self.stored_answer(request, entry)?;
                if let (Some(kind), Fetched::Object(_)) = (wanted, &answer) {
                    self.queue_copy(entry, kind, None);
                }
                Some(answer)
            }
        }
    }

    /// Replaces an object that S3 has just sent or confirmed by the copy that the client prefers.
    pub(super) async fn represent(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        response: FetchResponse,
        deadline: Instant,
    ) -> FetchResponse {
        let head = match &response.result {
            Ok(
                Fetched::Object(Object { head, range: None, .. })
                | Fetched::TooLarge(head)
                | Fetched::NotModified(head),
            ) if request.accepts.is_some() && head.copy().is_none() => head,
            _ => return response,
        };
        let is_source = |entry: &Arc<IndexEntry>| head.etag.as_ref() == Some(&entry.version.etag);
        let Some(entry) = self.index.entry(request.key).filter(is_source) else { return response };
        if response.source != Source::Stale {
            let wait = match response.result {
                Ok(Fetched::TooLarge(_)) => deadline,
                _ => deadline.min(Instant::now() + ASK_WAIT),
            };
            self.ask_for_copies(request, &entry, deadline, wait).await;
        }
        match self.representation(request, &entry) {
            Representation::Copy(copy) => return FetchResponse { result: Ok(copy.answer(request)), ..response },
            Representation::Object(Some(kind)) => {
                if let Ok(Fetched::Object(object)) = &response.result {
                    self.queue_copy(&entry, kind, (!self.index.keeps(&object.head)).then(|| object.body.unreserved()));
                }
            }
            Representation::Object(None) | Representation::Unasked => {}
        }
        response
    }

    /// Asks S3 for the uploaded copies that the client prefers, each once for a version of the object, and waits for them until `wait`.
    /// Returns whether there were any to ask for.
    pub(super) async fn ask_for_copies(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        entry: &Arc<IndexEntry>,
        deadline: Instant,
        wait: Instant,
    ) -> bool {
        let now = Moment::now();
        let Some(accepts) = request.accepts.filter(|_| !self.backoff.is_active(None, now)) else { return false };
        if self.ask_backoff.is_active(None, now) {
            return false;
        }
        let weights = accepts.weights(entry.head.copyable(), entry.head.content_type.as_deref());
        let asked = join_all(self.unasked(entry, &weights).map(|kind| self.ask_for_copy(entry, kind, deadline)));
        match tokio::time::timeout(wait.saturating_duration_since(Instant::now()), asked).await {
            Ok(asked) => !asked.is_empty(),
            Err(_) => {
                self.ask_backoff.start();
                true
            }
        }
    }

    /// Queues the questions for uploaded copies, so that no cache hit waits for S3.
    fn queue_question(&self, request: &FetchRequest<'_>, entry: &Arc<IndexEntry>) {
        let Some(accepts) = request.accepts else { return };
        let weights = accepts.weights(entry.head.copyable(), entry.head.content_type.as_deref());
        let mut questions = self.questions.lock();
        for kind in self.unasked(entry, &weights) {
            let is_same = |(other, other_kind): &(Arc<IndexEntry>, CopyKind)| {
                other.version == entry.version && *other_kind == kind
            };
            if questions.len() < QUEUE_LEN_MAX && !questions.iter().any(is_same) {
                questions.push((entry.clone(), kind));
            }
        }
    }

    /// Asks the queued questions; drops those that are left at `deadline`.
    pub(super) async fn ask_queued(self: &Arc<Self>, deadline: Instant) {
        let questions = std::mem::take(&mut *self.questions.lock());
        for (entry, kind) in questions {
            if Instant::now() >= deadline || self.backoff.is_active(None, Moment::now()) {
                return;
            }
            self.ask_for_copy(&entry, kind, deadline).await;
        }
    }

    async fn ask_for_copy(self: &Arc<Self>, entry: &Arc<IndexEntry>, kind: CopyKind, deadline: Instant) {
        let asked = || entry.copies.as_ref().filter(|known| known.state(kind) != UNKNOWN).map(|_| ());
        let start = || {
            let (shared, entry) = (self.clone(), entry.clone());
            let copy_key = ObjectKey::new(format!("{}{}", entry.version.key, kind.suffix()));
            let call = async move { shared.fetch_copy(&copy_key, &entry, kind, deadline).await };
            call.instrument(Span::current()).boxed()
        };
        if let Join::Leader(call) | Join::Follower(call) =
            self.copies_in_flight.join((entry.version.clone(), kind), asked, start)
        {
            call.await;
        }
    }

    /// Fetches an uploaded copy, and stores it if it is one of this version of the object.
    async fn fetch_copy(&self, key: &ObjectKey, entry: &IndexEntry, kind: CopyKind, deadline: Instant) {
        let Some(known) = &entry.copies else { return };
        let fits = |head: &Head, _: Option<&_>| base64_len(head.size_bytes) <= PAYLOAD_BYTES_MAX;
        let result = self.store.fetch(&FetchRequest::unconditional(key, Part::Whole, &fits), deadline).await.result;
        self.backoff.record(&result);
        match result {
            Ok(Fetched::Object(Object { head, body, .. })) => match refusal(&head, entry, kind) {
                None => {
                    let identity = head.etag.as_deref().unwrap_or_default().as_bytes();
                    let head = entry.head.of_copy(kind, head.size_bytes, identity);
                    self.store_copy(entry, kind, 0, CachedCopy { head, body: body.unreserved() });
                }
                Some(reason) => {
                    warn!(key = key.as_str(), "the uploaded copy is not used: {reason}");
                    known.set(kind, NOT_UPLOADED);
                }
            },
            // The next request asks again.
            Err(error) if error.is_outage() || matches!(error, FetchError::Busy(_)) => {}
            Err(FetchError::Missing(_)) | Ok(_) => known.set(kind, NOT_UPLOADED),
            Err(error) => {
                let cause = error.cause().map(ToString::to_string).unwrap_or_default();
                warn!(key = key.as_str(), "the uploaded copy is not used: {cause}");
                known.set(kind, NOT_UPLOADED);
            }
        }
    }

    /// Stores a copy; `origin` is [`MADE`] or 0.
    fn store_copy(&self, entry: &IndexEntry, kind: CopyKind, origin: u64, copy: CachedCopy) {
        let size = copy.head.size_bytes | origin;
        let Some(known) = &entry.copies else { return };
        match self.index.insert_copy(&entry.version, kind, copy) {
            Insertion::Stored => known.set(kind, size),
            // It would be made or fetched again for each request.
            Insertion::Full => known.set(kind, ABSENT),
            Insertion::Outdated => {}
        }
    }

    fn queue_copy(&self, source: &Arc<IndexEntry>, kind: CopyKind, body: Option<Body>) {
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
        // Another invocation is at it.
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

/// Why an object is no copy of this version.
fn refusal(copy: &Head, entry: &IndexEntry, kind: CopyKind) -> Option<&'static str> {
    let coding = copy.content_encoding.as_deref().filter(|coding| !coding.is_empty());
    // In the same second, the source may have replaced that of the copy.
    let is_newer = copy.modified().zip(entry.head.modified()).is_some_and(|(copy, source)| copy > source);
    if !is_newer {
        Some("it is not newer than its source: upload it a second after the source")
    } else if coding.is_some_and(|coding| !kind.coding().is_some_and(|own| own.eq_ignore_ascii_case(coding))) {
        Some("it has another Content-Encoding than its suffix says")
    } else if copy.size_bytes == 0 || copy.size_bytes >= entry.head.size_bytes {
        Some("it is not smaller than its source")
    } else {
        None
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
