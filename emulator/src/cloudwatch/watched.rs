//! The experiment that the dashboard `results` shows.

use dashboards::page::Experiment;
use dashboards::widget::Widget;
use nearedge_core::experiment::definition::Definition;

/// The most variations of the dashboard.
const VARIATIONS_MAX: usize = 20;

/// An experiment's key, its variations with their weights, and the goals of its definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    key: String,
    variations: Vec<(String, String)>,
    goals: Vec<String>,
}

impl Watched {
    /// The first experiment of a definition with at least two variations; `None` without one.
    pub fn first(definition: &Definition) -> Option<Self> {
        let experiment = definition.experiments().find(|experiment| experiment.variations.len() > 1)?;
        let shares = experiment.shares();
        let variation = |(index, share): (usize, &f64)| {
            // A share of zero has no expected visitors: CloudWatch, too, has no data where a divisor is zero.
            (experiment.variation_key(index).into_owned(), share.to_string())
        };
        Some(Self {
            key: experiment.key.to_string(),
            variations: shares.iter().enumerate().map(variation).take(VARIATIONS_MAX).collect(),
            goals: definition.counting.goals.iter().map(|goal| goal.key.to_string()).collect(),
        })
    }

    pub(super) fn widgets(&self) -> Vec<Widget> {
        let variations: Vec<(&str, &str)> =
            self.variations.iter().map(|(key, weight)| (key.as_str(), weight.as_str())).collect();
        let goals: Vec<&str> = self.goals.iter().map(String::as_str).collect();
        dashboards::page::results(&Experiment { key: &self.key, variations: &variations }, &goals).concat()
    }
}

#[cfg(test)]
mod tests;
