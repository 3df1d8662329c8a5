//! Reads the JSON of a definition.
//!
//! The start of the function waits for this, so that what almost every definition consists of has a short way. Escapes,
//! exponents, long numbers, deep nesting and all errors are left to serde_json, which also finds the place of an error.

use crate::experiment::members::Names;
use crate::experiment::value::{Unfinished, Value};
use crate::json::IS_ESCAPED;

/// The deepest nesting of lists and objects on the short way.
const DEPTH_MAX: usize = 32;

/// The most digits on the short way: all such integers are exact doubles.
const DIGITS_MAX: usize = 15;

/// Reads a JSON value.
///
/// # Errors
/// Those of serde_json.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let mut reader = Reader { text, at: 0, unfinished: Unfinished::default() };
    match reader.value(DEPTH_MAX) {
        Some(value) if reader.token().is_none() => Ok(value),
        _ => serde_json::from_str(text),
    }
}

/// Reads values from a text. Each function returns `None` at what it does not know.
struct Reader<'a> {
    text: &'a str,
    /// The index of the next byte.
    at: usize,
    unfinished: Unfinished,
}

impl<'a> Reader<'a> {
    /// The next byte that is no white space (RFC 8259 §2), which it does not skip.
    fn token(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                token => return Some(token),
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.token()? {
            b'"' => self.string().map(|text| Value::Text(text.into())),
            b'{' => self.object(depth.checked_sub(1)?),
            b'[' => self.list(depth.checked_sub(1)?),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(value)
    }

    /// A string without escapes; the next byte is its quotation mark.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..)?;
        let end = rest.iter().position(|byte| IS_ESCAPED[usize::from(*byte)])?;
        self.at = start + end + 1;
        // Anything else needs or starts an escape.
        if rest[end] == b'"' { self.text.get(start..start + end) } else { None }
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.at;
        self.at += usize::from(self.byte()? == b'-');
        let whole = self.digits()?;
        let is_canonical = whole.len() == 1 || !whole.starts_with('0');
        let fraction = match self.byte() {
            Some(b'.') => {
                self.at += 1;
                self.digits()?
            }
            _ => "",
        };
        if !is_canonical || whole.len() + fraction.len() > DIGITS_MAX || matches!(self.byte(), Some(b'e' | b'E')) {
            return None;
        }
        self.text.get(start..self.at)?.parse().ok().map(Value::Number)
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).filter(|digits| !digits.is_empty())
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let first = self.unfinished.elements.len();
        let mut goes_on = self.opens(b']')?;
        while goes_on {
            let value = self.value(depth)?;
            self.unfinished.elements.push(value);
            goes_on = self.goes_on(b']')?;
        }
        Some(self.unfinished.list(first))
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let (first, mut names) = (self.unfinished.members.len(), Names::default());
        let mut goes_on = self.opens(b'}')?;
        while goes_on {
            let name = if self.token()? == b'"' { self.string()? } else { return None };
            names.note(name);
            (self.token()? == b':').then(|| self.at += 1)?;
            let value = self.value(depth)?;
            self.unfinished.members.push((name.into(), value));
            goes_on = self.goes_on(b'}')?;
        }
        Some(self.unfinished.object(first, names))
    }

    /// Skips the first bracket, and the last one if nothing is between them. Returns whether something is.
    fn opens(&mut self, last: u8) -> Option<bool> {
        self.at += 1;
        let is_empty = self.token()? == last;
        self.at += usize::from(is_empty);
        Some(!is_empty)
    }

    /// Skips a comma or the last bracket. Returns whether it was a comma.
    fn goes_on(&mut self, last: u8) -> Option<bool> {
        let token = self.token()?;
        self.at += 1;
        (token == b',' || token == last).then_some(token == b',')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_serde(text: &str) -> Result<Value, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Texts of JSON, with white space between the tokens.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<f64>()
                .prop_filter("JSON has no others", |number| number.is_finite())
                .prop_map(|number| number.to_string()),
            "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,4})?([eE][-+]?[0-9]{1,2})?",
            "[a-c\u{e4}\u{1f600}\n\"]{0,30}".prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            let name = prop_oneof!["[a-c0-9]{0,3}", "[a-z]{20,30}"];
            let members = prop::collection::vec((name, inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(|list| format!("[ {}\n]", list.join(" ,\t"))),
                members.prop_map(|members| {
                    let members: Vec<_> =
                        members.iter().map(|(name, value)| format!("\"{name}\" :\r{value}")).collect();
                    format!(" {{{}}} ", members.join(","))
                }),
            ]
        })
    }

    #[test]
    fn what_is_no_json_has_the_error_of_serde() {
        for text in [
            "",
            " ",
            "nul",
            "truee",
            "\"a",
            "\"a\u{1}\"",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "[1,]",
            "[1 2]",
            "[",
            "[,1]",
            "{}}",
            "{\"a\"}",
            "{\"a\" 1}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:2}",
            "\u{feff}{}",
            "1 2",
            "\u{a0}1",
            "\"\\ud800\"",
            "1e999",
        ] {
            assert!(of_serde(text).is_err(), "{text:?}");
            assert_eq!(parse(text).map_err(|error| error.to_string()), of_serde(text), "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep).map_err(|error| error.to_string()), of_serde(&deep));
    }

    #[test]
    fn a_definition_has_the_short_way() {
        let text =
            r#"{"features": {"a": {"rules": [{"key": "a", "weights": [0.5, 0.5], "hashVersion": 2, "x": true}]}}}"#;
        let mut reader = Reader { text, at: 0, unfinished: Unfinished::default() };
        assert_eq!(reader.value(DEPTH_MAX), of_serde(text).ok());
    }

    proptest! {
        #[test]
        fn every_value_is_that_of_serde(text in json()) {
            prop_assert_eq!(parse(&text).map_err(|error| error.to_string()), of_serde(&text));
        }

        #[test]
        fn a_changed_text_has_the_result_of_serde(text in json(), at in any::<prop::sample::Index>(), with in "[-0-9\\[\\]{},:\" \\\\.e]{0,2}") {
            let places: Vec<usize> = text.char_indices().map(|(place, _)| place).chain([text.len()]).collect();
            let (start, end) = (places[at.index(places.len())], places[(at.index(places.len()) + 1).min(places.len() - 1)]);
            let changed = format!("{}{with}{}", &text[..start], &text[end..]);
            prop_assert_eq!(parse(&changed).map_err(|error| error.to_string()), of_serde(&changed));
        }
    }
}
