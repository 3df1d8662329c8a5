//! Collected records -> what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::counts::{Counts, GoalCounts, VariationCounts};
use crate::tally::collect::Collection;
use crate::tally::event::{Conversion, Exposure, NO_ATTRIBUTE};
use crate::tally::guardrail::Guardrail;
use crate::tally::outline::{Outline, VariationOutline};
use crate::tally::result::{LeftOut, LeftOutConversions, Segment, Tally};
use crate::tally::series::{POINTS, Periods, accumulate};

/// How much earlier than the exposure a conversion may be, in milliseconds.
///
/// The two lines can come from two execution environments. Their clocks agree within milliseconds (Amazon Time Sync), but
/// a line's time is that at which it is written, after the answer, which can wait 100 ms for a full pipe. The origin counts
/// a conversion only if the cookie has the exposure, so that a conversion that is a little early is one that was written
/// early. Five seconds include local clocks that are set by hand.
pub const SKEW_MILLIS: i64 = 5_000;

/// The most values of an attribute that have results of their own.
const SEGMENTS_MAX: usize = 20;

/// Counts the latest phase of each experiment, or the one that was selected. `is_split`: by the attribute, too.
pub fn count(mut collection: Collection, outlines: &[Outline], is_split: bool) -> Vec<Tally> {
    collection.exposures.sort(&collection.names);
    collection.conversions.sort(&collection.names);
    let collection = &collection;
    let mut tallies: Vec<Tally> = latest_phases(collection)
        .into_iter()
        .map(|Phases { experiment, group, others }| {
            let mut tally = Phase::new(collection, group, experiment, outlines).count(is_split);
            tally.other_phases = others;
            tally
        })
        .collect();
    tallies.sort_by(|one, other| one.counts.experiment.cmp(&other.counts.experiment));
    tallies
}

/// The phases of an experiment.
struct Phases<'c> {
    experiment: &'c str,
    /// The number of the experiment and the phase that count.
    group: u16,
    others: Vec<(String, i64)>,
}

/// The phase of each experiment whose first exposure is the latest. A phase is a label, and may not be a number.
fn latest_phases(collection: &Collection) -> Vec<Phases<'_>> {
    let mut first: BTreeMap<u16, i64> = BTreeMap::new();
    for exposure in collection.exposures.all() {
        let at = first.entry(exposure.group).or_insert(exposure.at);
        *at = exposure.at.min(*at);
    }
    let mut experiments: BTreeMap<u16, Vec<(i64, &str, u16)>> = BTreeMap::new();
    for (group, at) in first {
        if let Some((experiment, phase)) = collection.groups.get(usize::from(group)) {
            experiments.entry(*experiment).or_default().push((at, collection.names.name(*phase), group));
        }
    }
    let choose = |(experiment, mut phases): (u16, Vec<(i64, &str, u16)>)| {
        phases.sort_unstable();
        let (_, _, group) = phases.pop()?;
        let others = phases.into_iter().map(|(at, phase, _)| (phase.to_owned(), at)).collect();
        Some(Phases { experiment: collection.names.name(experiment), group, others })
    };
    experiments.into_iter().filter_map(choose).collect()
}

/// A phase of an experiment.
struct Phase<'c> {
    collection: &'c Collection,
    group: u16,
    experiment: &'c str,
    phase: &'c str,
    exposures: &'c [Exposure],
    conversions: &'c [Conversion],
    variations: Vec<VariationOutline>,
    is_defined: bool,
    goals: BTreeSet<&'c str>,
}

/// The part of sorted events that belongs to a group.
fn of_group<E>(events: &[E], group: u16, of: impl Fn(&E) -> u16) -> &[E] {
    let range = Range {
        start: events.partition_point(|event| of(event) < group),
        end: events.partition_point(|event| of(event) <= group),
    };
    events.get(range).unwrap_or_default()
}

/// A visitor who counts.
struct Counted<'c> {
    variation: usize,
    exposure: &'c Exposure,
    /// The goals with their conversions.
    conversions: Vec<(&'c str, &'c Conversion)>,
}

impl<'c> Phase<'c> {
    fn new(collection: &'c Collection, group: u16, experiment: &'c str, outlines: &[Outline]) -> Self {
        let exposures = of_group(collection.exposures.all(), group, |exposure| exposure.group);
        let conversions = of_group(collection.conversions.all(), group, |conversion| conversion.group);
        let phase = collection.groups.get(usize::from(group)).map_or("", |(_, phase)| collection.names.name(*phase));
        let outline = outlines.iter().find(|outline| outline.key == experiment);
        // Another phase can have other weights, and a coverage of 0 states none.
        let has_weights = |outline: &Outline| {
            outline.phase == phase && outline.variations.iter().any(|variation| variation.weight > 0.0)
        };
        let is_defined = outline.is_some_and(has_weights);
        let variations = match outline {
            Some(outline) if is_defined => outline.variations.clone(),
            Some(outline) => outline
                .variations
                .iter()
                .map(|variation| VariationOutline { weight: 1.0, ..variation.clone() })
                .collect(),
            None => {
                let numbers: BTreeSet<u16> = exposures.iter().map(|exposure| exposure.variation).collect();
                let mut keys: Vec<&str> = numbers.into_iter().map(|number| collection.names.name(number)).collect();
                keys.sort_unstable_by_key(|key| (*key != "control", *key));
                let outline = |key: &str| VariationOutline { key: key.to_owned(), name: None, weight: 1.0 };
                keys.into_iter().map(outline).collect()
            }
        };
        let goals: BTreeSet<u16> = conversions.iter().map(|conversion| conversion.goal).collect();
        let goals = goals.into_iter().map(|goal| collection.names.name(goal)).collect();
        Self { collection, group, experiment, phase, exposures, conversions, variations, is_defined, goals }
    }

    fn count(&self, is_split: bool) -> Tally {
        let mut left_out = LeftOut::default();
        let mut all = Sums::new(self);
        let mut segments: BTreeMap<Option<&str>, Sums<'_>> = BTreeMap::new();
        let mut span: Option<(i64, i64)> = None;
        self.visit(&mut left_out, |visitor| {
            all.add(visitor);
            if is_split {
                segments.entry(self.attribute(visitor.exposure)).or_insert_with(|| Sums::new(self)).add(visitor);
            }
            let last = visitor.conversions.iter().map(|(_, conversion)| conversion.at).max();
            let last = last.unwrap_or(visitor.exposure.at).max(visitor.exposure.at);
            let (start, end) = span.unwrap_or((visitor.exposure.at, last));
            span = Some((start.min(visitor.exposure.at), end.max(last)));
        });
        let values = all.values.clone();
        let series = span.map(|span| self.series(Periods::new(span), &values)).unwrap_or_default();
        let split = segments.into_iter().map(|(value, sums)| {
            (value.map_or(Segment::Missing, |value| Segment::Value(value.to_owned())), sums.into_counts(&values))
        });
        let split = limit(split.collect());
        let counts = all.into_counts(&values);
        self.note_repetitions(&counts, &mut left_out);
        Tally {
            phase: self.phase.to_owned(),
            other_phases: Vec::new(),
            names: self.variations.iter().map(|variation| variation.name.clone()).collect(),
            is_defined: self.is_defined,
            split,
            left_out,
            series,
            guardrails: span.map(|span| self.guardrails(span)).unwrap_or_default(),
            forced_requests: self.collection.accesses.forced,
            span,
            counts,
        }
    }

    /// Calls `take` with each visitor who counts, in the order of their ids.
    fn visit(&self, left_out: &mut LeftOut, mut take: impl FnMut(&Counted<'c>)) {
        let mut conversions = self.conversions;
        for exposures in self.exposures.chunk_by(|one, other| one.visitor == other.visitor) {
            let Some(first) = exposures.iter().min_by_key(|exposure| exposure.at) else { continue };
            let before = conversions.partition_point(|conversion| conversion.visitor < first.visitor);
            self.leave_out(&conversions[..before], |goal| &mut goal.without_exposure, left_out);
            conversions = &conversions[before..];
            let own = conversions.iter().take_while(|conversion| conversion.visitor == first.visitor).count();
            let (own, rest) = conversions.split_at(own);
            conversions = rest;
            if let Some(counted) = self.judge(exposures, first, own, left_out) {
                take(&counted);
            } else {
                self.leave_out(own, |goal| &mut goal.of_left_out_visitors, left_out);
            }
        }
        self.leave_out(conversions, |goal| &mut goal.without_exposure, left_out);
    }

    /// Whether a visitor counts, and which of the conversions.
    fn judge(
        &self,
        exposures: &[Exposure],
        first: &'c Exposure,
        conversions: &'c [Conversion],
        left_out: &mut LeftOut,
    ) -> Option<Counted<'c>> {
        let is_other = |variation: u16| variation != first.variation;
        if exposures.iter().any(|exposure| is_other(exposure.variation))
            || conversions.iter().any(|conversion| is_other(conversion.variation))
        {
            left_out.visitors_in_two_variations += 1;
            return None;
        }
        if self.collection.selection.from.is_some_and(|from| first.at < from) {
            left_out.visitors_before_from += 1;
            return None;
        }
        let key = self.collection.names.name(first.variation);
        let Some(variation) = self.variations.iter().position(|variation| variation.key == key) else {
            *left_out.visitors_of_unknown_variations.entry(key.to_owned()).or_default() += 1;
            return None;
        };
        let mut counted = Counted { variation, exposure: first, conversions: Vec::new() };
        for of_goal in conversions.chunk_by(|one, other| one.goal == other.goal) {
            let goal = self.collection.names.name(of_goal[0].goal);
            match of_goal.iter().find(|conversion| conversion.at >= first.at - SKEW_MILLIS) {
                Some(conversion) => counted.conversions.push((goal, conversion)),
                None => left_out.conversions.entry(goal.to_owned()).or_default().before_exposure += 1,
            }
        }
        Some(counted)
    }

    /// Counts the visitors of conversions, once per goal.
    fn leave_out(
        &self,
        conversions: &[Conversion],
        number: impl Fn(&mut LeftOutConversions) -> &mut u64,
        left_out: &mut LeftOut,
    ) {
        for of_goal in conversions.chunk_by(|one, other| (one.visitor, one.goal) == (other.visitor, other.goal)) {
            let goal = self.collection.names.name(of_goal[0].goal);
            *number(left_out.conversions.entry(goal.to_owned()).or_default()) += 1;
        }
    }

    fn attribute(&self, exposure: &Exposure) -> Option<&'c str> {
        (exposure.attribute != NO_ATTRIBUTE).then(|| self.collection.names.name(exposure.attribute))
    }

    /// The counts at the end of each period.
    fn series(&self, periods: Periods, values: &BTreeSet<String>) -> Vec<(i64, Counts)> {
        let mut sums = vec![Sums::new(self); POINTS];
        self.visit(&mut LeftOut::default(), |visitor| {
            let Counted { variation, exposure, conversions } = visitor;
            if let Some(sums) = sums.get_mut(periods.index(exposure.at)) {
                sums.add_visitor(*variation);
            }
            for (goal, conversion) in conversions {
                if let Some(sums) = sums.get_mut(periods.index(conversion.at.max(exposure.at))) {
                    sums.add_conversion(*variation, goal, conversion);
                }
            }
        });
        let mut counts: Vec<Counts> = sums.into_iter().map(|sums| sums.into_counts(values)).collect();
        accumulate(&mut counts);
        counts.into_iter().enumerate().map(|(index, counts)| (periods.end(index), counts)).collect()
    }

    fn guardrails(&self, span: (i64, i64)) -> Vec<Guardrail> {
        let name = |number: u16| self.collection.names.name(number);
        let pairs: BTreeSet<(u16, u16)> =
            self.exposures.iter().map(|exposure| (exposure.variation, exposure.version)).collect();
        let pairs: BTreeSet<(&str, &str)> =
            pairs.into_iter().map(|(variation, version)| (name(variation), name(version))).collect();
        let of_variation = |variation: &VariationOutline| {
            let versions =
                pairs.iter().filter(|(key, _)| *key == variation.key).map(|(_, version)| (*version).to_owned());
            let versions: Vec<String> = versions.collect();
            let is_own = |version: &str| versions.iter().any(|own| own == version);
            let is_shared = pairs.iter().any(|(key, version)| *key != variation.key && is_own(version));
            let obstacle = match () {
                () if versions.is_empty() => Some("no visitor has seen it"),
                () if is_shared => Some("another variation has the same version"),
                () if is_own("none") => Some("it has no version of its own"),
                () => None,
            };
            let wanted = |version: &str| obstacle.is_none() && is_own(version);
            let (requests, durations) = self.collection.accesses.of(wanted, &self.collection.versions, span);
            Guardrail::new(&variation.key, versions, obstacle, requests, &durations)
        };
        self.variations.iter().map(of_variation).collect()
    }

    fn note_repetitions(&self, counts: &Counts, left_out: &mut LeftOut) {
        let lines = self.collection.lines.get(usize::from(self.group)).copied().unwrap_or_default();
        left_out.repeated_exposures = lines.exposures.saturating_sub(self.exposures.len() as u64);
        let goals = counts.variations.iter().flat_map(|variation| variation.goals.values());
        let counted: u64 = goals.map(|goal| goal.conversions).sum();
        let others = left_out.conversions.values();
        let others: u64 =
            others.map(|goal| goal.without_exposure + goal.before_exposure + goal.of_left_out_visitors).sum();
        left_out.repeated_conversions = lines.conversions.saturating_sub(counted + others);
    }
}

/// The sums of some visitors.
#[derive(Clone)]
struct Sums<'c> {
    experiment: &'c str,
    variations: Vec<VariationCounts>,
    values: BTreeSet<String>,
}

impl<'c> Sums<'c> {
    fn new(phase: &Phase<'c>) -> Self {
        let goals: BTreeMap<String, GoalCounts> =
            phase.goals.iter().map(|goal| ((*goal).to_owned(), GoalCounts::default())).collect();
        let variations = phase.variations.iter().map(|variation| VariationCounts {
            key: variation.key.clone(),
            weight: variation.weight,
            visitors: 0,
            goals: goals.clone(),
        });
        Self { experiment: phase.experiment, variations: variations.collect(), values: BTreeSet::new() }
    }

    fn add(&mut self, visitor: &Counted<'_>) {
        self.add_visitor(visitor.variation);
        for (goal, conversion) in &visitor.conversions {
            self.add_conversion(visitor.variation, goal, conversion);
        }
    }

    fn add_visitor(&mut self, variation: usize) {
        if let Some(variation) = self.variations.get_mut(variation) {
            variation.visitors += 1;
        }
    }

    fn add_conversion(&mut self, variation: usize, goal: &str, conversion: &Conversion) {
        let counts = self.variations.get_mut(variation).and_then(|variation| variation.goals.get_mut(goal));
        let Some(counts) = counts else { return };
        counts.conversions += 1;
        if !conversion.value.is_nan() {
            counts.sum = Some(counts.sum.unwrap_or(0.0) + conversion.value);
            counts.sum_squares = Some(counts.sum_squares.unwrap_or(0.0) + conversion.value * conversion.value);
            if !self.values.contains(goal) {
                self.values.insert(goal.to_owned());
            }
        }
    }

    /// The counts. The goals with values have sums, of 0 if need be.
    fn into_counts(mut self, values: &BTreeSet<String>) -> Counts {
        for (goal, counts) in self.variations.iter_mut().flat_map(|variation| &mut variation.goals) {
            if values.contains(goal) {
                counts.sum.get_or_insert(0.0);
                counts.sum_squares.get_or_insert(0.0);
            }
        }
        Counts { experiment: self.experiment.to_owned(), variations: self.variations }
    }
}

/// The segments with the most visitors, and the sum of the others.
fn limit(mut segments: Vec<(Segment, Counts)>) -> Vec<(Segment, Counts)> {
    let visitors = |counts: &Counts| counts.variations.iter().map(|variation| variation.visitors).sum::<u64>();
    segments.sort_by(|(segment, counts), (other, others)| {
        visitors(others).cmp(&visitors(counts)).then_with(|| segment.cmp(other))
    });
    if segments.len() <= SEGMENTS_MAX {
        return segments;
    }
    let rest = segments.split_off(SEGMENTS_MAX - 1);
    let number = rest.len() as u64;
    let mut periods: Vec<Counts> = rest.into_iter().map(|(_, counts)| counts).collect();
    accumulate(&mut periods);
    segments.extend(periods.pop().map(|sum| (Segment::Others(number), sum)));
    segments
}
