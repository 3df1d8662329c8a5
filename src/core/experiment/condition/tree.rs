//! Prepared conditions.

use std::sync::Arc;

use crate::experiment::attribute::Attribute;
use crate::experiment::pattern::Pattern;
use crate::experiment::value::Value;

/// A prepared condition: all of its tests must pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition(pub(super) Vec<Test>);

/// The condition of a rule or an experiment. Equal ones of a definition share the condition and its index.
#[derive(Debug, Clone, PartialEq)]
pub struct Targeting {
    pub(super) condition: Arc<Condition>,
    pub(super) index: usize,
}

/// A part of a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
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
    Attribute(Arc<Attribute>, ValueTest),
}

/// A test of one value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ValueTest {
    /// All operators pass.
    Operators(Vec<Operator>),
    /// The value is equal to this one, and of the same type.
    Equals(Value),
}

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

/// The list of an operator such as `$in`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List {
    /// The texts, sorted; in lower case if `ignore_case`.
    pub(super) texts: Vec<Box<str>>,
    /// The other values.
    pub(super) others: Vec<Value>,
    pub(super) ignore_case: bool,
}

impl List {
    pub(super) fn new(values: &[Value], ignore_case: bool) -> Self {
        let fold = |text: &str| if ignore_case { text.to_lowercase().into() } else { text.into() };
        let mut texts: Vec<Box<str>> = values.iter().filter_map(Value::as_str).map(fold).collect();
        texts.sort_unstable();
        let others = values.iter().filter(|value| value.as_str().is_none()).cloned().collect();
        Self { texts, others, ignore_case }
    }
}
