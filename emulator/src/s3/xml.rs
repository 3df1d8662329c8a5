//! Characters that XML 1.0 cannot represent, or that a parser changes.

use std::fmt::Write;

use bytes::Bytes;

/// Whether XML 1.0 can represent a character (<https://www.w3.org/TR/xml/#charsets>).
pub(crate) fn is_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Replaces by character references what s3s writes as it is: a carriage return, which a parser reads as a line feed,
/// and characters that XML 1.0 cannot represent. Many parsers reject the latter; S3 sends them in the same way.
pub(crate) fn escape(body: Bytes) -> Bytes {
    let must_escape = |character: char| character == '\r' || !is_char(character);
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    if !text.contains(must_escape) {
        return body;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if must_escape(character) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "&#x{:x};", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_character_references() {
        let escape =
            |text: &'static str| String::from_utf8(escape(Bytes::from_static(text.as_bytes())).to_vec()).unwrap();
        assert_eq!(escape("<Key>a\u{1}b\r\u{ffff}</Key>"), "<Key>a&#x1;b&#xd;&#xffff;</Key>");
        assert_eq!(escape("<Key>\u{e9}\t\n \u{10ffff}</Key>"), "<Key>\u{e9}\t\n \u{10ffff}</Key>");
    }
}
