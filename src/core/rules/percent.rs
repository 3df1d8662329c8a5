//! Characters that a Location must percent-encode (RFC 3986).

use percent_encoding::{AsciiSet, CONTROLS};

/// Characters that a query must encode (RFC 3986 §3.4). The query arrives encoded, so `%` stays.
pub(super) const QUERY_ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Characters that a path must encode (RFC 3986 §3.3), and `+`: S3, which serves the new address, reads it as a space.
pub(super) const PATH_ENCODED: &AsciiSet = &QUERY_ENCODED.add(b'%').add(b'+').add(b'?');

/// Characters that one segment of a path must encode.
pub(super) const SEGMENT_ENCODED: &AsciiSet = &PATH_ENCODED.add(b'/');

/// Characters that the value of a query parameter must encode.
pub(super) const PARAMETER_ENCODED: &AsciiSet = &QUERY_ENCODED.add(b'%').add(b'&').add(b'=').add(b'+');

/// Characters that a fragment must encode (RFC 3986 §3.5).
pub(super) const FRAGMENT_ENCODED: &AsciiSet = &QUERY_ENCODED.add(b'%');

/// Characters that the written path of a target must encode. It may contain encoded bytes.
pub(super) const PATH_TEXT_ENCODED: &AsciiSet = &PATH_ENCODED.remove(b'%').remove(b'+');

/// Characters that the written fragment of a target must encode. Browsers accept `#` there, and Cloudflare keeps it.
pub(super) const FRAGMENT_TEXT_ENCODED: &AsciiSet = &QUERY_ENCODED.remove(b'#');
