//! The visitor's cookie: `1.ID.MARKS`, with a format version, the id and the exposures that have been counted.

use std::iter;

use crate::experiment::label::{Label, Mark};

/// The version of the format.
const VERSION: &str = "1";

/// The number of random bytes of an id.
pub const ID_BYTES: usize = 16;

/// The number of characters of an id: base64 without padding.
const ID_LEN: usize = 22;

/// The number of characters of a mark.
const MARK_LEN: usize = 6;

/// The most marks that are kept.
const MARKS_MAX: usize = 40;

/// The alphabet of base64url (RFC 4648 §5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Whether a byte is in the alphabet.
const IS_BASE64: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    while index < ALPHABET.len() {
        table[ALPHABET[index] as usize] = true;
        index += 1;
    }
    table
};

/// The content of the visitor's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VisitorState<'a> {
    /// The id.
    pub(super) id: &'a str,
    /// The marks of counted exposures.
    marks: &'a str,
}

impl<'a> VisitorState<'a> {
    /// Reads a cookie; `None` if it is malformed.
    pub(super) fn read(cookie: &'a str) -> Option<Self> {
        let (id, marks) = cookie.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        let is_base64 = |text: &str| text.bytes().all(|byte| IS_BASE64[usize::from(byte)]);
        let is_valid = id.len() == ID_LEN
            && marks.len() % MARK_LEN == 0
            && marks.len() <= MARKS_MAX * MARK_LEN
            && is_base64(id)
            && is_base64(marks);
        is_valid.then_some(Self { id, marks })
    }

    /// A visitor with an id from [`encode_id`].
    pub(super) fn new(id: &'a str) -> Self {
        Self { id, marks: "" }
    }

    /// Whether an exposure has been counted.
    pub(super) fn is_counted(&self, mark: Mark) -> bool {
        let encoded = encode(mark);
        self.marks.as_bytes().chunks_exact(MARK_LEN).any(|counted| counted == encoded)
    }

    /// Whether an experiment is previewed.
    pub(super) fn has_preview(&self, labels: &[Label]) -> bool {
        !self.marks.is_empty() && labels.iter().any(|label| self.is_counted(label.preview))
    }

    /// The cookie's value with more marks. Drops those of experiments that no label names, and of a preview that has ended.
    pub(super) fn write(&self, more: impl Iterator<Item = Mark>, previews: bool, labels: &[Label]) -> String {
        let mut cookie = String::with_capacity(ID_LEN + 4 + self.marks.len() + 4 * MARK_LEN);
        for part in [VERSION, ".", self.id, "."] {
            cookie.push_str(part);
        }
        let of_label = |label: &Label| [Some(label.mark), previews.then_some(label.preview)];
        let kept = labels.iter().flat_map(of_label).flatten().filter(|mark| self.is_counted(*mark));
        let mut written: Vec<Mark> = Vec::new();
        for mark in more.chain(kept) {
            if written.len() < MARKS_MAX && !written.contains(&mark) {
                written.push(mark);
                cookie.extend(encode(mark).map(char::from));
            }
        }
        cookie
    }
}

/// The text of an id.
pub(super) fn encode_id(random: [u8; ID_BYTES]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(random)
}

/// A mark as base64url, six bits per character.
fn encode(Mark(mark): Mark) -> [u8; MARK_LEN] {
    let mut digits = iter::successors(Some(mark), |rest| Some(rest >> 6));
    [(); MARK_LEN].map(|()| ALPHABET[digits.next().map_or(0, |rest| rest as usize & 63)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "AAECAwQFBgcICQoLDA0ODw";

    fn labels() -> Vec<Label> {
        ["a", "b"].map(|key| Label::new(key, 0, "0", 0, ["0".into(), "1".into()].into_iter())).to_vec()
    }

    #[test]
    fn an_id_is_128_bits_of_base64() {
        let random = std::array::from_fn(|index| index as u8);
        assert_eq!(encode_id(random), ID);
        assert!(VisitorState::read(&format!("1.{ID}.")).is_some_and(|state| state.id == ID));
    }

    #[test]
    fn counted_exposures_are_kept_while_their_experiment_exists() {
        let labels = labels();
        let [first, second] = [labels[0].mark, labels[1].mark];
        let cookie = VisitorState::new(ID).write([first, second].into_iter(), false, &labels);
        let state = VisitorState::read(&cookie).unwrap();
        assert!(state.is_counted(first) && state.is_counted(second) && !state.is_counted(Mark(1)));
        let cookie = state.write(iter::empty(), false, &labels[..1]);
        let state = VisitorState::read(&cookie).unwrap();
        assert!(state.is_counted(first) && !state.is_counted(second));
    }

    #[test]
    fn a_new_phase_has_another_mark() {
        let mark = |phase| Label::new("a", 0, phase, 0, iter::empty()).mark;
        assert_ne!(mark("0"), mark("1"));
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
            "1.AAECAwQFBgcICQoLDA0ODw.abcde/",
        ] {
            assert_eq!(VisitorState::read(cookie), None, "{cookie}");
        }
        assert_eq!(VisitorState::read(&format!("1.{ID}.{}", "a".repeat((MARKS_MAX + 1) * MARK_LEN))), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_stays_short(marks in prop::collection::vec(any::<u32>(), 0..100)) {
            let cookie = VisitorState::new(ID).write(marks.iter().copied().map(Mark), false, &labels());
            let state = VisitorState::read(&cookie).unwrap();
            prop_assert_eq!(state.id, ID);
            prop_assert!(cookie.len() <= 300);
            prop_assert!(marks.iter().take(MARKS_MAX).all(|mark| state.is_counted(Mark(*mark))));
        }
    }
}
