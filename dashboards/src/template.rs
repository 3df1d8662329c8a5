//! The generated part of the CloudFormation templates `deploy/aws.yaml` and `deploy/aws-cn.yaml`.
//!
//! It contains the dashboards and alarms, and follows the line that starts with [`MARK`].

use serde_json::Value;

use crate::partition::Partition;
use crate::{alarm, page, widget};

/// The prefix of the marker line; everything after that line is generated.
pub const MARK: &str = "  # --- from dashboards/";

/// The placeholders that are resources instead of parameters of the template.
const RESOURCES: [(&str, &str); 2] = [("${ApiId}", "${Api}"), ("${DistributionId}", "${Distribution}")];

/// Replaces the generated part of a template.
///
/// # Errors
/// If the template has no marker line.
pub fn complete(partition: Partition, template: &str) -> Result<String, String> {
    let start =
        template.find(MARK).ok_or_else(|| format!("expected a line that starts with `{}`, found none", MARK.trim()))?;
    let line_end = template[start..].find('\n').map_or(template.len(), |end| start + end);
    Ok(format!("{}\n{}{}", &template[..line_end], alarms(), dashboards(partition)))
}

/// The alarms as JSON, which YAML includes. Each is one line, because `dashboards/*/alarms.json` is the readable copy.
fn alarms() -> String {
    let alarms = alarm::all();
    let lines = alarms.as_object().into_iter().flatten().map(|(id, alarm)| {
        let mut alarm = alarm.clone();
        alarm["Condition"] = "Watched".into();
        format!("\n  {id}: {}\n", in_template(&alarm))
    });
    lines.collect()
}

/// The dashboards. Each widget is one line, so that a changed widget is one changed line.
fn dashboards(partition: Partition) -> String {
    let pages = page::all(partition).into_iter().map(|(name, widgets)| {
        let id: String = name.split('-').map(capitalize).collect();
        let placed = widget::place(widgets);
        let lines: Vec<String> = placed.iter().map(in_template).collect();
        format!(
            "
  Dashboard{id}:
    Type: AWS::CloudWatch::Dashboard
    Condition: Watched
    Properties:
      DashboardName: !Sub '${{FunctionName}}-{name}'
      DashboardBody: !Sub |-
        {{\"start\":\"-PT3H\",\"periodOverride\":\"auto\",\"widgets\":[
        {}
        ]}}
",
            lines.join(",\n        ")
        )
    });
    pages.collect()
}

fn in_template(value: &Value) -> String {
    RESOURCES.iter().fold(value.to_string(), |text, (placeholder, resource)| text.replace(placeholder, resource))
}

fn capitalize(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
