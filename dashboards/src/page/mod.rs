//! The four dashboards.

mod cache;
mod cold_starts;
mod experiment;
mod latency;

use crate::partition::Partition;
use crate::widget::Widget;

/// The name and the widgets of each dashboard.
pub fn all(partition: Partition) -> Vec<(&'static str, Vec<Widget>)> {
    vec![
        ("latency", latency::widgets(partition)),
        ("experiment", experiment::widgets()),
        ("cache", cache::widgets()),
        ("cold-starts", cold_starts::widgets()),
    ]
}
