//! The active definition of the experiments: loaded during INIT, reloaded between events, replaced as a whole.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearedge_core::experiment::definition::{BYTES_MAX, Constraints, Definition};
use nearedge_core::experiment::problem::Problem;
use nearedge_core::experiment::settings::ExperimentSettings;
use nearedge_core::object::{Head, ObjectKey};
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
    /// The problem that was logged last, which is not repeated.
    problem: Option<String>,
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
        let problem = match Box::pin(store.fetch(&request, deadline)).await.result {
            Ok(Fetched::Object(object)) => {
                if self.is_parsed(object.head.etag.as_deref()) {
                    // The same version as before; a broken one is still broken.
                    self.state.lock().problem.clone()
                } else {
                    self.replace(object.body.decode(), object.head.etag.clone())
                }
            }
            Ok(Fetched::TooLarge(head)) => Some(format!(
                "it has {} bytes, more than {BYTES_MAX}: remove features that are not used",
                head.size_bytes
            )),
            Ok(_) => Some("S3 returned no object: upload it again".to_owned()),
            Err(FetchError::Missing(_)) => Some(
                "the object does not exist, or the role may not read it: upload it, or remove the setting experiments"
                    .to_owned(),
            ),
            Err(error) => error.cause().map(ToString::to_string),
        };
        let is_active = self.active.read().is_some();
        match problem {
            None => self.state.lock().problem = None,
            Some(problem) => {
                self.report(problem);
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

    /// Parses a new version, and replaces the active one if it is good. Returns the problem if it is not.
    fn replace(&self, bytes: Option<Vec<u8>>, etag: Option<String>) -> Option<String> {
        let key = self.config.key.as_str();
        self.state.lock().etag = etag;
        let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return Some("it is not UTF-8: save it as UTF-8".to_owned());
        };
        let constraints = Constraints {
            feature: &self.config.settings.feature,
            test_versions: self.config.test_versions.as_deref(),
            cache_key: &self.config.settings.cache_key,
        };
        match Definition::parse(&text, constraints) {
            Ok((definition, warnings)) => {
                let (versions, experiments) = (definition.versions.join(","), definition.experiments().count());
                *self.active.write() = Some(Arc::new(definition));
                info!(key, versions, experiments, "experiments: a new definition is active");
                warn_of(key, &warnings);
                None
            }
            Err(problems) => Some(problems.first().map(Problem::to_string).unwrap_or_default()),
        }
    }

    /// Counts a failed load, and logs a problem that was not logged last time.
    fn report(&self, problem: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.problem.as_ref() == Some(&problem) {
            return;
        }
        let remains = match self.active.read().is_some() {
            true => "the last good definition stays active",
            false => "no visitor is assigned",
        };
        error!(key = self.config.key.as_str(), "experiments: the definition cannot be used, and {remains}: {problem}");
        state.problem = Some(problem);
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
