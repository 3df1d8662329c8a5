//! Exposures and conversions in few bytes, without repetitions.

use std::cmp::Ordering;

use crate::tally::interner::Interner;
use crate::tally::visitor::Visitor;

/// The number of the attribute of an exposure without one.
pub(super) const NO_ATTRIBUTE: u16 = u16::MAX;

/// An exposure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exposure {
    pub(super) visitor: Visitor,
    pub(super) at: i64,
    /// The number of the experiment and the phase.
    pub(super) group: u16,
    pub(super) variation: u16,
    pub(super) version: u16,
    pub(super) attribute: u16,
}

/// A conversion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversion {
    pub(super) visitor: Visitor,
    pub(super) at: i64,
    /// NaN without a value.
    pub(super) value: f64,
    /// The number of the experiment and the phase.
    pub(super) group: u16,
    pub(super) variation: u16,
    pub(super) goal: u16,
}

/// Something of which repetitions are removed.
pub(super) trait Event: Copy {
    /// The order in which the first of equal events is the one that counts. Numbers of names depend on the order of the
    /// lines, and are compared by their names where it matters which is first.
    fn order(&self, other: &Self, names: &Interner) -> Ordering;

    /// Whether this event, which is not before `first`, repeats it.
    fn repeats(&self, first: &Self) -> bool;

    /// Replaces the numbers of names.
    fn renumber(&mut self, names: &[u16], groups: &[u16]);
}

impl Event for Exposure {
    fn order(&self, other: &Self, names: &Interner) -> Ordering {
        let name = |number: u16| if number == NO_ATTRIBUTE { "" } else { names.name(number) };
        (self.group, self.visitor)
            .cmp(&(other.group, other.visitor))
            .then_with(|| name(self.variation).cmp(name(other.variation)))
            .then(self.at.cmp(&other.at))
            .then_with(|| name(self.version).cmp(name(other.version)))
            .then_with(|| name(self.attribute).cmp(name(other.attribute)))
    }

    fn repeats(&self, first: &Self) -> bool {
        (self.group, self.visitor, self.variation) == (first.group, first.visitor, first.variation)
    }

    fn renumber(&mut self, names: &[u16], groups: &[u16]) {
        let new = |number: u16, numbers: &[u16]| numbers.get(usize::from(number)).copied().unwrap_or(number);
        self.group = new(self.group, groups);
        self.variation = new(self.variation, names);
        self.version = new(self.version, names);
        self.attribute = new(self.attribute, names);
    }
}

impl Event for Conversion {
    fn order(&self, other: &Self, names: &Interner) -> Ordering {
        (self.group, self.visitor)
            .cmp(&(other.group, other.visitor))
            .then_with(|| names.name(self.goal).cmp(names.name(other.goal)))
            .then(self.at.cmp(&other.at))
            .then_with(|| names.name(self.variation).cmp(names.name(other.variation)))
            .then_with(|| self.value.total_cmp(&other.value))
    }

    // Not every later one: the first may be before the exposure, and then not count.
    fn repeats(&self, first: &Self) -> bool {
        (self.group, self.visitor, self.goal, self.at, self.variation)
            == (first.group, first.visitor, first.goal, first.at, first.variation)
    }

    fn renumber(&mut self, names: &[u16], groups: &[u16]) {
        let new = |number: u16, numbers: &[u16]| numbers.get(usize::from(number)).copied().unwrap_or(number);
        self.group = new(self.group, groups);
        self.variation = new(self.variation, names);
        self.goal = new(self.goal, names);
    }
}

/// Events in a vector that does not grow while it has repetitions.
#[derive(Debug, Clone)]
pub(super) struct Events<E> {
    events: Vec<E>,
    /// Remove repetitions when there are as many events.
    limit: usize,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self { events: Vec::new(), limit: 1 << 16 }
    }
}

impl<E: Event> Events<E> {
    pub(super) fn push(&mut self, event: E, names: &Interner) {
        if self.events.len() >= self.limit {
            self.sort(names);
            self.limit = self.limit.max(2 * self.events.len());
        }
        self.events.push(event);
    }

    pub(super) fn all(&self) -> &[E] {
        &self.events
    }

    /// Sorts the events, and removes repetitions.
    pub(super) fn sort(&mut self, names: &Interner) {
        self.events.sort_unstable_by(|one, other| one.order(other, names));
        self.events.dedup_by(|later, first| later.repeats(first));
    }

    /// Adds another's events, renumbered.
    pub(super) fn merge(&mut self, other: Self, names: &[u16], groups: &[u16]) {
        self.events.reserve_exact(other.events.len());
        self.events.extend(other.events.into_iter().map(|mut event| {
            event.renumber(names, groups);
            event
        }));
    }
}
