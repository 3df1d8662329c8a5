//! The dashboards and alarms, as CloudWatch takes them, made from [`nearedge_core::metric::Metric`].
//!
//! `dashboards/aws` is for AWS, `dashboards/aws-cn` for AWS China, without what does not exist there. Their placeholders
//! (`${FunctionName}` and so on) are those of CloudFormation's `Fn::Sub`.
//!
//! # Layout
//!
//! - [`widget`]: a widget and its place in the grid
//! - [`page`]: the four dashboards
//! - [`alarm`]: the alarms, each with the reason for its threshold
//! - [`template`]: all of them inside the CloudFormation templates of `deploy/`

pub mod alarm;
pub mod page;
pub mod template;
pub mod widget;

use serde_json::{Value, json};

/// A part of AWS with regions, accounts and endpoints of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// AWS.
    Aws,
    /// AWS China: no additional metrics of CloudFront's, no X-Ray.
    China,
}

impl Partition {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Aws, Self::China];

    /// Its name in ARNs, and of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::China => "aws-cn",
        }
    }

    /// Where CloudFront's metrics are
    /// ([AWS](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html)).
    /// For AWS China no page says it; its endpoint and its CloudTrail events are in Ningxia.
    pub fn cloudfront_region(self) -> &'static str {
        match self {
            Self::Aws => "us-east-1",
            Self::China => "cn-northwest-1",
        }
    }
}

/// Every file, by its name under `dashboards/`, and its text.
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
