//! Regular expressions of a definition: linear in the length of the text.

use regex::{Regex, RegexBuilder};

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
    /// Any other expression.
    Expression(Regex),
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
        let mut builder = RegexBuilder::new(expression);
        builder.case_insensitive(ignore_case).size_limit(SIZE_MAX).nest_limit(NESTING_MAX);
        builder.build().map(Self::Expression).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
            // The last line names the problem; the lines above draw the expression.
            other => {
                let text = other.to_string();
                text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        })
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
            Self::Expression(expression) => expression.is_match(text),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Expression(expression), Self::Expression(other)) => expression.as_str() == other.as_str(),
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
            assert!(matches!(Pattern::new(expression, false), Ok(Pattern::Expression(_))), "{expression}");
        }
    }

    #[test]
    fn unsupported_and_too_large_expressions_are_errors() {
        assert!(Pattern::new("a(?=b)", false).unwrap_err().contains("look-around"));
        assert!(Pattern::new("(a", false).unwrap_err().contains("unclosed group"));
        assert_eq!(Pattern::new("((a{500}){500})", false).unwrap_err(), "the expression is too large");
    }

    proptest! {
        #[test]
        fn a_plain_text_matches_as_the_engine_does(expression in "\\^?[ab]{0,2}\\$?", text in "[ab\n]{0,5}") {
            let engine = Regex::new(&expression).unwrap();
            prop_assert_eq!(Pattern::new(&expression, false).unwrap().is_match(&text), engine.is_match(&text));
        }
    }
}
