//! Collects records.

use hashbrown::HashMap;

use crate::lines::record::{Access, Count, Record, Sink};
use crate::tally::access::AccessTally;
use crate::tally::event::{Conversion, Events, Exposure, NO_ATTRIBUTE};
use crate::tally::interner::Interner;
use crate::tally::visitor::Visitor;

/// Selects the records to collect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Visitors whose first exposure is earlier do not count. In milliseconds since 1970.
    pub from: Option<i64>,
    /// Records from this time on do not count. In milliseconds since 1970.
    pub to: Option<i64>,
    /// The only experiment.
    pub experiment: Option<String>,
    /// The only phase.
    pub phase: Option<String>,
}

/// The numbers of an experiment and a phase.
type Group = (u16, u16);

/// The lines of an experiment and a phase.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupLines {
    pub(super) exposures: u64,
    pub(super) conversions: u64,
}

/// Collected records.
#[derive(Debug, Clone, Default)]
pub struct Collection {
    pub(super) selection: Selection,
    /// The names of experiments, phases, variations, versions, goals and attributes.
    pub(super) names: Interner,
    /// The names of versions in requests.
    pub(super) versions: Interner,
    group_numbers: HashMap<Group, u16>,
    pub(super) groups: Vec<Group>,
    pub(super) exposures: Events<Exposure>,
    pub(super) conversions: Events<Conversion>,
    pub(super) accesses: AccessTally,
    /// The lines of each group, with repetitions.
    pub(super) lines: Vec<GroupLines>,
}

impl Collection {
    /// An empty collection.
    pub fn new(selection: Selection) -> Self {
        Self { selection, ..Self::default() }
    }

    /// Adds what another thread has collected.
    ///
    /// # Errors
    /// If there are too many names.
    pub fn merge(&mut self, other: Self) -> Result<(), &'static str> {
        let names = self.names.merge(&other.names)?;
        let versions = self.versions.merge(&other.versions)?;
        let new = |number: u16| names.get(usize::from(number)).copied().unwrap_or(number);
        let groups = other.groups.iter().map(|(experiment, phase)| self.group((new(*experiment), new(*phase))));
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        for (group, added) in groups.iter().zip(&other.lines) {
            let lines = &mut self.lines[usize::from(*group)];
            lines.exposures += added.exposures;
            lines.conversions += added.conversions;
        }
        self.exposures.merge(other.exposures, &names, &groups);
        self.conversions.merge(other.conversions, &names, &groups);
        self.accesses.merge(other.accesses, &versions);
        Ok(())
    }

    fn group(&mut self, group: Group) -> Result<u16, &'static str> {
        if let Some(number) = self.group_numbers.get(&group) {
            return Ok(*number);
        }
        let number = u16::try_from(self.groups.len());
        let number = number.map_err(|_| "the lines before have 65,536 different phases of experiments")?;
        self.groups.push(group);
        self.lines.push(GroupLines::default());
        self.group_numbers.insert(group, number);
        Ok(number)
    }

    /// The keys of all experiments, and their phases.
    pub fn experiments(&self) -> Vec<(String, String)> {
        let name = |(experiment, phase): &Group| (self.names.name(*experiment).into(), self.names.name(*phase).into());
        let mut names: Vec<_> = self.groups.iter().map(name).collect();
        names.sort();
        names
    }

    fn count(&mut self, count: &Count<'_>, is_conversion: bool) -> Result<(), &'static str> {
        let Selection { to, experiment, phase, .. } = &self.selection;
        let is_other = |wanted: &Option<String>, found: &str| wanted.as_deref().is_some_and(|wanted| wanted != found);
        if to.is_some_and(|to| count.at >= to) {
            return Ok(());
        }
        // The names of what is left out are kept for error messages.
        let names = (self.names.intern(&count.experiment)?, self.names.intern(&count.phase)?);
        let is_left_out = is_other(experiment, &count.experiment) || is_other(phase, &count.phase);
        let group = self.group(names)?;
        if is_left_out {
            return Ok(());
        }
        let (visitor, at) = (Visitor::new(&count.visitor), count.at);
        let variation = self.names.intern(&count.variation)?;
        let subject = self.names.intern(&count.subject)?;
        if is_conversion {
            let value = count.value.unwrap_or(f64::NAN);
            let conversion = Conversion { visitor, at, value, group, variation, goal: subject };
            self.lines[usize::from(group)].conversions += 1;
            self.conversions.push(conversion, &self.names);
        } else {
            let attribute = match &count.attribute {
                Some(attribute) => self.names.intern(attribute)?,
                None => NO_ATTRIBUTE,
            };
            let exposure = Exposure { visitor, at, group, variation, version: subject, attribute };
            self.lines[usize::from(group)].exposures += 1;
            self.exposures.push(exposure, &self.names);
        }
        Ok(())
    }

    fn access(&mut self, access: &Access<'_>) -> Result<(), &'static str> {
        let Selection { from, to, .. } = &self.selection;
        if from.is_some_and(|from| access.at < from) || to.is_some_and(|to| access.at >= to) {
            return Ok(());
        }
        if access.is_forced {
            self.accesses.forced += 1;
            return Ok(());
        }
        let version = self.versions.intern(&access.variant)?;
        self.accesses.add(version, access.at, access.status, access.duration_millis, access.body_bytes);
        Ok(())
    }
}

impl Sink for Collection {
    fn take(&mut self, record: &Record<'_>) -> Result<(), &'static str> {
        match record {
            Record::Exposure(count) => self.count(count, false),
            Record::Conversion(count) => self.count(count, true),
            Record::Access(access) => self.access(access),
        }
    }
}
