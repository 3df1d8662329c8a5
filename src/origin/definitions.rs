//! The active definition of the experiments: loaded during INIT, reloaded between events, replaced as a whole.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearedge_core::experiment::definition::{BYTES_MAX, Constraints, Definition};
use nearedge_core::experiment::problem::Problem;
use nearedge_core::experiment::settings::ExperimentSettings;
use nearedge_core::object::{Head, ObjectKey};
use nearedge_core::request::visit::Detail;
use nearedge_core::store::{FetchError, FetchRequest, Fetched, Part, Store};
use parking_lot::{Mutex, RwLock};
use tracing::{error, info, warn};

/// Upper bound on a reload, which delays the next event.
const RELOAD_BUDGET: Duration = Duration::from_millis(500);

/// How soon a load is repeated while there is no good definition.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The most warnings that are logged for a definition.
const WARNINGS_MAX: usize = 10;

/// The settings of experiments, and where their definition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionsConfig {
    /// The key of the definition.
    pub key: ObjectKey,
    /// The settings.
    pub settings: ExperimentSettings,
    /// The existing versions, if the setting `test_versions` lists them.
    pub test_versions: Option<Vec<String>>,
    /// How long the definition is used before it is requested again.
    pub ttl: Duration,
}

/// Loads the definition and holds the last good one.
#[derive(Debug)]
pub struct Definitions {
    config: DefinitionsConfig,
    active: RwLock<Option<Arc<Definition>>>,
    state: Mutex<State>,
    errors: AtomicU64,
}

/// What the last load resulted in.
#[derive(Debug, Default)]
struct State {
    /// When the next load is due; `None` before the first.
    due: Option<Instant>,
    /// The entity tag of the version that was parsed last.
    etag: Option<String>,
    /// What is wrong with that version.
    broken: Option<String>,
    /// The kind of the failure that was logged last, which is not repeated.
    logged: Option<Cow<'static, str>>,
}

impl Definitions {
    /// Loads nothing yet.
    pub fn new(config: DefinitionsConfig) -> Self {
        Self { config, active: RwLock::default(), state: Mutex::default(), errors: AtomicU64::new(0) }
    }

    /// The settings of experiments.
    pub(super) fn settings(&self) -> &ExperimentSettings {
        &self.config.settings
    }

    /// The last good definition.
    pub(super) fn active(&self) -> Option<Arc<Definition>> {
        self.active.read().clone()
    }

    /// Which fields of a request the active definition needs.
    pub(super) fn detail(&self) -> Detail {
        self.active.read().as_ref().map_or(Detail::Visit, |definition| definition.detail())
    }

    /// How many loads have failed since the start.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Loads the definition if that is due. A load takes at most half a second, and ends before `deadline`.
    pub(super) async fn reload<S: Store>(&self, store: &S, deadline: Instant) {
        let now = Instant::now();
        if self.begin(now) {
            self.load(store, deadline.min(now + RELOAD_BUDGET)).await;
        }
    }

    /// Loads the definition. Returns whether there is an active one now.
    pub async fn load<S: Store>(&self, store: &S, deadline: Instant) -> bool {
        self.begin(Instant::now());
        let fits = |head: &Head, _: Option<&Range<u64>>| head.size_bytes <= BYTES_MAX;
        let request = FetchRequest::unconditional(&self.config.key, Part::Whole, &fits);
        // Boxed, because this future is large, and the caller almost never needs it.
        let response = Box::pin(store.fetch(&request, deadline)).await;
        // A stale copy hides that S3 fails, and that there may be a new version.
        let failure = match (response.hidden_error, response.result) {
            (Some(error), _) | (None, Err(error)) => Some(Failure::of_storage(&error)),
            (None, Ok(Fetched::Object(object))) => {
                if !self.is_parsed(object.head.etag.as_deref()) {
                    self.replace(object.body.decode(), object.head.etag.clone());
                }
                self.state.lock().broken.clone().map(Failure::of_definition)
            }
            (None, Ok(Fetched::TooLarge(head))) => Some(Failure::of_definition(format!(
                "it has {} bytes, more than {BYTES_MAX}: remove features that are not used",
                head.size_bytes
            ))),
            (None, Ok(_)) => Some(Failure::of_definition("S3 returned no object: upload it again".to_owned())),
        };
        let is_active = self.active.read().is_some();
        match failure {
            None => self.report_recovery(),
            Some(failure) => {
                self.report(failure, is_active);
                if !is_active {
                    self.state.lock().due = Some(Instant::now() + self.config.ttl.min(RETRY_INTERVAL));
                }
            }
        }
        is_active
    }

    /// Starts a load if one is due, and delays the next one.
    fn begin(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let is_due = state.due.is_none_or(|due| now >= due);
        if is_due {
            state.due = Some(now + self.config.ttl);
        }
        is_due
    }

    fn is_parsed(&self, etag: Option<&str>) -> bool {
        etag.is_some() && self.state.lock().etag.as_deref() == etag
    }

    /// Parses a new version, and replaces the active one if it is good.
    fn replace(&self, bytes: Option<Vec<u8>>, etag: Option<String>) {
        let broken = match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            None => Some("it is not UTF-8: save it as UTF-8".to_owned()),
            Some(text) => self.activate(&text, etag.as_deref()).err(),
        };
        let mut state = self.state.lock();
        state.etag = etag;
        state.broken = broken;
    }

    /// Makes a definition the active one.
    ///
    /// # Errors
    /// The first problem, if the definition cannot be used.
    fn activate(&self, text: &str, etag: Option<&str>) -> Result<(), String> {
        let key = self.config.key.as_str();
        let constraints = Constraints {
            feature: &self.config.settings.feature,
            test_versions: self.config.test_versions.as_deref(),
            cache_key: &self.config.settings.cache_key,
        };
        let (definition, warnings) = Definition::parse(text, constraints)
            .map_err(|problems| problems.first().map(Problem::to_string).unwrap_or_default())?;
        let (versions, experiments) = (definition.versions.join(","), definition.experiments().count());
        *self.active.write() = Some(Arc::new(definition));
        info!(key, etag, versions, experiments, "experiments: a new definition is active");
        warn_of(key, &warnings);
        Ok(())
    }

    /// Counts a failed load, and logs it unless the load before failed in the same way.
    fn report(&self, failure: Failure, is_active: bool) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.logged.as_ref() == Some(&failure.kind) {
            return;
        }
        let remains = if is_active { "the last good definition stays active" } else { "no visitor is assigned" };
        let key = self.config.key.as_str();
        error!(key, "experiments: the definition cannot be used, and {remains}: {}", failure.text);
        state.logged = Some(failure.kind);
    }

    /// Logs the first load that succeeds after one that failed.
    fn report_recovery(&self) {
        let mut state = self.state.lock();
        if state.logged.take().is_some() {
            info!(key = self.config.key.as_str(), etag = state.etag, "experiments: the definition can be used again");
        }
    }
}

/// Why a load failed.
struct Failure {
    /// What two equal failures have in common: the texts of S3's errors contain times and ids.
    kind: Cow<'static, str>,
    text: String,
}

impl Failure {
    fn of_definition(text: String) -> Self {
        Self { kind: text.clone().into(), text }
    }

    fn of_storage(error: &FetchError) -> Self {
        let (kind, text) = match error {
            FetchError::Missing(_) => (
                "missing",
                "the object does not exist, or the role may not read it: upload it, or remove the setting experiments",
            ),
            FetchError::Refused(_) => ("refused", ""),
            FetchError::Busy(_) | FetchError::Unavailable(_) => ("unavailable", ""),
            FetchError::TimedOut(_) => ("timed out", ""),
            FetchError::Failed(_) => ("failed", ""),
        };
        let text = error.cause().map_or_else(|| text.to_owned(), ToString::to_string);
        Self { kind: kind.into(), text }
    }
}

fn warn_of(key: &str, warnings: &[Problem]) {
    for warning in warnings.iter().take(WARNINGS_MAX) {
        warn!(key, "experiments: {warning}");
    }
    if let Some(more) = warnings.len().checked_sub(WARNINGS_MAX).filter(|more| *more > 0) {
        warn!(key, more, "experiments: more warnings: run `nearedge experiment check`");
    }
}
