//! Regular expressions of a definition: linear in the length of the text.

use regex::{Regex, RegexBuilder};

/// The largest compiled expression, in bytes. Repetitions of repetitions grow without it.
const SIZE_MAX: usize = 256 << 10;

/// The deepest nesting of groups in an expression.
const NESTING_MAX: u32 = 50;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// If the syntax is invalid or unsupported, such as look-around and back-references, or the expression is too large.
    /// The text is one line.
    pub(super) fn new(expression: &str, ignore_case: bool) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(expression);
        builder.case_insensitive(ignore_case).size_limit(SIZE_MAX).nest_limit(NESTING_MAX);
        builder.build().map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
            // The last line names the problem; the lines above draw the expression.
            other => {
                let text = other.to_string();
                text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        })
    }

    /// Whether the expression matches somewhere in `text`.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
