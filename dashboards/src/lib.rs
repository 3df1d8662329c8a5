//! Generates nearedge's CloudWatch dashboards and alarms from [`nearedge_core::metric::Metric`].
//!
//! `dashboards/aws` is for AWS. `dashboards/aws-cn` is for AWS China and omits features that AWS China lacks. The
//! placeholders, such as `${FunctionName}`, are those of CloudFormation's `Fn::Sub`. The dashboards `experiment` and `results` have one
//! file for each number of variants: a placeholder cannot be empty, because CloudWatch accepts no empty dimension value.
//!
//! # Layout
//!
//! - [`page`]: the five dashboards
//! - [`widget`]: widgets and their placement
//! - [`row`]: metrics and expressions of a widget
//! - [`statistic`]: statistics of experiments as metric math
//! - [`alarm`]: the alarms
//! - [`template`]: dashboards and alarms in the CloudFormation templates of `deploy/`
//! - [`partition`]: AWS and AWS China

pub mod alarm;
pub mod page;
pub mod partition;
pub mod row;
pub mod statistic;
pub mod template;
pub mod widget;

use serde_json::{Value, json};

use crate::partition::Partition;
use crate::widget::Widget;

/// The generated files: path under `dashboards/`, and text.
pub fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for partition in Partition::ALL {
        let [fewest, more @ ..] = page::VARIANT_COUNTS;
        let mut boards: Vec<(String, Vec<Widget>)> = page::all(partition, &page::VARIANTS[..fewest])
            .into_iter()
            .map(|(name, widgets)| (name.to_owned(), widgets))
            .collect();
        boards.extend(more.map(|count| (format!("experiment-{count}"), page::experiment(count))));
        for (name, widgets) in boards {
            files.push((format!("{}/{name}.json", partition.name()), pretty(&body(widgets, START))));
        }
        for count in page::VARIANT_COUNTS {
            let suffix = if count == fewest { String::new() } else { format!("-{count}") };
            let widgets = page::results(&page::watched(count), &page::GOALS).concat();
            files.push((format!("{}/results{suffix}.json", partition.name()), pretty(&body(widgets, RESULTS_START))));
        }
        files.push((format!("{}/alarms.json", partition.name()), pretty(&alarm::all(partition))));
    }
    files
}

/// The time range of a dashboard before a user chooses one.
pub const START: &str = "-PT3H";

/// The same of the dashboard `results`, which counts everything since its left edge.
pub const RESULTS_START: &str = "-P14D";

/// The body of a dashboard in CloudWatch's format. `start` is relative to now, as an ISO 8601 duration.
pub fn body(widgets: Vec<Widget>, start: &str) -> Value {
    json!({"start": start, "periodOverride": "auto", "widgets": widget::place(widgets)})
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
