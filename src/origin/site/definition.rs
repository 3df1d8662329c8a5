//! The active definition of the experiments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearedge_core::experiment::definition::{BYTES_MAX, Constraints, Definition};
use nearedge_core::experiment::problem::Problem;
use nearedge_core::experiment::settings::ExperimentSettings;
use nearedge_core::object::ObjectKey;
use nearedge_core::request::visit::Detail;
use nearedge_core::store::Store;

use crate::origin::site::file::{FileFormat, ParsedFile, SiteFile};

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
pub(in crate::origin) struct Definitions(SiteFile<DefinitionFormat>);

/// The format of a definition.
#[derive(Debug)]
struct DefinitionFormat {
    settings: ExperimentSettings,
    test_versions: Option<Vec<String>>,
    /// Whether the active definition needs attributes of requests.
    needs_attributes: AtomicBool,
}

impl FileFormat for DefinitionFormat {
    type Parsed = Definition;

    const BYTES_MAX: u64 = BYTES_MAX;
    const SETTING: &'static str = "experiments";
    const NOUN: &'static str = "definition";
    const WITHOUT: &'static str = "no visitor is assigned";
    const SMALLER: &'static str = "remove features that are not used";
    const MISSING: &'static str = "upload it, or remove the setting experiments";
    const CHECK: &'static str = "nearedge experiment check";

    fn parse(&self, text: &str) -> Result<ParsedFile<Definition>, String> {
        let constraints = Constraints {
            feature: &self.settings.feature,
            test_versions: self.test_versions.as_deref(),
            cache_key: &self.settings.cache_key,
        };
        let (parsed, warnings) = Definition::parse(text, constraints)
            .map_err(|problems| problems.first().map(Problem::to_string).unwrap_or_default())?;
        self.needs_attributes.store(parsed.detail() == Detail::Attributes, Ordering::Relaxed);
        let (versions, experiments) = (parsed.versions.join(","), parsed.experiments().count());
        let summary = format!("versions {versions}; experiments: {experiments}");
        Ok(ParsedFile { parsed, summary, warnings: warnings.iter().map(Problem::to_string).collect() })
    }
}

impl Definitions {
    /// Loads nothing yet.
    pub(super) fn new(config: DefinitionsConfig) -> Self {
        let DefinitionsConfig { key, settings, test_versions, ttl } = config;
        let format = DefinitionFormat { settings, test_versions, needs_attributes: AtomicBool::new(false) };
        Self(SiteFile::new(key, ttl, format))
    }

    /// The settings of experiments.
    pub(in crate::origin) fn settings(&self) -> &ExperimentSettings {
        &self.0.format.settings
    }

    /// The last good definition.
    pub(super) fn active(&self) -> Option<Arc<Definition>> {
        self.0.active()
    }

    /// Which fields of a request the active definition needs.
    pub(super) fn detail(&self) -> Detail {
        match self.0.format.needs_attributes.load(Ordering::Relaxed) {
            true => Detail::Attributes,
            false => Detail::Visit,
        }
    }

    /// How many loads have failed since the start.
    pub(super) fn errors(&self) -> u64 {
        self.0.errors()
    }

    /// Loads the definition if that is due. A load takes at most half a second, and ends before `deadline`.
    pub(super) async fn reload<S: Store>(&self, store: &S, deadline: Instant) {
        self.0.reload(store, deadline).await;
    }

    /// Loads the definition.
    pub(super) async fn load<S: Store>(&self, store: &S, deadline: Instant) {
        self.0.load(store, deadline).await;
    }
}
