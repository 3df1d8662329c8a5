//! Operators: tests of one value.

use std::cmp::Ordering;

use crate::experiment::attribute::Operand;
use crate::experiment::condition::version::padded;
use crate::experiment::condition::{Condition, ValueTest, Verdict, all, any};
use crate::experiment::pattern::Pattern;
use crate::experiment::value::{Value, compare_text, number_text};

/// An operator with its prepared operand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    /// `$eq`, and `$ne` negated. Arrays and objects are never equal, because JavaScript compares references.
    Equal { expected: Value, negated: bool },
    /// `$lt`, `$lte`, `$gt`, `$gte`.
    Order { expected: Value, order: Order },
    /// `$vlt`, `$vlte`, `$vgt`, `$vgte`, `$veq`, `$vne`.
    Version { expected: Value, padded: String, order: Order },
    /// `$in`, `$nin`, `$ini`, `$nini`, `$inGroup`, `$notInGroup`. Without a list the test fails.
    In { list: Option<List>, negated: bool },
    /// `$regex`, `$regexi`, `$notRegex`, `$notRegexi`. An invalid expression matches nothing.
    Matches { pattern: Option<Pattern>, negated: bool },
    /// `$exists`.
    Exists(bool),
    /// `$type`.
    Type(Value),
    /// `$size`: a test of the number of elements.
    Size(Box<ValueTest>),
    /// `$all`, `$alli`: each test passes for an element. Without a list of tests it fails.
    All { tests: Option<Vec<ValueTest>>, ignore_case: bool },
    /// `$elemMatch` with operators: an element that is not null passes.
    Element(Box<ValueTest>),
    /// `$elemMatch` with a condition on the members of an element.
    ElementMembers(Condition),
    /// `$not`.
    Not(Box<ValueTest>),
    /// Never passes.
    Never,
    /// An operator or a type of saved group that this version does not know.
    Unknown,
}

/// The order that a comparison requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    NotEqual,
}

impl Order {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
        }
    }
}

/// The list of an operator such as `$in`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List {
    /// The texts, sorted; in lower case if `ignore_case`.
    texts: Vec<Box<str>>,
    /// The other values.
    others: Vec<Value>,
    ignore_case: bool,
}

impl List {
    pub(super) fn new(values: &[Value], ignore_case: bool) -> Self {
        let fold = |text: &str| if ignore_case { text.to_lowercase().into() } else { text.into() };
        let mut texts: Vec<Box<str>> = values.iter().filter_map(Value::as_str).map(fold).collect();
        texts.sort_unstable();
        let others = values.iter().filter(|value| value.as_str().is_none()).cloned().collect();
        Self { texts, others, ignore_case }
    }

    fn contains(&self, value: &Operand<'_>) -> bool {
        match value {
            Operand::Text(text) if self.ignore_case => {
                self.texts.binary_search_by(|listed| (**listed).cmp(&text.to_lowercase())).is_ok()
            }
            Operand::Text(text) => self.texts.binary_search_by(|listed| (**listed).cmp(text)).is_ok(),
            Operand::Json(Value::List(list)) => list.iter().any(|value| {
                // Elements that are lists or objects are in no list.
                !matches!(value, Value::List(_) | Value::Object(_)) && self.contains(&value.into())
            }),
            Operand::Json(_) => false,
            scalar => self.others.iter().any(|listed| strict_equal(scalar, listed)),
        }
    }
}

impl Operator {
    pub(super) fn evaluate(&self, value: &Operand<'_>) -> Verdict {
        let passed = match self {
            Self::Equal { expected, negated } => strict_equal(value, expected) != *negated,
            Self::Order { expected, order } => compare(value, expected).is_some_and(|found| order.accepts(found)),
            Self::Version { expected, padded: expected_version, order } => match version_of(value, expected) {
                Some(version) => order.accepts(version.as_str().cmp(expected_version)),
                None => *order == Order::NotEqual,
            },
            Self::In { list, negated } => list.as_ref().is_some_and(|list| list.contains(value) != *negated),
            Self::Matches { pattern, negated } => {
                let is_match = match (pattern, value) {
                    (Some(pattern), Operand::Text(text)) => pattern.is_match(text),
                    _ => false,
                };
                is_match != *negated
            }
            Self::Exists(expected) => (*value != Operand::Null) == *expected,
            Self::Type(expected) => expected.as_str() == Some(type_name(value)),
            Self::Size(test) => match elements(value) {
                Some(elements) => return test.evaluate(&Operand::Number(elements.len() as f64), false),
                None => false,
            },
            Self::All { tests, ignore_case } => match (tests, elements(value)) {
                (Some(tests), Some(elements)) => {
                    return all(tests, |test| any(elements, |element| test.evaluate(&element.into(), *ignore_case)));
                }
                _ => false,
            },
            Self::Element(test) => return of_elements(value, |element| test.evaluate(&element.into(), false)),
            Self::ElementMembers(condition) => return of_elements(value, |element| condition.evaluate(element)),
            Self::Not(test) => return Ok(test.evaluate(value, false)?.map(|passed| !passed)),
            Self::Never => false,
            Self::Unknown => return Ok(None),
        };
        Ok(Some(passed))
    }
}

/// Whether an element that is not null passes.
fn of_elements(value: &Operand<'_>, mut evaluate: impl FnMut(&Value) -> Verdict) -> Verdict {
    let elements = elements(value).unwrap_or_default();
    any(elements, |element| if *element == Value::Null { Ok(Some(false)) } else { evaluate(element) })
}

fn elements<'a>(value: &Operand<'a>) -> Option<&'a [Value]> {
    match value {
        Operand::Json(Value::List(list)) => Some(list),
        _ => None,
    }
}

fn type_name(value: &Operand<'_>) -> &'static str {
    match value {
        Operand::Null => "null",
        Operand::Bool(_) => "boolean",
        Operand::Number(_) => "number",
        Operand::Text(_) => "string",
        Operand::Json(value) => value.type_name(),
    }
}

/// Equality of values of one simple type.
fn strict_equal(value: &Operand<'_>, expected: &Value) -> bool {
    match (value, expected) {
        (Operand::Null, Value::Null) => true,
        (Operand::Bool(value), Value::Bool(expected)) => value == expected,
        (Operand::Number(value), Value::Number(expected)) => value == expected,
        (Operand::Text(value), Value::Text(expected)) => **value == **expected,
        _ => false,
    }
}

/// Equality of values and of all that they contain, including the order of members.
pub(super) fn deep_equal(value: &Operand<'_>, expected: &Value) -> bool {
    match value {
        Operand::Json(value) => *value == expected,
        scalar => strict_equal(scalar, expected),
    }
}

/// The order of two numbers or two strings. Null, the absent attribute, counts as 0, and a string beside a number as the
/// number that it spells, as JavaScript's operators `<` and `>` do.
fn compare(value: &Operand<'_>, expected: &Value) -> Option<Ordering> {
    let number = |text: &str| {
        let text = text.trim();
        if text.is_empty() { Some(0.0) } else { text.parse::<f64>().ok() }
    };
    let (value, expected) = match (value, expected) {
        (Operand::Text(value), Value::Text(expected)) => return Some(compare_text(value, expected)),
        (Operand::Number(value), Value::Number(expected)) => (*value, *expected),
        (Operand::Number(value), Value::Text(expected)) => (*value, number(expected)?),
        (Operand::Text(value), Value::Number(expected)) => (number(value)?, *expected),
        (Operand::Null, Value::Number(expected)) => (0.0, *expected),
        (Operand::Null, Value::Text(expected)) => (0.0, number(expected)?),
        _ => return None,
    };
    value.partial_cmp(&expected)
}

/// The padded version of a value that can be compared with `expected`.
fn version_of(value: &Operand<'_>, expected: &Value) -> Option<String> {
    match (value, expected) {
        (Operand::Text(version), Value::Text(_)) => Some(padded(version)),
        (Operand::Number(version), Value::Number(_)) => Some(padded(&number_text(*version))),
        // An absent version is the lowest.
        (Operand::Null, Value::Text(_)) => Some(padded("0")),
        _ => None,
    }
}
