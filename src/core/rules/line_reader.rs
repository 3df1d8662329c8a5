//! Splits a file of rules into lines, within limits.

use crate::rules::line_problem::{Fault, Problems, part};

/// The largest file, in bytes.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

/// The longest line, in bytes. Comments may be longer.
const LINE_BYTES_MAX: usize = 4_000;

/// A line without surrounding blanks. It is neither empty nor a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// The number, from 1.
    pub(super) number: usize,
    pub(super) text: &'t str,
    /// Whether the line is within the limits. If not, it is reported already, and only its start may be read.
    pub(super) is_usable: bool,
}

/// Whether a character separates tokens. A byte order mark counts, as in JavaScript.
pub(super) fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

/// The lines of a file, without empty lines and comments. Unusable lines are reported.
pub(super) fn lines<'t>(text: &'t str, problems: &mut Problems) -> Vec<Line<'t>> {
    let mut lines = Vec::new();
    let mut end = 0;
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        end += line.len() + 1;
        let line = line.trim_matches(is_blank);
        if end > FILE_BYTES_MAX + 1 {
            let reason = format!("expected at most {FILE_BYTES_MAX} bytes, and this line ends beyond them");
            problems.reject(number, line, Fault::new(reason, "shorten the file: it is ignored from this line on"));
            break;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut is_usable = false;
        if line.len() > LINE_BYTES_MAX {
            let reason = format!("expected at most {LINE_BYTES_MAX} bytes in a line, found {}", line.len());
            problems.reject(number, line, Fault::new(reason, "shorten the line"));
        } else if let Some(found) = line.chars().find(|character| character.is_control() && !is_blank(*character)) {
            let reason = format!("found the control character {}", part(&found.to_string()));
            problems.reject(number, line, Fault::new(reason, "remove it, or write it percent-encoded"));
        } else {
            is_usable = true;
        }
        lines.push(Line { number, text: line, is_usable });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(usize, &str)>, Vec<String>) {
        let mut problems = Problems::default();
        let lines = lines(text, &mut problems).into_iter().filter(|line| line.is_usable);
        let lines = lines.map(|line| (line.number, line.text)).collect();
        (lines, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn blanks_comments_and_empty_lines_are_removed() {
        let text = "\u{feff}/a /b\r\n\n  # comment\n\t/c\u{a0}/d \u{a0}";
        assert_eq!(read(text), (vec![(1, "/a /b"), (4, "/c\u{a0}/d")], vec![]));
    }

    #[test]
    fn lines_beyond_a_limit_are_reported() {
        let long = "x".repeat(4_001);
        let text = format!("#{long}\n{long}\n{}\n/a\0 /b", &long[1..]);
        let (lines, problems) = read(&text);
        assert_eq!(lines, [(3, &long[1..])]);
        assert!(problems[0].starts_with("line 2: ") && problems[0].contains("at most 4000 bytes"));
        assert_eq!(
            problems[1],
            r"line 4: `/a\u{0} /b`: found the control character \u{0}: remove it, or write it percent-encoded"
        );
        let large = "/a /b\n".repeat((1 << 20) / 6 + 5);
        let (lines, problems) = read(&large);
        assert_eq!((lines.len(), problems.len()), ((1 << 20) / 6, 1));
        assert!(problems[0].starts_with(&format!("line {}: `/a /b`", lines.len() + 1)));
    }
}
