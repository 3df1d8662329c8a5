//! The members of a JSON object.

use std::ops::Deref;

use compact_str::CompactString;

/// A member of an object: its name and its value.
pub type Member<V> = (CompactString, V);

/// The members of an object, in JavaScript's order; of equal names the last one counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members<V> {
    list: Vec<Member<V>>,
    /// The bits of all names. Most names that a reader looks for are absent, and most of these have no bit here.
    names: u64,
}

impl<V> Members<V> {
    /// Orders members, which are in the order of the text. The names must be theirs.
    pub(crate) fn new(list: Vec<Member<V>>, names: Names) -> Self {
        Self { list: if names.need_order { in_order(list) } else { list }, names: names.bits }
    }

    /// The value of the member `name`.
    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        if self.names & bit(name) == 0 {
            return None;
        }
        self.list.iter().find(|(member, _)| *member == *name).map(|(_, value)| value)
    }
}

impl<V> Deref for Members<V> {
    type Target = [Member<V>];

    fn deref(&self) -> &[Member<V>] {
        &self.list
    }
}

/// The names of an object that is being read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names {
    bits: u64,
    /// Whether two names may be equal, or one may be an array index. Almost no object has such names.
    need_order: bool,
}

impl Names {
    /// Notes the next name.
    #[inline]
    pub(crate) fn note(&mut self, name: &str) {
        let bit = bit(name);
        self.need_order |= self.bits & bit != 0 || name.as_bytes().first().is_some_and(u8::is_ascii_digit);
        self.bits |= bit;
    }
}

/// One of 64 bits, by the ends and the length of a name. The members that a definition has in common differ in theirs.
#[inline]
fn bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let end = |byte: Option<&u8>| byte.copied().map_or(0, usize::from);
    1 << ((end(bytes.first()) * 5 + end(bytes.last()) * 3 + bytes.len()) % 64)
}

/// Sorts members as JavaScript does: array indices first, by number; then the other names in the order of insertion.
fn in_order<V>(mut members: Vec<Member<V>>) -> Vec<Member<V>> {
    // Of equal names the last value counts, at the first one's place. Sorting positions keeps this fast for large objects.
    let mut positions: Vec<usize> = (0..members.len()).collect();
    positions.sort_by(|left, right| members[*left].0.cmp(&members[*right].0));
    let is_same = |left: &usize, right: &usize| members[*left].0 == members[*right].0;
    let repeated: Vec<Vec<usize>> =
        positions.chunk_by(is_same).filter(|group| group.len() > 1).map(<[usize]>::to_vec).collect();
    for group in &repeated {
        members.swap(group[0], group[group.len() - 1]);
    }
    let mut dropped: Vec<usize> = repeated.iter().flat_map(|group| &group[1..]).copied().collect();
    dropped.sort_unstable();
    let mut index = 0;
    members.retain(|_| {
        index += 1;
        dropped.binary_search(&(index - 1)).is_err()
    });
    if members.iter().any(|(name, _)| array_index(name).is_some()) {
        members.sort_by_key(|(name, _)| array_index(name).unwrap_or(usize::MAX));
    }
    members
}

/// A canonical array index, such as `0` or `10`, but not `01`.
pub(super) fn array_index(name: &str) -> Option<usize> {
    let is_canonical = name == "0" || (!name.starts_with('0') && !name.is_empty());
    (is_canonical && name.len() <= 10 && name.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| name.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_member_is_found_and_no_other(names in prop::collection::vec("[a-c0-9]{0,3}", 0..8), absent in "[a-d0-9]{0,3}") {
            let list = names.iter().enumerate().map(|(at, name)| (name.as_str().into(), at));
            let mut noted = Names::default();
            names.iter().for_each(|name| noted.note(name));
            let members = Members::new(list.collect(), noted);
            for name in names.iter().chain([&absent]) {
                let last = names.iter().rposition(|other| other == name);
                prop_assert_eq!(members.get(name), last.as_ref(), "{}", name);
            }
            let mut unique = names.clone();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(members.len(), unique.len());
        }
    }
}
