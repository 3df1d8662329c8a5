//! JSON without repeated members and of limited depth.
//!
//! Of two members with the same name, one parser uses the first and another one the last. A token or a rule with both would
//! mean one thing to its author and another thing here ([RFC 8259 §4](https://www.rfc-editor.org/rfc/rfc8259#section-4),
//! [RFC 7519 §4](https://www.rfc-editor.org/rfc/rfc7519#section-4)).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::experiment::members::{Member, Members, Names};
use crate::experiment::value::{Name, Value};

/// Parses one JSON value with at most `depth_max` nested lists and objects.
///
/// # Errors
/// If the text is not JSON, repeats a member or is too deep.
pub(super) fn parse(text: &[u8], depth_max: usize) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Level { below: depth_max }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The position in the depth: how many levels may follow.
#[derive(Clone, Copy)]
struct Level {
    below: usize,
}

impl Level {
    /// The level of the elements of a list or an object.
    fn descend<E: Error>(self) -> Result<Self, E> {
        let below = self.below.checked_sub(1).ok_or_else(|| E::custom("too many nested lists and objects"))?;
        Ok(Self { below })
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
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
        let level = self.descend()?;
        let mut list = Vec::new();
        while let Some(value) = sequence.next_element_seed(level)? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let level = self.descend()?;
        let mut members: Vec<Member<Value>> = Vec::new();
        let mut names = Names::default();
        while let Some(name) = map.next_key_seed(Name)? {
            names.note(&name);
            members.push((name, map.next_value_seed(level)?));
        }
        let count = members.len();
        let members = Members::new(members, names);
        // `Members` keeps one of equal names.
        if members.len() < count {
            Err(A::Error::custom("an object repeats a member"))
        } else {
            Ok(Value::Object(members))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repeated_members_are_refused_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(
                parse(text.as_bytes(), 9).unwrap_err().to_string().starts_with("an object repeats a member"),
                "{text}"
            );
        }
        assert!(parse(br#"{"a":{"a":1},"A":2}"#, 9).is_ok());
    }

    #[test]
    fn only_the_given_depth_is_accepted() {
        assert!(parse(b"[[{}]]", 3).is_ok());
        assert!(parse(b"[[{}]]", 2).is_err());
        assert!(parse("[".repeat(1_000_000).as_bytes(), 1 << 30).is_err());
    }

    #[test]
    fn texts_around_a_value_are_refused() {
        for text in ["", " ", "{} {}", "{},", "\u{feff}{}", "{}\0", "nul", "{\"a\":1e999}", "\"\\ud800\""] {
            assert!(parse(text.as_bytes(), 9).is_err(), "{text:?}");
        }
        assert!(parse(b"\"\xff\"", 9).is_err());
        assert!(parse(b" {} ", 9).is_ok());
    }

    proptest! {
        #[test]
        fn values_without_repetitions_are_those_of_serde(number in any::<f64>(), text in "\\PC{0,9}") {
            prop_assume!(number.is_finite());
            let json = serde_json::json!({"n": number, "l": [text, null, true, -1, {}]}).to_string();
            prop_assert_eq!(parse(json.as_bytes(), 3).unwrap(), serde_json::from_str(&json).unwrap());
        }
    }
}
