//! A header field of an event, found without parsing the event.
//!
//! Parsing takes ten times as long, and most visitors' requests need one field that it does not keep: User-Agent.

use memchr::{memchr, memchr2, memmem};

/// The start of the headers in an event.
const START: &[u8] = b"\"headers\":{";

/// A field whose value the scan does not understand, or whose event it does not: parse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclear;

/// The value of a header field, by its name in any case; `None` if there is none.
///
/// # Errors
/// If the headers are not the first object in the event, a field's value is no string, the value has an escape, or there are
/// several such fields.
pub(super) fn scan<'a>(event: &'a [u8], name: &str) -> Result<Option<&'a str>, Unclear> {
    let start = memmem::find(event, START).ok_or(Unclear)?;
    // Neither an object nor a string before the headers may contain what looks like them.
    let is_first = event.first() == Some(&b'{') && memchr(b'{', event.get(1..start).unwrap_or_default()).is_none();
    if !is_first {
        return Err(Unclear);
    }
    let start = start + START.len();
    let mut rest = &event[start..];
    let mut found = None;
    if rest.starts_with(b"}") {
        return Ok(None);
    }
    loop {
        let (key, after) = string(rest)?;
        let (value, after) = string(after.strip_prefix(b":").ok_or(Unclear)?)?;
        match key {
            Text::Plain(key) if key.eq_ignore_ascii_case(name.as_bytes()) => match (value, found) {
                (Text::Plain(value), None) => found = Some(std::str::from_utf8(value).map_err(|_| Unclear)?),
                _ => return Err(Unclear),
            },
            Text::Plain(_) => {}
            Text::Escaped => return Err(Unclear),
        }
        match after.split_first() {
            Some((b',', after)) => rest = after,
            Some((b'}', _)) => return Ok(found),
            _ => return Err(Unclear),
        }
    }
}

/// The content of a JSON string.
enum Text<'a> {
    Plain(&'a [u8]),
    Escaped,
}

/// Reads a JSON string. Returns it and what follows.
fn string(json: &[u8]) -> Result<(Text<'_>, &[u8]), Unclear> {
    let content = json.strip_prefix(b"\"").ok_or(Unclear)?;
    let mut end = memchr2(b'"', b'\\', content).ok_or(Unclear)?;
    if content[end] == b'"' {
        return Ok((Text::Plain(&content[..end]), &content[end + 1..]));
    }
    while content[end] != b'"' {
        let after = end + 2;
        end = after + memchr2(b'"', b'\\', content.get(after..).ok_or(Unclear)?).ok_or(Unclear)?;
    }
    Ok((Text::Escaped, &content[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::header_names::header_by_parsing;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    #[test]
    fn a_plain_field_is_found_without_parsing() {
        let event = br#"{"version":"2.0","headers":{"a":"1","User-Agent":"Mozilla","z":"\"x\\"},"requestContext":{}}"#;
        for (name, expected) in [("user-agent", Some("Mozilla")), ("a", Some("1")), ("missing", None)] {
            assert_eq!(scan(event, name), Ok(expected), "{name}");
        }
        assert_eq!(scan(event, "z"), Err(Unclear));
        assert_eq!(scan(br#"{"headers":{}}"#, "a"), Ok(None));
    }

    #[test]
    fn other_objects_and_strings_are_not_the_headers() {
        for event in [
            r#"{"a":{"headers":{"x":"1"}},"headers":{"x":"2"}}"#,
            r#"{"rawPath":"/{","headers":{"x":"2"}}"#,
            r#"{"headers": {"x":"2"}}"#,
            r#"{"headers":{"x":"1","X":"2"}}"#,
            r#"{"headers":{"x":5}}"#,
            r#"{"headers":{"x":"1""#,
            r#"{"headers":{"x":"1\"#,
            r#""headers":{"x":"1"}"#,
            "",
        ] {
            assert_eq!(scan(event.as_bytes(), "x"), Err(Unclear), "{event}");
        }
    }

    proptest! {
        #[test]
        fn the_scan_equals_parsing(
            headers in prop::collection::vec(("[a-cA-C]{1,2}", "[a-c\"\\\\{}:,é]{0,6}"), 0..6),
            cookies in prop::collection::vec("[a-c{\"]{0,4}", 0..2),
            name in "[a-c]{1,2}",
        ) {
            let headers: Map<String, Value> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
            let event = json!({"cookies": cookies, "headers": headers, "query": {"headers": {"a": "other"}}}).to_string();
            if let Ok(found) = scan(event.as_bytes(), &name) {
                let parsed = header_by_parsing(event.as_bytes(), &name);
                prop_assert_eq!(found, parsed.as_deref());
            }
        }

        #[test]
        fn no_bytes_break_the_scan(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let event = [b"{\"headers\":{".as_slice(), &bytes].concat();
            let _ = scan(&event, "a");
        }
    }
}
