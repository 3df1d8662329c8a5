//! Evaluates CloudWatch dashboards over the metrics of the local cloud, for the console.
//!
//! [Dashboard body structure](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html).

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cloudwatch::insights;
use crate::cloudwatch::metric_math::{MathResult, Points, Scope};
use crate::cloudwatch::{CloudWatch, MetricName};

/// The maximum number of periods of a widget.
const PERIODS_MAX: u64 = 90;

/// The dashboards for AWS from the folder `dashboards/`: name and body.
pub const DASHBOARDS: [(&str, &str); 4] = [
    ("latency", include_str!("../../../dashboards/aws/latency.json")),
    ("experiment", include_str!("../../../dashboards/aws/experiment.json")),
    ("cache", include_str!("../../../dashboards/aws/cache.json")),
    ("cold-starts", include_str!("../../../dashboards/aws/cold-starts.json")),
];

/// Evaluates the widgets of a dashboard over `start..end`, in seconds since 1970.
///
/// `placeholders` are the names and values of the placeholders in `body`. A widget that cannot be evaluated has the
/// field `problem`.
///
/// # Errors
/// If `body` is not a dashboard.
pub fn evaluate(
    body: &str,
    placeholders: &[(&str, &str)],
    cloudwatch: &CloudWatch,
    start: u64,
    end: u64,
) -> Result<Vec<Value>, String> {
    let body =
        placeholders.iter().fold(body.to_owned(), |body, (name, value)| body.replace(&format!("${{{name}}}"), value));
    let body: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let widgets = body["widgets"].as_array().ok_or("expected a dashboard with widgets, found none")?;
    let period = end.saturating_sub(start).div_ceil(PERIODS_MAX).max(1);
    // Only complete periods: the current one would look like a drop.
    let end = end - end.saturating_sub(start) % period;
    let scope = |start, period| Scope { cloudwatch, start, end, period, results: HashMap::new() };
    let evaluate = |widget: &Value| {
        if widget["properties"]["view"] == "singleValue" {
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
    let mut evaluated = json!({
        "x": widget["x"], "y": widget["y"], "width": widget["width"], "height": widget["height"],
        "title": properties["title"], "unit": unit(properties, scope.period), "stacked": properties["stacked"],
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

/// The unit of the left axis. The dashboards count per minute, this module per period.
fn unit(properties: &Value, period: u64) -> Option<String> {
    let unit = properties["yAxis"]["left"]["label"].as_str()?;
    Some(unit.replace("per minute", &format!("per {period} s")))
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
        let mut add = |label: String, points: Points| {
            series.push(json!({
                "label": label, "axis": options["yAxis"].as_str().unwrap_or("left"), "color": options["color"],
                "t": starts, "v": points,
            }));
        };
        match result {
            MathResult::Scalar(number) => add(label.to_owned(), vec![Some(number); starts.len()]),
            MathResult::Series(points) => add(label.to_owned(), points),
            MathResult::Array(all) => {
                for (dimensions, points) in all {
                    // As in CloudWatch, the label precedes the dimension values that distinguish the series.
                    add(format!("{label} {dimensions}").trim().to_owned(), points);
                }
            }
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
