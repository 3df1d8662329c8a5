//! HTTP dates.

use std::time::SystemTime;

/// Parses an HTTP date in any of its three formats (RFC 9110 §5.6.7).
pub fn http_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim_ascii()).ok()
}

/// Formats an HTTP date in the preferred format (RFC 9110 §5.6.7).
pub fn format_http_date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}
