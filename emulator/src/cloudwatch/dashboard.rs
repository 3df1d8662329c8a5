//! Evaluates CloudWatch dashboards over the metrics of the local cloud, for the console.
//!
//! [Dashboard body structure](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html).

use std::collections::HashMap;

use dashboards::partition::Partition;
use serde_json::{Value, json};

use crate::cloudwatch::insights;
use crate::cloudwatch::metric_math::{MathResult, Points, Scope};
use crate::cloudwatch::watched::Watched;
use crate::cloudwatch::{CloudWatch, MetricName};

/// The maximum number of periods of a widget.
const PERIODS_MAX: u64 = 90;

/// The units with which a title can end, after a comma, because a log widget or a number has no axis to name one.
const TITLE_UNITS: [&str; 5] = ["%", "ms", "s", "MB", "bytes"];

/// A dashboard of the crate `dashboards`, for AWS.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// The name, which is part of its address.
    pub name: &'static str,
    /// The body in CloudWatch's format, without placeholders.
    pub body: String,
}

/// All dashboards. `variants` are those of the dashboard `experiment`, and `watched` is the experiment of `results`, which
/// is left out without one; `placeholders` are the names and values of the others.
pub fn all(variants: &[String], watched: Option<&Watched>, placeholders: &[(&str, &str)]) -> Vec<Dashboard> {
    let variants: Vec<&str> = variants.iter().map(String::as_str).collect();
    let boards = dashboards::page::all(Partition::Aws, &variants).into_iter();
    let results = watched.map(|watched| ("results", watched.widgets()));
    boards
        .chain(results)
        .map(|(name, widgets)| {
            let body = dashboards::body(widgets, dashboards::START).to_string();
            let fill = |body: String, (name, value): &(&str, &str)| body.replace(&format!("${{{name}}}"), value);
            Dashboard { name, body: placeholders.iter().fold(body, fill) }
        })
        .collect()
}

/// Evaluates the widgets of a dashboard over `start..end`, in seconds since 1970.
///
/// A widget that cannot be evaluated has the field `problem`.
///
/// # Errors
/// If `body` is not a dashboard.
pub fn evaluate(body: &str, cloudwatch: &CloudWatch, start: u64, end: u64) -> Result<Vec<Value>, String> {
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let widgets = body["widgets"].as_array().ok_or("expected a dashboard with widgets, found none")?;
    let period = end.saturating_sub(start).div_ceil(PERIODS_MAX).max(1);
    // Only complete periods: the current one would look like a drop.
    let end = end - end.saturating_sub(start) % period;
    let scope = |start, period| Scope { cloudwatch, start, end, period, results: HashMap::new() };
    let evaluate = |widget: &Value| {
        let properties = &widget["properties"];
        if properties["setPeriodToTimeRange"] == true {
            evaluate_widget(widget, scope(start, end.saturating_sub(start).max(1)))
        } else if properties["view"] == "singleValue" {
            // One period of five minutes, as in CloudWatch, or shorter if the run is.
            let start = start.max(end.saturating_sub(300));
            evaluate_widget(widget, scope(start, end.saturating_sub(start).max(1)))
        } else {
            evaluate_widget(widget, scope(start, period))
        }
    };
    Ok(widgets.iter().map(evaluate).collect())
}

fn evaluate_widget(widget: &Value, scope: Scope<'_>) -> Value {
    let properties = &widget["properties"];
    let axes = &properties["yAxis"];
    let (title, unit) = title_and_unit(properties["title"].as_str(), axes["left"]["label"].as_str());
    let period = if scope.period == 1 { "per second".to_owned() } else { format!("per {} s", scope.period) };
    let per_period = |unit: &str| unit.replace("per minute", &period);
    let mut evaluated = json!({
        "x": widget["x"], "y": widget["y"], "width": widget["width"], "height": widget["height"],
        "title": title, "unit": unit.map(per_period), "right_unit": axes["right"]["label"].as_str().map(per_period),
        "min": axes["left"]["min"], "stacked": properties["stacked"],
        "series": [], "annotations": properties["annotations"]["horizontal"],
    });
    let kind = match widget["type"].as_str() {
        Some("text") => {
            evaluated["markdown"] = properties["markdown"].clone();
            Ok("text")
        }
        Some("log") => logs(properties, &scope).map(|(kind, columns, rows, series)| {
            (evaluated["columns"], evaluated["rows"], evaluated["series"]) = (columns, rows, series);
            kind
        }),
        _ => metrics(properties, scope).map(|series| {
            evaluated["series"] = series;
            if properties["view"] == "singleValue" { "singleValue" } else { "timeSeries" }
        }),
    };
    match kind {
        Ok(kind) => evaluated["kind"] = kind.into(),
        Err(problem) => {
            evaluated["kind"] = "text".into();
            evaluated["problem"] = problem.into();
        }
    }
    evaluated
}

/// The title without the unit at its end, and the unit: that of the left axis, or else of the title.
///
/// The dashboards count per minute, this module per period.
fn title_and_unit<'a>(title: Option<&'a str>, axis: Option<&'a str>) -> (Option<&'a str>, Option<&'a str>) {
    let parts = title.and_then(|title| title.rsplit_once(", "));
    match parts.filter(|(_, end)| TITLE_UNITS.contains(end) || axis == Some(end)) {
        Some((rest, end)) => (Some(rest), axis.or(Some(end))),
        None => (title, axis),
    }
}

fn metrics(properties: &Value, mut scope: Scope<'_>) -> Result<Value, String> {
    let rows = properties["metrics"].as_array().map_or(&[][..], Vec::as_slice);
    // An expression may refer to a later row: repeat until every row has the results that it needs.
    let mut results: Vec<Option<MathResult>> = vec![None; rows.len()];
    for _ in 0..=rows.len() {
        for (row, result) in rows.iter().zip(&mut results) {
            if result.is_none() {
                *result = evaluate_row(row, properties, &scope).ok();
                if let (Some(result), Some(id)) = (&result, options(row)["id"].as_str()) {
                    scope.results.insert(id.to_owned(), result.clone());
                }
            }
        }
    }
    let mut series = Vec::new();
    for (row, result) in rows.iter().zip(results) {
        // Evaluate a failed row again, to get its error.
        let result = result.map_or_else(|| evaluate_row(row, properties, &scope), Ok)?;
        let options = options(row);
        if options["visible"] == false {
            continue;
        }
        let label = options["label"].as_str().or_else(|| row[1].as_str()).unwrap_or_default();
        let starts: Vec<u64> = (scope.start..scope.end).step_by(usize::try_from(scope.period).unwrap_or(1)).collect();
        // `found` are the dimension values that distinguish the series of a SEARCH. The label precedes them, as in
        // CloudWatch.
        let mut add = |found: Option<&str>, points: Points| {
            let full = format!("{label} {}", found.unwrap_or_default());
            series.push(json!({
                "label": full.trim(), "group": found.map(|_| label), "found": found,
                "axis": options["yAxis"].as_str().unwrap_or("left"), "color": options["color"],
                "t": starts, "v": points,
            }));
        };
        match result {
            MathResult::Scalar(number) => add(None, vec![Some(number); starts.len()]),
            MathResult::Series(points) => add(None, points),
            MathResult::Array(all) => all.into_iter().for_each(|(found, points)| add(Some(&found), points)),
        }
    }
    Ok(series.into())
}

/// The options of a row: the object at its end.
fn options(row: &Value) -> &Value {
    row.as_array().and_then(|row| row.last()).filter(|last| last.is_object()).unwrap_or(&Value::Null)
}

fn evaluate_row(row: &Value, properties: &Value, scope: &Scope<'_>) -> Result<MathResult, String> {
    let options = options(row);
    if let Some(expression) = options["expression"].as_str() {
        return scope.evaluate(expression).map_err(|error| format!("{expression}: {error}"));
    }
    let texts: Vec<&str> = row.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let [namespace, name, dimensions @ ..] = texts.as_slice() else {
        return Err(format!("expected a metric, found {row}"));
    };
    let dimensions: Vec<(&str, &str)> = dimensions.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let stat = options["stat"].as_str().or_else(|| properties["stat"].as_str()).unwrap_or("Average");
    Ok(MathResult::Series(scope.metric(&MetricName::new(namespace, name, &dimensions), stat)))
}

/// Kind, columns, rows and series.
type LogWidget = (&'static str, Value, Value, Value);

fn logs(properties: &Value, scope: &Scope<'_>) -> Result<LogWidget, String> {
    let query = properties["query"].as_str().ok_or("expected a query in the log widget, found none")?;
    let lines = scope.cloudwatch.reports(scope.start, scope.end);
    let table = insights::run(query, &lines, scope.start, scope.end, scope.period)?;
    if table.by_time && properties["view"] != "table" {
        let times: Vec<u64> = table.rows.iter().map(|(start, _)| *start).collect();
        let series = table.columns.iter().enumerate().map(|(index, label)| {
            let values: Points = table.rows.iter().map(|(_, values)| values.get(index).copied().flatten()).collect();
            json!({"label": label, "axis": "left", "color": null, "t": times, "v": values})
        });
        return Ok(("timeSeries", json!([]), json!([]), series.collect()));
    }
    let text = |value: &Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{}", (value * 10.0).round() / 10.0))
    };
    let rows = table.rows.iter().map(|(_, values)| values.iter().map(text).collect::<Vec<_>>());
    Ok(("table", json!(table.columns), json!(rows.collect::<Vec<_>>()), json!([])))
}
