//! Generates nearedge's CloudWatch dashboards and alarms from [`nearedge_core::metric::Metric`].
//!
//! `dashboards/aws` is for AWS. `dashboards/aws-cn` is for AWS China and omits features that AWS China lacks. The
//! placeholders, such as `${FunctionName}`, are those of CloudFormation's `Fn::Sub`. The dashboard `experiment` has one file
//! for each number of variants: a placeholder cannot be empty, because CloudWatch accepts no empty dimension value.
//!
//! # Layout
//!
//! - [`page`]: the four dashboards
//! - [`widget`]: widgets and their placement
//! - [`row`]: metrics and expressions of a widget
//! - [`alarm`]: the alarms
//! - [`template`]: dashboards and alarms in the CloudFormation templates of `deploy/`
//! - [`partition`]: AWS and AWS China

pub mod alarm;
pub mod page;
pub mod partition;
pub mod row;
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
            files.push((format!("{}/{name}.json", partition.name()), pretty(&body(widgets))));
        }
        files.push((format!("{}/alarms.json", partition.name()), pretty(&alarm::all())));
    }
    files
}

/// The body of a dashboard in CloudWatch's format.
pub fn body(widgets: Vec<Widget>) -> Value {
    json!({"start": "-PT3H", "periodOverride": "auto", "widgets": widget::place(widgets)})
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
