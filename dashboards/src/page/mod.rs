//! The four dashboards.

mod cache;
mod cold_starts;
mod experiment;
mod latency;

use crate::partition::Partition;
use crate::widget::Widget;

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
