//! The assignments of a visitor, as the second cookie holds them: `KEY__BUCKETVERSION.VARIATION`, sorted and joined by `~`.
//!
//! They are GrowthBook's sticky buckets, and the part of a CDN's cache key that tells visitors apart. The cookie is
//! untrusted input: what the definition does not contain is dropped, so that there is one canonical text.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::experiment::evaluation::Sticky;
use crate::experiment::label::Label;

/// The longest cookie of assignments that is read or written, in bytes. With the other cookie, it stays below 1 kB.
pub(super) const ASSIGNMENT_BYTES_MAX: usize = 700;

/// The assignments of a visitor.
#[derive(Debug, Default)]
pub(super) struct Assignments<'a> {
    pairs: SmallVec<[Pair<'a>; 4]>,
    /// Whether the canonical text differs from the cookie.
    is_changed: bool,
}

/// An assignment, percent-encoded. Pairs are sorted by these texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair<'a> {
    key: &'a str,
    version: &'a str,
    variation: &'a str,
}

impl<'a> Assignments<'a> {
    /// Reads a cookie. Drops what no label names.
    pub(super) fn read(cookie: &'a str, labels: &'a [Arc<Label>]) -> Self {
        let mut assignments = Self::default();
        if cookie.len() > ASSIGNMENT_BYTES_MAX {
            return Self { is_changed: true, ..assignments };
        }
        let mut rest = cookie;
        while !rest.is_empty() {
            rest = match labels.iter().find_map(|label| Pair::read(rest, label)) {
                Some((pair, after)) => {
                    let is_next = assignments.pairs.last().is_none_or(|last| last.identity() < pair.identity());
                    // A separator at the end belongs to no pair.
                    let separator = usize::from(!after.is_empty());
                    let is_exact = rest.len() == pair.len() + separator + after.len();
                    assignments.is_changed |= !(is_next && is_exact);
                    assignments.insert(pair, false);
                    after
                }
                None => {
                    assignments.is_changed = true;
                    rest.split_once('~').map_or("", |(_, after)| after)
                }
            };
        }
        assignments
    }

    /// The earlier assignment of an experiment.
    pub(super) fn sticky(&self, label: &Label) -> Sticky {
        let mut of_key = self.pairs.iter().filter(|pair| *pair.key == *label.key);
        if of_key.clone().any(|pair| label.blocks(pair.version)) {
            return Sticky::Blocked;
        }
        let current = of_key.find(|pair| *pair.version == *label.version);
        let index = current.and_then(|pair| label.variations.iter().position(|key| **key == *pair.variation));
        index.map_or(Sticky::None, Sticky::Variation)
    }

    /// Stores an assignment, in place of an earlier one of the same version.
    pub(super) fn put(&mut self, label: &'a Label, variation: usize) {
        if let Some(variation) = label.variations.get(variation) {
            self.insert(Pair { key: &label.key, version: &label.version, variation }, true);
        }
    }

    fn insert(&mut self, pair: Pair<'a>, replaces: bool) {
        match self.pairs.iter().position(|other| other.identity() >= pair.identity()) {
            Some(index) if self.pairs[index].identity() == pair.identity() => {
                if replaces && self.pairs[index] != pair {
                    self.pairs[index] = pair;
                    self.is_changed = true;
                }
                return;
            }
            Some(index) => self.pairs.insert(index, pair),
            None => self.pairs.push(pair),
        }
        self.is_changed |= replaces;
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether the canonical text contains all of them.
    pub(super) fn fit(&self) -> bool {
        self.written().count() == self.pairs.len()
    }

    /// Whether the cookie is the canonical text.
    pub(super) fn is_unchanged(&self) -> bool {
        !self.is_changed
    }

    /// The canonical text.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        for (index, Pair { key, version, variation }) in self.written().enumerate() {
            let separator = if index == 0 { "" } else { "~" };
            for part in [separator, key, "__", version, ".", variation] {
                text.push_str(part);
            }
        }
        text
    }

    /// The pairs that fit into the cookie.
    fn written(&self) -> impl Iterator<Item = Pair<'a>> {
        self.pairs.iter().copied().scan(0, |bytes, pair| {
            *bytes += pair.len() + "~".len();
            (*bytes <= ASSIGNMENT_BYTES_MAX).then_some(pair)
        })
    }
}

impl<'a> Pair<'a> {
    /// The length of the text.
    fn len(&self) -> usize {
        self.key.len() + "__".len() + self.version.len() + ".".len() + self.variation.len()
    }

    /// The experiment and the version, of which a visitor has one assignment.
    fn identity(&self) -> (&'a str, &'a str) {
        (self.key, self.version)
    }

    /// Reads a pair of a label's experiment from the start of a text: of its version with an existing variation, or of a
    /// version that it blocks. Returns it and the text behind the separator.
    ///
    /// The names may contain `~` themselves, which percent-encoding leaves as it is.
    fn read(text: &'a str, label: &'a Label) -> Option<(Self, &'a str)> {
        // The first character tells most labels apart, without a call.
        if text.as_bytes().first() != label.key.as_bytes().first() {
            return None;
        }
        let rest = text.strip_prefix(&*label.key)?.strip_prefix("__")?;
        let current = rest.strip_prefix(&*label.version).and_then(|rest| rest.strip_prefix('.'));
        let (version, variation, after) = match current {
            Some(rest) => {
                let known = |variation: &'a str| match rest.strip_prefix(variation)? {
                    "" => Some((variation, "")),
                    after => Some((variation, after.strip_prefix('~')?)),
                };
                let variations = label.variations.iter().filter_map(|variation| known(variation));
                let (variation, after) = variations.max_by_key(|(variation, _)| variation.len())?;
                (&*label.version, variation, after)
            }
            None => {
                let (version, rest) = rest.split_once('.')?;
                let (variation, after) = rest.split_once('~').unwrap_or((rest, ""));
                let is_safe = variation.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._%".contains(&byte));
                (label.blocks(version) && is_safe).then_some((version, variation, after))?
            }
        };
        Some((Self { key: &label.key, version, variation }, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels() -> Vec<Arc<Label>> {
        let label = |key: &str, version, min_version, variations: &[&'static str]| {
            Arc::new(Label::new(key, version, "0", min_version, variations.iter().map(|key| (*key).into())))
        };
        vec![label("a b", 0, 0, &["control", "treatment"]), label("new-checkout", 2, 2, &["0", "1"])]
    }

    fn text(cookie: &str) -> String {
        let labels = labels();
        Assignments::read(cookie, &labels).text()
    }

    #[test]
    fn only_assignments_of_the_definition_are_kept_in_one_order() {
        for (cookie, expected) in [
            ("", ""),
            ("a%20b__0.control", "a%20b__0.control"),
            ("new-checkout__2.1~a%20b__0.treatment", "a%20b__0.treatment~new-checkout__2.1"),
            ("a%20b__0.other~gone__0.1~new-checkout__2.9", ""),
            ("a b__0.control~a%20b__00.control", ""),
            ("a%20b__0.control~a%20b__0.treatment", "a%20b__0.control"),
            // Of a blocked version.
            ("new-checkout__1.0~new-checkout__3.0", "new-checkout__1.0"),
        ] {
            assert_eq!(text(cookie), expected, "{cookie}");
        }
    }

    #[test]
    fn names_may_contain_the_separators() {
        let names = ["a~b", "a", "a~b__0.x"];
        let labels = [Arc::new(Label::new("k~1.2", 0, "", 0, names.iter().map(|name| (*name).into())))];
        for (index, name) in names.iter().enumerate() {
            let cookie = format!("k~1.2__0.{name}");
            let assignments = Assignments::read(&cookie, &labels);
            assert_eq!(
                (assignments.sticky(&labels[0]), assignments.text()),
                (Sticky::Variation(index), cookie.clone())
            );
        }
    }

    #[test]
    fn an_assignment_of_a_blocked_version_excludes_the_visitor() {
        let labels = labels();
        let sticky = |cookie| Assignments::read(cookie, &labels).sticky(&labels[1]);
        assert_eq!(sticky("new-checkout__2.1"), Sticky::Variation(1));
        assert_eq!(sticky("new-checkout__1.1"), Sticky::Blocked);
        assert_eq!(sticky("new-checkout__3.1"), Sticky::None);
    }

    #[test]
    fn a_new_assignment_replaces_that_of_the_same_version() {
        let labels = labels();
        let mut assignments = Assignments::read("a%20b__0.control", &labels);
        assignments.put(&labels[1], 0);
        assignments.put(&labels[0], 1);
        assert_eq!(assignments.text(), "a%20b__0.treatment~new-checkout__2.0");
    }

    proptest! {
        #[test]
        fn exactly_the_canonical_text_is_recognised(
            cookie in "((a%20b__0\\.(control|treatment)|new-checkout__[0-3]\\.[01]|x)~?){0,4}",
        ) {
            let labels = labels();
            let assignments = Assignments::read(&cookie, &labels);
            let canonical = assignments.text();
            prop_assert!(Assignments::read(&canonical, &labels).is_unchanged());
            prop_assert_eq!(assignments.is_unchanged(), cookie == canonical);
            prop_assert_eq!(text(&canonical), canonical);
        }

        #[test]
        fn no_cookie_makes_the_text_long_or_unsafe(cookie in "(?s:.){0,800}") {
            let text = text(&cookie);
            prop_assert!(text.len() <= ASSIGNMENT_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'));
        }
    }
}
