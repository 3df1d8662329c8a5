//! A file of the site that configures the origin, such as the definition of experiments.
//!
//! It is loaded during INIT and reloaded between events, through the cache. Each version is parsed once, outside the request
//! path, and replaced as a whole. A version that cannot be used leaves the last good one active.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearedge_core::object::{Head, ObjectKey};
use nearedge_core::store::{FetchError, FetchRequest, Fetched, Part, Store};
use parking_lot::{Mutex, RwLock};
use tracing::{error, info, warn};

/// Upper bound on a reload, which delays the next event.
const RELOAD_BUDGET: Duration = Duration::from_millis(500);

/// How soon a load is repeated while there is no good version.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The most warnings that are logged for a version.
const WARNINGS_MAX: usize = 10;

/// Parses the versions of a file, and names it in log lines.
pub(super) trait FileFormat {
    /// A parsed version.
    type Parsed;

    /// The largest file, in bytes.
    const BYTES_MAX: u64;
    /// The setting that names the file.
    const SETTING: &'static str;
    /// A noun for the file in messages.
    const NOUN: &'static str;
    /// The consequence while no version can be used, for messages.
    const WITHOUT: &'static str;
    /// How to make a file smaller.
    const SMALLER: &'static str;
    /// The advice if the object does not exist.
    const MISSING: &'static str;
    /// The command that prints all warnings.
    const CHECK: &'static str;

    /// Parses a version, and returns it with a summary and its warnings.
    ///
    /// # Errors
    /// The first problem, if the version cannot be used.
    fn parse(&self, text: &str) -> Result<ParsedFile<Self::Parsed>, String>;
}

/// A version that can be used.
pub(super) struct ParsedFile<T> {
    pub(super) parsed: T,
    /// A summary of its contents, such as `2 versions, 1 experiment`.
    pub(super) summary: String,
    pub(super) warnings: Vec<String>,
}

/// Loads a file, and holds the last good version.
#[derive(Debug)]
pub(super) struct SiteFile<F: FileFormat> {
    key: ObjectKey,
    /// How long a version is used before it is requested again.
    ttl: Duration,
    pub(super) format: F,
    active: RwLock<Option<Arc<F::Parsed>>>,
    state: Mutex<State>,
    errors: AtomicU64,
}

/// The result of the last load.
#[derive(Debug, Default)]
struct State {
    /// When the next load is due; `None` before the first.
    due: Option<Instant>,
    /// The entity tag of the version that was parsed last.
    etag: Option<String>,
    /// The fault of that version.
    broken: Option<String>,
    /// The kind of the failure that was logged last, which is not repeated.
    logged: Option<Cow<'static, str>>,
}

impl<F: FileFormat> SiteFile<F> {
    /// Loads nothing yet.
    pub(super) fn new(key: ObjectKey, ttl: Duration, format: F) -> Self {
        Self { key, ttl, format, active: RwLock::default(), state: Mutex::default(), errors: AtomicU64::new(0) }
    }

    /// The last good version.
    pub(super) fn active(&self) -> Option<Arc<F::Parsed>> {
        self.active.read().clone()
    }

    /// How many loads have failed since the start.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Loads the file if that is due, and returns whether it was. A load takes at most half a second, and ends before
    /// `deadline`.
    pub(super) async fn reload<S: Store>(&self, store: &S, deadline: Instant) -> bool {
        let now = Instant::now();
        let is_due = self.begin(now);
        if is_due {
            self.load(store, deadline.min(now + RELOAD_BUDGET)).await;
        }
        is_due
    }

    /// Loads the file.
    pub(super) async fn load<S: Store>(&self, store: &S, deadline: Instant) {
        self.begin(Instant::now());
        let fits = |head: &Head, _: Option<&Range<u64>>| head.size_bytes <= F::BYTES_MAX;
        let request = FetchRequest::unconditional(&self.key, Part::Whole, &fits);
        // Boxed, because this future is large, and the caller almost never needs it.
        let response = Box::pin(store.fetch(&request, deadline)).await;
        // A stale copy hides that S3 fails, and that there may be a new version.
        let failure = match (response.hidden_error, response.result) {
            (Some(error), _) | (None, Err(error)) => Some(Failure::of_storage(&error, F::MISSING)),
            (None, Ok(Fetched::Object(object))) => {
                if !self.is_parsed(object.head.etag.as_deref()) {
                    self.replace(object.body.raw(), object.head.etag.clone());
                }
                self.state.lock().broken.clone().map(Failure::of_file)
            }
            (None, Ok(Fetched::TooLarge(head))) => Some(Failure::of_file(format!(
                "it has {} bytes, more than {}: {}",
                head.size_bytes,
                F::BYTES_MAX,
                F::SMALLER
            ))),
            (None, Ok(_)) => Some(Failure::of_file("S3 returned no object: upload it again".to_owned())),
        };
        let is_active = self.active.read().is_some();
        match failure {
            None => self.report_recovery(),
            Some(failure) => {
                self.report(failure, is_active);
                if !is_active {
                    self.state.lock().due = Some(Instant::now() + self.ttl.min(RETRY_INTERVAL));
                }
            }
        }
    }

    /// Starts a load if one is due, and delays the next one.
    fn begin(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let is_due = state.due.is_none_or(|due| now >= due);
        if is_due {
            state.due = Some(now + self.ttl);
        }
        is_due
    }

    fn is_parsed(&self, etag: Option<&str>) -> bool {
        etag.is_some() && self.state.lock().etag.as_deref() == etag
    }

    /// Parses a new version, and replaces the active one if it is good.
    fn replace(&self, bytes: Option<Bytes>, etag: Option<String>) {
        let broken = match bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()) {
            None => Some("it is not UTF-8: save it as UTF-8".to_owned()),
            Some(text) => self.activate(text, etag.as_deref()).err(),
        };
        let mut state = self.state.lock();
        state.etag = etag;
        state.broken = broken;
    }

    /// Makes a version the active one.
    ///
    /// # Errors
    /// The first problem, if the version cannot be used.
    fn activate(&self, text: &str, etag: Option<&str>) -> Result<(), String> {
        let key = self.key.as_str();
        let ParsedFile { parsed, summary, warnings } = self.format.parse(text)?;
        *self.active.write() = Some(Arc::new(parsed));
        info!(key, etag, contents = summary, "{}: a new {} is active", F::SETTING, F::NOUN);
        for warning in warnings.iter().take(WARNINGS_MAX) {
            warn!(key, "{}: {warning}", F::SETTING);
        }
        if let Some(more) = warnings.len().checked_sub(WARNINGS_MAX).filter(|more| *more > 0) {
            warn!(key, more, "{}: more warnings: run `{}`", F::SETTING, F::CHECK);
        }
        Ok(())
    }

    /// Counts a failed load, and logs it unless the load before failed in the same way.
    fn report(&self, failure: Failure, is_active: bool) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.logged.as_ref() == Some(&failure.kind) {
            return;
        }
        let (key, noun) = (self.key.as_str(), F::NOUN);
        let remains = match is_active {
            true => Cow::Owned(format!("the last good {noun} stays active")),
            false => Cow::Borrowed(F::WITHOUT),
        };
        error!(key, "{}: the {noun} cannot be used, and {remains}: {}", F::SETTING, failure.text);
        state.logged = Some(failure.kind);
    }

    /// Logs the first load that succeeds after one that failed.
    fn report_recovery(&self) {
        let mut state = self.state.lock();
        if state.logged.take().is_some() {
            info!(key = self.key.as_str(), etag = state.etag, "{}: the {} can be used again", F::SETTING, F::NOUN);
        }
    }
}

/// Why a load failed.
struct Failure {
    /// The same text for two equal failures: the texts of S3's errors contain times and ids.
    kind: Cow<'static, str>,
    text: String,
}

impl Failure {
    fn of_file(text: String) -> Self {
        Self { kind: text.clone().into(), text }
    }

    fn of_storage(error: &FetchError, advice: &str) -> Self {
        let kind = match error {
            FetchError::Missing(_) => "missing",
            FetchError::Refused(_) => "refused",
            FetchError::Busy(_) | FetchError::Unavailable(_) => "unavailable",
            FetchError::TimedOut(_) => "timed out",
            FetchError::Failed(_) => "failed",
        };
        let text = error.cause().map_or_else(
            || format!("the object does not exist, or the role may not read it: {advice}"),
            ToString::to_string,
        );
        Self { kind: kind.into(), text }
    }
}
