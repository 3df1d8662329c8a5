//! Finds the objects of JSON documents on one line, which may be longer than memory allows.

use memchr::{memchr2, memchr3};

/// The most objects inside each other; outer ones are forgotten beyond.
const DEPTH_MAX: usize = 64;

/// A part of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// An object.
    Object(&'a [u8]),
    /// A string outside all objects, with its quotes.
    String(&'a [u8]),
}

/// Walks over a text that grows at its end and is discarded at its start.
#[derive(Debug, Default)]
pub(super) struct Walker {
    /// The start of each open object, and whether a part of it was taken; outermost first.
    open: Vec<(usize, bool)>,
    /// The start of the open string.
    string: Option<usize>,
    /// The text before this is read.
    at: usize,
}

impl Walker {
    /// Reads the rest of `text`. Calls `take` with each object, inner ones first, until it returns true: it then gets none
    /// of the objects around that one.
    pub(super) fn walk(&mut self, text: &[u8], mut take: impl FnMut(Part<'_>) -> bool) {
        while self.at < text.len() {
            let rest = &text[self.at..];
            if let Some(start) = self.string {
                let Some(found) = memchr2(b'"', b'\\', rest) else {
                    self.at = text.len();
                    return;
                };
                if rest[found] == b'\\' {
                    if found + 1 == rest.len() {
                        // The escaped byte is still to come.
                        self.at += found;
                        return;
                    }
                    self.at += found + 2;
                    continue;
                }
                self.at += found + 1;
                self.string = None;
                if self.open.is_empty() {
                    take(Part::String(&text[start..self.at]));
                }
                continue;
            }
            let Some(found) = memchr3(b'"', b'{', b'}', rest) else {
                self.at = text.len();
                return;
            };
            let place = self.at + found;
            self.at = place + 1;
            match rest[found] {
                b'"' => self.string = Some(place),
                b'{' => {
                    if self.open.len() == DEPTH_MAX {
                        self.open.remove(0);
                    }
                    self.open.push((place, false));
                }
                _ => {
                    if let Some((start, is_taken)) = self.open.pop() {
                        let is_taken = is_taken || take(Part::Object(&text[start..self.at]));
                        if let Some((_, outer)) = self.open.last_mut() {
                            *outer |= is_taken;
                        }
                    }
                }
            }
        }
    }

    /// Forgets the objects of which a part was taken, and returns how much of the text's start is no longer needed.
    pub(super) fn discard(&mut self) -> usize {
        // An object around a taken object is not taken.
        let taken = self.open.iter().rposition(|(_, is_taken)| *is_taken).map_or(0, |index| index + 1);
        self.open.drain(..taken);
        let needed = self.open.first().map_or(self.at, |(start, _)| *start).min(self.string.unwrap_or(self.at));
        self.open.iter_mut().for_each(|(start, _)| *start -= needed);
        self.string = self.string.map(|start| start - needed);
        self.at -= needed;
        needed
    }

    /// Forgets the outermost object, so that more of the text can be discarded. Returns false if there is none.
    pub(super) fn forget_outermost(&mut self) -> bool {
        let found = !self.open.is_empty();
        if found {
            self.open.remove(0);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(pieces: &[&str], wanted: &str) -> Vec<String> {
        let (mut walker, mut text, mut found) = (Walker::default(), Vec::new(), Vec::new());
        for piece in pieces {
            text.extend_from_slice(piece.as_bytes());
            walker.walk(&text, |part| {
                let Part::Object(object) = part else { return false };
                let object = String::from_utf8(object.to_vec()).unwrap();
                let is_wanted = object.contains(wanted);
                if is_wanted {
                    found.push(object);
                }
                is_wanted
            });
            text.drain(..walker.discard());
        }
        found
    }

    #[test]
    fn the_innermost_objects_are_found_in_any_pieces() {
        let text = r#"{"type":"DATA","events":[{"m":"x } { \" x"},{"m":"none"},{"m":"x\\"}]}{"events":[{"m":"x3"}]}"#;
        let expected = [r#"{"m":"x } { \" x"}"#, r#"{"m":"x\\"}"#, r#"{"m":"x3"}"#];
        for size in 1..text.len() {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            assert_eq!(objects(&pieces, "x"), expected, "{size}");
        }
    }

    #[test]
    fn unclosed_objects_take_bounded_memory() {
        let mut walker = Walker::default();
        walker.walk(&[b'{'; 100_000], |_| false);
        assert_eq!(walker.open.len(), DEPTH_MAX);
    }
}
