//! An index of path patterns, which finds candidates for a path.
//!
//! Paths without placeholders are in a hash table, all others in a trie of their first parts. A lookup in a thousand patterns
//! compares a path with few of them, and allocates nothing.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::rules::path_pattern::{SegmentPattern, Step};

/// The position of a pattern in its file.
pub(super) type Id = u32;

/// Patterns of paths, prepared for lookups.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct PathIndex {
    literals: LiteralTable,
    /// The nodes of the trie. The first one is the root.
    nodes: Box<[Node]>,
}

impl PathIndex {
    /// Prepares `patterns`, whose ids are their positions.
    pub(super) fn new<'p>(patterns: impl Iterator<Item = &'p SegmentPattern>) -> Self {
        let mut literals: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
        let mut trie = Trie::new();
        for (pattern, id) in patterns.zip(0..) {
            match pattern.literal() {
                Some(literal) => literals.entry(literal).or_default().push(id),
                None => trie.insert(pattern.steps(), id),
            }
        }
        Self { literals: LiteralTable::new(literals), nodes: trie.finish() }
    }

    /// Calls `visit` with lists of patterns that can match a path.
    ///
    /// `path` is without its first `/`. Each list is in ascending order, the lists are not. Each pattern occurs at most once.
    pub(super) fn candidates(&self, path: &str, mut visit: impl FnMut(&[Id])) {
        let ids = self.literals.ids(path);
        if !ids.is_empty() {
            visit(ids);
        }
        // Nodes to visit, with the rest of the path. Each node is visited at most once.
        let mut pending: SmallVec<[(u32, &[u8]); 8]> = SmallVec::new();
        pending.push((0, path.as_bytes()));
        while let Some((node, rest)) = pending.pop() {
            let Some(node) = self.nodes.get(node as usize) else { break };
            if !node.ids.is_empty() {
                visit(&node.ids);
            }
            if let Some(next) = node.segment {
                let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
                if let (1.., Some(rest)) = (end, rest.get(end..)) {
                    pending.push((next, rest));
                }
            }
            let Some(first) = rest.first() else { continue };
            let edge = memchr::memchr(*first, &node.firsts).and_then(|position| node.edges.get(position));
            if let Some((label, next)) = edge
                && let Some(rest) = rest.strip_prefix(&**label)
            {
                pending.push((*next, rest));
            }
        }
    }
}

/// A node of the trie.
///
/// The texts and the segments on the way to it are the first part of its patterns.
#[derive(Debug, Clone, PartialEq, Default)]
struct Node {
    /// The patterns to try here.
    ids: Box<[Id]>,
    /// The node behind one segment.
    segment: Option<u32>,
    /// The first bytes of the edges.
    firsts: Box<[u8]>,
    /// The nodes behind texts.
    edges: Box<[(Box<[u8]>, u32)]>,
}

/// A node while the trie grows.
#[derive(Default)]
struct Draft {
    ids: Vec<Id>,
    segment: Option<u32>,
    edges: Vec<(Box<[u8]>, u32)>,
}

/// The trie while it grows.
struct Trie {
    nodes: Vec<Draft>,
}

impl Trie {
    fn new() -> Self {
        Self { nodes: vec![Draft::default()] }
    }

    fn insert<'p>(&mut self, steps: impl Iterator<Item = Step<'p>>, id: Id) {
        let (mut at, mut text) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Text(more) => text.extend_from_slice(more.as_bytes()),
                Step::Segment => {
                    at = self.behind_text(at, &std::mem::take(&mut text));
                    at = match self.node(at).segment {
                        Some(next) => next,
                        None => {
                            let next = self.add(Draft::default());
                            self.node(at).segment = Some(next);
                            next
                        }
                    };
                }
            }
        }
        let at = self.behind_text(at, &text);
        self.node(at).ids.push(id);
    }

    /// The node behind `text`. It splits an edge that continues differently.
    fn behind_text(&mut self, mut at: u32, mut text: &[u8]) -> u32 {
        while let Some(first) = text.first() {
            let edges = &self.node(at).edges;
            let Some(position) = edges.iter().position(|(label, _)| label.first() == Some(first)) else {
                let next = self.add(Draft::default());
                self.node(at).edges.push((text.into(), next));
                return next;
            };
            let (label, next) = edges[position].clone();
            let common = label.iter().zip(text).take_while(|(left, right)| left == right).count();
            text = &text[common..];
            if common == label.len() {
                at = next;
                continue;
            }
            let (before, behind) = label.split_at(common);
            let middle = self.add(Draft { edges: vec![(behind.into(), next)], ..Draft::default() });
            self.node(at).edges[position] = (before.into(), middle);
            at = middle;
        }
        at
    }

    fn node(&mut self, at: u32) -> &mut Draft {
        &mut self.nodes[at as usize]
    }

    /// Adds a node and returns its position.
    ///
    /// A position fits into 32 bits, because a file has at most 10,000 rules.
    fn add(&mut self, draft: Draft) -> u32 {
        self.nodes.push(draft);
        (self.nodes.len() - 1) as u32
    }

    fn finish(self) -> Box<[Node]> {
        let finish = |draft: Draft| Node {
            ids: draft.ids.into(),
            segment: draft.segment,
            firsts: draft.edges.iter().filter_map(|(label, _)| label.first().copied()).collect(),
            edges: draft.edges.into(),
        };
        self.nodes.into_iter().map(finish).collect()
    }
}

/// Texts and their patterns in a hash table with linear probing.
///
/// The texts are those of a configuration file, and a request only looks one up. So a client cannot cause collisions, and
/// the fast hash needs no key.
#[derive(Debug, Clone, PartialEq, Default)]
struct LiteralTable {
    /// The hash and the number of the entry; 0 is free. The length is a power of two.
    places: Box<[(u32, u32)]>,
    entries: Box<[Literal]>,
}

/// A text and its patterns.
type Literal = (Box<str>, Box<[Id]>);

impl LiteralTable {
    fn new(literals: BTreeMap<&str, Vec<Id>>) -> Self {
        if literals.is_empty() {
            return Self::default();
        }
        let entries: Box<[Literal]> = literals.into_iter().map(|(text, ids)| (text.into(), ids.into())).collect();
        let mut places = vec![(0, 0); (2 * entries.len()).next_power_of_two()].into_boxed_slice();
        for ((text, _), number) in entries.iter().zip(1..) {
            let hash = hash(text.as_bytes());
            let free = probe(&places, hash).find(|at| places.get(*at).is_some_and(|place| place.1 == 0));
            if let Some(place) = free.and_then(|at| places.get_mut(at)) {
                *place = (hash, number);
            }
        }
        Self { places, entries }
    }

    fn ids(&self, text: &str) -> &[Id] {
        if self.places.is_empty() {
            return &[];
        }
        let hash = hash(text.as_bytes());
        for at in probe(&self.places, hash) {
            let Some((found, number @ 1..)) = self.places.get(at) else { break };
            if *found == hash
                && let Some((literal, ids)) = self.entries.get(*number as usize - 1)
                && **literal == *text
            {
                return ids;
            }
        }
        &[]
    }
}

/// The places of a hash, from the first one on.
fn probe(places: &[(u32, u32)], hash: u32) -> impl Iterator<Item = usize> + use<> {
    let mask = places.len().wrapping_sub(1);
    (0..places.len()).map(move |step| (hash as usize).wrapping_add(step) & mask)
}

/// A hash by multiplication of eight bytes at a time.
fn hash(bytes: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let mut hash = bytes.len() as u64;
    for word in bytes.as_chunks::<8>().0 {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    // The last eight bytes overlap those before them: faster than a loop over the rest.
    hash = match bytes.last_chunk::<8>() {
        Some(last) => mix(hash, u64::from_le_bytes(*last)),
        None => mix(hash, bytes.iter().fold(0, |last, byte| last << 8 | u64::from(*byte))),
    };
    // The upper bits depend on all bits of the input.
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::path_pattern::Captures;
    use crate::rules::url_pattern::UrlPattern;

    fn found(index: &PathIndex, patterns: &[UrlPattern], path: &str) -> Vec<Id> {
        let mut found = Vec::new();
        index.candidates(&path[1..], |ids| {
            assert!(ids.is_sorted());
            let is_match = |id: &Id| patterns[*id as usize].matches(|| "", path, &mut Captures::new());
            found.extend(ids.iter().copied().filter(is_match));
        });
        found.sort_unstable();
        found
    }

    fn check(patterns: &[String], paths: &[String]) {
        let patterns: Vec<UrlPattern> = patterns.iter().filter_map(|text| UrlPattern::parse(text).ok()).collect();
        let index = PathIndex::new(patterns.iter().map(|pattern| &pattern.path));
        for path in paths {
            let by_scan: Vec<Id> = patterns
                .iter()
                .zip(0..)
                .filter(|(pattern, _)| pattern.matches(|| "", path, &mut Captures::new()))
                .map(|(_, id)| id)
                .collect();
            assert_eq!(found(&index, &patterns, path), by_scan, "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_scan_finds(
            patterns in prop::collection::vec("/([ab日:*/x.-]|:p|:q|%20){0,7}", 0..30),
            paths in prop::collection::vec("/[ab日:* /x.-]{0,8}", 1..30),
        ) {
            check(&patterns, &paths);
        }
    }

    #[test]
    fn every_literal_is_found_in_a_large_table() {
        let patterns: Vec<String> = (0..3_000).map(|n| format!("/old/{n}")).collect();
        check(&patterns, &patterns);
        check(&[], &["/a".to_owned()]);
    }

    #[test]
    fn a_long_pattern_needs_no_deep_stack() {
        let deep = "/:a".to_owned() + &"/b".repeat(1_900) + "/*";
        check(std::slice::from_ref(&deep), &[deep.replace(":a", "x")]);
        let many = "/b".repeat(100_000) + "/*";
        check(std::slice::from_ref(&many), std::slice::from_ref(&many));
    }
}
