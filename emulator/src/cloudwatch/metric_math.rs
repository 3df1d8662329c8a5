//! Metric math: the part of CloudWatch's that the dashboards use, over the values of the local cloud.
//!
//! [Using math expressions](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html),
//! [search expressions](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html).

use std::collections::HashMap;

use crate::cloudwatch::{CloudWatch, MetricName, statistic};

/// A value for each period; none where there is none.
pub type Points = Vec<Option<f64>>;

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A number.
    Number(f64),
    /// A time series.
    Points(Points),
    /// Several, with their labels.
    Many(Vec<(String, Points)>),
}

/// Over what an expression is worked out.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The metrics.
    pub cloudwatch: &'a CloudWatch,
    /// From when, in seconds since 1970.
    pub start: u64,
    /// Until when.
    pub end: u64,
    /// The length of a period, in seconds: the widget's, or shorter, so that a short run shows something.
    pub period: u64,
    /// What the other expressions and metrics of the widget came to, by their ids.
    pub known: HashMap<String, Outcome>,
}

impl Scope<'_> {
    /// A statistic of a metric in each period.
    pub fn metric(&self, name: &MetricName, stat: &str) -> Points {
        let periods = self.cloudwatch.values(name, self.start, self.end, self.period);
        periods.iter().map(|values| statistic(values, stat)).collect()
    }

    /// What an expression comes to.
    ///
    /// # Errors
    /// With what is wrong with it, or what of CloudWatch's metric math is missing here.
    pub fn evaluate(&self, expression: &str) -> Result<Outcome, String> {
        let mut parser = Parser { rest: expression.trim_start(), scope: self };
        let outcome = parser.comparison()?;
        if parser.rest.is_empty() { Ok(outcome) } else { Err(format!("{:?} was not expected", parser.rest)) }
    }

    /// `SEARCH('{namespace,dimension,…} MetricName="…" dimension="…"', 'statistic', period)`.
    fn search(&self, query: &str, stat: &str) -> Result<Outcome, String> {
        let wrong = || format!("SEARCH needs {{namespace,dimensions}} and terms name=\"value\", not {query:?}");
        let (schema, terms) = query.trim().strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or_else(wrong)?;
        let mut schema = schema.split(',').map(|name| name.trim().trim_matches('"'));
        let namespace = schema.next().unwrap_or_default();
        let mut dimensions: Vec<&str> = schema.collect();
        dimensions.sort_unstable();
        let mut wanted = Vec::new();
        let mut rest = terms.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").ok_or_else(wrong)?;
            let (value, after) = after.split_once('"').ok_or_else(wrong)?;
            wanted.push((name.trim().trim_matches('"'), value));
            rest = after.trim();
        }
        let matches = |name: &MetricName| {
            name.namespace == namespace
                && name.dimensions.iter().map(|(name, _)| name.as_str()).eq(dimensions.iter().copied())
                && wanted.iter().all(|(term, value)| match *term {
                    "MetricName" => name.name == *value,
                    dimension => name.dimension(dimension) == Some(*value),
                })
        };
        let label = |name: &MetricName| {
            let open =
                name.dimensions.iter().filter(|(dimension, _)| !wanted.iter().any(|(term, _)| term == dimension));
            open.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
        };
        let found = self.cloudwatch.names().into_iter().filter(matches);
        Ok(Outcome::Many(found.map(|name| (label(&name), self.metric(&name, stat))).collect()))
    }

    fn periods(&self) -> usize {
        usize::try_from(self.end.saturating_sub(self.start).div_ceil(self.period.max(1))).unwrap_or(0)
    }

    fn call(&self, function: &str, arguments: Vec<Argument>) -> Result<Outcome, String> {
        let mut values = arguments.into_iter();
        let mut next = || match values.next() {
            Some(Argument::Value(value)) => Ok(value),
            _ => Err(format!("{function} needs a value")),
        };
        match function {
            "SUM" | "AVG" | "MAX" | "MIN" => Ok(match next()? {
                // Of nothing comes nothing, for as long as is looked at.
                Outcome::Many(all) if all.is_empty() => Outcome::Points(vec![None; self.periods()]),
                value => aggregate(function, value),
            }),
            "FILL" => {
                let (value, filler) = (next()?, next()?);
                let Outcome::Number(filler) = filler else { return Err("FILL fills with a number".to_owned()) };
                // A metric that is not there at all is filled too.
                let fill = |points: Points| points.into_iter().map(|point| point.or(Some(filler))).collect::<Points>();
                Ok(match value {
                    Outcome::Many(all) if all.is_empty() => Outcome::Points(vec![Some(filler); self.periods()]),
                    Outcome::Many(all) => {
                        Outcome::Many(all.into_iter().map(|(label, points)| (label, fill(points))).collect())
                    }
                    Outcome::Points(points) => Outcome::Points(fill(points)),
                    number @ Outcome::Number(_) => number,
                })
            }
            "ABS" => Ok(map(next()?, f64::abs)),
            "RUNNING_SUM" => {
                let Outcome::Points(points) = single(next()?) else {
                    return Err("RUNNING_SUM needs a metric".to_owned());
                };
                let mut sum = 0.0;
                let running = points.into_iter().map(|point| {
                    sum += point.unwrap_or(0.0);
                    Some(sum)
                });
                Ok(Outcome::Points(running.collect()))
            }
            "IF" => {
                let (condition, then, or) = (next()?, next()?, next()?);
                combine(
                    combine(condition.clone(), then, |condition, then| if condition == 0.0 { f64::NAN } else { then })?,
                    combine(condition, or, |condition, or| if condition == 0.0 { or } else { f64::NAN })?,
                    |then, or| {
                        if then.is_nan() { or } else { then }
                    },
                )
            }
            _ => Err(format!("{function} is not known here")),
        }
    }
}

enum Argument {
    Value(Outcome),
    Text(String),
}

/// Several as one, where one is meant.
fn single(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Many(mut all) if all.len() == 1 => Outcome::Points(all.remove(0).1),
        outcome => outcome,
    }
}

fn aggregate(function: &str, outcome: Outcome) -> Outcome {
    let fold = |values: &[f64]| match function {
        "SUM" => statistic(values, "Sum"),
        "AVG" => statistic(values, "Average"),
        "MAX" => statistic(values, "Maximum"),
        _ => statistic(values, "Minimum"),
    };
    match outcome {
        Outcome::Number(number) => Outcome::Number(number),
        // Of one series a number, of several a series.
        Outcome::Points(points) => {
            Outcome::Number(fold(&points.into_iter().flatten().collect::<Vec<_>>()).unwrap_or(f64::NAN))
        }
        Outcome::Many(all) => {
            let periods = all.iter().map(|(_, points)| points.len()).max().unwrap_or(0);
            let at = |index: usize| all.iter().filter_map(|(_, points)| *points.get(index)?).collect::<Vec<_>>();
            Outcome::Points((0..periods).map(|index| fold(&at(index))).collect())
        }
    }
}

fn map(outcome: Outcome, function: impl Fn(f64) -> f64) -> Outcome {
    let each = |points: Points| points.into_iter().map(|point| point.map(&function)).collect::<Points>();
    match outcome {
        Outcome::Number(number) => Outcome::Number(function(number)),
        Outcome::Points(points) => Outcome::Points(each(points)),
        Outcome::Many(all) => Outcome::Many(all.into_iter().map(|(label, points)| (label, each(points))).collect()),
    }
}

/// Point by point; where either has none there is none, and what is no number is none either.
fn combine(left: Outcome, right: Outcome, function: impl Fn(f64, f64) -> f64) -> Result<Outcome, String> {
    let finite = |value: f64| Some(value).filter(|value| !value.is_infinite());
    Ok(match (single(left), single(right)) {
        (Outcome::Number(left), Outcome::Number(right)) => Outcome::Number(function(left, right)),
        (Outcome::Points(left), Outcome::Number(right)) => {
            Outcome::Points(left.into_iter().map(|left| finite(function(left?, right))).collect())
        }
        (Outcome::Number(left), Outcome::Points(right)) => {
            Outcome::Points(right.into_iter().map(|right| finite(function(left, right?))).collect())
        }
        (Outcome::Points(left), Outcome::Points(right)) => {
            let both = left.into_iter().zip(right);
            Outcome::Points(both.map(|(left, right)| finite(function(left?, right?))).collect())
        }
        _ => return Err("an operator needs single metrics: put SUM around a SEARCH".to_owned()),
    })
}

/// By recursive descent: comparison, sum, product, power, unary, and what stands for itself.
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
        if self.take(token) { Ok(()) } else { Err(format!("{token:?} was expected before {:?}", self.rest)) }
    }

    fn comparison(&mut self) -> Result<Outcome, String> {
        let left = self.sum()?;
        let truth = |is: bool| f64::from(u8::from(is));
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

    fn sum(&mut self) -> Result<Outcome, String> {
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

    fn power(&mut self) -> Result<Outcome, String> {
        let base = self.unary()?;
        if self.take("^") { combine(base, self.unary()?, f64::powf) } else { Ok(base) }
    }

    fn product(&mut self) -> Result<Outcome, String> {
        let mut left = self.power()?;
        loop {
            left = if self.take("*") {
                combine(left, self.power()?, |left, right| left * right)?
            } else if self.take("/") {
                // Nothing comes of a division by nothing.
                combine(left, self.power()?, |left, right| if right == 0.0 { f64::INFINITY } else { left / right })?
            } else {
                return Ok(left);
            };
        }
    }

    fn unary(&mut self) -> Result<Outcome, String> {
        if self.take("-") {
            return Ok(map(self.unary()?, |value| -value));
        }
        if self.take("(") {
            let inner = self.comparison()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take("[") {
            return self.list();
        }
        let end = self.rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '.'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(format!("a value was expected before {:?}", self.rest));
        }
        self.rest = rest.trim_start();
        if let Ok(number) = word.parse() {
            return Ok(Outcome::Number(number));
        }
        if self.take("(") {
            return self.call(word);
        }
        self.scope.known.get(word).cloned().ok_or_else(|| format!("nothing has the id {word}"))
    }

    fn list(&mut self) -> Result<Outcome, String> {
        let mut all = Vec::new();
        loop {
            match self.comparison()? {
                Outcome::Many(many) => all.extend(many),
                Outcome::Points(points) => all.push((String::new(), points)),
                Outcome::Number(_) => return Err("a list is of metrics".to_owned()),
            }
            if self.take("]") {
                return Ok(Outcome::Many(all));
            }
            self.expect(",")?;
        }
    }

    fn call(&mut self, function: &str) -> Result<Outcome, String> {
        let mut arguments = Vec::new();
        while !self.take(")") {
            arguments.push(match self.text() {
                Some(text) => Argument::Text(text?.to_owned()),
                None => Argument::Value(self.comparison()?),
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
        let Some((text, rest)) = rest.split_once('\'') else { return Some(Err("a text has no end".to_owned())) };
        self.rest = rest.trim_start();
        Some(Ok(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope(cloudwatch: &CloudWatch) -> Scope<'_> {
        let known = HashMap::from([
            ("m1".to_owned(), Outcome::Points(vec![Some(1.0), None, Some(4.0)])),
            ("m2".to_owned(), Outcome::Points(vec![Some(2.0), Some(3.0), Some(0.0)])),
        ]);
        Scope { cloudwatch, start: 0, end: 3, period: 1, known }
    }

    #[test]
    fn expressions_come_to_what_cloudwatch_says_that_they_do() {
        let cloudwatch = CloudWatch::default();
        let scope = scope(&cloudwatch);
        for (expression, wanted) in [
            ("1 + 2 * 3", Outcome::Number(7.0)),
            ("-(2 - 5)", Outcome::Number(3.0)),
            ("m1 + m2", Outcome::Points(vec![Some(3.0), None, Some(4.0)])),
            ("100 * m1 / m2", Outcome::Points(vec![Some(50.0), None, None])),
            ("FILL(m1, 0) + m2", Outcome::Points(vec![Some(3.0), Some(3.0), Some(4.0)])),
            ("SUM([m1, m2])", Outcome::Points(vec![Some(3.0), Some(3.0), Some(4.0)])),
            ("SUM(m2)", Outcome::Number(5.0)),
            ("RUNNING_SUM(m1)", Outcome::Points(vec![Some(1.0), Some(1.0), Some(5.0)])),
            ("m1 ^ 0.5", Outcome::Points(vec![Some(1.0), None, Some(2.0)])),
            ("IF(m2 > 2, m2, 9)", Outcome::Points(vec![Some(9.0), Some(3.0), Some(9.0)])),
        ] {
            assert_eq!(scope.evaluate(expression).as_ref(), Ok(&wanted), "{expression}");
        }
        for wrong in ["", "1 +", "m3", "SUM(", "NONSENSE(m1)", "m1 m2", "SEARCH('x', 'Sum', 60)", "[1]"] {
            assert!(scope.evaluate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_search_finds_metrics_by_their_dimensions_and_labels_them_by_the_open_ones() {
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
            Ok(Outcome::Many(vec![("v1".to_owned(), points(2.0)), ("v2".to_owned(), points(1.0))]))
        );
        assert_eq!(scope.evaluate(&format!("SUM({})", search(""))), Ok(Outcome::Points(points(3.0))));
        assert_eq!(scope.evaluate(&search("variant=\"v3\"")), Ok(Outcome::Many(vec![])));
    }
}
