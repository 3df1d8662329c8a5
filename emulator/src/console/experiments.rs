//! The data of the page of experiments: their results, and the state of their definition.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nearedge_report::lines::scan::Summary;
use nearedge_report::render::json::document;
use nearedge_report::results::report::Report;
use nearedge_report::results::verdict::Verdict;
use nearedge_report::tally::count::count;
use nearedge_report::tally::outline::{Outline, VariationOutline};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cloudwatch::definition_log::{DefinitionLog, Failure};
use crate::cloudwatch::experiment_log::{Counted, EVENTS_MAX, ExperimentLog};
use crate::definition::{SiteDefinition, SiteExperiment};
use crate::identity;
use crate::s3::Bucket;

/// The part of the time that results may be computed: one in so many.
const COMPUTING_SHARE: u32 = 5;

/// The definition in the bucket, which is parsed once per version.
#[derive(Debug)]
struct Definitions {
    /// The newest one, whether or not it can be used.
    newest: SiteDefinition,
    /// The newest one that can be used.
    usable: Option<Arc<SiteDefinition>>,
}

/// Computed results, until there are new lines or a new definition.
#[derive(Debug)]
struct Computed {
    /// The records that they are computed from.
    counted: Counted,
    definition: Option<Arc<SiteDefinition>>,
    experiments: Value,
    at: Instant,
    took: Duration,
}

/// The experiments of a local cloud.
#[derive(Debug, Clone)]
pub struct Experiments(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: ExperimentLog,
    /// The local bucket; `None` with another S3, whose objects the console cannot read.
    bucket: Option<Arc<Bucket>>,
    /// The variables of the function.
    variables: Vec<(String, String)>,
    /// The URL of a page at which new visitors are assigned.
    page: String,
    definitions: Mutex<Option<Definitions>>,
    computed: Mutex<Option<Computed>>,
}

impl Experiments {
    /// The experiments of a function with these variables, whose visitors come to `page`.
    pub fn new(log: ExperimentLog, bucket: Option<Arc<Bucket>>, variables: Vec<(String, String)>, page: &str) -> Self {
        let (definitions, computed, page) = (Mutex::default(), Mutex::default(), page.to_owned());
        Self(Arc::new(Shared { log, bucket, variables, page, definitions, computed }))
    }

    /// The state of the page. It takes as long as the results of all lines do.
    pub fn state(&self, service: &str) -> Value {
        let Shared { log, page, definitions, .. } = &*self.0;
        let key = self.variable("experiments").filter(|key| !key.trim().is_empty());
        self.read_definition();
        let definitions = definitions.lock();
        let (newest, usable) = match &*definitions {
            Some(Definitions { newest, usable }) => (Some(newest), usable.clone()),
            None => (None, None),
        };
        let definition = key.map(|key| definition(&key, &log.definition(), newest));
        drop(definitions);
        let (counted, experiments) = self.results(usable);
        json!({
            "now_ms": identity::now_ms(),
            "service": service,
            "page": page,
            "definition": definition,
            "counted": {
                "exposures": counted.exposures, "conversions": counted.conversions, "requests": counted.requests,
                "left_out": counted.left_out, "broken": counted.broken, "limit": EVENTS_MAX,
            },
            "experiments": experiments,
        })
    }

    /// The results of the lines so far, and the numbers of these lines.
    fn results(&self, definition: Option<Arc<SiteDefinition>>) -> (Counted, Value) {
        // Held during the computation, so that several open pages share one.
        let mut computed = self.0.computed.lock();
        if let Some(known) = &*computed {
            let is_current = known.counted == self.0.log.counted() && known.definition == definition;
            if is_current || known.at.elapsed() < known.took * COMPUTING_SHARE {
                return (known.counted, known.experiments.clone());
            }
        }
        let start = Instant::now();
        let snapshot = self.0.log.snapshot();
        let tallies = count(snapshot.collection, &outlines(definition.as_deref()), false);
        let reports: Vec<Report> = tallies.into_iter().map(Report::of).collect();
        let experiments = experiments(&reports, definition.as_deref());
        let (counted, at) = (snapshot.counted, Instant::now());
        *computed = Some(Computed { counted, definition, experiments: experiments.clone(), at, took: at - start });
        (counted, experiments)
    }

    /// Reads the definition again if its object has changed.
    fn read_definition(&self) {
        let Some(bucket) = &self.0.bucket else { return };
        let key = self.variable("experiments").unwrap_or_default();
        let etag = bucket.site.find(&key).ok().flatten().map(|stored| stored.etag.clone());
        let mut definitions = self.0.definitions.lock();
        // An object that cannot be read has no ETag, and costs nothing to try again.
        if etag.is_some() && definitions.as_ref().is_some_and(|known| known.newest.etag == etag) {
            return;
        }
        let newest = SiteDefinition::read(&bucket.site, &|name| self.variable(name));
        let before = definitions.take().and_then(|known| known.usable);
        *definitions = newest.map(|newest| Definitions {
            usable: if newest.is_usable { Some(Arc::new(newest.clone())) } else { before },
            newest,
        });
    }

    /// The value of a variable of the function; a later one overrides.
    fn variable(&self, name: &str) -> Option<String> {
        self.0.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// The part of a definition that the tally needs.
fn outlines(definition: Option<&SiteDefinition>) -> Vec<Outline> {
    let of_experiment = |experiment: &SiteExperiment| Outline {
        key: experiment.key.clone(),
        phase: experiment.phase.clone(),
        variations: experiment
            .variations
            .iter()
            .map(|variation| VariationOutline {
                key: variation.key.clone(),
                name: variation.name.clone(),
                weight: variation.share,
            })
            .collect(),
    };
    definition.map_or(&[][..], |definition| &definition.experiments).iter().map(of_experiment).collect()
}

/// The experiments of the definition in its order, and then those that only the lines have.
fn experiments(reports: &[Report], definition: Option<&SiteDefinition>) -> Value {
    let defined = definition.map_or(&[][..], |definition| &definition.experiments);
    let goals = definition.map_or(&[][..], |definition| &definition.goals);
    let key = |report: &Report| report.tally.counts.experiment.clone();
    let of_definition =
        defined.iter().map(|experiment| match reports.iter().find(|report| key(report) == experiment.key) {
            Some(report) => counted(report, Some(experiment), goals),
            None => waiting(experiment),
        });
    let is_other = |report: &&Report| !defined.iter().any(|experiment| experiment.key == key(report));
    of_definition.chain(reports.iter().filter(is_other).map(|report| counted(report, None, &[]))).collect()
}

/// An experiment without a visitor.
fn waiting(experiment: &SiteExperiment) -> Value {
    let total: f64 = experiment.variations.iter().map(|variation| variation.share).sum();
    let variations: Vec<Value> = experiment
        .variations
        .iter()
        .map(|variation| {
            json!({
                "key": variation.key, "name": variation.name, "visitors": 0, "share": share(variation.share, total),
            })
        })
        .collect();
    json!({"key": experiment.key, "phase": experiment.phase, "variations": variations, "goals": [], "report": null})
}

/// An experiment with visitors. `goals` are the keys of the definition's goals.
fn counted(report: &Report, experiment: Option<&SiteExperiment>, goals: &[String]) -> Value {
    let Report { tally, results, verdicts, .. } = report;
    let undefined = results.goals.keys().filter(|goal| !goals.contains(goal));
    let goals: Vec<Value> = goals
        .iter()
        .chain(undefined)
        .map(|goal| {
            let rows = results.goals.get(goal);
            json!({
                "key": goal,
                "values": rows.is_some_and(|rows| rows.iter().any(|row| row.has_values)),
                "verdict": verdicts.get(goal).map(verdict),
            })
        })
        .collect();
    let total: f64 = tally.counts.variations.iter().map(|variation| variation.weight).sum();
    let variations: Vec<Value> = tally
        .counts
        .variations
        .iter()
        .zip(&tally.names)
        .map(|(variation, name)| {
            json!({
                "key": variation.key, "name": name, "visitors": variation.visitors,
                "share": share(variation.weight, total),
            })
        })
        .collect();
    json!({
        "key": tally.counts.experiment,
        "phase": tally.phase,
        "waiting_phase": experiment.map(|experiment| &experiment.phase).filter(|phase| **phase != tally.phase),
        "other_phases": tally.other_phases,
        "defined": tally.is_defined,
        "started_ms": tally.span.map(|(start, _)| start),
        "mismatch": results.srm.is_mismatch(),
        "variations": variations,
        "goals": goals,
        "guardrails": tally.guardrails,
        "left_out": tally.left_out,
        "report": printed(report),
    })
}

/// The document of `nearedge experiment report --format json`, without the numbers of its input's lines.
fn printed(report: &Report) -> Value {
    let text = document(report, None, &Summary::default(), &[]).unwrap_or_default();
    let mut value: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.remove("lines");
    }
    value
}

fn share(weight: f64, total: f64) -> Option<f64> {
    Some(weight / total).filter(|share| share.is_finite())
}

fn verdict(verdict: &Verdict) -> Value {
    let kind = match verdict {
        Verdict::Mismatch => "mismatch",
        Verdict::TooFew => "too_few",
        Verdict::Ship { .. } => "ship",
        Verdict::Keep { .. } => "keep",
        Verdict::Wait => "wait",
    };
    json!({"kind": kind, "text": verdict.to_string()})
}

/// The definition: what is active, what is in the bucket, and what went wrong.
fn definition(key: &str, log: &DefinitionLog, stored: Option<&SiteDefinition>) -> Value {
    let plain = |etag: &Option<String>| etag.as_deref().map(|etag| etag.trim_matches('"').to_owned());
    let active: Vec<(Option<String>, u64, usize)> = log
        .active()
        .iter()
        .map(|(version, environments)| (plain(&version.etag), version.since_ms, *environments))
        .collect();
    // An environment that has failed loads a corrected version only at its next event.
    let is_corrected = |failure: &Failure| {
        let modified = stored.filter(|stored| stored.is_usable).and_then(|stored| stored.modified);
        modified.is_some_and(|modified| milliseconds(modified) > failure.last_ms)
    };
    let does_persist = |failure: &Failure| !failure.environments.is_empty() && !is_corrected(failure);
    let persists = log.failures().any(does_persist);
    let is_stored = |etag: &Option<String>| stored.is_none_or(|stored| stored.etag == *etag);
    let state = match (&*active, persists) {
        ([], true) => "unusable",
        ([], false) if log.failures().next().is_none() => "not loaded",
        (_, true) => "failing",
        // The environments load a change at their next event after `cache_ttl_secs`.
        (active, false) if active.is_empty() || active.iter().any(|(etag, ..)| !is_stored(etag)) => "changing",
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
                "persists": does_persist(failure),
            })
        })
        .collect();
    // The bucket's definition has the same warnings, if it can be read, before the function loads it.
    let problems = stored.map_or(log.warnings(), |stored| &stored.reasons);
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
