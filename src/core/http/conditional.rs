//! Conditional requests (RFC 9110 §13): evaluates header fields against an object's metadata.

use std::fmt;

use crate::http::accept::Accepts;
use crate::http::date::http_date;
use crate::object::{Metadata, split_copy_tag};

/// The conditional header fields of a request, unparsed. Repeated fields are joined with commas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    /// If-Match.
    pub if_match: Option<&'a str>,
    /// If-None-Match.
    pub if_none_match: Option<&'a str>,
    /// If-Modified-Since.
    pub if_modified_since: Option<&'a str>,
    /// If-Unmodified-Since.
    pub if_unmodified_since: Option<&'a str>,
}

/// The result of the conditions for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Respond as to an unconditional request.
    Proceed,
    /// The client's copy is current: 304.
    NotModified,
    /// The object does not meet a precondition: 412.
    Failed,
}

impl Conditions<'_> {
    /// Evaluates the conditions in the order of RFC 9110 §13.2.2.
    ///
    /// With `accepts`, the tag of any copy that the client may hold stands for the object: the client's copy is current if its
    /// source is. `None` if the object has no copies. In If-None-Match the tag of the object itself does not match a copy: the
    /// client prefers the copy, and a CDN that stores the first response would otherwise never receive it.
    pub fn evaluate(&self, current: &Metadata, accepts: Option<&Accepts<'_>>) -> Verdict {
        if self.is_empty() {
            return Verdict::Proceed;
        }
        let etag = current.etag.as_deref().and_then(EntityTag::parse);
        let modified = current.last_modified.as_deref().and_then(http_date);
        // Steps 1 and 2. If-Match, or an invalid date, disables If-Unmodified-Since (§13.1.4).
        match (self.if_match, self.if_unmodified_since.and_then(http_date)) {
            (Some(tags), _) if !matches_any(tags, etag, (EntityTag::strong_eq, true), accepts) => {
                return Verdict::Failed;
            }
            (None, Some(since)) if modified.is_some_and(|modified| modified > since) => return Verdict::Failed,
            _ => {}
        }
        // Steps 3 and 4. If-None-Match, or an invalid date, disables If-Modified-Since (§13.1.3).
        let unchanged = match (self.if_none_match, self.if_modified_since.and_then(http_date)) {
            (Some(tags), _) => matches_any(tags, etag, (EntityTag::weak_eq, false), accepts),
            (None, Some(since)) => modified.is_some_and(|modified| modified <= since),
            (None, None) => false,
        };
        if unchanged { Verdict::NotModified } else { Verdict::Proceed }
    }

    /// The tag in If-None-Match that made the verdict [`Verdict::NotModified`], if it is that of another copy than `current`.
    pub fn held_copy(&self, current: &Metadata, accepts: &Accepts<'_>) -> Option<EntityTag<'_>> {
        let etag = EntityTag::parse(current.etag.as_deref()?)?;
        let mut held = entity_tags(self.if_none_match?)
            .filter(|tag| is_current(*tag, etag, (EntityTag::weak_eq, false), Some(accepts)));
        // The current one is preferred.
        held.clone().all(|tag| !tag.weak_eq(etag)).then(|| held.next()).flatten()
    }

    /// Whether If-Match names a copy, as a client does that resumes the download of one.
    pub fn requires_copy(&self) -> bool {
        self.if_match.is_some_and(|tags| entity_tags(tags).any(|tag| split_copy_tag(tag.opaque).is_some()))
    }

    /// Whether the request has no conditions.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Whether the tag has the prefix `W/`.
    pub weak: bool,
    /// The text between the quotes.
    pub opaque: &'a str,
}

impl<'a> EntityTag<'a> {
    /// Parses exactly one entity tag.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (tag, rest) = Self::split(text.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Parses an entity tag at the start of `text`; returns it and the rest.
    fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        // etagc excludes spaces and control characters.
        opaque.bytes().all(|byte| byte > b' ' && byte != 0x7f).then_some((Self { weak, opaque }, rest))
    }

    /// Strong comparison, for If-Match and If-Range (RFC 9110 §8.8.3.2).
    pub fn strong_eq(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison, for If-None-Match (RFC 9110 §8.8.3.2).
    pub fn weak_eq(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// The tag of the object itself: of a copy's tag, that of its source.
    fn of_source(self) -> Self {
        Self { opaque: split_copy_tag(self.opaque).map_or(self.opaque, |(source, _)| source), ..self }
    }
}

impl fmt::Display for EntityTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque)
    }
}

/// The entity tags of a list (RFC 9110 §5.6.1). Tags may contain commas. The list ends at the first invalid tag.
pub fn entity_tags(list: &str) -> impl Iterator<Item = EntityTag<'_>> + Clone {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (tag, after) = EntityTag::split(rest)?;
        rest = after;
        Some(tag)
    })
}

/// Whether a tag of `list` is that of the object or of a copy of it. `*` matches every existing object, so it matches here.
fn matches_any<'a>(
    list: &'a str,
    etag: Option<EntityTag<'a>>,
    eq: (impl Fn(EntityTag<'a>, EntityTag<'a>) -> bool + Copy, bool),
    accepts: Option<&Accepts<'_>>,
) -> bool {
    list.trim_ascii() == "*" || etag.is_some_and(|etag| entity_tags(list).any(|tag| is_current(tag, etag, eq, accepts)))
}

/// Whether `tag` is `etag`, or that of a copy that the client may hold; `with_source` also accepts that of the source.
fn is_current<'a>(
    tag: EntityTag<'a>,
    etag: EntityTag<'a>,
    (eq, with_source): (impl Fn(EntityTag<'a>, EntityTag<'a>) -> bool, bool),
    accepts: Option<&Accepts<'_>>,
) -> bool {
    let may_hold = |accepts: &Accepts<'_>| match split_copy_tag(tag.opaque) {
        Some((_, kind)) => accepts.may_hold(kind),
        None => with_source,
    };
    eq(tag, etag) || eq(tag.of_source(), etag.of_source()) && accepts.is_some_and(may_hold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn object(etag: &str) -> Metadata {
        Metadata { etag: Some(etag.into()), last_modified: Some(MODIFIED.into()), ..Metadata::default() }
    }

    fn evaluate(conditions: Conditions<'_>) -> Verdict {
        conditions.evaluate(&object("\"a\""), None)
    }

    fn if_none_match(value: &str) -> Verdict {
        evaluate(Conditions { if_none_match: Some(value), ..Conditions::default() })
    }

    fn if_match(value: &str) -> Verdict {
        evaluate(Conditions { if_match: Some(value), ..Conditions::default() })
    }

    #[test]
    fn rfc9110_13_1_2_if_none_match_compares_weakly() {
        for matching in
            ["\"a\"", "W/\"a\"", "*", " \"a\" ", "\"b\", \"a\"", "\"b\",W/\"a\"", ",, \"a\"", "\"b,c\", \"a\""]
        {
            assert_eq!(if_none_match(matching), Verdict::NotModified, "{matching}");
        }
        for other in ["\"b\"", "a", "\"a", "W/a", "w/\"a\"", "\"b\", \"c\"", "", "\"a b\"", "\"A\"", "\"b\" \"c", "*a"]
        {
            assert_eq!(if_none_match(other), Verdict::Proceed, "{other}");
        }
    }

    #[test]
    fn rfc9110_13_1_1_if_match_compares_strongly() {
        for matching in ["\"a\"", "*", "\"b\", \"a\""] {
            assert_eq!(if_match(matching), Verdict::Proceed, "{matching}");
        }
        for other in ["W/\"a\"", "\"b\"", "", "nonsense"] {
            assert_eq!(if_match(other), Verdict::Failed, "{other}");
        }
        let weak = Conditions { if_match: Some("W/\"a\""), ..Conditions::default() };
        assert_eq!(
            weak.evaluate(&object("W/\"a\""), None),
            Verdict::Failed,
            "two weak tags are never equal in a strong comparison"
        );
    }

    #[test]
    fn rfc9110_13_1_3_if_modified_since_compares_valid_dates() {
        let since = |date| evaluate(Conditions { if_modified_since: Some(date), ..Conditions::default() });
        assert_eq!(since(BEFORE), Verdict::Proceed);
        for date in [
            MODIFIED,
            AFTER,
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(since(date), Verdict::NotModified, "{date}");
        }
        for invalid in ["", "yesterday", "1994-11-06", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(since(invalid), Verdict::Proceed, "{invalid}");
        }
    }

    #[test]
    fn rfc9110_13_1_4_if_unmodified_since_fails_if_modified_later() {
        let since = |date| evaluate(Conditions { if_unmodified_since: Some(date), ..Conditions::default() });
        assert_eq!(since(BEFORE), Verdict::Failed);
        for date in [MODIFIED, AFTER, "nonsense"] {
            assert_eq!(since(date), Verdict::Proceed, "{date}");
        }
    }

    #[test]
    fn rfc9110_13_2_2_conditions_are_evaluated_in_order() {
        let (same, other) = (Some("\"a\""), Some("\"b\""));
        for (if_match, if_unmodified_since, if_none_match, if_modified_since, expected) in [
            // A tag takes precedence over the date.
            (same, Some(BEFORE), None, None, Verdict::Proceed),
            (other, Some(AFTER), None, None, Verdict::Failed),
            (None, None, other, Some(AFTER), Verdict::Proceed),
            (None, None, same, Some(BEFORE), Verdict::NotModified),
            // A failed precondition takes precedence over a 304.
            (other, None, same, None, Verdict::Failed),
            (None, Some(BEFORE), same, None, Verdict::Failed),
            (same, None, same, None, Verdict::NotModified),
        ] {
            let conditions = Conditions { if_match, if_unmodified_since, if_none_match, if_modified_since };
            assert_eq!(evaluate(conditions), expected, "{conditions:?}");
        }
    }

    #[test]
    fn an_object_without_validators_matches_only_the_star() {
        let bare = Metadata::default();
        let conditions =
            |if_none_match, if_modified_since| Conditions { if_none_match, if_modified_since, ..Conditions::default() };
        assert_eq!(conditions(Some("\"a\""), None).evaluate(&bare, None), Verdict::Proceed);
        assert_eq!(conditions(Some("*"), None).evaluate(&bare, None), Verdict::NotModified);
        assert_eq!(conditions(None, Some(AFTER)).evaluate(&bare, None), Verdict::Proceed);
    }

    /// A second implementation of RFC 9110 §13.2.2, over tags and date offsets instead of header fields.
    fn oracle(etag: &str, tags: [Option<&[&str]>; 2], dates: [Option<i64>; 2]) -> Verdict {
        let ([if_match, if_none_match], [unmodified, modified]) = (tags, dates);
        let failed = match if_match {
            Some(tags) => !tags.contains(&etag),
            None => unmodified.is_some_and(|offset| offset < 0),
        };
        let unchanged = match if_none_match {
            Some(tags) => tags.contains(&etag),
            None => modified.is_some_and(|offset| offset >= 0),
        };
        match (failed, unchanged) {
            (true, _) => Verdict::Failed,
            (false, true) => Verdict::NotModified,
            (false, false) => Verdict::Proceed,
        }
    }

    proptest! {
        #[test]
        fn every_combination_agrees_with_a_second_implementation(
            tags in prop::array::uniform2(
                prop::option::of(prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)),
            ),
            dates in prop::array::uniform2(prop::option::of(-2_i64..3)),
        ) {
            let date = |offset: i64| {
                let at = http_date(MODIFIED).unwrap();
                let moved = std::time::Duration::from_secs(offset.unsigned_abs());
                httpdate::fmt_http_date(if offset < 0 { at - moved } else { at + moved })
            };
            let list = |tags: &Vec<&str>| tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ");
            let [if_match, if_none_match] = tags.each_ref().map(|tags| tags.as_ref().map(list));
            let [if_unmodified_since, if_modified_since] = dates.map(|offset| offset.map(date));
            let conditions = Conditions {
                if_match: if_match.as_deref(),
                if_none_match: if_none_match.as_deref(),
                if_modified_since: if_modified_since.as_deref(),
                if_unmodified_since: if_unmodified_since.as_deref(),
            };
            let expected = oracle("a", tags.each_ref().map(|tags| tags.as_deref()), dates);
            prop_assert_eq!(evaluate(conditions), expected);
        }

        #[test]
        fn no_text_makes_a_condition_panic(text in "(?s:.){0,80}") {
            let all = Some(text.as_str());
            evaluate(Conditions {
                if_match: all,
                if_none_match: all,
                if_modified_since: all,
                if_unmodified_since: all,
            });
        }
    }
}
