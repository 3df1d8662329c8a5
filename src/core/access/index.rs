//! The index of rules by path: the most specific rule of a path with one binary search.

use crate::access::path::PathPattern;

/// No entry.
const NONE: u16 = u16::MAX;

/// The rules by path.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Index {
    /// Sorted by text. Each text starts with `/` and another byte.
    entries: Vec<Entry>,
    /// The first two bytes after the slash of all paths that an entry can match. Nearly every other path needs no search.
    pairs: Pairs,
    /// The rule of `/*`.
    root: Option<u16>,
    /// The first segments of all texts, sorted.
    heads: Vec<Box<[u8]>>,
}

/// A path or the prefix of paths.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// The start of the text, which nearly always decides a comparison.
    start: Start,
    text: Box<[u8]>,
    is_prefix: bool,
    rule: u16,
    /// The longest other entry whose text starts this one.
    parent: u16,
}

/// The first bytes after the slash, padded with zeros, as a number in the order of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Start(u128);

impl Start {
    fn of(path: &[u8]) -> Self {
        let after = path.get(1..).unwrap_or_default();
        let mut bytes = [0; 16];
        match after.first_chunk() {
            Some(first) => bytes = *first,
            None => bytes.iter_mut().zip(after).for_each(|(to, from)| *to = *from),
        }
        Self(u128::from_be_bytes(bytes))
    }
}

/// A set of the first two bytes of paths after the slash, as a hash without collision handling.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Pairs([u64; 16]);

impl Pairs {
    fn place(first: u8, second: u8) -> (usize, u64) {
        let hash = usize::from(first).wrapping_mul(29) ^ usize::from(second);
        (hash / 64 % 16, 1 << (hash % 64))
    }

    /// Adds the paths that start with a text of at least two bytes, or are it.
    fn add(&mut self, text: &[u8]) {
        // A text of one byte after the slash is followed by nothing or by a slash.
        let (seconds, default) = (text.get(2).copied(), [0, b'/']);
        for second in seconds.as_slice().iter().chain(if seconds.is_none() { &default[..] } else { &[] }) {
            let (word, bit) = Self::place(text[1], *second);
            self.0[word] |= bit;
        }
    }

    fn contains(&self, path: &[u8]) -> bool {
        let Some(first) = path.get(1) else { return false };
        let (word, bit) = Self::place(*first, path.get(2).copied().unwrap_or_default());
        self.0[word] & bit != 0
    }
}

impl Entry {
    /// Whether the text is not greater than a path with this start.
    fn is_at_most(&self, start: Start, path: &[u8]) -> bool {
        self.start < start || self.start == start && *self.text <= *path
    }

    fn matches(&self, path: &[u8]) -> bool {
        match path.strip_prefix(&*self.text) {
            // `/a.html/` is `/a.html` for a server that keeps objects as files.
            Some(rest) => self.is_prefix || rest.is_empty() || rest == b"/",
            None => false,
        }
    }
}

impl Index {
    /// Builds the index of at most 65,534 patterns, by the positions of their rules.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = (&'a PathPattern, u16)>) -> Self {
        let mut index = Self::default();
        for (pattern, rule) in patterns {
            match pattern {
                PathPattern::All => index.root = Some(rule),
                PathPattern::Exact(text) => index.push(text, false, rule),
                PathPattern::Folder(text) => {
                    index.push(text, true, rule);
                    // The folder itself, unless it has a rule of its own: sorted after that one, and dropped.
                    index.push(text.trim_end_matches('/'), false, rule | FOLDER);
                }
            }
        }
        index.entries.sort_by(|left, right| left.text.cmp(&right.text).then(left.rule.cmp(&right.rule)));
        index.entries.dedup_by(|right, left| right.text == left.text);
        index.entries.iter_mut().for_each(|entry| entry.rule &= !FOLDER);
        index.link();
        index
    }

    fn push(&mut self, text: &str, is_prefix: bool, rule: u16) {
        let text = text.as_bytes();
        self.entries.push(Entry { start: Start::of(text), text: text.into(), is_prefix, rule, parent: NONE });
    }

    fn link(&mut self) {
        // The entries that start the current one, by increasing length.
        let mut open: Vec<usize> = Vec::new();
        for at in 0..self.entries.len() {
            while open.last().is_some_and(|last| !self.entries[at].text.starts_with(&self.entries[*last].text)) {
                open.pop();
            }
            self.entries[at].parent = open.last().map_or(NONE, |last| *last as u16);
            open.push(at);
        }
        self.entries.iter().for_each(|entry| self.pairs.add(&entry.text));
        let head = |entry: &Entry| entry.text[1..].split(|byte| *byte == b'/').next().map(Into::into);
        self.heads = self.entries.iter().filter_map(head).collect();
        self.heads.sort();
        self.heads.dedup();
    }

    /// The rule of the most specific pattern, other than `/*`, that matches a path.
    pub(super) fn find(&self, path: &[u8]) -> Option<u16> {
        if !self.pairs.contains(path) {
            return None;
        }
        // The longest entry that starts the path, if any, is the last one that is not greater than the path, or one of its
        // ancestors: all entries between the two start with it.
        let start = Start::of(path);
        let mut at = self.entries.partition_point(|entry| entry.is_at_most(start, path)).checked_sub(1)?;
        loop {
            let entry = self.entries.get(at)?;
            if entry.matches(path) {
                return Some(entry.rule);
            }
            at = usize::from(entry.parent);
        }
    }

    /// The rule of `/*`.
    pub(super) fn root(&self) -> Option<u16> {
        self.root
    }

    /// Whether a pattern names this first segment.
    pub(super) fn names(&self, head: &str) -> bool {
        self.heads.binary_search_by(|known| (**known).cmp(head.as_bytes())).is_ok()
    }
}

/// Marks the rule of a folder's own path while the index is built. There are fewer rules.
const FOLDER: u16 = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(texts: &[&str]) -> Index {
        let patterns: Vec<PathPattern> = texts.iter().map(|text| PathPattern::parse(text).unwrap()).collect();
        Index::new(patterns.iter().zip(0..))
    }

    #[test]
    fn the_most_specific_pattern_is_found() {
        let index = index(&["/a/*", "/a/b/*", "/a/b/c.html", "/a/b", "/ab", "/*", "/a/b/c/*"]);
        for (path, rule) in [
            ("/a/x", Some(0)),
            ("/a", Some(0)),
            ("/a/", Some(0)),
            ("/ab", Some(4)),
            ("/ab/", Some(4)),
            ("/abc", None),
            ("/a/b", Some(3)),
            ("/a/b/", Some(1)),
            ("/a/b/c.html", Some(2)),
            ("/a/b/c.html/", Some(2)),
            ("/a/b/c.html/x", Some(1)),
            ("/a/b/c.htm", Some(1)),
            ("/a/b/c", Some(6)),
            ("/a/b/c/d", Some(6)),
            ("/", None),
            ("", None),
            ("/b", None),
            ("/A/x", None),
        ] {
            assert_eq!(index.find(path.as_bytes()), rule, "{path}");
        }
        assert_eq!(index.root(), Some(5));
        assert!(index.names("a") && index.names("ab") && !index.names("b"));
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_scan_finds(
            texts in prop::collection::btree_set("(/(a|b|ab|é|d{17}|d{18})){1,3}(/\\*)?", 0..20),
            path in "(/(a|b|ab|c|é|d{17}|d{18})){1,4}/?",
        ) {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            let exact = |text: &&&str| !text.ends_with('*') && path.strip_prefix(**text).is_some_and(|rest| matches!(rest, "" | "/"));
            let folder = |text: &&&str| text.strip_suffix('*').is_some_and(|text| path.starts_with(text) || text.strip_suffix('/') == Some(&path));
            // Of an exact path and the folder `/a/*`, the path `/a/` is in the folder.
            let rank = |text: &&&str| match text.strip_suffix('*') {
                Some(folder) if path.starts_with(folder) => folder.len() * 2,
                Some(_) => path.len() * 2,
                None => text.len() * 2 + 1,
            };
            let scanned = texts.iter().filter(|text| exact(text) || folder(text)).max_by_key(rank);
            let found = index(&texts).find(path.as_bytes()).map(|rule| texts[usize::from(rule)]);
            prop_assert_eq!(found, scanned.copied());
        }
    }
}
