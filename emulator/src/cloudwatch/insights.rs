//! Logs Insights: runs the queries of the dashboards over the log lines of Lambda.
//!
//! It supports a part of the [query syntax](https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html):
//!
//! - `filter field = "…"` and `filter ispresent(field)`, joined by `or`
//! - `stats` with `count(*)`, `count(field)`, `min`, `max`, `avg`, `sum` and `pct(field, n)`, each with an optional
//!   `as name`, and an optional `by bin(…)`; a field can be `coalesce(field, …)`

use serde_json::Value;

use crate::cloudwatch::statistic;

/// The result of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The column names.
    pub columns: Vec<String>,
    /// The start and the values of each period; one row if the query has no `bin`.
    pub rows: Vec<(u64, Vec<Option<f64>>)>,
    /// Whether each row is a period.
    pub by_time: bool,
}

struct Column {
    name: String,
    function: String,
    /// The value is that of the first field that the line has.
    fields: Vec<String>,
}

/// Runs a query over the lines of `start..end`.
///
/// The periods are `period` seconds long; the argument of `bin` is ignored.
///
/// # Errors
/// If the query uses unsupported syntax.
pub fn run(query: &str, lines: &[(u64, Value)], start: u64, end: u64, period: u64) -> Result<Table, String> {
    let mut lines: Vec<&(u64, Value)> = lines.iter().collect();
    let mut table = None;
    for command in query.split('|').map(str::trim) {
        let (verb, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match verb {
            "SOURCE" | "fields" => {}
            "filter" => {
                let keep = filter(rest.trim())?;
                lines.retain(|(_, line)| keep(line));
            }
            "stats" => {
                let (columns, by) = rest.rsplit_once(" by ").unwrap_or((rest, ""));
                let columns = split(columns).into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
                if columns.is_empty() {
                    return Err("expected a function after stats, found none".to_owned());
                }
                table = Some(tabulate(&columns, &lines, by.trim().starts_with("bin("), (start, end, period)));
            }
            other => return Err(format!("expected fields, filter or stats, found {other:?}")),
        }
    }
    table.ok_or_else(|| "expected a stats command, found none".to_owned())
}

fn tabulate(columns: &[Column], lines: &[&(u64, Value)], by_time: bool, span: (u64, u64, u64)) -> Table {
    let (start, end, period) = span;
    let starts: Vec<u64> =
        if by_time { (start..end).step_by(usize::try_from(period).unwrap_or(1)).collect() } else { vec![start] };
    let length = if by_time { period } else { end.saturating_sub(start) };
    let row = |from: &u64| {
        let within = || lines.iter().filter(|(second, _)| (*from..from + length).contains(second));
        let values = columns.iter().map(|column| {
            if column.fields == ["*"] {
                return Some(within().count() as f64);
            }
            let value = |line: &Value| column.fields.iter().find_map(|field| lookup(line, field)?.as_f64());
            let values: Vec<f64> = within().filter_map(|(_, line)| value(line)).collect();
            if column.function == "SampleCount" {
                Some(values.len() as f64)
            } else {
                statistic(&values, &column.function)
            }
        });
        (*from, values.collect())
    };
    Table {
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        rows: starts.iter().map(row).collect(),
        by_time,
    }
}

type Filter = Box<dyn Fn(&Value) -> bool>;

fn filter(condition: &str) -> Result<Filter, String> {
    if let Some(alternatives) = condition.split_once(" or ") {
        let (left, right) = (filter(alternatives.0.trim())?, filter(alternatives.1.trim())?);
        return Ok(Box::new(move |line| left(line) || right(line)));
    }
    if let Some(field) = condition.strip_prefix("ispresent(").and_then(|rest| rest.strip_suffix(')')) {
        let field = field.trim().to_owned();
        return Ok(Box::new(move |line| lookup(line, &field).is_some()));
    }
    let (field, text) =
        condition.split_once('=').ok_or_else(|| format!("filter {condition} is not supported by the local cloud"))?;
    let (field, text) = (field.trim().to_owned(), text.trim().trim_matches(['"', '\'']).to_owned());
    Ok(Box::new(move |line| lookup(line, &field).and_then(Value::as_str) == Some(text.as_str())))
}

fn column(text: &str) -> Result<Column, String> {
    let unsupported = || format!("stats {text} is not supported by the local cloud");
    let (call, name) = text.rsplit_once(" as ").unwrap_or((text, text));
    let (function, arguments) =
        call.trim().strip_suffix(')').and_then(|call| call.split_once('(')).ok_or_else(unsupported)?;
    let arguments = split(arguments);
    let field = *arguments.first().ok_or_else(unsupported)?;
    let function = match (function, arguments.get(1)) {
        ("count", None) => "SampleCount".to_owned(),
        ("sum", None) => "Sum".to_owned(),
        ("avg", None) => "Average".to_owned(),
        ("min", None) => "Minimum".to_owned(),
        ("max", None) => "Maximum".to_owned(),
        ("pct", Some(percentile)) => format!("p{percentile}"),
        _ => return Err(unsupported()),
    };
    let fields = field.strip_prefix("coalesce(").and_then(|rest| rest.strip_suffix(')')).map_or(vec![field], split);
    Ok(Column { name: name.trim().to_owned(), function, fields: fields.into_iter().map(str::to_owned).collect() })
}

/// Splits at commas outside parentheses.
fn split(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let at_comma = |letter: char| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    };
    list.split(at_comma).map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn lookup<'a>(line: &'a Value, field: &str) -> Option<&'a Value> {
    field.split('.').try_fold(line, |value, name| value.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stats_are_computed_per_period_or_in_total() {
        let report = |second: u64, duration: f64, init: Option<f64>| {
            let mut metrics = json!({"durationMs": duration});
            if let Some(init) = init {
                metrics["initDurationMs"] = init.into();
            }
            (second, json!({"type": "platform.report", "record": {"metrics": metrics}}))
        };
        let lines = [report(0, 2.0, Some(9.0)), report(1, 4.0, None), report(7, 6.0, None), (2, json!({"type": "x"}))];
        let query = "SOURCE '/aws/lambda/f' | filter type = \"platform.report\" or ispresent(nothing)
            | stats count(*) as all, count(coalesce(nothing, record.metrics.initDurationMs)) as cold,
              pct(record.metrics.durationMs, 50) as p50 by bin(5m)";
        let table = run(query, &lines, 0, 10, 5).unwrap();
        assert_eq!(table.columns, ["all", "cold", "p50"]);
        assert_eq!(
            table.rows,
            [(0, vec![Some(2.0), Some(1.0), Some(2.0)]), (5, vec![Some(1.0), Some(0.0), Some(6.0)])]
        );
        let all = run("stats max(record.metrics.durationMs) as most", &lines, 0, 10, 5).unwrap();
        assert_eq!(all.rows, [(0, vec![Some(6.0)])]);
        for invalid in ["", "stats", "stats median(x)", "sort x", "filter x like /y/ | stats count(*)"] {
            assert!(run(invalid, &lines, 0, 10, 5).is_err(), "{invalid}");
        }
    }
}
