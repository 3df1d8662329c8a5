//! Texts of an input on a terminal.

/// The text without control characters: it must not control the terminal, or look like several lines.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
