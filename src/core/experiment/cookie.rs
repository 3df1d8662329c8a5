//! The visitor's cookie: `1.ID.MARKS`, with a format version, the id and marks of what has been counted.

use crate::experiment::mark::{IS_BASE64, MARK_LEN, Mark};

/// The version of the format.
const VERSION: &str = "1";

/// The number of random bytes of an id.
pub const ID_BYTES: usize = 16;

/// The number of characters of an id: base64 without padding.
const ID_LEN: usize = 22;

/// The most marks that are kept. With the other cookie, the visitor's cookies stay below 1 kB.
pub(super) const MARKS_MAX: usize = 64;

/// The content of the visitor's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VisitorState<'a> {
    /// The id.
    pub(super) id: &'a str,
    /// The marks of what has been counted.
    marks: &'a str,
}

impl<'a> VisitorState<'a> {
    /// Reads a cookie; `None` if it is malformed.
    pub(super) fn read(cookie: &'a str) -> Option<Self> {
        let (id, marks) = cookie.strip_prefix(VERSION)?.strip_prefix('.')?.split_at_checked(ID_LEN)?;
        let marks = marks.strip_prefix('.')?;
        let is_base64 = |text: &str| text.bytes().all(|byte| IS_BASE64[usize::from(byte)]);
        let is_valid =
            marks.len() % MARK_LEN == 0 && marks.len() <= MARKS_MAX * MARK_LEN && is_base64(id) && is_base64(marks);
        is_valid.then_some(Self { id, marks })
    }

    /// A visitor with an id from [`encode_id`].
    pub(super) fn new(id: &'a str) -> Self {
        Self { id, marks: "" }
    }

    /// What has been counted.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        self.marks.as_bytes().as_chunks().0.iter().map(Mark::read)
    }

    /// Whether something has been counted.
    pub(super) fn is_counted(&self, mark: Mark) -> bool {
        self.marks().any(|counted| counted == mark)
    }

    /// The cookie's value with more marks. Of its own marks, those stay that `is_kept` selects.
    pub(super) fn write(&self, more: impl Iterator<Item = Mark>, is_kept: impl Fn(Mark) -> bool) -> String {
        let mut cookie = String::with_capacity(ID_LEN + 4 + self.marks.len() + 4 * MARK_LEN);
        for part in [VERSION, ".", self.id, "."] {
            cookie.push_str(part);
        }
        let start = cookie.len();
        for mark in more.chain(self.marks().filter(|mark| is_kept(*mark))) {
            let mut written = cookie.as_bytes()[start..].as_chunks().0.iter();
            if written.len() < MARKS_MAX && !written.any(|written| Mark::read(written) == mark) {
                cookie.extend(mark.chars());
            }
        }
        cookie
    }
}

/// The text of an id.
pub(super) fn encode_id(random: [u8; ID_BYTES]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "AAECAwQFBgcICQoLDA0ODw";

    #[test]
    fn an_id_is_128_bits_of_base64() {
        let random = std::array::from_fn(|index| index as u8);
        assert_eq!(encode_id(random), ID);
        assert!(VisitorState::read(&format!("1.{ID}.")).is_some_and(|state| state.id == ID));
    }

    #[test]
    fn marks_are_added_and_only_the_selected_ones_stay() {
        let [first, second] = ["a", "b"].map(|key| Mark::exposure(key, "0"));
        let cookie = VisitorState::new(ID).write([first, second].into_iter(), |_| false);
        let state = VisitorState::read(&cookie).unwrap();
        assert!(state.is_counted(first) && state.is_counted(second) && !state.is_counted(Mark::exposure("c", "0")));
        let goal = Mark::conversion("a", "0", "signup");
        let cookie = state.write([goal].into_iter(), |mark| mark == first);
        let state = VisitorState::read(&cookie).unwrap();
        assert_eq!(state.marks().collect::<Vec<_>>(), [goal, first]);
    }

    #[test]
    fn phases_goals_and_previews_have_marks_of_their_own() {
        let marks = [
            Mark::exposure("a", "0"),
            Mark::exposure("a", "1"),
            Mark::excluded("a", "0"),
            Mark::preview("a"),
            Mark::conversion("a", "0", "b"),
            Mark::conversion("a", "1", "b"),
            Mark::conversion("a", "0", "c"),
        ];
        let distinct: std::collections::BTreeSet<_> = marks.into_iter().collect();
        assert_eq!(distinct.len(), marks.len());
    }

    #[test]
    fn malformed_cookies_are_no_visitors() {
        for cookie in [
            "",
            "1",
            "1..",
            "2.AAECAwQFBgcICQoLDA0ODw.",
            "1.AAECAwQFBgcICQoLDA0ODw",
            "1.AAECAwQFBgcICQoLDA0OD.",
            "1.AAECAwQFBgcICQoLDA0OD;.",
            "1.AAECAwQFBgcICQoLDA0ODw.abc",
            "1.AAECAwQFBgcICQoLDA0ODw.abc/",
        ] {
            assert_eq!(VisitorState::read(cookie), None, "{cookie}");
        }
        assert_eq!(VisitorState::read(&format!("1.{ID}.{}", "a".repeat((MARKS_MAX + 1) * MARK_LEN))), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_stays_short(marks in prop::collection::vec("[a-zA-Z0-9_-]{4}", 0..100)) {
            let marks: Vec<Mark> = marks.iter().map(|mark| Mark::read(mark.as_bytes().try_into().unwrap())).collect();
            let cookie = VisitorState::new(ID).write(marks.iter().copied(), |_| true);
            let state = VisitorState::read(&cookie).unwrap();
            prop_assert_eq!(state.id, ID);
            prop_assert!(cookie.len() <= 281);
            prop_assert!(marks.iter().take(MARKS_MAX).all(|mark| state.is_counted(*mark)));
        }
    }
}
