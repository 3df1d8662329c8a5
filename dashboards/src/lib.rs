//! Generates nearedge's CloudWatch dashboards and alarms from [`nearedge_core::metric::Metric`].
//!
//! `dashboards/aws` is for AWS. `dashboards/aws-cn` is for AWS China and omits features that AWS China lacks. The
//! placeholders, such as `${FunctionName}`, are those of CloudFormation's `Fn::Sub`.
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

/// The generated files: path under `dashboards/`, and text.
pub fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for partition in Partition::ALL {
        for (name, widgets) in page::all(partition) {
            let body = json!({"start": "-PT3H", "periodOverride": "auto", "widgets": widget::place(widgets)});
            files.push((format!("{}/{name}.json", partition.name()), pretty(&body)));
        }
        files.push((format!("{}/alarms.json", partition.name()), pretty(&alarm::all())));
    }
    files
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
