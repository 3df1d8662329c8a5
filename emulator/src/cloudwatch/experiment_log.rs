//! The handler's log lines about experiments: visitors, requests, and the state of the definition.

use std::fmt;
use std::sync::Arc;

use nearedge_report::lines::record::{Record, Sink};
use nearedge_report::lines::wrapper::{Found, Wrapper};
use nearedge_report::tally::collect::Collection;
use parking_lot::Mutex;
use serde_json::Value;

use crate::cloudwatch::definition_log::DefinitionLog;
use crate::identity;

/// The most retained exposures and conversions. Each takes 40 bytes at most.
pub const EVENTS_MAX: u64 = 500_000;

/// The number of lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// The exposures.
    pub exposures: u64,
    /// The conversions.
    pub conversions: u64,
    /// The requests.
    pub requests: u64,
    /// The exposures and conversions above [`EVENTS_MAX`], which are not retained.
    pub left_out: u64,
    /// The lines that could not be read.
    pub broken: u64,
}

/// The retained lines. A snapshot of them does not change.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The records of the lines.
    pub collection: Collection,
    /// The numbers of lines.
    pub counted: Counted,
}

#[derive(Debug, Default)]
struct State {
    definition: DefinitionLog,
    lines: Snapshot,
}

struct Shared {
    wrapper: Wrapper<'static>,
    /// The most retained exposures and conversions.
    events_max: u64,
    state: Mutex<State>,
}

/// The log lines about experiments, read as they are written.
#[derive(Clone)]
pub struct ExperimentLog(Arc<Shared>);

impl Default for ExperimentLog {
    fn default() -> Self {
        Self::with_limit(EVENTS_MAX)
    }
}

impl ExperimentLog {
    fn with_limit(events_max: u64) -> Self {
        Self(Arc::new(Shared { wrapper: Wrapper::new(None), events_max, state: Mutex::default() }))
    }

    /// Records a log line of an environment: its text, and its value if it is JSON.
    pub fn put_line(&self, environment: u64, line: &[u8], value: Option<&Value>) {
        let mut state = self.0.state.lock();
        if let Some(value) = value {
            state.definition.put_line(environment, value, identity::now_ms());
        }
        let mut found = Found::default();
        let Snapshot { collection, counted } = &mut state.lines;
        // By the code of `nearedge experiment report`, so that it counts the same lines.
        let mut bounded = Bounded { collection, counted, events_max: self.0.events_max };
        let outcome = self.0.wrapper.read(line, &mut bounded, &mut found);
        counted.exposures += found.exposures;
        counted.conversions += found.conversions;
        counted.requests += found.accesses;
        counted.broken += u64::from(outcome.is_err());
    }

    /// Forgets what an environment has loaded, because it has ended.
    pub fn end(&self, environment: u64) {
        self.0.state.lock().definition.end(environment);
    }

    /// The log lines of the environments about the definition.
    pub fn definition(&self) -> DefinitionLog {
        self.0.state.lock().definition.clone()
    }

    /// The numbers of lines so far.
    pub fn counted(&self) -> Counted {
        self.0.state.lock().lines.counted
    }

    /// The lines so far.
    pub fn snapshot(&self) -> Snapshot {
        self.0.state.lock().lines.clone()
    }
}

impl fmt::Debug for ExperimentLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExperimentLog").field("counted", &self.counted()).finish_non_exhaustive()
    }
}

/// Collects records up to a number. Requests are sums per hour, and need no bound.
struct Bounded<'c> {
    collection: &'c mut Collection,
    counted: &'c mut Counted,
    events_max: u64,
}

impl Sink for Bounded<'_> {
    fn take(&mut self, record: &Record<'_>) -> Result<(), &'static str> {
        let Counted { exposures, conversions, left_out, .. } = self.counted;
        if !matches!(record, Record::Access(_)) && *exposures + *conversions - *left_out >= self.events_max {
            *left_out += 1;
            return Ok(());
        }
        self.collection.take(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearedge_report::tally::count::count;

    fn exposure(visitor: u64) -> String {
        format!(
            r#"{{"message":"exposure","timestamp":"2026-11-23T12:54:50.550Z","experiment_id":"a","variation_id":"b",
                "anonymous_id":"{visitor}","phase":"","variant":"v1"}}"#
        )
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_but_not_retained() {
        let log = ExperimentLog::with_limit(5);
        for visitor in 0..8 {
            log.put_line(1, exposure(visitor).as_bytes(), None);
        }
        log.put_line(1, b"{\"message\":\"exposure\"}", None);
        let Snapshot { collection, counted } = log.snapshot();
        assert_eq!((counted.exposures, counted.left_out, counted.broken), (8, 3, 1));
        let tallies = count(collection, &[], false);
        assert_eq!(tallies[0].counts.variations[0].visitors, 5);
    }
}
