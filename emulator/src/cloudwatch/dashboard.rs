//! A CloudWatch dashboard's JSON, worked out over the values of the local cloud: what the console draws.
//!
//! [Dashboard body structure](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html).

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cloudwatch::insights;
use crate::cloudwatch::metric_math::{Outcome, Points, Scope};
use crate::cloudwatch::{CloudWatch, MetricName};

/// How many periods are drawn at most.
const PERIODS_MAX: u64 = 90;

/// The dashboards that are committed in `dashboards/`, for AWS.
pub const DASHBOARDS: [(&str, &str); 4] = [
    ("latency", include_str!("../../../dashboards/aws/latency.json")),
    ("experiment", include_str!("../../../dashboards/aws/experiment.json")),
    ("cache", include_str!("../../../dashboards/aws/cache.json")),
    ("cold-starts", include_str!("../../../dashboards/aws/cold-starts.json")),
];

/// Works out a dashboard over `start..end`, in seconds since 1970. `names` are the values of its placeholders.
///
/// # Errors
/// When it is no dashboard.
pub fn draw(
    body: &str,
    names: &[(&str, &str)],
    cloudwatch: &CloudWatch,
    start: u64,
    end: u64,
) -> Result<Vec<Value>, String> {
    let body = names.iter().fold(body.to_owned(), |body, (name, value)| body.replace(&format!("${{{name}}}"), value));
    let body: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let widgets = body["widgets"].as_array().ok_or("it has no widgets")?;
    let period = end.saturating_sub(start).div_ceil(PERIODS_MAX).max(1);
    // Only whole periods: one that is not over yet would look like a drop.
    let end = end - end.saturating_sub(start) % period;
    let scope = |start, period| Scope { cloudwatch, start, end, period, known: HashMap::new() };
    let draw = |widget: &Value| {
        if widget["properties"]["view"] == "singleValue" {
            // One figure, of the five minutes that CloudWatch would take, or of what there is of them.
            let start = start.max(end.saturating_sub(300));
            draw_widget(widget, scope(start, end.saturating_sub(start).max(1)))
        } else {
            draw_widget(widget, scope(start, period))
        }
    };
    Ok(widgets.iter().map(draw).collect())
}

fn draw_widget(widget: &Value, scope: Scope<'_>) -> Value {
    let properties = &widget["properties"];
    let mut drawn = json!({
        "x": widget["x"], "y": widget["y"], "width": widget["width"], "height": widget["height"],
        "title": properties["title"], "unit": unit(properties, scope.period), "stacked": properties["stacked"],
        "series": [], "annotations": properties["annotations"]["horizontal"],
    });
    let worked_out = match widget["type"].as_str() {
        Some("text") => {
            drawn["markdown"] = properties["markdown"].clone();
            Ok("text")
        }
        Some("log") => logs(properties, &scope).map(|(kind, columns, rows, series)| {
            (drawn["columns"], drawn["rows"], drawn["series"]) = (columns, rows, series);
            kind
        }),
        _ => metrics(properties, scope).map(|series| {
            drawn["series"] = series;
            if properties["view"] == "singleValue" { "singleValue" } else { "timeSeries" }
        }),
    };
    match worked_out {
        Ok(kind) => drawn["kind"] = kind.into(),
        Err(problem) => {
            drawn["kind"] = "text".into();
            drawn["problem"] = problem.into();
        }
    }
    drawn
}

/// CloudWatch's periods are minutes; the periods of a short run are as long as they are.
fn unit(properties: &Value, period: u64) -> Option<String> {
    let unit = properties["yAxis"]["left"]["label"].as_str()?;
    Some(unit.replace("a minute", &format!("in {period} s")))
}

fn metrics(properties: &Value, mut scope: Scope<'_>) -> Result<Value, String> {
    let rows = properties["metrics"].as_array().map_or(&[][..], Vec::as_slice);
    // Metrics first, then the expressions in an order in which each finds what it needs.
    let mut outcomes: Vec<Option<Outcome>> = vec![None; rows.len()];
    for _ in 0..=rows.len() {
        for (row, outcome) in rows.iter().zip(&mut outcomes) {
            if outcome.is_none() {
                *outcome = evaluate(row, properties, &scope).ok();
                if let (Some(outcome), Some(id)) = (&outcome, options(row)["id"].as_str()) {
                    scope.known.insert(id.to_owned(), outcome.clone());
                }
            }
        }
    }
    let mut series = Vec::new();
    for (row, outcome) in rows.iter().zip(outcomes) {
        // What still cannot be worked out says why.
        let outcome = outcome.map_or_else(|| evaluate(row, properties, &scope), Ok)?;
        let options = options(row);
        if options["visible"] == false {
            continue;
        }
        let label = options["label"].as_str().or_else(|| row[1].as_str()).unwrap_or_default();
        let starts: Vec<u64> = (scope.start..scope.end).step_by(usize::try_from(scope.period).unwrap_or(1)).collect();
        let mut draw = |label: String, points: Points| {
            series.push(json!({
                "label": label, "axis": options["yAxis"].as_str().unwrap_or("left"), "color": options["color"],
                "t": starts, "v": points,
            }));
        };
        match outcome {
            Outcome::Number(number) => draw(label.to_owned(), vec![Some(number); starts.len()]),
            Outcome::Points(points) => draw(label.to_owned(), points),
            Outcome::Many(all) => {
                for (open, points) in all {
                    // CloudWatch puts the label before what tells the series apart.
                    draw(format!("{label} {open}").trim().to_owned(), points);
                }
            }
        }
    }
    Ok(series.into())
}

/// The object at the end of a row.
fn options(row: &Value) -> &Value {
    row.as_array().and_then(|row| row.last()).filter(|last| last.is_object()).unwrap_or(&Value::Null)
}

fn evaluate(row: &Value, properties: &Value, scope: &Scope<'_>) -> Result<Outcome, String> {
    let options = options(row);
    if let Some(expression) = options["expression"].as_str() {
        return scope.evaluate(expression).map_err(|problem| format!("{expression}: {problem}"));
    }
    let texts: Vec<&str> = row.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let [namespace, name, dimensions @ ..] = texts.as_slice() else { return Err(format!("{row} is no metric")) };
    let dimensions: Vec<(&str, &str)> = dimensions.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let stat = options["stat"].as_str().or_else(|| properties["stat"].as_str()).unwrap_or("Average");
    Ok(Outcome::Points(scope.metric(&MetricName::new(namespace, name, &dimensions), stat)))
}

type Log = (&'static str, Value, Value, Value);

fn logs(properties: &Value, scope: &Scope<'_>) -> Result<Log, String> {
    let query = properties["query"].as_str().ok_or("it has no query")?;
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
