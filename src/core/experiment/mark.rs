//! Marks: what a visitor's cookie says to have been counted.

use crate::experiment::hash::fingerprint;

/// The number of characters of a mark.
pub(super) const MARK_LEN: usize = 4;

/// The alphabet of base64url (RFC 4648 §5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Stands for something counted: 24 bits of a hash, as base64url.
///
/// A cookie holds a few of them, so that a new mark equals one of those by accident in one of 16 million pairs; then a
/// visitor is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Mark([u8; MARK_LEN]);

impl Mark {
    /// The mark of an exposure.
    pub(super) fn exposure(key: &str, phase: &str) -> Self {
        Self::of(&[key, "\0", phase])
    }

    /// The mark of a conversion.
    pub(super) fn conversion(key: &str, phase: &str, goal: &str) -> Self {
        Self::of(&[key, "\0", phase, "\0goal\0", goal])
    }

    /// The mark of a preview, which lasts until the browser is closed.
    pub(super) fn preview(key: &str) -> Self {
        Self::of(&[key, "\0\0preview"])
    }

    /// The mark of a visitor who has seen a preview, and no longer counts in this phase.
    pub(super) fn excluded(key: &str, phase: &str) -> Self {
        Self::of(&[key, "\0", phase, "\0excluded"])
    }

    fn of(texts: &[&str]) -> Self {
        let hash = fingerprint(texts);
        let folded = hash ^ (hash >> 24);
        Self(std::array::from_fn(|digit| ALPHABET[(folded >> (6 * digit)) as usize & 63]))
    }

    /// The mark that a cookie contains.
    pub(super) fn read(text: &[u8; MARK_LEN]) -> Self {
        Self(*text)
    }

    /// The characters.
    pub(super) fn chars(self) -> impl Iterator<Item = char> {
        self.0.into_iter().map(char::from)
    }
}

/// Whether a byte is in the alphabet of marks and ids.
pub(super) const IS_BASE64: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    while index < ALPHABET.len() {
        table[ALPHABET[index] as usize] = true;
        index += 1;
    }
    table
};
