//! Regular expressions of a definition: linear in the length of the text.
//!
//! `\d`, `\w` and `\b` mean characters of ASCII, as in JavaScript.

use std::borrow::Cow;

use regex_lite::{Regex, RegexBuilder};

/// The largest compiled expression, in bytes. Repetitions of repetitions grow without it.
const SIZE_MAX: usize = 256 << 10;

/// The deepest nesting of groups in an expression.
const NESTING_MAX: u32 = 50;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// An expression such as `^/checkout/`: a plain text, possibly at the start or the end. A comparison of bytes costs a
    /// fraction of what the engine's start alone does.
    Literal { text: Box<str>, at_start: bool, at_end: bool },
    /// Any other expression, and whether it ignores case.
    Expression(Regex, bool),
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// If the syntax is invalid or unsupported, such as look-around and back-references, or the expression is too large.
    /// The text is one line.
    pub(super) fn new(expression: &str, ignore_case: bool) -> Result<Self, String> {
        if let Some(literal) = Self::literal(expression).filter(|_| !ignore_case) {
            return Ok(literal);
        }
        let folded = if ignore_case { fold(expression) } else { Cow::Borrowed(expression) };
        let mut builder = RegexBuilder::new(&folded);
        builder.case_insensitive(ignore_case).size_limit(SIZE_MAX).nest_limit(NESTING_MAX);
        let built = builder.build().map(|regex| Self::Expression(regex, ignore_case));
        built.map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    /// The expression as a plain text, if it is one.
    fn literal(expression: &str) -> Option<Self> {
        let (text, at_start) = expression.strip_prefix('^').map_or((expression, false), |text| (text, true));
        let (text, at_end) = text.strip_suffix('$').map_or((text, false), |text| (text, true));
        let is_plain = |character: char| !"\\.+*?()|[]{}^$".contains(character);
        text.chars().all(is_plain).then(|| Self::Literal { text: text.into(), at_start, at_end })
    }

    /// Whether the expression matches somewhere in `text`.
    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Literal { text: literal, at_start: true, at_end: true } => *text == **literal,
            Self::Literal { text: literal, at_start: true, .. } => text.starts_with(&**literal),
            Self::Literal { text: literal, at_end: true, .. } => text.ends_with(&**literal),
            Self::Literal { text: literal, .. } => text.contains(&**literal),
            Self::Expression(expression, false) => expression.is_match(text),
            Self::Expression(expression, true) => expression.is_match(&fold(text)),
        }
    }
}

/// The text with its letters outside ASCII in lower case; the engine ignores the case of ASCII itself.
fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let fold = |character: char| {
        let mut lower = character.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(single), None) if !character.is_ascii() => single,
            _ => character,
        }
    };
    Cow::Owned(text.chars().map(fold).collect())
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Expression(expression, ignore_case), Self::Expression(other, other_ignores)) => {
                (expression.as_str(), ignore_case) == (other.as_str(), other_ignores)
            }
            (
                Self::Literal { text, at_start, at_end },
                Self::Literal { text: other_text, at_start: other_start, at_end: other_end },
            ) => (text, at_start, at_end) == (other_text, other_start, other_end),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_texts_are_compared_without_the_engine() {
        for expression in ["^/checkout/", "a", "", "^$", "x$", "日"] {
            assert!(matches!(Pattern::new(expression, false), Ok(Pattern::Literal { .. })), "{expression}");
        }
        for expression in ["a.b", "a|b", "\\d", "^^", "a$b", "(a)"] {
            assert!(matches!(Pattern::new(expression, false), Ok(Pattern::Expression(..))), "{expression}");
        }
    }

    #[test]
    fn unsupported_and_too_large_expressions_are_errors() {
        assert!(Pattern::new("a(?=b)", false).unwrap_err().contains("look-around"));
        assert!(Pattern::new("(a", false).unwrap_err().contains("group"));
        assert!(Pattern::new("((a{500}){500})", false).unwrap_err().contains("size limit"));
    }

    #[test]
    fn case_is_ignored_beyond_ascii_too() {
        let pattern = Pattern::new("^É(a|ß)+ж$", true).unwrap();
        assert!(pattern.is_match("éAßЖ") && !pattern.is_match("eaж"));
        assert!(!Pattern::new("É.", false).unwrap().is_match("éa"));
        assert!(Pattern::new(r"^\S+É$", true).unwrap().is_match("xé"));
    }

    proptest! {
        #[test]
        fn a_plain_text_matches_as_the_engine_does(expression in "\\^?[ab]{0,2}\\$?", text in "[ab\n]{0,5}") {
            let engine = Regex::new(&expression).unwrap();
            prop_assert_eq!(Pattern::new(&expression, false).unwrap().is_match(&text), engine.is_match(&text));
        }
    }
}
