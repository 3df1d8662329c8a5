//! Evaluates features and experiments for a visitor
//! ([SDK specification](https://docs.growthbook.io/lib/build-your-own)).

use smallvec::SmallVec;

use crate::experiment::attribute::{Attribute, Attributes, Operand, Prerequisite};
use crate::experiment::condition::Targeted;
use crate::experiment::feature::{Effect, Feature, Features, Rollout};
use crate::experiment::hash::{Bucket, HashVersion};
use crate::experiment::spec::{Experiment, Filter, Hashing, Parent, Status};
use crate::experiment::url::{Target, is_targeted};
use crate::experiment::value::{NULL, Value};

/// The deepest chain of prerequisites.
const PREREQUISITES_MAX: usize = 32;

/// A visitor, as the evaluation of a definition with the lifetime `'d` sees one.
pub trait Visitor<'d>: Attributes {
    /// Whether results contain the bucket even if an earlier assignment decides.
    const NEEDS_BUCKETS: bool = false;

    /// The URL of the page; empty if it is unknown.
    fn url(&self) -> &str;

    /// The variation that this visit forces for an experiment; it may not exist.
    fn forced(&self, experiment: &'d Experiment) -> Option<i64>;

    /// The variation that the visitor was assigned earlier.
    fn sticky(&self, experiment: &'d Experiment, hashed: &Hashed<'_>) -> Sticky;

    /// Learns that the visitor takes part in an experiment.
    fn assigned(&self, assigned: &Assigned<'d>, hashed: &Hashed<'_>);

    /// Learns that the query string of the URL may have decided.
    fn tested_query(&self) {}

    /// Learns that a hash decided something without an assignment, such as that the visitor takes no part.
    fn decided_by_hash(&self) {}
}

/// The attributes that an experiment hashes, for lookups of earlier assignments.
#[derive(Debug)]
pub struct Hashed<'a> {
    /// The name and the value of the attribute that is hashed.
    pub used: (&'a Attribute, &'a str),
    /// The experiment's attribute.
    pub attribute: &'a Attribute,
    /// The experiment's fallback.
    pub fallback: Option<&'a Attribute>,
}

/// An earlier assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sticky {
    /// There is none.
    None,
    /// This variation.
    Variation(usize),
    /// One of a version that the experiment blocks.
    Blocked,
}

/// The result of an experiment.
#[derive(Debug, Clone, Copy)]
pub struct Assigned<'d> {
    /// The experiment.
    pub experiment: &'d Experiment,
    /// The index of the variation; 0, the control, if the visitor does not take part.
    pub variation: usize,
    /// Whether the visitor takes part.
    pub in_experiment: bool,
    /// Whether the hash decided.
    pub hash_used: bool,
    /// The bucket, if the hash decided.
    pub bucket: Option<Bucket>,
    /// Whether an earlier assignment decided.
    pub sticky_used: bool,
}

impl<'d> Assigned<'d> {
    /// The value of the variation.
    pub fn value(&self) -> &'d Value {
        self.experiment.variations.get(self.variation).unwrap_or(&NULL)
    }

    /// A variation that the hash did not decide. One that does not exist counts as not taking part.
    fn unhashed(experiment: &'d Experiment, variation: i64) -> Self {
        let index = usize::try_from(variation).ok().filter(|index| *index < experiment.variations.len());
        Self {
            experiment,
            variation: index.unwrap_or_default(),
            in_experiment: index.is_some(),
            hash_used: false,
            bucket: None,
            sticky_used: false,
        }
    }

    fn none(experiment: &'d Experiment) -> Self {
        Self::unhashed(experiment, -1)
    }
}

/// Where the value of a feature comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The feature does not exist.
    UnknownFeature,
    /// No rule applies.
    DefaultValue,
    /// A rule forces it.
    Force,
    /// An experiment.
    Experiment,
    /// A prerequisite blocks the feature.
    Prerequisite,
    /// The feature is its own prerequisite.
    CyclicPrerequisite,
}

impl Source {
    /// The name in GrowthBook's SDKs.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownFeature => "unknownFeature",
            Self::DefaultValue => "defaultValue",
            Self::Force => "force",
            Self::Experiment => "experiment",
            Self::Prerequisite => "prerequisite",
            Self::CyclicPrerequisite => "cyclicPrerequisite",
        }
    }
}

/// The value of a feature.
#[derive(Debug, Clone, Copy)]
pub struct FeatureResult<'d> {
    /// The value.
    pub value: &'d Value,
    /// Where it comes from.
    pub source: Source,
    /// The index of the rule that decided.
    pub rule: Option<usize>,
    /// The experiment that decided.
    pub assigned: Option<Assigned<'d>>,
}

impl<'d> FeatureResult<'d> {
    fn new(value: &'d Value, source: Source) -> Self {
        Self { value, source, rule: None, assigned: None }
    }
}

/// An evaluation for one visitor.
#[derive(Debug)]
pub struct Evaluation<'d, 'v, V> {
    features: &'d Features,
    visitor: &'v V,
    /// Whether experiments run at all.
    pub enabled: bool,
    /// Whether only forced variations apply.
    pub qa_mode: bool,
    /// The features that are being evaluated: each is a prerequisite of the one before it.
    path: SmallVec<[usize; 8]>,
    /// The conditions evaluated so far.
    targeted: Targeted,
}

/// The result of prerequisites.
enum Prerequisites {
    Met,
    Failed,
    Gated,
    Cyclic,
}

impl<'d, 'v, V: Visitor<'d>> Evaluation<'d, 'v, V> {
    /// An evaluation of `features` for `visitor`.
    pub fn new(features: &'d Features, visitor: &'v V) -> Self {
        Self { features, visitor, enabled: true, qa_mode: false, path: SmallVec::new(), targeted: Targeted::default() }
    }

    /// Evaluates the feature at an index.
    pub fn feature(&mut self, index: Option<usize>) -> FeatureResult<'d> {
        let Some((index, feature)) = index.and_then(|index| Some((index, self.features.get(index)?))) else {
            return FeatureResult::new(&NULL, Source::UnknownFeature);
        };
        if self.path.contains(&index) || self.path.len() >= PREREQUISITES_MAX {
            return FeatureResult::new(&NULL, Source::CyclicPrerequisite);
        }
        self.path.push(index);
        let result = self.rules(feature);
        self.path.pop();
        result
    }

    /// Applies the first rule that applies.
    fn rules(&mut self, feature: &'d Feature) -> FeatureResult<'d> {
        for (index, rule) in feature.rules.iter().enumerate() {
            match self.prerequisites(&rule.parents) {
                Prerequisites::Met => {}
                Prerequisites::Failed => continue,
                Prerequisites::Gated => return FeatureResult::new(&NULL, Source::Prerequisite),
                Prerequisites::Cyclic => return FeatureResult::new(&NULL, Source::CyclicPrerequisite),
            }
            if rule.condition.as_ref().is_some_and(|condition| !self.targeted.passes(condition, self.visitor))
                || self.is_filtered_out(&rule.filters)
            {
                continue;
            }
            match &rule.effect {
                Effect::Skip => {}
                Effect::Force(value, rollout) => {
                    if rollout.as_ref().is_none_or(|rollout| self.is_in_rollout(rollout)) {
                        return FeatureResult { rule: Some(index), ..FeatureResult::new(value, Source::Force) };
                    }
                }
                Effect::Experiment(experiment) => {
                    let assigned = self.experiment(experiment);
                    if assigned.in_experiment && !experiment.is_passthrough(assigned.variation) {
                        let value = assigned.value();
                        let (rule, assigned) = (Some(index), Some(assigned));
                        return FeatureResult { value, source: Source::Experiment, rule, assigned };
                    }
                }
            }
        }
        FeatureResult::new(&feature.default, Source::DefaultValue)
    }

    fn prerequisites(&mut self, parents: &'d [Parent]) -> Prerequisites {
        for parent in parents {
            let result = self.feature(parent.feature);
            if result.source == Source::CyclicPrerequisite {
                return Prerequisites::Cyclic;
            }
            let fails =
                |condition: &crate::experiment::condition::Condition| !condition.passes(&Prerequisite(result.value));
            if parent.condition.as_ref().is_some_and(fails) {
                return if parent.gate { Prerequisites::Gated } else { Prerequisites::Failed };
            }
        }
        Prerequisites::Met
    }

    /// The attribute that is hashed, and its value.
    fn hash_value(&self, hashing: &'d Hashing) -> Option<(&'d Attribute, std::borrow::Cow<'v, str>)> {
        let value =
            |attribute: &'d Attribute| self.visitor.hashed(attribute).into_hash_text().map(|text| (attribute, text));
        value(&hashing.attribute).or_else(|| hashing.fallback.as_deref().and_then(value))
    }

    fn is_in_rollout(&self, rollout: &'d Rollout) -> bool {
        let Rollout { hashing, range } = rollout;
        self.visitor.decided_by_hash();
        let value = self.hash_value(hashing);
        matches!((value, hashing.version), (Some((_, value)), Some(version))
            if range.contains(hashing.seed.bucket(&value, version)))
    }

    /// Whether a filter excludes the visitor.
    fn is_filtered_out(&self, filters: &'d [Filter]) -> bool {
        if !filters.is_empty() {
            self.visitor.decided_by_hash();
        }
        filters.iter().any(|Filter { hashing, ranges }| {
            let value = self.visitor.hashed(&hashing.attribute).into_hash_text();
            let (Some(value), Some(version)) = (value, hashing.version) else { return true };
            let bucket = hashing.seed.bucket(&value, version);
            !ranges.iter().any(|range| range.contains(bucket))
        })
    }

    /// The attribute that identifies the visitor in an experiment, and its value as the definition's type.
    pub fn identity(&self, experiment: &'d Experiment) -> (&'d Attribute, Operand<'v>) {
        let Hashing { attribute, fallback, .. } = &experiment.hashing;
        let used = self.hash_value(&experiment.hashing).map(|(used, _)| used);
        match (used, fallback) {
            (Some(used), _) => (used, self.visitor.hashed(used)),
            (None, _) => (attribute, Operand::Text("".into())),
        }
    }

    /// Runs an experiment. The order of the steps is GrowthBook's.
    pub fn experiment(&mut self, experiment: &'d Experiment) -> Assigned<'d> {
        let none = Assigned::none(experiment);
        if experiment.variations.len() < 2 || !self.enabled {
            return none;
        }
        if let Some(targets) = &experiment.targets {
            if targets.iter().any(Target::tests_query) {
                self.visitor.tested_query();
            }
            if !is_targeted(self.visitor.url(), targets) {
                return none;
            }
        }
        if let Some(variation) = self.visitor.forced(experiment) {
            return Assigned::unhashed(experiment, variation);
        }
        if experiment.status == Status::Inactive {
            return none;
        }
        let Some((attribute, value)) = self.hash_value(&experiment.hashing) else { return none };
        let hashed = Hashed {
            used: (attribute, &value),
            attribute: &experiment.hashing.attribute,
            fallback: experiment.hashing.fallback.as_deref(),
        };
        let sticky = if experiment.sticky { self.visitor.sticky(experiment, &hashed) } else { Sticky::None };
        let earlier = match sticky {
            Sticky::Variation(variation) => Some(variation),
            Sticky::None | Sticky::Blocked => None,
        };
        if earlier.is_none() && !self.is_eligible(experiment, &value) {
            self.visitor.decided_by_hash();
            return none;
        }
        if let Some(pattern) = &experiment.url {
            self.visitor.tested_query();
            if !matches_url(pattern.as_ref(), self.visitor.url()) {
                return none;
            }
        }
        let Some(version) = experiment.hashing.version else { return none };
        let bucket = match earlier {
            Some(_) if !V::NEEDS_BUCKETS => None,
            _ => Some(experiment.hashing.seed.bucket(&value, version)),
        };
        let of_bucket = |bucket| experiment.ranges.iter().position(|range| range.contains(bucket));
        let chosen = earlier.or_else(|| bucket.and_then(of_bucket));
        if sticky == Sticky::Blocked {
            return Assigned { sticky_used: true, ..none };
        }
        let Some(variation) = chosen else {
            self.visitor.decided_by_hash();
            return none;
        };
        if let Some(forced) = experiment.force {
            return Assigned::unhashed(experiment, forced);
        }
        if self.qa_mode || experiment.status == Status::Stopped {
            return none;
        }
        // A list of ranges can be longer than that of the variations.
        let exists = variation < experiment.variations.len();
        let assigned = Assigned {
            experiment,
            variation: if exists { variation } else { 0 },
            in_experiment: exists,
            hash_used: true,
            bucket,
            sticky_used: earlier.is_some(),
        };
        self.visitor.assigned(&assigned, &hashed);
        assigned
    }

    /// Whether a visitor without an earlier assignment may take part.
    fn is_eligible(&mut self, experiment: &'d Experiment, value: &str) -> bool {
        let is_outside = if experiment.filters.is_empty() {
            let in_namespace = |namespace: &crate::experiment::spec::Namespace| {
                namespace.range.contains(namespace.seed.bucket(value, HashVersion::One))
            };
            experiment.namespace.as_ref().is_some_and(|namespace| !in_namespace(namespace))
        } else {
            self.is_filtered_out(&experiment.filters)
        };
        !is_outside
            && experiment.condition.as_ref().is_none_or(|condition| self.targeted.passes(condition, self.visitor))
            && matches!(self.prerequisites(&experiment.parents), Prerequisites::Met)
    }
}

/// Whether a URL, or its path, matches the deprecated field `url`. An invalid expression matches every URL.
fn matches_url(pattern: Option<&crate::experiment::pattern::Pattern>, url: &str) -> bool {
    let Some(pattern) = pattern else { return !url.is_empty() };
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    let path = rest.find('/').map_or(rest, |slash| &rest[slash..]);
    !url.is_empty() && (pattern.is_match(url) || pattern.is_match(path))
}
