//! Ids in the forms that AWS gives them. They are random, not secret.

use std::time::{SystemTime, UNIX_EPOCH};

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Letters and digits.
pub fn letters(count: usize) -> String {
    (0..count).map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())])).collect()
}

/// Lower-case hexadecimal digits.
pub fn hex(count: usize) -> String {
    (0..count).map(|_| fastrand::digit(16)).collect()
}

/// A random UUID (RFC 9562, version 4), as Lambda's request ids are.
pub fn uuid() -> String {
    let variant = ['8', '9', 'a', 'b'][fastrand::usize(..4)];
    format!("{}-{}-4{}-{variant}{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12))
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The root of a trace, as in `X-Amzn-Trace-Id`
/// ([X-Ray concepts](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader)).
pub fn trace_root() -> String {
    format!("Root=1-{:08x}-{}", now_ms() / 1000, hex(24))
}
