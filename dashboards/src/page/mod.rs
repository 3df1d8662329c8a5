//! The five dashboards.

mod cache;
mod cold_starts;
mod experiment;
mod latency;
mod results;

use crate::partition::Partition;
use crate::widget::Widget;

pub use self::experiment::FAILED;
pub use self::results::Experiment;

/// The placeholders of the variants, of which the first is the control. The templates in `deploy/` have at most four.
pub const VARIANTS: [&str; 4] = ["${VariantA}", "${VariantB}", "${VariantC}", "${VariantD}"];

/// The numbers of variants for which files are generated.
pub const VARIANT_COUNTS: [usize; 3] = [2, 3, 4];

/// The name and the widgets of each dashboard, for these variants or their placeholders: at least one and at most 20.
pub fn all(partition: Partition, variants: &[&str]) -> Vec<(&'static str, Vec<Widget>)> {
    vec![
        ("latency", latency::widgets(partition)),
        ("experiment", experiment::widgets(variants)),
        ("cache", cache::widgets()),
        ("cold-starts", cold_starts::widgets()),
    ]
}

/// The widgets of the dashboard `experiment` for the first `count` of [`VARIANTS`].
pub fn experiment(count: usize) -> Vec<Widget> {
    experiment::widgets(VARIANTS.get(..count).unwrap_or(&VARIANTS))
}

/// The placeholder of the experiment of the dashboard `results`.
pub const EXPERIMENT: &str = "${WatchExperiment}";

/// The placeholders of its variations and of their weights. The first is the control. The templates have at most four.
pub const VARIATIONS: [(&str, &str); 4] = [
    ("${VariationA}", "${WeightA}"),
    ("${VariationB}", "${WeightB}"),
    ("${VariationC}", "${WeightC}"),
    ("${VariationD}", "${WeightD}"),
];

/// The placeholders of its goals. The templates have at most two; a graph shows the conversions of all goals.
pub const GOALS: [&str; 2] = ["${GoalA}", "${GoalB}"];

/// The experiment of the dashboard `results` with the first `count` of [`VARIATIONS`].
pub fn watched(count: usize) -> Experiment<'static> {
    Experiment { key: EXPERIMENT, variations: VARIATIONS.get(..count).unwrap_or(&VARIATIONS) }
}

/// The widgets of the dashboard `results`, for at least two and at most 20 variations: first those without a goal, then those
/// of each goal.
pub fn results(experiment: &Experiment<'_>, goals: &[&str]) -> Vec<Vec<Widget>> {
    let of_goals = goals.iter().map(|goal| experiment.goal(goal));
    [experiment.split()].into_iter().chain(of_goals).collect()
}
