//! Conditions: MongoDB-like queries over attributes
//! ([SDK specification, evalCondition](https://docs.growthbook.io/lib/build-your-own#evalcondition)).
//!
//! - `build`: JSON → prepared conditions; `operator`: tests of one value; `version`: comparisons of version numbers
//!
//! A result is one of three: an operator that a later SDK may know gives neither true nor false, so that a negation of
//! it does not match either.

mod build;
mod operator;
mod version;

use crate::experiment::attribute::{Attribute, Attributes, Operand};
use crate::experiment::value::Value;

pub(super) use self::build::{Builder, NODES_MAX};
use self::operator::Operator;

/// A prepared condition: all of its tests must pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition(Vec<Test>);

/// A part of a condition.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// `$or`: one of the conditions passes. An empty list passes.
    Or(Vec<Condition>),
    /// `$nor`: none passes.
    Nor(Vec<Condition>),
    /// `$and`: all pass.
    And(Vec<Condition>),
    /// `$not`: the condition does not pass.
    Not(Condition),
    /// The condition of a saved group.
    Group(Condition),
    /// Never passes.
    Never,
    /// A type of saved group that this version does not know.
    Unknown,
    /// Fails the whole condition, whatever surrounds it.
    Malformed,
    /// The value of an attribute passes a test.
    Attribute(Box<Attribute>, ValueTest),
}

/// A test of one value.
#[derive(Debug, Clone, PartialEq)]
enum ValueTest {
    /// All operators pass.
    Operators(Vec<Operator>),
    /// The value is equal to this one, and of the same type.
    Equals(Value),
}

/// The condition has an invalid form, and fails as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Malformed;

/// True, false, or `None` if the result depends on something unknown.
type Verdict = Result<Option<bool>, Malformed>;

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
            (Self::Equals(expected), _) => Ok(Some(operator::deep_equal(value, expected))),
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
