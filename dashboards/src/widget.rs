//! Widgets, and their placement in CloudWatch's grid of 24 columns
//! ([dashboard body structure](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html)).

use serde_json::{Value, json};

/// The number of columns of the grid.
pub const COLUMNS: u64 = 24;

/// A widget and its size, before placement.
#[derive(Debug, Clone)]
pub struct Widget {
    /// `metric`, `log` or `text`.
    pub kind: &'static str,
    /// The width in columns.
    pub width: u64,
    /// The height in rows.
    pub height: u64,
    /// The properties in CloudWatch's format.
    pub properties: Value,
}

impl Widget {
    /// A text over the full width.
    pub fn text(height: u64, markdown: &str) -> Self {
        Self { kind: "text", width: COLUMNS, height, properties: json!({"markdown": markdown}) }
    }

    /// A graph of metrics over time; `unit` is the label of the left axis.
    pub fn graph(width: u64, title: &str, unit: &str, metrics: Vec<Value>) -> Self {
        let properties = json!({
            "title": title, "view": "timeSeries", "stacked": false, "region": "${AWS::Region}", "period": 60,
            "metrics": metrics, "yAxis": {"left": {"label": unit, "min": 0, "showUnits": false}},
        });
        Self { kind: "metric", width, height: 6, properties }
    }

    /// The latest values as numbers.
    pub fn numbers(width: u64, title: &str, metrics: Vec<Value>) -> Self {
        let properties = json!({
            "title": title, "view": "singleValue", "region": "${AWS::Region}", "period": 300, "metrics": metrics,
            "sparkline": true,
        });
        Self { kind: "metric", width, height: 3, properties }
    }

    /// The values at the end of the whole time range as numbers.
    pub fn totals(width: u64, title: &str, metrics: Vec<Value>) -> Self {
        let mut widget = Self::numbers(width, title, metrics);
        (widget.properties["sparkline"], widget.properties["setPeriodToTimeRange"]) = (false.into(), true.into());
        widget
    }

    /// A Logs Insights query over the function's log group.
    pub fn query(width: u64, title: &str, view: &str, query: &str) -> Self {
        let query = format!("SOURCE '/aws/lambda/${{FunctionName}}' | {query}");
        let properties = json!({"title": title, "view": view, "region": "${AWS::Region}", "query": query});
        let height = if view == "table" { 3 } else { 6 };
        Self { kind: "log", width, height, properties }
    }

    /// Stacks the series.
    #[must_use]
    pub fn stacked(mut self) -> Self {
        self.properties["stacked"] = true.into();
        self
    }

    /// Adds two rows for a long legend.
    #[must_use]
    pub fn taller(mut self) -> Self {
        self.height += 2;
        self
    }

    /// Adds a horizontal line.
    #[must_use]
    pub fn line_at(mut self, value: f64, label: &str) -> Self {
        self.properties["annotations"] = json!({"horizontal": [{"value": value, "label": label}]});
        self
    }

    /// Allows values below zero.
    #[must_use]
    pub fn signed(mut self) -> Self {
        if let Some(left) = self.properties["yAxis"]["left"].as_object_mut() {
            left.remove("min");
        }
        self
    }
}

/// Places widgets in rows, from left to right.
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
