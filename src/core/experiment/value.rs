//! JSON values with the semantics of JavaScript, in which GrowthBook defines its conditions.
//!
//! `serde_json::Value` has two properties that would change results: it sorts or needs a map crate for the members of
//! objects, whose order JavaScript compares, and it tells integers from floating-point numbers.

use std::cmp::Ordering;
use std::fmt;

use compact_str::CompactString;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::experiment::members::{Member, Members, Names, array_index};

/// A JSON value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// null, and an absent value.
    #[default]
    Null,
    /// true or false.
    Bool(bool),
    /// A number: a double, as in JavaScript.
    Number(f64),
    /// A string.
    Text(CompactString),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Object(Members<Value>),
}

/// null, to borrow from.
pub(super) static NULL: Value = Value::Null;

/// The largest integer below which all integers are exact doubles.
const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

impl Value {
    /// The member `name` of an object.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// The member `name` of an object, unless it is null.
    #[inline]
    pub(super) fn present(&self, name: &str) -> Option<&Self> {
        self.get(name).filter(|value| **value != Self::Null)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&[Member<Self>]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The name of the type, as the operator `$type` compares it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The type with its article, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Whether JavaScript converts the value to true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Text(text) => !text.is_empty(),
            Self::List(_) | Self::Object(_) => true,
        }
    }

    /// Follows a path of member names, list indices and `length`. An absent value is null.
    pub(super) fn at_path(&self, path: &[Box<str>]) -> Found<'_> {
        let mut current = self;
        for (index, segment) in path.iter().enumerate() {
            current = match current {
                Self::Object(_) => match current.get(segment) {
                    Some(value) => value,
                    None => return Found::Value(&NULL),
                },
                Self::List(list) if &**segment == "length" && index + 1 == path.len() => {
                    return Found::Length(list.len());
                }
                Self::List(list) => match array_index(segment).and_then(|index| list.get(index)) {
                    Some(value) => value,
                    None => return Found::Value(&NULL),
                },
                _ => return Found::Value(&NULL),
            };
        }
        Found::Value(current)
    }
}

/// The result of [`Value::at_path`].
pub(super) enum Found<'a> {
    Value(&'a Value),
    /// The length of a list.
    Length(usize),
}

/// Formats a number as `String(number)` does
/// ([ECMAScript, Number::toString](https://tc39.es/ecma262/#sec-numeric-types-number-tostring)).
pub(super) fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // The shortest digits that read back as the same number: d.ddde-7.
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or_default() + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let sign = if number < 0.0 { "-" } else { "" };
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or_default().min(digits.len()));
    if (count..=21).contains(&point) {
        format!("{sign}{digits}{}", zeros(point - count))
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = split(point);
        format!("{sign}{whole}.{fraction}")
    } else if (-5..=0).contains(&point) {
        format!("{sign}0.{}{digits}", zeros(-point))
    } else {
        let (first, rest) = split(1);
        let separator = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{separator}{rest}e{:+}", point - 1)
    }
}

/// Compares strings by UTF-16 code units, as JavaScript does.
pub(super) fn compare_text(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() {
        return left.cmp(right);
    }
    left.encode_utf16().cmp(right.encode_utf16())
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Unfinished::default().deserialize(deserializer)
    }
}

/// The elements and members read so far of all lists and objects that are still open. Each list and each object is taken from
/// the end as a whole, so that it is allocated once, in its size.
#[derive(Default)]
pub(crate) struct Unfinished {
    pub(super) elements: Vec<Value>,
    pub(super) members: Vec<Member<Value>>,
    /// How many lists and objects may still be opened inside each other; `None` if only serde_json limits them. If there is a
    /// limit, repeated members are refused too.
    levels: Option<usize>,
}

impl Unfinished {
    /// Reads a value with at most `depth_max` nested lists and objects, and without repeated members.
    pub(crate) fn strict(depth_max: usize) -> Self {
        Self { levels: Some(depth_max), ..Self::default() }
    }

    /// Opens a list or an object. The end of it sets the levels back to the returned ones.
    fn open<E: Error>(&mut self) -> Result<Option<usize>, E> {
        let before = self.levels;
        if let Some(levels) = before {
            let left = levels.checked_sub(1).ok_or_else(|| E::custom("too many nested lists and objects"))?;
            self.levels = Some(left);
        }
        Ok(before)
    }

    /// The list of the elements from `first`.
    pub(super) fn list(&mut self, first: usize) -> Value {
        Value::List(self.elements.split_off(first))
    }

    /// The object of the members from `first`, which have these names.
    pub(super) fn object(&mut self, first: usize, names: Names) -> Value {
        Value::Object(Members::new(self.members.split_off(first), names))
    }
}

impl<'de> DeserializeSeed<'de> for &mut Unfinished {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Unfinished {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let (first, levels) = (self.elements.len(), self.open()?);
        while let Some(value) = sequence.next_element_seed(&mut *self)? {
            self.elements.push(value);
        }
        self.levels = levels;
        Ok(self.list(first))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (first, mut names, levels) = (self.members.len(), Names::default(), self.open()?);
        while let Some(name) = map.next_key_seed(Name)? {
            names.note(&name);
            let value = map.next_value_seed(&mut *self)?;
            self.members.push((name, value));
        }
        self.levels = levels;
        let read = self.members.len() - first;
        match self.object(first, names) {
            // `Members` keeps one of equal names.
            Value::Object(members) if levels.is_some() && members.len() < read => {
                Err(A::Error::custom("an object repeats a member"))
            }
            object => Ok(object),
        }
    }
}

/// Reads the name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = CompactString;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<CompactString, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = CompactString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<CompactString, E> {
        Ok(name.into())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) if number.fract() == 0.0 && number.abs() <= SAFE_INTEGER_MAX => {
                serializer.serialize_i64(*number as i64)
            }
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members.iter() {
                    map.serialize_entry(name.as_str(), value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_are_formatted_as_javascript_does() {
        for (number, text) in [
            (123.0, "123"),
            (-1.5, "-1.5"),
            (1e21, "1e+21"),
            (123e18, "123000000000000000000"),
            (1.5e-7, "1.5e-7"),
            (0.000_001, "0.000001"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-0.0, "0"),
            (1e-7, "1e-7"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }

    #[test]
    fn members_are_in_javascripts_order_and_the_last_of_equal_names_counts() {
        let written = serde_json::to_string(&value(r#"{"b":1,"10":2,"a":3,"2":4,"b":5,"b":6}"#)).unwrap();
        assert_eq!(written, r#"{"2":4,"10":2,"b":6,"a":3}"#);
    }

    #[test]
    fn paths_lead_through_objects_and_lists() {
        let value = value(r#"{"a":[{"b":7}]}"#);
        let at = |path: &str| {
            let path: Vec<Box<str>> = path.split('.').map(Into::into).collect();
            match value.at_path(&path) {
                Found::Value(value) => value.clone(),
                Found::Length(length) => Value::Number(length as f64),
            }
        };
        assert_eq!(at("a.0.b"), Value::Number(7.0));
        assert_eq!(at("a.length"), Value::Number(1.0));
        for absent in ["a.00.b", "a.1", "b", "a.0.b.c"] {
            assert_eq!(at(absent), Value::Null, "{absent}");
        }
    }

    proptest! {
        #[test]
        fn numbers_read_back_as_the_same_number(number in any::<f64>()) {
            prop_assume!(number.is_finite());
            prop_assert_eq!(number_text(number).parse::<f64>().unwrap(), number + 0.0);
        }
    }
}
