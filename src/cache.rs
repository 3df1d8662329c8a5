//! A [`Store`] around a store: bounded in bytes, revalidating, coalescing.
//!
//! An index says what a key last was, and until when that is fresh; bodies are kept by key and entity tag, ready to
//! send. A changed object is another entry: the old body cannot be served for the new tag. Missing keys are
//! remembered apart, so that they cannot push objects out.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use equivalent::Equivalent;
use futures_util::FutureExt;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use tracing::{Instrument, Span, field};

use crate::flight::{Boarding, Flight, Flights};
use crate::freshness::{Freshness, Limits, freshness};
use crate::moment::Moment;
use crate::object::{Body, FetchError, Fetched, Head, Missing, Object, ObjectKey, base64_bytes};
use crate::payload::PAYLOAD_BYTES_MAX;
use crate::store::{Ask, NoSuchBytes, Part, Reply, Source, Store, Tally};
use crate::trace::child_span;

/// How long S3 is waited for where a stale answer is at hand. The slowest answers of a healthy S3 come within it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long after a failure stale objects are served without another try, unless S3 answers meanwhile: what `Retry-After` asks of
/// clients. An S3 that hangs would else be waited for by each object in turn.
const RESPITE: Duration = Duration::from_secs(1);

/// How long the work after an answer may keep the environment from its next event.
const AFTERWORK: Duration = Duration::from_secs(2);

/// What an entry takes besides its texts: moka's own nodes, the counts of shared ownership, the allocator's rounding.
/// Some 650 as long as nothing has to make room, and what comes and goes leaves gaps. `benches/compare` watches that it
/// is enough: 60,000 objects of 240 bytes stay within the bound (P6).
const ENTRY_BYTES: usize = 900;

/// The settings of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// What all entries together may take, in bytes; 0 turns the cache off.
    pub max_bytes: u64,
    /// The largest object that is kept, in bytes.
    pub object_max_bytes: u64,
    /// How long objects may be answered from memory.
    pub limits: Limits,
    /// How long a missing object is remembered.
    pub missing_ttl: Duration,
}

/// A cache around a store.
pub struct Cache<S>(Arc<Shared<S>>);

struct Shared<S> {
    store: S,
    config: CacheConfig,
    /// The index and the bodies, which share what there is: how many bodies that is depends on how large they are.
    entries: moka::sync::Cache<Name, Entry>,
    missing: moka::sync::Cache<ObjectKey, Absent>,
    /// Held while something is put in, so that what was asked later is never replaced by what was asked before.
    writes: Mutex<()>,
    flights: Flights<(ObjectKey, Part), Landed>,
    /// What is to be revalidated after the answer.
    stale: Mutex<Vec<ObjectKey>>,
    /// When the store could not be reached, or did not answer in time, if that was the last that was heard of it.
    failed: Mutex<Option<Moment>>,
    evictions: Arc<AtomicU64>,
}

/// What an entry is found by.
#[derive(PartialEq, Eq, Hash)]
enum Name {
    Index(ObjectKey),
    Body(Version),
}

/// A [`Name`] of what is somebody else's.
#[derive(Hash)]
enum NameRef<'a> {
    Index(&'a ObjectKey),
    Body(&'a Version),
}

impl Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        match (self, name) {
            (Self::Index(key), Name::Index(other)) => *key == other,
            (Self::Body(version), Name::Body(other)) => *version == other,
            _ => false,
        }
    }
}

#[derive(Clone)]
enum Entry {
    Known(Arc<Known>),
    Body(Body),
}

/// What a key last was.
#[derive(Clone)]
struct Known {
    head: Head,
    version: Version,
    /// When S3 was asked: what is said of it is as old as that (RFC 9111 §4.2.3).
    asked: Moment,
    freshness: Freshness,
    /// When S3 last failed to say more.
    failed: Option<Moment>,
}

/// A body's name: the key and its entity tag.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Version {
    key: ObjectKey,
    etag: String,
}

/// A key that has no object.
#[derive(Clone)]
struct Absent {
    why: Missing,
    asked: Moment,
}

/// What came of a call that several may have waited for.
#[derive(Clone)]
struct Landed {
    fetched: Result<Fetched, FetchError>,
    source: Source,
    /// Until when it had time.
    deadline: Instant,
}

impl<S: Store> Cache<S> {
    /// A cache around `store`.
    pub fn new(store: S, config: CacheConfig) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let counted = evictions.clone();
        let missing_bytes = config.max_bytes / 64;
        Self(Arc::new(Shared {
            store,
            entries: moka::sync::Cache::builder()
                .max_capacity(config.max_bytes - missing_bytes)
                // By TinyLFU, moka's default, a large object would have to be asked for more often than all the small
                // ones together that it pushes out, and its counters end at 15.
                .eviction_policy(EvictionPolicy::lru())
                .weigher(|name: &Name, entry: &Entry| weight(name, entry))
                .eviction_listener(move |name: Arc<Name>, _, cause| {
                    if cause == RemovalCause::Size && matches!(*name, Name::Body(_)) {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .build(),
            missing: moka::sync::Cache::builder()
                .max_capacity(missing_bytes)
                .weigher(|key: &ObjectKey, _: &Absent| entry_bytes(key.as_str().len()))
                .build(),
            writes: Mutex::default(),
            flights: Flights::default(),
            stale: Mutex::default(),
            failed: Mutex::default(),
            evictions,
            config,
        }))
    }

    /// Whether the body of such an object is kept.
    pub fn keeps(&self, head: &Head) -> bool {
        self.0.keeps(head)
    }

    /// Whether the body of a key is in memory, and fresh.
    pub fn holds(&self, key: &ObjectKey) -> bool {
        let known = self.0.known(key).filter(|known| known.is_fresh(Moment::now()));
        known.is_some_and(|known| self.0.entries.contains_key(&NameRef::Body(&known.version)))
    }

    /// The store that this is a cache of.
    pub fn store(&self) -> &S {
        &self.0.store
    }
}

/// Frees what the cache has removed. moka leaves that to the epochs of crossbeam, which leave it until dozens of removed things have
/// gathered: a few large bodies would be held beside all that the cache may hold. It takes two epochs until nobody can be looking
/// at them any more.
fn free_what_was_removed() {
    for _ in 0..3 {
        crossbeam_epoch::pin().flush();
    }
}

fn weight(name: &Name, entry: &Entry) -> u32 {
    entry_bytes(match (name, entry) {
        // The texts of a head are there twice: as they came, and as they are sent. The key is in the version too.
        (Name::Index(key), Entry::Known(known)) => {
            2 * key.as_str().len() + 2 * known.head.json().len() + known.version.etag.len()
        }
        (Name::Body(Version { key, etag }), Entry::Body(body)) => key.as_str().len() + etag.len() + body.base64().len(),
        // Nothing else is ever put in.
        (Name::Index(_), Entry::Body(_)) | (Name::Body(_), Entry::Known(_)) => 0,
    })
}

fn entry_bytes(text_bytes: usize) -> u32 {
    u32::try_from(text_bytes + ENTRY_BYTES).unwrap_or(u32::MAX)
}

impl<S: Store> Store for Cache<S> {
    async fn fetch(&self, ask: &Ask<'_>, deadline: Instant) -> Reply {
        let shared = &self.0;
        if shared.config.max_bytes == 0 {
            return Box::pin(shared.store.fetch(ask, deadline)).await;
        }
        let lookup = child_span!("cache lookup", nearedge.cache.fresh = field::Empty);
        let now = Moment::now();
        let known = shared.known(ask.key);
        let hit = shared.hit(ask, known.as_deref(), now);
        lookup.record("nearedge.cache.fresh", hit.is_some());
        drop(lookup);
        if let Some(reply) = hit {
            return reply;
        }
        // In a box: the rest is large, and a hit does not carry it along.
        Box::pin(async {
            let asked = Instant::now();
            let reply = match known {
                None => shared.fetch_unknown(ask, deadline).await,
                Some(known) if known.is_fresh(now) => shared.fetch_known(ask, &known, deadline).await,
                Some(known) => shared.fetch_expired(ask, &known, now, deadline).await,
            };
            // What is served stale at once has not waited for anybody.
            let waited =
                if reply.source == Source::Stale && reply.trouble.is_none() { Duration::ZERO } else { asked.elapsed() };
            Reply { waited, ..reply }
        })
        .await
    }

    async fn presign(
        &self,
        key: &ObjectKey,
        part: Part,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<String, FetchError> {
        Box::pin(self.0.store.presign(key, part, ttl, deadline)).await
    }

    async fn settle(&self, deadline: Instant) {
        if !self.0.stale_keys().is_empty() {
            Box::pin(self.0.refresh(deadline.min(Instant::now() + AFTERWORK))).await;
        }
        self.0.store.settle(deadline).await;
    }

    fn tally(&self) -> Tally {
        let held_bytes = self.0.entries.weighted_size() + self.0.missing.weighted_size();
        Tally { held_bytes, evictions: self.0.evictions.load(Ordering::Relaxed), ..self.0.store.tally() }
    }
}

impl<S: Store> Shared<S> {
    /// What memory alone can answer, fresh.
    fn hit(&self, ask: &Ask<'_>, known: Option<&Known>, now: Moment) -> Option<Reply> {
        let fetched = match known {
            None => Err(FetchError::Missing(self.absent(ask.key, now)?)),
            Some(known) if known.is_fresh(now) => Ok(self.in_memory(ask, known)?),
            Some(_) => return None,
        };
        Some(Reply::new(fetched, Source::Hit))
    }

    /// Revalidates what was served stale, until `deadline`; what is left then is dropped.
    async fn refresh(self: &Arc<Self>, deadline: Instant) {
        loop {
            let next = self.stale_keys().pop();
            let Some(key) = next else { return };
            if Instant::now() >= deadline {
                return self.stale_keys().clear();
            }
            if let Some(known) = self.known(&key).filter(|known| !known.is_fresh(Moment::now())) {
                let body = self.body(&known.version);
                let part = if body.is_some() { Part::Whole } else { Part::Head };
                let held = body.map(|body| (known.clone(), body));
                if self.land(&key, part, held, deadline).await.fetched.is_err_and(|error| error.trouble().is_some()) {
                    self.give_respite(&key, &known);
                }
            }
        }
    }

    /// A key of which nothing is known, or nothing any more.
    async fn fetch_unknown(self: &Arc<Self>, ask: &Ask<'_>, deadline: Instant) -> Reply {
        match ask.range {
            // Of an object that may be huge, S3 sends just the part.
            Some(_) if ask.part == Part::Whole => self.pass(ask, deadline).await,
            _ => self.fetch_whole(ask, ask.part, None, deadline).await,
        }
    }

    /// An object whose head is known, and whose body is wanted and is not here.
    async fn fetch_known(self: &Arc<Self>, ask: &Ask<'_>, known: &Known, deadline: Instant) -> Reply {
        match ask.part {
            Part::Whole if !self.keeps(&known.head) => self.pass(ask, deadline).await,
            part => self.fetch_whole(ask, part, None, deadline).await,
        }
    }

    /// An object whose time is over.
    async fn fetch_expired(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        known: &Arc<Known>,
        now: Moment,
        deadline: Instant,
    ) -> Reply {
        let body = self.body(&known.version);
        let at_hand = || match plan(ask, &known.head) {
            Plan::Answered(fetched) => Some(fetched),
            Plan::Body(range) => Some(part_of(&known.head, body.as_ref()?, range)),
        };
        let stale = |trouble| Some(Reply { trouble, ..Reply::new(Ok(at_hand()?), Source::Stale) });
        let (while_revalidating, if_error) =
            (known.may_be_stale_while_revalidating(now), known.may_be_stale_if_error(now));
        let just_now = |failed: Option<Moment>| failed.is_some_and(|failed| now.is_within(RESPITE, failed));
        if (just_now(known.failed) || just_now(*lock(&self.failed)))
            && (while_revalidating || if_error)
            && let Some(reply) = stale(None)
        {
            return reply;
        }
        if while_revalidating && let Some(reply) = stale(None) {
            let mut keys = self.stale_keys();
            if !keys.contains(ask.key) {
                keys.push(ask.key.clone());
            }
            return reply;
        }
        let patient = if if_error && at_hand().is_some() { deadline.min(Instant::now() + PATIENCE) } else { deadline };
        let reply = match &body {
            Some(body) => self.fetch_whole(ask, Part::Whole, Some((known.clone(), body.clone())), patient).await,
            None => self.fetch_known(ask, known, patient).await,
        };
        match reply.fetched {
            Err(error) if error.trouble().is_some() && if_error => {
                self.give_respite(ask.key, known);
                stale(Some(error.clone())).unwrap_or_else(|| Reply::new(Err(error), reply.source))
            }
            fetched => Reply { fetched, ..reply },
        }
    }

    /// Asks for all of an object, or its head, together with whoever asks for it at the same time, and answers `ask`
    /// from that.
    async fn fetch_whole(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        part: Part,
        held: Option<(Arc<Known>, Body)>,
        deadline: Instant,
    ) -> Reply {
        let landed = self.land(ask.key, part, held, deadline).await;
        let fetched = match landed.fetched {
            Ok(Fetched::Object(Object { head, body, .. })) => Ok(match plan(ask, &head) {
                Plan::Answered(fetched) => fetched,
                Plan::Body(range) => part_of(&head, &body, range),
            }),
            Ok(Fetched::TooLarge(head)) => match plan(ask, &head) {
                Plan::Answered(fetched) => Ok(fetched),
                // There is a part that an answer can hold.
                Plan::Body(_) => return self.pass(ask, deadline).await,
            },
            fetched => fetched,
        };
        Reply::new(fetched, landed.source)
    }

    /// The call for a key: one at a time, whoever asks. Its result is in memory before it is over.
    async fn land(
        self: &Arc<Self>,
        key: &ObjectKey,
        part: Part,
        held: Option<(Arc<Known>, Body)>,
        deadline: Instant,
    ) -> Landed {
        loop {
            let landed = || self.just_landed(key, part, deadline);
            let take_off = || {
                let (shared, key, held) = (self.clone(), key.clone(), held.clone());
                let call = async move { shared.call(&key, part, held, deadline).await };
                // Whoever drives it, its spans belong to the invocation that made it.
                call.instrument(Span::current()).boxed()
            };
            match self.flights.board((key.clone(), part), landed, take_off) {
                Boarding::First(flight) => return flight.await,
                Boarding::Another(flight) => match self.wait(flight, deadline).await {
                    // That was the other's time, not ours.
                    Landed { fetched: Err(FetchError::TimedOut(_)), deadline: theirs, .. }
                        if theirs <= Instant::now() && Instant::now() < deadline => {}
                    landed => return Landed { source: Source::Coalesced, ..landed },
                },
                Boarding::Landed(landed) => return landed,
            }
        }
    }

    async fn wait(&self, flight: Flight<Landed>, deadline: Instant) -> Landed {
        let landed = tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), flight).await;
        landed.unwrap_or_else(|_| Landed {
            fetched: Err(FetchError::TimedOut("no answer from S3 to whoever asked first".to_owned())),
            source: Source::Coalesced,
            deadline,
        })
    }

    /// What another call has put into memory since we looked.
    fn just_landed(&self, key: &ObjectKey, part: Part, deadline: Instant) -> Option<Landed> {
        let now = Moment::now();
        let landed = |fetched| Some(Landed { fetched, source: Source::Coalesced, deadline });
        let Some(known) = self.known(key).filter(|known| known.is_fresh(now)) else {
            return self.absent(key, now).and_then(|why| landed(Err(FetchError::Missing(why))));
        };
        let body = match part {
            Part::Head => Body::default(),
            Part::Whole => self.body(&known.version)?,
        };
        landed(Ok(Fetched::Object(Object { head: known.head.clone(), range: None, body })))
    }

    /// Asks the store, and keeps what it says.
    async fn call(&self, key: &ObjectKey, part: Part, held: Option<(Arc<Known>, Body)>, deadline: Instant) -> Landed {
        let fits = |head: &Head, _: Option<&_>| part == Part::Head || base64_bytes(head.bytes) <= PAYLOAD_BYTES_MAX;
        let ask = Ask { held: held.as_ref().map(|(known, _)| &known.head), ..Ask::plain(key, part, &fits) };
        let asked = Moment::now();
        let fetched = self.store.fetch(&ask, deadline).await.fetched;
        self.heard(&fetched);
        let (fetched, source) = match (fetched, held) {
            (Ok(Fetched::NotModified(head)), Some((_, body))) => {
                (Ok(Fetched::Object(Object { head, range: None, body })), Source::Revalidated)
            }
            (fetched, _) => (fetched, Source::Miss),
        };
        match &fetched {
            Ok(Fetched::Object(object)) => {
                let body = (part == Part::Whole && source == Source::Miss).then_some(&object.body);
                self.keep(key, &object.head, body, asked);
            }
            Ok(Fetched::TooLarge(head)) => self.keep(key, head, None, asked),
            Err(FetchError::Missing(why)) => self.keep_missing(key, *why, asked),
            _ => {}
        }
        Landed { fetched, source, deadline }
    }

    /// Remembers whether the store is in trouble. What it refuses at once, such as an object in an archive, is that object's
    /// trouble: asking for it again and again keeps no other from being revalidated.
    fn heard(&self, fetched: &Result<Fetched, FetchError>) {
        let failed = matches!(fetched, Err(FetchError::Unavailable(_) | FetchError::TimedOut(_)));
        *lock(&self.failed) = failed.then(Moment::now);
    }

    /// Asks the store just what was asked here, and learns what it can from the answer.
    async fn pass(&self, ask: &Ask<'_>, deadline: Instant) -> Reply {
        let asked = Moment::now();
        let reply = self.store.fetch(ask, deadline).await;
        self.heard(&reply.fetched);
        match &reply.fetched {
            Ok(Fetched::Object(Object { head, .. }) | Fetched::TooLarge(head)) => self.keep(ask.key, head, None, asked),
            Err(FetchError::Missing(why)) => self.keep_missing(ask.key, *why, asked),
            _ => {}
        }
        Reply { source: Source::Bypass, ..reply }
    }

    /// Answers from memory, if all that it takes is there.
    fn in_memory(&self, ask: &Ask<'_>, known: &Known) -> Option<Fetched> {
        match plan(ask, &known.head) {
            Plan::Answered(fetched) => Some(fetched),
            Plan::Body(range) => Some(part_of(&known.head, &self.body(&known.version)?, range)),
        }
    }

    fn known(&self, key: &ObjectKey) -> Option<Arc<Known>> {
        match self.entries.get(&NameRef::Index(key)) {
            Some(Entry::Known(known)) => Some(known),
            _ => None,
        }
    }

    fn body(&self, version: &Version) -> Option<Body> {
        match self.entries.get(&NameRef::Body(version)) {
            Some(Entry::Body(body)) => Some(body),
            _ => None,
        }
    }

    fn put_known(&self, key: &ObjectKey, known: Known) {
        self.entries.insert(Name::Index(key.clone()), Entry::Known(Arc::new(known)));
    }

    /// Lets S3 alone for a moment after it failed, unless somebody has learnt more of the key since.
    fn give_respite(&self, key: &ObjectKey, known: &Arc<Known>) {
        let _one_at_a_time = lock(&self.writes);
        if self.known(key).is_some_and(|now_known| Arc::ptr_eq(&now_known, known)) {
            self.put_known(key, Known { failed: Some(Moment::now()), ..(**known).clone() });
        }
    }

    fn absent(&self, key: &ObjectKey, now: Moment) -> Option<Missing> {
        let remembered = |absent: &Absent| now.is_within(self.config.missing_ttl, absent.asked);
        self.missing.get(key).filter(remembered).map(|absent| absent.why)
    }

    /// Whether the body of such an object is kept.
    fn keeps(&self, head: &Head) -> bool {
        head.bytes <= self.config.object_max_bytes
    }

    fn keep(&self, key: &ObjectKey, head: &Head, body: Option<&Body>, asked: Moment) {
        let _one_at_a_time = lock(&self.writes);
        let before = self.known(key);
        if self.is_outdated(key, before.as_deref(), asked) {
            return;
        }
        let freshness = freshness(head, &self.config.limits, asked.wall());
        let version = head.etag.clone().map(|etag| Version { key: key.clone(), etag });
        // The old body is of no more use to anybody.
        if let Some(before) = before.filter(|before| Some(&before.version) != version.as_ref()) {
            self.entries.invalidate(&NameRef::Body(&before.version));
        }
        self.missing.invalidate(key);
        let (Some(freshness), Some(version)) = (freshness, version) else {
            self.entries.invalidate(&NameRef::Index(key));
            return;
        };
        let body = body.filter(|_| self.keeps(head));
        if let Some(body) = body {
            self.entries.insert(Name::Body(version.clone()), Entry::Body(body.clone()));
        }
        self.put_known(key, Known { head: head.clone(), version, asked, freshness, failed: None });
        // What has to make room does so now, not dozens of objects later.
        self.entries.run_pending_tasks();
        if body.is_some() {
            free_what_was_removed();
        }
    }

    fn keep_missing(&self, key: &ObjectKey, why: Missing, asked: Moment) {
        let _one_at_a_time = lock(&self.writes);
        let before = self.known(key);
        if self.is_outdated(key, before.as_deref(), asked) {
            return;
        }
        if let Some(before) = before {
            self.entries.invalidate(&NameRef::Body(&before.version));
            self.entries.invalidate(&NameRef::Index(key));
        }
        if !self.config.missing_ttl.is_zero() {
            self.missing.insert(key.clone(), Absent { why, asked });
        }
    }

    /// Whether somebody who asked later has an answer already.
    fn is_outdated(&self, key: &ObjectKey, known: Option<&Known>, asked: Moment) -> bool {
        known.is_some_and(|known| known.asked.is_after(asked))
            || self.missing.get(key).is_some_and(|absent| absent.asked.is_after(asked))
    }

    fn stale_keys(&self) -> MutexGuard<'_, Vec<ObjectKey>> {
        lock(&self.stale)
    }
}

impl Known {
    fn is_fresh(&self, now: Moment) -> bool {
        now.is_within(self.freshness.fresh, self.asked)
    }

    fn may_be_stale_while_revalidating(&self, now: Moment) -> bool {
        now.is_within(self.freshness.fresh + self.freshness.stale_while_revalidate, self.asked)
    }

    fn may_be_stale_if_error(&self, now: Moment) -> bool {
        now.is_within(self.freshness.fresh + self.freshness.stale_if_error, self.asked)
    }
}

/// A panic of somebody else leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an answer takes besides the head of the object.
enum Plan {
    /// Nothing.
    Answered(Fetched),
    /// The body, or a part of it.
    Body(Option<Range<u64>>),
}

fn plan(ask: &Ask<'_>, head: &Head) -> Plan {
    let selected = ask.select(head);
    // What is too large as a whole may have a part that fits, and bytes that are not there fit anywhere.
    match (ask.judge(head, selected.as_ref().ok().and_then(Option::as_ref)), selected) {
        (None | Some(Fetched::TooLarge(_)), Err(NoSuchBytes)) => Plan::Answered(Fetched::Unsatisfiable(head.bytes)),
        (Some(answered), _) => Plan::Answered(answered),
        (None, Ok(range)) if ask.part == Part::Whole => Plan::Body(range),
        (None, Ok(_)) => {
            Plan::Answered(Fetched::Object(Object { head: head.clone(), range: None, body: Body::default() }))
        }
    }
}

fn part_of(head: &Head, body: &Body, range: Option<Range<u64>>) -> Fetched {
    let part = range.clone().map_or_else(|| body.clone(), |range| body.slice(range));
    Fetched::Object(Object { head: head.clone(), range, body: part })
}

impl<S> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { config, entries, missing, .. } = &*self.0;
        f.debug_struct("Cache")
            .field("config", config)
            .field("entries", &entries.entry_count())
            .field("missing", &missing.entry_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
