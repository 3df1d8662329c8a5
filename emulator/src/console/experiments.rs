//! The data of the page of experiments: the definition, and the results of the visitors so far.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cloudwatch::definition_log::DefinitionLog;
use crate::cloudwatch::experiment_log::ExperimentLog;
use crate::definition::{SiteDefinition, SiteExperiment};
use crate::identity;
use crate::s3::Bucket;

/// The definition in the bucket, which is parsed once per version.
#[derive(Debug)]
struct Definitions {
    /// The newest one, whether or not it can be used.
    newest: SiteDefinition,
    /// The newest one that can be used.
    usable: Option<SiteDefinition>,
}

/// The experiments of a local cloud.
#[derive(Debug, Clone)]
pub struct Experiments {
    log: ExperimentLog,
    /// The local bucket; `None` with another S3, whose objects the console cannot read.
    bucket: Option<Arc<Bucket>>,
    /// The variables of the function.
    variables: Arc<[(String, String)]>,
    /// The URL of a page at which new visitors are assigned.
    page: Arc<str>,
    definitions: Arc<Mutex<Option<Definitions>>>,
}

impl Experiments {
    /// The experiments of a function with these variables, whose visitors come to `page`.
    pub fn new(log: ExperimentLog, bucket: Option<Arc<Bucket>>, variables: Vec<(String, String)>, page: &str) -> Self {
        Self { log, bucket, variables: variables.into(), page: page.into(), definitions: Arc::default() }
    }

    /// The state of the page.
    pub fn state(&self, service: &str) -> Value {
        let key = self.variable("experiments").filter(|key| !key.trim().is_empty());
        self.read_definition();
        let log = self.log.definition();
        let definitions = self.definitions.lock();
        let waiting = definitions.as_ref().and_then(|known| known.usable.as_ref());
        let experiments: Vec<Value> =
            waiting.iter().flat_map(|usable| usable.experiments.iter().map(|each| experiment(each, usable))).collect();
        json!({
            "now_ms": identity::now_ms(),
            "service": service,
            "experiments": experiments,
            "counted": {"exposures": 0, "conversions": 0, "requests": 0},
            "page": *self.page,
            "definition": key.map(|key| definition(&key, &log, definitions.as_ref().map(|known| &known.newest))),
        })
    }

    /// Reads the definition again if its object has changed.
    fn read_definition(&self) {
        let Some(bucket) = &self.bucket else { return };
        let key = self.variable("experiments").unwrap_or_default();
        let etag = bucket.site.find(&key).ok().flatten().map(|stored| stored.etag.clone());
        let mut definitions = self.definitions.lock();
        // An object that cannot be read has no ETag, and costs nothing to try again.
        if etag.is_some() && definitions.as_ref().is_some_and(|known| known.newest.etag == etag) {
            return;
        }
        let newest = SiteDefinition::read(&bucket.site, &|name| self.variable(name));
        let before = definitions.take().and_then(|known| known.usable);
        *definitions = newest
            .map(|newest| Definitions { usable: if newest.is_usable { Some(newest.clone()) } else { before }, newest });
    }

    /// The value of a variable of the function; a later one overrides.
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// An experiment without a visitor.
fn experiment(experiment: &SiteExperiment, definition: &SiteDefinition) -> Value {
    let goals: Vec<Value> = definition.goals.iter().map(|goal| json!({"key": goal})).collect();
    let variations: Vec<Value> = experiment
        .variations
        .iter()
        .map(|variation| json!({"key": variation.key, "visitors": 0, "share": variation.share}))
        .collect();
    json!({"key": experiment.key, "phase": experiment.phase, "variations": variations, "goals": goals, "report": null})
}

/// The definition: what is active, what is in the bucket, and what went wrong.
fn definition(key: &str, log: &DefinitionLog, stored: Option<&SiteDefinition>) -> Value {
    let plain = |etag: &Option<String>| etag.as_deref().map(|etag| etag.trim_matches('"').to_owned());
    let active: Vec<(Option<String>, u64, usize)> = log
        .active()
        .iter()
        .map(|(version, environments)| (plain(&version.etag), version.since_ms, *environments))
        .collect();
    let persists = log.failures().any(|failure| !failure.environments.is_empty());
    let is_stored = |etag: &Option<String>| stored.is_none_or(|stored| stored.etag == *etag);
    let state = match (&*active, persists) {
        ([], true) => "unusable",
        ([], false) => "not loaded",
        (_, true) => "failing",
        // The environments load a change at their next event after `cache_ttl_secs`.
        (active, false) if active.iter().any(|(etag, ..)| !is_stored(etag)) => "changing",
        (_, false) => "active",
    };
    let active: Vec<Value> = active
        .iter()
        .map(|(etag, since_ms, environments)| json!({"etag": etag, "since_ms": since_ms, "environments": environments}))
        .collect();
    let failures: Vec<Value> = log
        .failures()
        .map(|failure| {
            json!({
                "message": failure.message, "first_ms": failure.first_ms, "last_ms": failure.last_ms,
                "persists": !failure.environments.is_empty(),
            })
        })
        .collect();
    // The bucket's definition has the same warnings, if it can be read, before the function loads it.
    let problems = stored.map_or(log.warnings(), |stored| &stored.problems);
    json!({
        "key": key, "state": state, "active": active, "failures": failures, "problems": problems,
        "stored": stored.map(|stored| json!({
            "etag": stored.etag, "modified_ms": stored.modified.map(milliseconds), "usable": stored.is_usable,
        })),
    })
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
