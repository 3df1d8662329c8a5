//! The visitors and conversions of an experiment, per variation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an experiment has counted. The first variation is the control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// The key of the experiment.
    pub experiment: String,
    /// The variations, in the definition's order.
    pub variations: Vec<VariationCounts>,
}

/// What a variation has counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariationCounts {
    /// The key of the variation.
    pub key: String,
    /// The weight of the variation; weights need not sum to 1.
    pub weight: f64,
    /// The visitors who were exposed to the variation.
    pub visitors: u64,
    /// The goals, by key.
    #[serde(default)]
    pub goals: BTreeMap<String, GoalCounts>,
}

/// What a variation has counted for a goal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GoalCounts {
    /// The visitors who reached the goal.
    pub conversions: u64,
    /// The sum of the visitors' values, if the goal has values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
    /// The sum of the squares of the visitors' values, if the goal has values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_squares: Option<f64>,
}
