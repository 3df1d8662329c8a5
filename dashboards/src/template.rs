//! The generated part of the CloudFormation templates `deploy/aws.yaml` and `deploy/aws-cn.yaml`.
//!
//! It contains the dashboards and alarms, and follows the line that starts with [`MARK`].

use serde_json::Value;

use crate::partition::Partition;
use crate::widget::Widget;
use crate::{RESULTS_START, START, alarm, page, widget};

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
    Ok(format!("{}\n{}{}", &template[..line_end], alarms(partition), dashboards(partition)))
}

/// The alarms as JSON, which YAML includes. Each is one line, because `dashboards/*/alarms.json` is the readable copy.
fn alarms(partition: Partition) -> String {
    let alarms = alarm::all(partition);
    let lines = alarms.as_object().into_iter().flatten().map(|(id, alarm)| {
        let mut alarm = alarm.clone();
        alarm["Condition"] = alarm::condition(id).into();
        format!("\n  {id}: {}\n", in_template(&alarm))
    });
    lines.collect()
}

/// The dashboards.
fn dashboards(partition: Partition) -> String {
    let pages = page::all(partition, &page::VARIANTS).into_iter().map(|(name, widgets)| {
        let body = match name {
            "experiment" => experiment(),
            "latency" if partition == Partition::Aws => with_optional_api(widgets),
            _ => format!(" !Sub |-\n{}", lines(8, widgets)),
        };
        dashboard(name, "Watched", &body)
    });
    pages.chain([dashboard("results", "WatchesExperiment", &results())]).collect()
}

fn dashboard(name: &str, condition: &str, body: &str) -> String {
    let id: String = name.split('-').map(capitalize).collect();
    format!(
        "
  Dashboard{id}:
    Type: AWS::CloudWatch::Dashboard
    Condition: {condition}
    Properties:
      DashboardName: !Sub '${{FunctionName}}-{name}'
      DashboardBody:{body}"
    )
}

/// The body of a dashboard with metrics of the API, whose id is `none` if the stack has no API: these graphs are then empty.
fn with_optional_api(widgets: Vec<Widget>) -> String {
    format!(
        "
        Fn::Sub:
          - |-
{}          - {{Api: !If [HasApi, !Ref Api, none]}}
",
        lines(12, widgets)
    )
}

/// The body of the dashboard `experiment` for the number of variants, as `VariantC`, `VariantD` or both can be empty.
fn experiment() -> String {
    let [two, three, four] = page::VARIANT_COUNTS.map(page::experiment);
    format!(
        "
        Fn::If:
          - HasFourVariants
          - !Sub |-
{}          - Fn::If:
              - HasThreeVariants
              - Fn::Sub:
                  - |-
{}                  - {{VariantC: !If [HasVariantC, !Ref VariantC, !Ref VariantD]}}
              - !Sub |-
{}",
        lines(12, four),
        lines(20, three),
        lines(16, two)
    )
}

/// The body of the dashboard `results` for the number of variations, which can be two, three or four as for `experiment`.
fn results() -> String {
    let third = "{VariationC: !If [HasVariationC, !Ref VariationC, !Ref VariationD], \
                 WeightC: !If [HasVariationC, !Ref WeightC, !Ref WeightD]}";
    let [two, three, four] = page::VARIANT_COUNTS;
    format!(
        "
        Fn::If:
          - HasFourVariations
          - {}
          - Fn::If:
              - HasThreeVariations
              - {}
              - {}
",
        joined(12, four, None),
        joined(16, three, Some(third)),
        joined(16, two, None)
    )
}

/// The body for `count` variations, with the widgets of the goals that are set. `values` are those of placeholders that are
/// not parameters.
fn joined(indent: usize, count: usize, values: Option<&str>) -> String {
    let groups = page::results(&page::watched(count), &page::GOALS);
    let lengths: Vec<usize> = groups.iter().map(Vec::len).collect();
    let mut placed = widget::place(groups.concat()).into_iter().map(|widget| in_template(&widget));
    let mut groups = lengths.iter().map(|length| placed.by_ref().take(*length).collect::<Vec<_>>().join(",\n"));
    let space = " ".repeat(indent);
    let start = format!("{{\"start\":\"{RESULTS_START}\",\"periodOverride\":\"auto\",\"widgets\":[\n");
    let split = groups.next().unwrap_or_default();
    let mut text = format!("Fn::Join:\n{space}  - ''\n{space}  - - {}", sub(indent + 6, &(start + &split), values));
    for (condition, widgets) in ["HasGoalA", "HasGoalB"].iter().zip(groups) {
        let widgets = sub(indent + 12, &format!(",\n{widgets}"), values);
        text.push_str(&format!(
            "\n{space}    - Fn::If:\n{space}        - {condition}\n{space}        - {widgets}\n{space}        - ''"
        ));
    }
    text + &format!("\n{space}    - ']}}'")
}

/// A text with placeholders, whose lines are indented by more than `indent`.
fn sub(indent: usize, text: &str, values: Option<&str>) -> String {
    let space = " ".repeat(indent);
    let lines = |margin: &str| text.replace('\n', &format!("\n{margin}"));
    match values {
        None => format!("!Sub |-\n{space}{}", lines(&space)),
        Some(values) => {
            let margin = format!("{space}    ");
            format!("Fn::Sub:\n{space}- |-\n{margin}{}\n{space}- {values}", lines(&margin))
        }
    }
}

/// The body of a dashboard, indented. Each widget is one line, so that a changed widget is one changed line.
fn lines(indent: usize, widgets: Vec<Widget>) -> String {
    let widgets: Vec<String> = widget::place(widgets).iter().map(in_template).collect();
    let start = format!("{{\"start\":\"{START}\",\"periodOverride\":\"auto\",\"widgets\":[");
    let indent = " ".repeat(indent);
    format!("{indent}{start}\n{indent}{}\n{indent}]}}\n", widgets.join(&format!(",\n{indent}")))
}

fn in_template(value: &Value) -> String {
    RESOURCES.iter().fold(value.to_string(), |text, (placeholder, resource)| text.replace(placeholder, resource))
}

fn capitalize(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
