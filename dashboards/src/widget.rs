//! A widget, and its place in CloudWatch's grid of 24 columns
//! ([structure](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html)).

use nearedge_core::metric::{Dimensions, Metric, NAMESPACE, OUTCOME, SERVICE, VARIANT};
use serde_json::{Value, json};

/// How many columns there are.
pub const COLUMNS: u64 = 24;

/// A widget without its place: what it shows, and how much room it takes.
#[derive(Debug, Clone)]
pub struct Widget {
    /// `metric`, `log` or `text`.
    pub kind: &'static str,
    /// In columns.
    pub width: u64,
    /// In rows.
    pub height: u64,
    /// As CloudWatch takes them.
    pub properties: Value,
}

impl Widget {
    /// A text across the page.
    pub fn text(height: u64, markdown: &str) -> Self {
        Self { kind: "text", width: COLUMNS, height, properties: json!({"markdown": markdown}) }
    }

    /// A graph of metrics over time.
    pub fn graph(width: u64, title: &str, unit: &str, metrics: Vec<Value>) -> Self {
        let properties = json!({
            "title": title, "view": "timeSeries", "stacked": false, "region": "${AWS::Region}", "period": 60,
            "metrics": metrics, "yAxis": {"left": {"label": unit, "min": 0, "showUnits": false}},
        });
        Self { kind: "metric", width, height: 6, properties }
    }

    /// The latest values, large.
    pub fn numbers(width: u64, title: &str, metrics: Vec<Value>) -> Self {
        let properties = json!({
            "title": title, "view": "singleValue", "region": "${AWS::Region}", "period": 300, "metrics": metrics,
            "sparkline": true,
        });
        Self { kind: "metric", width, height: 3, properties }
    }

    /// A query over the function's log lines.
    pub fn query(width: u64, title: &str, view: &str, query: &str) -> Self {
        let query = format!("SOURCE '/aws/lambda/${{FunctionName}}' | {query}");
        let properties = json!({"title": title, "view": view, "region": "${AWS::Region}", "query": query});
        let height = if view == "table" { 3 } else { 6 };
        Self { kind: "log", width, height, properties }
    }

    /// One series above the other.
    #[must_use]
    pub fn stacked(mut self) -> Self {
        self.properties["stacked"] = true.into();
        self
    }

    /// With room for a long legend.
    #[must_use]
    pub fn taller(mut self) -> Self {
        self.height += 2;
        self
    }

    /// With a line across at a value.
    #[must_use]
    pub fn line_at(mut self, value: f64, label: &str) -> Self {
        self.properties["annotations"] = json!({"horizontal": [{"value": value, "label": label}]});
        self
    }

    /// With values below zero, as a difference has.
    #[must_use]
    pub fn signed(mut self) -> Self {
        if let Some(left) = self.properties["yAxis"]["left"].as_object_mut() {
            left.remove("min");
        }
        self
    }
}

/// Puts widgets into rows, from left to right.
pub fn place(widgets: Vec<Widget>) -> Vec<Value> {
    let (mut x, mut y, mut row_height) = (0, 0, 0);
    let mut placed = Vec::new();
    for Widget { kind, width, height, properties } in widgets {
        if x + width > COLUMNS {
            (x, y, row_height) = (0, y + row_height, 0);
        }
        placed.push(json!({"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}));
        x += width;
        row_height = row_height.max(height);
    }
    placed
}

/// A metric of ours by service, with options.
pub fn own(metric: Metric, options: Value) -> Value {
    json!([NAMESPACE, metric.name(), SERVICE, "${FunctionName}", options])
}

/// A metric of ours by service, variant and outcome, with options.
pub fn own_of(metric: Metric, variant: &str, outcome: &str, options: Value) -> Value {
    debug_assert_eq!(metric.dimensions(), Dimensions::VariantToo);
    json!([NAMESPACE, metric.name(), SERVICE, "${FunctionName}", VARIANT, variant, OUTCOME, outcome, options])
}

/// An expression, with options.
pub fn expression(expression: &str, mut options: Value) -> Value {
    options["expression"] = expression.into();
    json!([options])
}

/// A search over a metric of ours by service, variant and outcome: of these variants and outcomes, or all.
pub fn search(metric: Metric, terms: &[(&str, &str)], stat: &str, period: u64) -> String {
    let terms: String = terms.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
    format!(
        "SEARCH('{{{NAMESPACE},{SERVICE},{VARIANT},{OUTCOME}}} MetricName=\"{}\" {SERVICE}=\"${{FunctionName}}\"{terms}', '{stat}', {period})",
        metric.name()
    )
}

/// A metric of AWS's.
pub fn aws(namespace: &str, name: &str, dimensions: &[(&str, &str)], options: Value) -> Value {
    let mut row = vec![json!(namespace), json!(name)];
    row.extend(dimensions.iter().flat_map(|(name, value)| [json!(name), json!(value)]));
    row.push(options);
    row.into()
}
