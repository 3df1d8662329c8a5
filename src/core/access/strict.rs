//! JSON without repeated members and of limited depth.
//!
//! Of two members with the same name, one parser uses the first and another one the last. A token or a rule with both would
//! mean one thing to its author and another thing here ([RFC 8259 §4](https://www.rfc-editor.org/rfc/rfc8259#section-4),
//! [RFC 7519 §4](https://www.rfc-editor.org/rfc/rfc7519#section-4)).

use serde::de::DeserializeSeed;

use crate::experiment::value::{Unfinished, Value};

/// Parses one JSON value with at most `depth_max` nested lists and objects.
///
/// # Errors
/// If the text is not JSON, repeats a member or is too deep.
pub(super) fn parse(text: &[u8], depth_max: usize) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = (&mut Unfinished::strict(depth_max)).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
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
        assert!(parse(br#"[[], [{}], {"a": [], "b": {}}, []]"#, 3).is_ok(), "what is closed does not count");
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
