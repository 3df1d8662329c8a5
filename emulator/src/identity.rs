//! Random ids in the formats of AWS, and timestamps. The ids are not secret.

use std::time::{SystemTime, UNIX_EPOCH};

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `count` random letters and digits.
pub fn letters(count: usize) -> String {
    (0..count).map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())])).collect()
}

/// `count` random hexadecimal digits in lower case.
pub fn hex(count: usize) -> String {
    (0..count).map(|_| fastrand::digit(16)).collect()
}

/// A random UUID (RFC 9562, version 4), the format of Lambda's request ids.
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

/// The field `Root` of `X-Amzn-Trace-Id`: a new trace id with the current time
/// ([X-Ray concepts](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader)).
pub fn trace_root() -> String {
    format!("Root=1-{:08x}-{}", now_ms() / 1000, hex(24))
}
