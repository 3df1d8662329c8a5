//! JSON → prepared conditions.

use std::sync::Arc;

use crate::experiment::attribute::{Attribute, Field};
use crate::experiment::condition::evaluate::REMEMBERED_MAX;
use crate::experiment::condition::tree::{Condition, List, Operator, Order, Targeting, Test, ValueTest};
use crate::experiment::condition::version::padded;
use crate::experiment::members::Member;
use crate::experiment::pattern::Pattern;
use crate::experiment::problem::Problems;
use crate::experiment::value::{Value, number_text};

/// The most parts of all conditions of a definition together, with saved groups counted at each use.
pub(in crate::experiment) const NODES_MAX: usize = 20_000;

/// The deepest nesting of saved groups.
const GROUPS_MAX: usize = 16;

/// The operators that combine conditions, and therefore do not test a value.
const COMBINING: [&str; 4] = ["$or", "$nor", "$and", "$savedGroup"];

/// Prepares the conditions of a definition.
pub(in crate::experiment) struct Builder<'a> {
    /// The definition's `savedGroups`.
    groups: Option<&'a Value>,
    /// The saved groups that contain the current condition.
    entered: Vec<&'a str>,
    /// The parts built so far.
    nodes: usize,
    /// Whether conditions test attributes of a request.
    of_request: bool,
    /// The attributes that the CDN has in its cache key, besides `path` and `host`.
    cache_key: &'a [String],
    /// The different conditions of rules and experiments so far.
    targetings: Vec<Prepared<'a>>,
    /// The different attributes so far.
    attributes: Vec<Arc<Attribute>>,
    /// The request's attributes that the definition uses.
    pub(in crate::experiment) fields: Vec<Field>,
    pub(in crate::experiment) problems: Problems,
}

/// A condition that was prepared before, and how many parts it has.
struct Prepared<'a> {
    json: &'a Value,
    condition: Arc<Condition>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    pub(in crate::experiment) fn new(groups: Option<&'a Value>) -> Self {
        Self {
            groups,
            entered: Vec::new(),
            nodes: 0,
            of_request: true,
            cache_key: &[],
            targetings: Vec::new(),
            attributes: Vec::new(),
            fields: Vec::new(),
            problems: Problems::default(),
        }
    }

    /// The same builder, with the further attributes of the CDN's cache key.
    pub(in crate::experiment) fn with_cache_key(self, cache_key: &'a [String]) -> Self {
        Self { cache_key, ..self }
    }

    /// The parts built so far.
    pub(in crate::experiment) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Prepares the condition of a rule or an experiment.
    pub(in crate::experiment) fn targeting(&mut self, condition: &'a Value) -> Targeting {
        if let Some(index) = self.targetings.iter().position(|known| known.json == condition) {
            let Prepared { condition, nodes, .. } = &self.targetings[index];
            self.nodes += nodes;
            return Targeting { condition: condition.clone(), index };
        }
        let before = (self.nodes, self.problems.len());
        let prepared = Arc::new(self.condition(condition));
        let index = self.targetings.len();
        // Later ones are not remembered, which also bounds the comparisons. A problem is reported for every rule.
        if index >= REMEMBERED_MAX || self.problems.len() > before.1 {
            return Targeting { condition: prepared, index: REMEMBERED_MAX };
        }
        self.targetings.push(Prepared { json: condition, condition: prepared.clone(), nodes: self.nodes - before.0 });
        Targeting { condition: prepared, index }
    }

    /// Prepares a condition.
    pub(in crate::experiment) fn condition(&mut self, condition: &'a Value) -> Condition {
        let Some(members) = condition.as_object() else {
            self.problems.warn("a condition is not an object, and never passes", "write {\"attribute\": value}");
            return Condition(vec![Test::Malformed]);
        };
        Condition(members.iter().map(|(name, value)| self.problems_at(name, |this| this.test(name, value))).collect())
    }

    /// Builds conditions on values that are no attributes of a request.
    pub(in crate::experiment) fn on_other_attributes<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.of_request, false);
        let built = build(self);
        self.of_request = before;
        built
    }

    fn problems_at<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        self.problems.enter(name);
        let built = build(self);
        self.problems.leave();
        built
    }

    fn test(&mut self, name: &'a str, value: &'a Value) -> Test {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Test::Malformed;
        }
        match name {
            "$or" => self.conditions(value).map_or(Test::Malformed, Test::Or),
            "$nor" => self.conditions(value).map_or(Test::Malformed, Test::Nor),
            "$and" => self.conditions(value).map_or(Test::Malformed, Test::And),
            "$not" => Test::Not(self.condition(value)),
            "$savedGroup" => self.saved_group(value),
            "$savedGroups" => Test::Never,
            _ => Test::Attribute(self.attribute(name), self.value_test(value)),
        }
    }

    /// Prepares an attribute of a visitor.
    pub(in crate::experiment) fn attribute(&mut self, name: &str) -> Arc<Attribute> {
        let attribute = match self.attributes.iter().find(|known| *known.name == *name) {
            Some(known) => known.clone(),
            None => self.new_attribute(name),
        };
        if self.of_request {
            self.use_attribute(&attribute);
        }
        attribute
    }

    fn new_attribute(&mut self, name: &str) -> Arc<Attribute> {
        let attribute = Arc::new(Attribute::with_cache_key(name, self.cache_key));
        // Later ones are not remembered, which bounds the comparisons.
        if self.attributes.len() < REMEMBERED_MAX {
            self.attributes.push(attribute.clone());
        }
        attribute
    }

    /// Notes that the definition uses an attribute; warns if a request has no such attribute.
    fn use_attribute(&mut self, attribute: &Attribute) {
        match &attribute.field {
            Some(field) if self.fields.contains(field) => {}
            Some(field) => self.fields.push(field.clone()),
            None => self.problems.warn(
                format!("the attribute {} is absent from every request", attribute.name),
                "use an attribute of the table in docs/first-test.md, such as country or query.NAME",
            ),
        }
    }

    fn conditions(&mut self, value: &'a Value) -> Option<Vec<Condition>> {
        let Some(list) = value.as_list() else {
            self.problems.warn("this operator needs a list of conditions, and fails", "write [{…}, {…}]");
            return None;
        };
        Some(
            list.iter()
                .enumerate()
                .map(|(index, value)| {
                    self.problems.enter_element(index);
                    let condition = self.condition(value);
                    self.problems.leave();
                    condition
                })
                .collect(),
        )
    }

    fn value_test(&mut self, value: &'a Value) -> ValueTest {
        match value.as_object() {
            Some(members) if is_operators(members) => ValueTest::Operators(
                members.iter().map(|(name, value)| self.problems_at(name, |this| this.operator(name, value))).collect(),
            ),
            _ => ValueTest::Equals(value.clone()),
        }
    }

    fn operator(&mut self, name: &'a str, value: &'a Value) -> Operator {
        self.nodes += 1;
        let order = |order| Operator::Order { expected: value.clone(), order };
        let version = |order| {
            let padded = match value {
                Value::Number(number) => padded(&number_text(*number)),
                value => padded(value.as_str().unwrap_or_default()),
            };
            Operator::Version { expected: value.clone(), padded, order }
        };
        match name {
            "$eq" => Operator::Equal { expected: value.clone(), negated: false },
            "$ne" => Operator::Equal { expected: value.clone(), negated: true },
            "$lt" => order(Order::Less),
            "$lte" => order(Order::AtMost),
            "$gt" => order(Order::Greater),
            "$gte" => order(Order::AtLeast),
            "$vlt" => version(Order::Less),
            "$vlte" => version(Order::AtMost),
            "$vgt" => version(Order::Greater),
            "$vgte" => version(Order::AtLeast),
            "$veq" => version(Order::Equal),
            "$vne" => version(Order::NotEqual),
            "$in" => Operator::In { list: self.list(value, false), negated: false },
            "$nin" => Operator::In { list: self.list(value, false), negated: true },
            "$ini" => Operator::In { list: self.list(value, true), negated: false },
            "$nini" => Operator::In { list: self.list(value, true), negated: true },
            "$inGroup" => self.in_group(value, false),
            "$notInGroup" => self.in_group(value, true),
            "$regex" => Operator::Matches { pattern: self.pattern(value, false), negated: false },
            "$regexi" => Operator::Matches { pattern: self.pattern(value, true), negated: false },
            "$notRegex" => Operator::Matches { pattern: self.pattern(value, false), negated: true },
            "$notRegexi" => Operator::Matches { pattern: self.pattern(value, true), negated: true },
            "$exists" => Operator::Exists(is_true(value)),
            "$type" => Operator::Type(value.clone()),
            "$size" => Operator::Size(Box::new(self.value_test(value))),
            "$all" => Operator::All { tests: self.tests(value), ignore_case: false },
            "$alli" => Operator::All { tests: self.tests(value), ignore_case: true },
            "$elemMatch" => match value.as_object() {
                Some(members)
                    if is_operators(members) && !members.iter().any(|(name, _)| COMBINING.contains(&&**name)) =>
                {
                    Operator::Element(Box::new(self.value_test(value)))
                }
                _ => Operator::ElementMembers(self.on_other_attributes(|this| this.condition(value))),
            },
            "$not" => Operator::Not(Box::new(self.value_test(value))),
            "$or" | "$nor" | "$and" | "$savedGroup" => Operator::Never,
            _ => {
                self.problems
                    .warn(format!("the operator {name} is unknown, and never passes"), "see docs/first-test.md");
                Operator::Unknown
            }
        }
    }

    fn tests(&mut self, value: &'a Value) -> Option<Vec<ValueTest>> {
        let list = value.as_list()?;
        self.nodes += list.len();
        Some(list.iter().map(|value| self.value_test(value)).collect())
    }

    fn list(&mut self, value: &'a Value, ignore_case: bool) -> Option<List> {
        let Some(list) = value.as_list() else {
            self.problems.warn("this operator needs a list, and fails", "write a list, such as [\"CN\", \"HK\"]");
            return None;
        };
        Some(List::new(list, ignore_case))
    }

    fn pattern(&mut self, value: &Value, ignore_case: bool) -> Option<Pattern> {
        let expression = value.as_str()?;
        match Pattern::new(expression, ignore_case) {
            Ok(pattern) => Some(pattern),
            Err(problem) => {
                self.problems.warn(
                    format!("the regular expression matches nothing: {problem}"),
                    "use the syntax of https://docs.rs/regex-lite, without look-around and back-references",
                );
                None
            }
        }
    }

    /// `$inGroup`: a list of values. An absent group is empty.
    fn in_group(&mut self, reference: &'a Value, negated: bool) -> Operator {
        let Some(id) = reference.as_str() else { return Operator::Never };
        let values = match self.groups.and_then(|groups| groups.get(id)) {
            None => {
                self.problems.warn(format!("the saved group {id} does not exist"), "add it to savedGroups");
                Some(&[][..])
            }
            Some(Value::List(values)) => Some(&**values),
            Some(group @ Value::Object(_)) => match group.get("type").and_then(Value::as_str) {
                Some("list") => group.get("values").and_then(Value::as_list),
                Some("condition") => None,
                _ => return Operator::Unknown,
            },
            Some(_) => None,
        };
        Operator::In { list: values.map(|values| List::new(values, false)), negated }
    }

    /// `$savedGroup`: a group with a type. A group inside itself never passes.
    fn saved_group(&mut self, reference: &'a Value) -> Test {
        let Some(id) = reference.get("id").and_then(Value::as_str) else { return Test::Never };
        let key = reference.get("attributeKey");
        if self.entered.contains(&id) || key.is_some_and(|key| key.as_str().is_none()) {
            return Test::Never;
        }
        let Some(group @ Value::Object(_)) = self.groups.and_then(|groups| groups.get(id)) else {
            self.problems.warn(format!("the saved group {id} does not exist"), "add it to savedGroups");
            return Test::Never;
        };
        match group.get("type").and_then(Value::as_str) {
            Some("list") => {
                let key = key.or_else(|| group.get("attributeKey")).and_then(Value::as_str);
                match (key, group.get("values").and_then(Value::as_list)) {
                    (Some(key), Some(values)) => {
                        let in_list = Operator::In { list: Some(List::new(values, false)), negated: false };
                        Test::Attribute(self.attribute(key), ValueTest::Operators(vec![in_list]))
                    }
                    _ => Test::Never,
                }
            }
            Some("condition") => match group.get("condition") {
                Some(condition @ Value::Object(_)) if self.entered.len() < GROUPS_MAX => {
                    self.entered.push(id);
                    let condition = self.condition(condition);
                    self.entered.pop();
                    Test::Group(condition)
                }
                _ => Test::Never,
            },
            _ => Test::Unknown,
        }
    }
}

/// Whether all names are operators. An empty object has no operators, and passes.
fn is_operators(members: &[Member<Value>]) -> bool {
    members.iter().all(|(name, _)| name.starts_with('$'))
}

/// Whether `$exists` asks for a value, as GrowthBook's SDKs read its operand.
fn is_true(value: &Value) -> bool {
    match value {
        Value::List(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
        value => value.is_truthy(),
    }
}
