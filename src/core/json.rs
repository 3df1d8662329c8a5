//! The little JSON that is written by hand: strings and members (RFC 8259), into a buffer that is there already.

/// Writes a string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Nearly every text needs no escape: one look, one copy.
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Into a Vec there is nothing that could fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Writes a member of an object, and the comma after it; the name is one of ours and needs no escape.
pub(crate) fn write_member(out: &mut Vec<u8>, name: &'static str, value: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    write_string(out, value);
    out.push(b',');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_writes(text in "(?s:.){0,40}") {
            let mut written = Vec::new();
            write_string(&mut written, &text);
            prop_assert_eq!(written, serde_json::to_vec(&text).unwrap());
        }
    }
}
