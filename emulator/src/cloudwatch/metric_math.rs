//! Metric math: evaluates the expressions of the dashboards over the metrics of the local cloud.
//!
//! [Using math expressions](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html),
//! [search expressions](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html).

use std::collections::HashMap;

use crate::cloudwatch::{CloudWatch, MetricName, statistic};

/// One data point per period; `None` where the period has no data.
pub type Points = Vec<Option<f64>>;

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum MathResult {
    /// A number.
    Scalar(f64),
    /// A time series.
    Series(Points),
    /// An array of time series, with their labels.
    Array(Vec<(String, Points)>),
}

/// The data and the period range that an expression is evaluated over.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The metrics.
    pub cloudwatch: &'a CloudWatch,
    /// The start, in seconds since 1970.
    pub start: u64,
    /// The end, in seconds since 1970; exclusive.
    pub end: u64,
    /// The length of a period, in seconds: the widget's, or shorter, so that a short run has several data points.
    pub period: u64,
    /// The results of the widget's other metrics and expressions, by id.
    pub results: HashMap<String, MathResult>,
}

impl Scope<'_> {
    /// Computes a statistic of a metric for each period.
    pub fn metric(&self, name: &MetricName, stat: &str) -> Points {
        let periods = self.cloudwatch.values(name, self.start, self.end, self.period);
        periods.iter().map(|values| statistic(values, stat)).collect()
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// If the expression is invalid, or uses metric math that the local cloud does not support.
    pub fn evaluate(&self, expression: &str) -> Result<MathResult, String> {
        let mut parser = Parser { rest: expression.trim_start(), scope: self };
        let result = parser.logical()?;
        if parser.rest.is_empty() { Ok(result) } else { Err(format!("expected the end, found {:?}", parser.rest)) }
    }

    /// Evaluates `SEARCH('{namespace,dimension,…} MetricName="…" dimension="…"', 'statistic', period)`.
    ///
    /// The label of a series consists of the values of the dimensions that no term names.
    fn search(&self, query: &str, stat: &str) -> Result<MathResult, String> {
        let invalid = || format!("expected {{namespace,dimensions}} name=\"value\" in SEARCH, found {query:?}");
        let (schema, text) =
            query.trim().strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or_else(invalid)?;
        let mut schema = schema.split(',').map(|name| name.trim().trim_matches('"'));
        let namespace = schema.next().unwrap_or_default();
        let mut dimensions: Vec<&str> = schema.collect();
        dimensions.sort_unstable();
        let mut terms = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").ok_or_else(invalid)?;
            let (value, after) = after.split_once('"').ok_or_else(invalid)?;
            terms.push((name.trim().trim_matches('"'), value));
            rest = after.trim();
        }
        let matches = |name: &MetricName| {
            name.namespace == namespace
                && name.dimensions.iter().map(|(name, _)| name.as_str()).eq(dimensions.iter().copied())
                && terms.iter().all(|(term, value)| match *term {
                    "MetricName" => name.name == *value,
                    dimension => name.dimension(dimension) == Some(*value),
                })
        };
        let label = |name: &MetricName| {
            let others =
                name.dimensions.iter().filter(|(dimension, _)| !terms.iter().any(|(term, _)| term == dimension));
            others.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
        };
        let found = self.cloudwatch.names().into_iter().filter(matches);
        Ok(MathResult::Array(found.map(|name| (label(&name), self.metric(&name, stat))).collect()))
    }

    fn periods(&self) -> usize {
        usize::try_from(self.end.saturating_sub(self.start).div_ceil(self.period.max(1))).unwrap_or(0)
    }

    fn call(&self, function: &str, arguments: Vec<Argument>) -> Result<MathResult, String> {
        let mut values = arguments.into_iter();
        let mut next = || match values.next() {
            Some(Argument::Value(value)) => Ok(value),
            _ => Err(format!("expected another value in {function}")),
        };
        match function {
            "SUM" | "AVG" | "MAX" | "MIN" => Ok(match next()? {
                // A SEARCH without a match: a series without data.
                MathResult::Array(all) if all.is_empty() => MathResult::Series(vec![None; self.periods()]),
                value => aggregate(function, value),
            }),
            "FILL" => {
                let (value, filler) = (next()?, next()?);
                let MathResult::Scalar(filler) = filler else {
                    return Err("expected a number to FILL with".to_owned());
                };
                let fill = |points: Points| points.into_iter().map(|point| point.or(Some(filler))).collect::<Points>();
                Ok(match value {
                    // A SEARCH without a match is filled too.
                    MathResult::Array(all) if all.is_empty() => MathResult::Series(vec![Some(filler); self.periods()]),
                    MathResult::Array(all) => {
                        MathResult::Array(all.into_iter().map(|(label, points)| (label, fill(points))).collect())
                    }
                    MathResult::Series(points) => MathResult::Series(fill(points)),
                    number @ MathResult::Scalar(_) => number,
                })
            }
            "ABS" => Ok(map(next()?, f64::abs)),
            "LOG" => Ok(map(next()?, f64::ln)),
            "RUNNING_SUM" => {
                let MathResult::Series(points) = single(next()?) else {
                    return Err("expected a time series in RUNNING_SUM".to_owned());
                };
                let mut sum = 0.0;
                let running = points.into_iter().map(|point| {
                    sum += point.unwrap_or(0.0);
                    Some(sum)
                });
                Ok(MathResult::Series(running.collect()))
            }
            "IF" => {
                let (condition, then) = (next()?, next()?);
                let Ok(or) = next() else {
                    // Without a third argument there is no data where the condition is false.
                    return combine(
                        condition,
                        then,
                        |condition, then| if condition == 0.0 { f64::INFINITY } else { then },
                    );
                };
                combine(
                    combine(condition.clone(), then, |condition, then| if condition == 0.0 { f64::NAN } else { then })?,
                    combine(condition, or, |condition, or| if condition == 0.0 { or } else { f64::NAN })?,
                    |then, or| {
                        if then.is_nan() { or } else { then }
                    },
                )
            }
            _ => Err(format!("{function} is not supported by the local cloud")),
        }
    }
}

enum Argument {
    Value(MathResult),
    Text(String),
}

/// An array of one series as that series.
fn single(result: MathResult) -> MathResult {
    match result {
        MathResult::Array(mut all) if all.len() == 1 => MathResult::Series(all.remove(0).1),
        result => result,
    }
}

fn aggregate(function: &str, result: MathResult) -> MathResult {
    let fold = |values: &[f64]| match function {
        "SUM" => statistic(values, "Sum"),
        "AVG" => statistic(values, "Average"),
        "MAX" => statistic(values, "Maximum"),
        _ => statistic(values, "Minimum"),
    };
    match result {
        MathResult::Scalar(number) => MathResult::Scalar(number),
        // One series is aggregated to a number, an array to a series.
        MathResult::Series(points) => {
            MathResult::Scalar(fold(&points.into_iter().flatten().collect::<Vec<_>>()).unwrap_or(f64::NAN))
        }
        MathResult::Array(all) => {
            let periods = all.iter().map(|(_, points)| points.len()).max().unwrap_or(0);
            let at = |index: usize| all.iter().filter_map(|(_, points)| *points.get(index)?).collect::<Vec<_>>();
            MathResult::Series((0..periods).map(|index| fold(&at(index))).collect())
        }
    }
}

/// Applies a function to each data point. There is no data where the result is not a number, as for the logarithm of zero.
fn map(result: MathResult, function: impl Fn(f64) -> f64) -> MathResult {
    let value = |point: Option<f64>| point.map(&function).filter(|value| value.is_finite());
    let each = |points: Points| points.into_iter().map(value).collect::<Points>();
    match result {
        MathResult::Scalar(number) => MathResult::Scalar(function(number)),
        MathResult::Series(points) => MathResult::Series(each(points)),
        MathResult::Array(all) => {
            MathResult::Array(all.into_iter().map(|(label, points)| (label, each(points))).collect())
        }
    }
}

/// Combines data points by period. The result has no data where an operand has none, or where it is infinite.
fn combine(left: MathResult, right: MathResult, function: impl Fn(f64, f64) -> f64) -> Result<MathResult, String> {
    let finite = |value: f64| Some(value).filter(|value| !value.is_infinite());
    Ok(match (single(left), single(right)) {
        (MathResult::Scalar(left), MathResult::Scalar(right)) => MathResult::Scalar(function(left, right)),
        (MathResult::Series(left), MathResult::Scalar(right)) => {
            MathResult::Series(left.into_iter().map(|left| finite(function(left?, right))).collect())
        }
        (MathResult::Scalar(left), MathResult::Series(right)) => {
            MathResult::Series(right.into_iter().map(|right| finite(function(left, right?))).collect())
        }
        (MathResult::Series(left), MathResult::Series(right)) => {
            let both = left.into_iter().zip(right);
            MathResult::Series(both.map(|(left, right)| finite(function(left?, right?))).collect())
        }
        _ => return Err("expected a single time series as an operand: put SUM around SEARCH".to_owned()),
    })
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Parses and evaluates by recursive descent: AND and OR, comparison, sum, product, power, unary, primary.
struct Parser<'a, 's> {
    rest: &'a str,
    scope: &'s Scope<'s>,
}

impl<'a> Parser<'a, '_> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("expected {token:?}, found {:?}", self.rest)) }
    }

    /// AND binds closer than OR.
    fn logical(&mut self) -> Result<MathResult, String> {
        let mut left = self.conjunction()?;
        while self.take("OR ") {
            left = combine(left, self.conjunction()?, |left, right| truth(left != 0.0 || right != 0.0))?;
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<MathResult, String> {
        let mut left = self.comparison()?;
        while self.take("AND ") {
            left = combine(left, self.comparison()?, |left, right| truth(left != 0.0 && right != 0.0))?;
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<MathResult, String> {
        let left = self.sum()?;
        for (token, function) in [
            (">=", (|a, b| a >= b) as fn(f64, f64) -> bool),
            ("<=", |a, b| a <= b),
            (">", |a, b| a > b),
            ("<", |a, b| a < b),
        ] {
            if self.take(token) {
                let right = self.sum()?;
                return combine(left, right, |left, right| truth(function(left, right)));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<MathResult, String> {
        let mut left = self.product()?;
        loop {
            left = if self.take("+") {
                combine(left, self.product()?, |left, right| left + right)?
            } else if self.take("-") {
                combine(left, self.product()?, |left, right| left - right)?
            } else {
                return Ok(left);
            };
        }
    }

    fn power(&mut self) -> Result<MathResult, String> {
        let base = self.unary()?;
        if self.take("^") { combine(base, self.unary()?, f64::powf) } else { Ok(base) }
    }

    fn product(&mut self) -> Result<MathResult, String> {
        let mut left = self.power()?;
        loop {
            left = if self.take("*") {
                combine(left, self.power()?, |left, right| left * right)?
            } else if self.take("/") {
                // `combine` drops the infinite result of a division by zero.
                combine(left, self.power()?, |left, right| if right == 0.0 { f64::INFINITY } else { left / right })?
            } else {
                return Ok(left);
            };
        }
    }

    fn unary(&mut self) -> Result<MathResult, String> {
        if self.take("-") {
            return Ok(map(self.unary()?, |value| -value));
        }
        if self.take("(") {
            let inner = self.logical()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take("[") {
            return self.list();
        }
        let end = self.rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '.'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(format!("expected a value, found {:?}", self.rest));
        }
        self.rest = rest.trim_start();
        if let Ok(number) = word.parse() {
            return Ok(MathResult::Scalar(number));
        }
        if self.take("(") {
            return self.call(word);
        }
        self.scope.results.get(word).cloned().ok_or_else(|| format!("no metric or expression has the id {word}"))
    }

    fn list(&mut self) -> Result<MathResult, String> {
        let mut all = Vec::new();
        loop {
            match self.logical()? {
                MathResult::Array(many) => all.extend(many),
                MathResult::Series(points) => all.push((String::new(), points)),
                MathResult::Scalar(_) => return Err("expected a time series in a list, found a number".to_owned()),
            }
            if self.take("]") {
                return Ok(MathResult::Array(all));
            }
            self.expect(",")?;
        }
    }

    fn call(&mut self, function: &str) -> Result<MathResult, String> {
        let mut arguments = Vec::new();
        while !self.take(")") {
            arguments.push(match self.text() {
                Some(text) => Argument::Text(text?.to_owned()),
                None => Argument::Value(self.logical()?),
            });
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        match (function, arguments.as_slice()) {
            ("SEARCH", [Argument::Text(query), Argument::Text(stat), ..]) => self.scope.search(query, stat),
            _ => self.scope.call(function, arguments),
        }
    }

    fn text(&mut self) -> Option<Result<&'a str, String>> {
        let rest = self.rest.strip_prefix('\'')?;
        let Some((text, rest)) = rest.split_once('\'') else { return Some(Err("expected a closing quote".to_owned())) };
        self.rest = rest.trim_start();
        Some(Ok(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope(cloudwatch: &CloudWatch) -> Scope<'_> {
        let results = HashMap::from([
            ("m1".to_owned(), MathResult::Series(vec![Some(1.0), None, Some(4.0)])),
            ("m2".to_owned(), MathResult::Series(vec![Some(2.0), Some(3.0), Some(0.0)])),
        ]);
        Scope { cloudwatch, start: 0, end: 3, period: 1, results }
    }

    #[test]
    fn expressions_evaluate_as_cloudwatch_documents() {
        let cloudwatch = CloudWatch::default();
        let scope = scope(&cloudwatch);
        for (expression, expected) in [
            ("1 + 2 * 3", MathResult::Scalar(7.0)),
            ("-(2 - 5)", MathResult::Scalar(3.0)),
            ("m1 + m2", MathResult::Series(vec![Some(3.0), None, Some(4.0)])),
            ("100 * m1 / m2", MathResult::Series(vec![Some(50.0), None, None])),
            ("FILL(m1, 0) + m2", MathResult::Series(vec![Some(3.0), Some(3.0), Some(4.0)])),
            ("SUM([m1, m2])", MathResult::Series(vec![Some(3.0), Some(3.0), Some(4.0)])),
            ("SUM(m2)", MathResult::Scalar(5.0)),
            ("RUNNING_SUM(m1)", MathResult::Series(vec![Some(1.0), Some(1.0), Some(5.0)])),
            ("m1 ^ 0.5", MathResult::Series(vec![Some(1.0), None, Some(2.0)])),
            ("IF(m2 > 2, m2)", MathResult::Series(vec![None, Some(3.0), None])),
            ("IF(m2 > 1 AND m2 < 3, 1, 0)", MathResult::Series(vec![Some(1.0), Some(0.0), Some(0.0)])),
            ("m2 > 2 OR m2 < 1 AND m1 > 9", MathResult::Series(vec![Some(0.0), None, Some(0.0)])),
            ("LOG(1)", MathResult::Scalar(0.0)),
            ("LOG(m2 / 3 * 1) * 0", MathResult::Series(vec![Some(-0.0), Some(0.0), None])),
            ("IF(m2 > 2, m2, 9)", MathResult::Series(vec![Some(9.0), Some(3.0), Some(9.0)])),
        ] {
            assert_eq!(scope.evaluate(expression).as_ref(), Ok(&expected), "{expression}");
        }
        for invalid in ["", "1 +", "m3", "SUM(", "NONSENSE(m1)", "m1 m2", "SEARCH('x', 'Sum', 60)", "[1]"] {
            assert!(scope.evaluate(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_search_matches_terms_and_labels_by_other_dimensions() {
        let cloudwatch = CloudWatch::default();
        for (variant, value) in [("v1", 1.0), ("v1", 3.0), ("v2", 5.0)] {
            cloudwatch.put_line(&json!({
                "_aws": {"Timestamp": 1_000, "CloudWatchMetrics": [
                    {"Namespace": "n", "Dimensions": [["service", "variant"], ["service"]], "Metrics": [{"Name": "D"}]}
                ]},
                "service": "f", "variant": variant, "D": value,
            }));
        }
        let scope = scope(&cloudwatch);
        let search =
            |terms: &str| format!("SEARCH('{{n,service,variant}} MetricName=\"D\" {terms}', 'SampleCount', 60)");
        let points = |count| vec![None, Some(count), None];
        assert_eq!(
            scope.evaluate(&search("service=\"f\"")),
            Ok(MathResult::Array(vec![("v1".to_owned(), points(2.0)), ("v2".to_owned(), points(1.0))]))
        );
        assert_eq!(scope.evaluate(&format!("SUM({})", search(""))), Ok(MathResult::Series(points(3.0))));
        assert_eq!(scope.evaluate(&search("variant=\"v3\"")), Ok(MathResult::Array(vec![])));
    }
}
