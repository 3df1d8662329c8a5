//! Writes JSON strings and object members (RFC 8259) into an existing buffer.

/// Whether JSON escapes a byte (RFC 8259 §7).
pub(crate) const IS_ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < b' ' {
        table[byte as usize] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// Writes a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    // Almost no text needs escapes.
    if text.bytes().fold(false, |found, byte| found | IS_ESCAPED[usize::from(byte)]) {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| IS_ESCAPED[usize::from(*byte)]) {
            out.extend_from_slice(&rest[..at]);
            write_escape(out, rest[at]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

/// Writes the escape of a quotation mark, a backslash or a control character (RFC 8259 §7).
fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            out.extend_from_slice(b"\\u00");
            out.extend([digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

/// Writes an object member and a comma. The name must not need escapes.
pub(crate) fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
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
        fn strings_are_written_as_serde_json_writes_them(text in "(?s:.){0,40}") {
            let mut written = Vec::new();
            write_string(&mut written, &text);
            prop_assert_eq!(written, serde_json::to_vec(&text).unwrap());
        }
    }
}
