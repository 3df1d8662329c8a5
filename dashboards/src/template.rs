//! The dashboards and alarms inside the CloudFormation templates `deploy/aws.yaml` and `deploy/aws-cn.yaml`: everything after
//! the line that starts with [`MARK`].

use serde_json::Value;

use crate::{Partition, alarm, page, widget};

/// How the line starts that what is generated follows.
pub const MARK: &str = "  # --- from dashboards/";

/// Placeholders that are no parameter of the template, and the resource that they stand for.
const RESOURCES: [(&str, &str); 2] = [("${ApiId}", "${Api}"), ("${DistributionId}", "${Distribution}")];

/// A template as it should be: what is written by hand, and after [`MARK`] what is generated.
///
/// # Errors
/// When there is no such line.
pub fn complete(partition: Partition, template: &str) -> Result<String, String> {
    let start = template.find(MARK).ok_or_else(|| format!("there is no line that starts with `{}`", MARK.trim()))?;
    let line_end = template[start..].find('\n').map_or(template.len(), |end| start + end);
    Ok(format!("{}\n{}{}", &template[..line_end], alarms(), dashboards(partition)))
}

/// YAML takes JSON as it is; one alarm a line, since `dashboards/*/alarms.json` is there to be read.
fn alarms() -> String {
    let alarms = alarm::all();
    let lines = alarms.as_object().into_iter().flatten().map(|(id, alarm)| {
        let mut alarm = alarm.clone();
        alarm["Condition"] = "Watched".into();
        format!("\n  {id}: {}\n", in_template(&alarm))
    });
    lines.collect()
}

/// One widget a line: a change of one is a change of one line.
fn dashboards(partition: Partition) -> String {
    let pages = page::all(partition).into_iter().map(|(name, widgets)| {
        let id: String = name.split('-').map(capitalised).collect();
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

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
