//! Range requests (RFC 9110 §14): pure functions over what a request asks and what is known of the object.

use std::fmt;
use std::ops::Range;

use crate::http::conditional::{EntityTag, http_date};
use crate::object::Metadata;

/// One range of bytes, as a request asks for it (RFC 9110 §14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`: both positions are included.
    Between(u64, u64),
    /// `first-`: to the end.
    From(u64),
    /// `-length`: the last so many bytes.
    Suffix(u64),
}

impl ByteRange {
    /// Reads a Range field. `None` means the whole object: no field, another unit, several ranges, or a
    /// field that makes no sense, which a server ignores (RFC 9110 §14.2).
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

    /// The bytes that it selects of an object of `bytes`; `None` when it cannot be satisfied.
    pub fn select(self, bytes: u64) -> Option<Range<u64>> {
        let selected = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(bytes),
            Self::From(first) => first..bytes,
            Self::Suffix(length) => bytes.saturating_sub(length)..bytes,
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

/// What a position is cut to: past every object, and still a number to servers that count in 63 bits.
const POSITION_MAX: u64 = u64::MAX >> 1;

/// A position: absent, or digits.
fn position(text: &str) -> Option<Option<u64>> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if text.is_empty() => Some(None),
        true => Some(Some(text.parse().unwrap_or(POSITION_MAX).min(POSITION_MAX))),
        false => None,
    }
}

/// An If-Range field (RFC 9110 §13.1.5): the range counts only for the object that the client has part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfRange<'a> {
    /// An entity tag.
    Tag(EntityTag<'a>),
    /// A date, as it came.
    Date(&'a str),
}

impl<'a> IfRange<'a> {
    /// Reads the field; what is neither tag nor date matches nothing.
    pub fn parse(field: &'a str) -> Self {
        EntityTag::parse(field).map_or(Self::Date(field), Self::Tag)
    }

    /// Whether the object is the one meant: strongly the same tag, or exactly the same date.
    pub fn matches(self, known: &Metadata) -> bool {
        match self {
            Self::Tag(tag) => {
                known.etag.as_deref().and_then(EntityTag::parse).is_some_and(|etag| tag.is_strongly(etag))
            }
            Self::Date(date) => {
                let date = http_date(date);
                date.is_some() && date == known.last_modified.as_deref().and_then(http_date)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc9110_14_1_2_the_three_forms_of_a_range() {
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
    fn rfc9110_14_2_several_ranges_other_units_and_nonsense_mean_the_whole_object() {
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
    fn rfc9110_14_1_2_a_range_is_cut_to_the_object_or_cannot_be_satisfied() {
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
        assert_eq!(ByteRange::From(0).select(0), None, "there is no byte in an empty object");
        assert_eq!(ByteRange::Suffix(1).select(0), None);
    }

    #[test]
    fn rfc9110_13_1_5_if_range_wants_the_very_same_object() {
        let known = Metadata {
            etag: Some("\"a\"".into()),
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
            ..Metadata::default()
        };
        for (field, holds) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(IfRange::parse(field).matches(&known), holds, "{field}");
        }
        assert!(!IfRange::parse("nonsense").matches(&Metadata::default()));
    }

    proptest! {
        #[test]
        fn what_is_selected_is_what_a_byte_by_byte_reading_selects(first in 0_u64..12, last in 0_u64..12, form in 0..3, bytes in 0_u64..10) {
            let (range, wanted): (_, Box<dyn Fn(u64) -> bool>) = match form {
                0 => (ByteRange::Between(first.min(last), first.max(last)), Box::new(move |at| at >= first.min(last) && at <= first.max(last))),
                1 => (ByteRange::From(first), Box::new(move |at| at >= first)),
                _ => (ByteRange::Suffix(last), Box::new(move |at| at + last >= bytes)),
            };
            let plain: Vec<u64> = (0..bytes).filter(|at| wanted(*at)).collect();
            let selected: Vec<u64> = range.select(bytes).map(Iterator::collect).unwrap_or_default();
            prop_assert_eq!(selected, plain);
            prop_assert_eq!(ByteRange::parse(&range.to_string()), Some(range));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(?s:.){0,60}|bytes=[0-9,\\- ]{0,40}", bytes in any::<u64>()) {
            if let Some(selected) = ByteRange::parse(&text).and_then(|range| range.select(bytes)) {
                prop_assert!(selected.start < selected.end && selected.end <= bytes);
            }
            IfRange::parse(&text).matches(&Metadata::default());
        }
    }
}
