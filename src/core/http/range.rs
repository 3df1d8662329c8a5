//! Range requests (RFC 9110 §14): parses Range and If-Range, and selects bytes of an object.

use std::fmt;
use std::ops::Range;

use crate::http::conditional::EntityTag;
use crate::http::date::http_date;
use crate::object::Metadata;

/// The requested range of bytes (RFC 9110 §14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`, both inclusive.
    Between(u64, u64),
    /// `first-`: to the end.
    From(u64),
    /// `-length`: the last `length` bytes.
    Suffix(u64),
}

impl ByteRange {
    /// Parses a Range field. `None` means the whole object: another unit, several ranges, or an invalid field, which a
    /// server ignores (RFC 9110 §14.2).
    pub fn parse(field: &str) -> Option<Self> {
        let (unit, set) = field.trim_ascii().split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut ranges = set.split(',').map(str::trim_ascii).filter(|range| !range.is_empty());
        let (first, last) = ranges.next()?.split_once('-')?;
        let range = match (position(first)?, position(last)?) {
            (Some(first), Some(last)) if first <= last => Self::Between(first, last),
            (Some(first), None) => Self::From(first),
            (None, Some(length)) => Self::Suffix(length),
            _ => return None,
        };
        ranges.next().is_none().then_some(range)
    }

    /// The selected bytes of an object of `size_bytes`; `None` if the range is unsatisfiable.
    pub fn select(self, size_bytes: u64) -> Option<Range<u64>> {
        let selected = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(size_bytes),
            Self::From(first) => first..size_bytes,
            Self::Suffix(length) => size_bytes.saturating_sub(length)..size_bytes,
        };
        (selected.start < selected.end).then_some(selected)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(first, last) => write!(f, "bytes={first}-{last}"),
            Self::From(first) => write!(f, "bytes={first}-"),
            Self::Suffix(length) => write!(f, "bytes=-{length}"),
        }
    }
}

/// The maximum of a position: beyond every object, and still valid for servers with signed 64-bit positions.
const POSITION_MAX: u64 = u64::MAX >> 1;

/// Parses an optional position, at most [`POSITION_MAX`]; `None` if the text is not a number.
fn position(text: &str) -> Option<Option<u64>> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if text.is_empty() => Some(None),
        true => Some(Some(text.parse().unwrap_or(POSITION_MAX).min(POSITION_MAX))),
        false => None,
    }
}

/// An If-Range field (RFC 9110 §13.1.5): the range applies only if the object is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfRange<'a> {
    /// An entity tag.
    Tag(EntityTag<'a>),
    /// A date, unparsed.
    Date(&'a str),
}

impl<'a> IfRange<'a> {
    /// Parses the field. A field that is neither a tag nor a date matches no object.
    pub fn parse(field: &'a str) -> Self {
        EntityTag::parse(field).map_or(Self::Date(field), Self::Tag)
    }

    /// Whether the object has the same tag, by strong comparison, or exactly the same date.
    pub fn matches(self, current: &Metadata) -> bool {
        match self {
            Self::Tag(tag) => {
                current.etag.as_deref().and_then(EntityTag::parse).is_some_and(|etag| tag.strong_eq(etag))
            }
            Self::Date(date) => {
                let date = http_date(date);
                date.is_some() && date == current.last_modified.as_deref().and_then(http_date)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc9110_14_1_2_all_three_forms_of_a_range_are_parsed() {
        for (field, range) in [
            ("bytes=0-499", ByteRange::Between(0, 499)),
            ("bytes=9500-", ByteRange::From(9500)),
            ("bytes=-500", ByteRange::Suffix(500)),
            ("BYTES=1-1", ByteRange::Between(1, 1)),
            (" bytes= 1-2 ", ByteRange::Between(1, 2)),
            ("bytes=,1-2,", ByteRange::Between(1, 2)),
            ("bytes=0-18446744073709551616", ByteRange::Between(0, POSITION_MAX)),
            ("bytes=18446744073709551615-", ByteRange::From(POSITION_MAX)),
        ] {
            assert_eq!(ByteRange::parse(field), Some(range), "{field}");
        }
    }

    #[test]
    fn rfc9110_14_2_an_unsupported_range_means_the_whole_object() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=1-2,4-5",
            "bytes=1-2,x",
            "items=0-5",
            "bytes=1--2",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes 0-1",
            "bytes=1",
            "bytes=1 - 2",
            "=0-1",
            "bytes==0-1",
        ] {
            assert_eq!(ByteRange::parse(field), None, "{field}");
        }
    }

    #[test]
    fn rfc9110_14_1_2_a_range_is_clipped_or_unsatisfiable() {
        for (range, selected) in [
            (ByteRange::Between(0, 0), Some(0..1)),
            (ByteRange::Between(8, 99), Some(8..10)),
            (ByteRange::Between(0, u64::MAX), Some(0..10)),
            (ByteRange::From(9), Some(9..10)),
            (ByteRange::Suffix(3), Some(7..10)),
            (ByteRange::Suffix(99), Some(0..10)),
            (ByteRange::From(10), None),
            (ByteRange::From(u64::MAX), None),
            (ByteRange::Between(10, 11), None),
            (ByteRange::Suffix(0), None),
        ] {
            assert_eq!(range.select(10), selected, "{range}");
        }
        assert_eq!(ByteRange::From(0).select(0), None, "an empty object has no bytes");
        assert_eq!(ByteRange::Suffix(1).select(0), None);
    }

    #[test]
    fn rfc9110_13_1_5_if_range_requires_an_unchanged_object() {
        let current = Metadata {
            etag: Some("\"a\"".into()),
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
            ..Metadata::default()
        };
        for (field, matches) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(IfRange::parse(field).matches(&current), matches, "{field}");
        }
        assert!(!IfRange::parse("nonsense").matches(&Metadata::default()));
    }

    proptest! {
        #[test]
        fn a_selection_agrees_with_a_byte_by_byte_check(
            first in 0_u64..12,
            last in 0_u64..12,
            form in 0..3,
            bytes in 0_u64..10,
        ) {
            let (start, end) = (first.min(last), first.max(last));
            let (range, is_selected): (_, Box<dyn Fn(u64) -> bool>) = match form {
                0 => (ByteRange::Between(start, end), Box::new(move |at| (start..=end).contains(&at))),
                1 => (ByteRange::From(first), Box::new(move |at| at >= first)),
                _ => (ByteRange::Suffix(last), Box::new(move |at| at + last >= bytes)),
            };
            let expected: Vec<u64> = (0..bytes).filter(|at| is_selected(*at)).collect();
            let selected: Vec<u64> = range.select(bytes).map(Iterator::collect).unwrap_or_default();
            prop_assert_eq!(selected, expected);
            prop_assert_eq!(ByteRange::parse(&range.to_string()), Some(range));
        }

        #[test]
        fn no_text_makes_a_range_panic(text in "(?s:.){0,60}|bytes=[0-9,\\- ]{0,40}", bytes in any::<u64>()) {
            if let Some(selected) = ByteRange::parse(&text).and_then(|range| range.select(bytes)) {
                prop_assert!(selected.start < selected.end && selected.end <= bytes);
            }
            IfRange::parse(&text).matches(&Metadata::default());
        }
    }
}
