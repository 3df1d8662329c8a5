//! Features and their rules, prepared for evaluation.

use std::collections::HashMap;

use crate::experiment::condition::{Builder, Targeting};
use crate::experiment::hash::{HashVersion, Range};
use crate::experiment::spec::{
    Experiment, Filter, Hashing, Parent, prepare_condition, prepare_filters, read_range, text,
};
use crate::experiment::value::{NULL, Value};

/// A feature.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Feature {
    /// The id.
    pub id: Box<str>,
    /// The value if no rule applies.
    pub default: Value,
    /// The rules, of which the first that applies decides.
    pub rules: Vec<Rule>,
}

/// A rule of a feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The id; may be empty.
    pub id: Box<str>,
    pub(super) parents: Vec<Parent>,
    pub(super) condition: Option<Targeting>,
    pub(super) filters: Vec<Filter>,
    /// What the rule does.
    pub effect: Effect,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Gives a value.
    Force(Value, Option<Rollout>),
    /// Runs an experiment.
    Experiment(Box<Experiment>),
    /// Nothing: the rule has neither a value nor variations.
    Skip,
}

/// The visitors to whom a forced value applies.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    pub(super) hashing: Hashing,
    pub(super) range: Range,
}

/// The features that one feature depends on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features(Vec<Feature>);

impl Features {
    /// The feature at an index.
    pub fn get(&self, index: usize) -> Option<&Feature> {
        self.0.get(index)
    }

    /// Every feature.
    pub fn iter(&self) -> impl Iterator<Item = &Feature> {
        self.0.iter()
    }

    /// Every experiment of a rule.
    pub fn experiments(&self) -> impl Iterator<Item = &Experiment> {
        self.rules().filter_map(|rule| match &rule.effect {
            Effect::Experiment(experiment) => Some(&**experiment),
            _ => None,
        })
    }

    /// Every rule.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().flat_map(|feature| &feature.rules)
    }
}

/// Prepares features as others refer to them.
pub(super) struct FeatureLoader<'a> {
    json: &'a Value,
    indices: HashMap<&'a str, usize>,
    /// The features that are referred to, but not prepared yet.
    pending: Vec<(&'a str, &'a Value)>,
}

impl<'a> FeatureLoader<'a> {
    /// A loader of the definition's `features`.
    pub(super) fn new(json: &'a Value) -> Self {
        Self { json, indices: HashMap::new(), pending: Vec::new() }
    }

    /// The index of a feature; `None` if it does not exist.
    pub(super) fn index(&mut self, id: &'a str) -> Option<usize> {
        if let Some(index) = self.indices.get(id) {
            return Some(*index);
        }
        let feature = self.json.get(id).filter(|feature| feature.as_object().is_some())?;
        let index = self.indices.len();
        self.indices.insert(id, index);
        self.pending.push((id, feature));
        Some(index)
    }

    /// Prepares every feature that was referred to, and those that they refer to.
    pub(super) fn load(mut self, builder: &mut Builder<'a>) -> Features {
        let mut features: Vec<Feature> = Vec::new();
        while let Some((id, json)) = self.pending.pop() {
            builder.problems.enter("features");
            builder.problems.enter(id);
            let feature = self.feature(id, json, builder);
            builder.problems.leave();
            builder.problems.leave();
            let index = self.indices.get(id).copied().unwrap_or_default();
            if features.len() <= index {
                features.resize_with(index + 1, Feature::default);
            }
            features[index] = feature;
        }
        Features(features)
    }

    fn feature(&mut self, id: &'a str, json: &'a Value, builder: &mut Builder<'a>) -> Feature {
        let default = json.get("defaultValue").unwrap_or(&NULL).clone();
        let rules = json.get("rules").and_then(Value::as_list).unwrap_or_default();
        builder.problems.enter("rules");
        let mut prepared = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            builder.problems.enter_element(index);
            prepared.push(self.rule(id, rule, builder));
            builder.problems.leave();
        }
        builder.problems.leave();
        Feature { id: id.into(), default, rules: prepared }
    }

    fn rule(&mut self, feature: &str, json: &'a Value, builder: &mut Builder<'a>) -> Rule {
        let parents = Parent::prepare_all(json, builder, &mut |id| self.index(id));
        let condition = prepare_condition(json, builder);
        let filters = prepare_filters(json, builder);
        if json.get("contextualVariations").is_some() {
            builder
                .problems
                .warn("contextual bandits are not supported, and the rule is skipped", "use \"variations\"");
        }
        let effect = if let Some(value) = json.present("force") {
            Effect::Force(value.clone(), prepare_rollout(json, feature, builder))
        } else if json.get("variations").is_some_and(|variations| variations.as_list().is_some()) {
            Effect::Experiment(Box::new(Experiment::prepare_of_rule(json, feature, builder)))
        } else {
            Effect::Skip
        };
        Rule { id: text(json, "id").unwrap_or_default().into(), parents, condition, filters, effect }
    }
}

/// Prepares `coverage` or `range` of a forced value; `None` if it applies to everyone.
fn prepare_rollout(json: &Value, feature: &str, builder: &mut Builder<'_>) -> Option<Rollout> {
    let range = json.present("range");
    let coverage = json.present("coverage").and_then(Value::as_number);
    if range.is_none() && coverage.is_none() {
        return None;
    }
    let hashing = Hashing::prepare(json, feature, 1.0, builder);
    let version = hashing.version.unwrap_or(HashVersion::One);
    let range = match range {
        Some(range) => read_range(range, version).unwrap_or(Range::new(0.0, 0.0, version)),
        None => Range::new(0.0, coverage.unwrap_or(1.0), version),
    };
    Some(Rollout { hashing, range })
}
