//! The metrics of a minute's invocations, grouped by their dimensions, until they are written or exported.
//!
//! A group has at most [`INVOCATIONS_MAX`] invocations. An environment that has been idle for [`IDLE`] does not wait for
//! more: a batch would only delay its metrics.

use std::time::{Duration, Instant, SystemTime};

use nearedge_core::metric::Metric;
use nearedge_core::object::CopyKind;

use crate::telemetry::metrics_line::{LogLine, MetricsConfig};

/// How many invocations a group has at most: a line may have 100 values of a metric
/// ([EMF](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html)).
pub(super) const INVOCATIONS_MAX: usize = 100;

/// How many combinations of dimensions wait at most; there are far fewer.
const GROUPS_MAX: usize = 100;

/// The pause after which the next invocation does not wait for others.
const IDLE: Duration = Duration::from_secs(10);

/// The invocations of one minute.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The minute of all groups, since 1970.
    minute: u64,
    /// The last invocation.
    last: Option<Instant>,
    /// The last minute with a failure.
    failed_minute: Option<u64>,
    groups: Vec<Group>,
}

/// The invocations with the same dimensions.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) variant: Box<str>,
    pub(super) outcome: &'static str,
    pub(super) coding: Option<CopyKind>,
    /// The first invocation.
    pub(super) at: SystemTime,
    pub(super) invocations: usize,
    pub(super) metrics: Vec<(Metric, Values)>,
}

/// The values of a metric, each with its number of invocations. Equal neighbours are one value.
pub(super) type Values = Vec<(f64, u64)>;

/// The groups that must not wait any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// None of them.
    Nothing,
    /// A full one: its index.
    Full(usize),
    /// All of them.
    All,
}

impl Groups {
    /// Starts the minute of an invocation. Returns whether another one has ended, whose groups are due.
    pub(super) fn enter_minute(&mut self, at: SystemTime) -> bool {
        let minute = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() / 60);
        std::mem::replace(&mut self.minute, minute) != minute
    }

    /// Adds the metrics of an invocation.
    pub(super) fn add(&mut self, line: &LogLine<'_>, config: &MetricsConfig, now: Instant) -> Due {
        let was_idle = self.last.replace(now).is_none_or(|last| now.duration_since(last) >= IDLE);
        let record = line.measured.record;
        let (variant, coding) = (line.variant(config), record.copy.map(|(kind, _)| kind));
        let is_same =
            |group: &Group| group.outcome == record.outcome && *group.variant == *variant && group.coding == coding;
        let index = self.groups.iter().position(is_same).unwrap_or_else(|| {
            let (variant, outcome) = (variant.into(), record.outcome);
            let metrics = Vec::with_capacity(8);
            self.groups.push(Group { variant, outcome, coding, at: line.at, invocations: 0, metrics });
            self.groups.len() - 1
        });
        let group = &mut self.groups[index];
        group.invocations += 1;
        line.measured.for_each(|metric, value| group.push(metric, value));
        let is_full = group.invocations == INVOCATIONS_MAX;
        // The first failure of a minute: an alarm must not wait for the next event of an environment that fails.
        let is_news = record.status >= 500 && self.failed_minute.replace(self.minute) != Some(self.minute);
        match (was_idle || is_news || self.groups.len() == GROUPS_MAX, is_full) {
            (true, _) => Due::All,
            (false, true) => Due::Full(index),
            (false, false) => Due::Nothing,
        }
    }

    /// Removes a group.
    pub(super) fn take(&mut self, index: usize) -> Group {
        self.groups.swap_remove(index)
    }

    /// Removes all groups.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Group> + '_ {
        self.groups.drain(..)
    }
}

impl Group {
    fn push(&mut self, metric: Metric, value: f64) {
        let index = self.metrics.iter().position(|(known, _)| *known == metric).unwrap_or_else(|| {
            self.metrics.push((metric, Vec::new()));
            self.metrics.len() - 1
        });
        let values = &mut self.metrics[index].1;
        match values.last_mut() {
            Some((last, count)) if last.to_bits() == value.to_bits() => *count += 1,
            _ => values.push((value, 1)),
        }
    }
}
