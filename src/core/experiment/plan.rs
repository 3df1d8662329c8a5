//! Everything of a payload that one evaluation needs, prepared once.

use crate::experiment::attribute::Attributes;
use crate::experiment::condition::Builder;
use crate::experiment::feature::{FeatureLoader, Features};
use crate::experiment::spec::Experiment;
use crate::experiment::value::{NULL, Value};

/// A feature with its prerequisites, and the automatic experiments of a payload.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The feature and those that it or an automatic experiment depends on.
    pub features: Features,
    /// The index of the feature; `None` if it does not exist.
    pub feature: Option<usize>,
    /// The automatic experiments.
    pub automatic: Vec<Experiment>,
}

impl Plan {
    /// Prepares a payload of GrowthBook for one of its features.
    pub fn new(payload: &Value, feature: &str) -> Self {
        let automatic = payload.get("experiments").and_then(Value::as_list).unwrap_or_default();
        Self::prepare(payload, Some(feature), automatic, &mut Builder::new(payload.get("savedGroups")))
    }

    /// Prepares one experiment, which may have features of the payload as prerequisites.
    pub fn of_experiment(payload: &Value, experiment: &Value) -> Self {
        let automatic = std::slice::from_ref(experiment);
        Self::prepare(payload, None, automatic, &mut Builder::new(payload.get("savedGroups")))
    }

    pub(super) fn prepare<'a>(
        payload: &'a Value,
        feature: Option<&'a str>,
        automatic: &'a [Value],
        builder: &mut Builder<'a>,
    ) -> Self {
        let mut loader = FeatureLoader::new(payload.get("features").unwrap_or(&NULL));
        let feature = feature.and_then(|feature| loader.index(feature));
        builder.problems.enter("experiments");
        let mut experiments = Vec::with_capacity(automatic.len());
        for (index, experiment) in automatic.iter().enumerate() {
            builder.problems.enter_element(index);
            experiments.push(Experiment::prepare(experiment, builder, &mut |id| loader.index(id)));
            builder.problems.leave();
        }
        builder.problems.leave();
        Self { features: loader.load(builder), feature, automatic: experiments }
    }
}

/// Whether a condition passes, with the saved groups that it refers to.
pub fn condition_passes(condition: &Value, attributes: &impl Attributes, groups: Option<&Value>) -> bool {
    Builder::new(groups).condition(condition).passes(attributes)
}
