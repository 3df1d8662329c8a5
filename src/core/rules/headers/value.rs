//! Values of fields, with inserted captures.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::rules::line_problem::{Checked, Fault, part};
use crate::rules::path_pattern::{Token, tokens};

/// Characters that an inserted text must encode. A separator such as `;` or `,` could change the meaning of the value.
const INSERTED_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'@')
    .remove(b':')
    .remove(b'+')
    .remove(b'!');

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// The captured text at this position.
    Capture(usize),
}

/// A value of a field: visible ASCII characters, blanks and tabs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// The value, if it has no captures; else the value as written.
    text: Box<str>,
    pieces: Option<Box<[Piece]>>,
}

impl Value {
    /// Reads a value. `names` are the placeholders of its rule; others stay as text.
    pub(super) fn parse(text: &str, names: &[Box<str>]) -> Checked<Self> {
        if text.is_empty() {
            return Err(Fault::new("the field has no value", "write `Name: value`, or `! Name` to remove the field"));
        }
        if let Some(found) = text.chars().find(|found| !matches!(found, ' '..='~' | '\t')) {
            return Err(Fault::new(
                format!("expected visible ASCII characters, found {}", part(&found.to_string())),
                "encode the character as the field requires, such as %C3%A9",
            ));
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        for token in tokens(text) {
            let at = |name: &str| names.iter().position(|known| **known == *name);
            match token {
                Token::Text(text) => plain.push_str(text),
                Token::Splat => plain.push('*'),
                Token::Placeholder(name) => match at(name) {
                    Some(at) => {
                        pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                        pieces.push(Piece::Capture(at));
                    }
                    None => plain.extend([":", name]),
                },
            }
        }
        let pieces = (!pieces.is_empty()).then(|| {
            pieces.push(Piece::Text(plain.into()));
            pieces.into()
        });
        Ok(Self { text: text.into(), pieces })
    }

    /// Adds another value of the same field in the same rule.
    pub(super) fn join(&mut self, other: Self) {
        let text = format!("{}, {}", self.text, other.text).into();
        if self.pieces.is_some() || other.pieces.is_some() {
            let own = std::mem::replace(self, Self { text, pieces: None }).into_pieces();
            let separator = Piece::Text(", ".into());
            self.pieces = Some(own.into_iter().chain([separator]).chain(other.into_pieces()).collect());
        } else {
            self.text = text;
        }
    }

    fn into_pieces(self) -> Vec<Piece> {
        self.pieces.map_or_else(|| vec![Piece::Text(self.text)], Into::into)
    }

    /// Whether the value has captures.
    pub(super) fn inserts(&self) -> bool {
        self.pieces.is_some()
    }

    /// The value as written.
    pub(super) fn written(&self) -> &str {
        &self.text
    }

    /// The value with these captures, which are encoded.
    pub(super) fn with(&self, captures: &[&str]) -> Cow<'_, str> {
        let Some(pieces) = &self.pieces else { return Cow::Borrowed(&self.text) };
        let mut text = String::with_capacity(self.text.len() + 32);
        for piece in pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Capture(at) => {
                    let capture = captures.get(*at).copied().unwrap_or_default();
                    text.extend(utf8_percent_encode(capture, INSERTED_ENCODED));
                }
            }
        }
        Cow::Owned(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_inserted_encoded() {
        let names = ["a".into(), "splat".into()];
        for (written, expected) in
            [("x", "x"), (":a/:splat*", "1/2/%3B%22%0D%0A%C3%A9*"), ("https://h:8080/:b :aa", "https://h:8080/:b :aa")]
        {
            let value = Value::parse(written, &names).expect("expected a value");
            assert_eq!(value.with(&["1", "2/;\"\r\né"]), expected);
        }
        let mut value = Value::parse("x", &names).expect("expected a value");
        value.join(Value::parse("y", &names).expect("expected a value"));
        value.join(Value::parse(":a", &names).expect("expected a value"));
        assert_eq!((value.with(&["1"]), value.written()), ("x, y, 1".into(), "x, y, :a"));
    }

    #[test]
    fn other_characters_are_refused() {
        for value in ["", "a\0b", "a\r", "a\u{b}b", "é", "a\u{7f}"] {
            assert!(Value::parse(value, &[]).is_err(), "{value:?}");
        }
        assert!(Value::parse("a\t\"b\" \\c", &[]).is_ok());
    }
}
