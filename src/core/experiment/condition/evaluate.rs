//! Evaluates conditions against the attributes of a visitor.
//!
//! A result is one of three: an operator that a later SDK may know gives neither true nor false, so that a negation of
//! it does not match either.

use std::cmp::Ordering;

use crate::experiment::attribute::{Attributes, Operand};
use crate::experiment::condition::tree::{Condition, List, Operator, Order, Targeting, Test, ValueTest};
use crate::experiment::condition::version::padded;
use crate::experiment::value::{Value, compare_text, number_text};

/// The condition has an invalid form, and fails as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Malformed;

/// True, false, or `None` if the result depends on something unknown.
type Verdict = Result<Option<bool>, Malformed>;

/// How many conditions of a definition are evaluated at most once for a visitor.
pub(super) const REMEMBERED_MAX: usize = 64;

/// The results of the first conditions for one visitor: the rules of a definition often share a few.
#[derive(Debug, Default)]
pub(in crate::experiment) struct Targeted {
    known: u64,
    passed: u64,
}

impl Targeted {
    /// Whether the condition passes, which must not depend on anything but the visitor.
    pub(in crate::experiment) fn passes(&mut self, targeting: &Targeting, attributes: &impl Attributes) -> bool {
        let Targeting { condition, index } = targeting;
        if *index >= REMEMBERED_MAX {
            return condition.passes(attributes);
        }
        let bit = 1 << index;
        if self.known & bit == 0 {
            self.known |= bit;
            self.passed |= u64::from(condition.passes(attributes)) << index;
        }
        self.passed & bit != 0
    }
}

impl Condition {
    /// Whether the condition passes.
    pub fn passes(&self, attributes: &(impl Attributes + ?Sized)) -> bool {
        self.evaluate(attributes) == Ok(Some(true))
    }

    fn evaluate(&self, attributes: &(impl Attributes + ?Sized)) -> Verdict {
        all(&self.0, |test| test.evaluate(attributes))
    }
}

impl Test {
    fn evaluate(&self, attributes: &(impl Attributes + ?Sized)) -> Verdict {
        let or = |conditions: &[Condition]| match conditions {
            [] => Ok(Some(true)),
            _ => any(conditions, |condition| condition.evaluate(attributes)),
        };
        match self {
            Self::Or(conditions) => or(conditions),
            Self::Nor(conditions) => Ok(or(conditions)?.map(|passed| !passed)),
            Self::And(conditions) => all(conditions, |condition| condition.evaluate(attributes)),
            Self::Not(condition) => Ok(condition.evaluate(attributes)?.map(|passed| !passed)),
            Self::Group(condition) => condition.evaluate(attributes),
            Self::Never => Ok(Some(false)),
            Self::Unknown => Ok(None),
            Self::Malformed => Err(Malformed),
            Self::Attribute(attribute, test) => test.evaluate(&attributes.tested(attribute), false),
        }
    }
}

impl ValueTest {
    fn evaluate(&self, value: &Operand<'_>, ignore_case: bool) -> Verdict {
        match (self, value) {
            (Self::Operators(operators), _) => all(operators, |operator| operator.evaluate(value)),
            (Self::Equals(Value::Text(expected)), Operand::Text(text)) if ignore_case => {
                Ok(Some(expected.to_lowercase() == text.to_lowercase()))
            }
            (Self::Equals(expected), _) => Ok(Some(deep_equal(value, expected))),
        }
    }
}

/// Whether all items pass. One that fails decides, wherever an unknown one is.
fn all<T>(items: &[T], mut evaluate: impl FnMut(&T) -> Verdict) -> Verdict {
    let mut verdict = Some(true);
    for item in items {
        match evaluate(item)? {
            Some(true) => {}
            Some(false) => return Ok(Some(false)),
            None => verdict = None,
        }
    }
    Ok(verdict)
}

/// Whether one item passes. One that passes decides, wherever an unknown one is.
fn any<T>(items: &[T], mut evaluate: impl FnMut(&T) -> Verdict) -> Verdict {
    let mut verdict = Some(false);
    for item in items {
        match evaluate(item)? {
            Some(true) => return Ok(Some(true)),
            Some(false) => {}
            None => verdict = None,
        }
    }
    Ok(verdict)
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

impl List {
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
    fn evaluate(&self, value: &Operand<'_>) -> Verdict {
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
fn deep_equal(value: &Operand<'_>, expected: &Value) -> bool {
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::experiment::attribute::Attribute;
    use crate::experiment::condition::Builder;

    /// A visitor whose attributes are all 1, and who counts how often one is read.
    #[derive(Default)]
    struct Counting(Cell<usize>);

    impl Attributes for Counting {
        fn tested(&self, _: &Attribute) -> Operand<'_> {
            self.0.set(self.0.get() + 1);
            Operand::Number(1.0)
        }

        fn hashed(&self, _: &Attribute) -> Operand<'_> {
            Operand::Null
        }
    }

    #[test]
    fn equal_conditions_are_evaluated_once_for_a_visitor() {
        let conditions: Vec<Value> = (0..200)
            .map(|number| serde_json::from_str(&format!(r#"{{"query.a{}": {}}}"#, number % 100, number % 2)).unwrap())
            .collect();
        let mut builder = Builder::new(None);
        let targetings: Vec<Targeting> = conditions.iter().map(|condition| builder.targeting(condition)).collect();
        let (mut targeted, visitor) = (Targeted::default(), Counting::default());
        for (number, targeting) in targetings.iter().enumerate() {
            assert_eq!(targeted.passes(targeting, &visitor), number % 2 == 1, "{number}");
        }
        // 36 of the 100 conditions are not remembered.
        assert_eq!(visitor.0.get(), 100 + 36);
    }
}
