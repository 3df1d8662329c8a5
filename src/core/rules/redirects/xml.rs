//! A reader of small XML documents, such as S3's website configuration.
//!
//! It knows elements, text, comments and the predefined entities. Attributes and namespaces are skipped.

use std::borrow::Cow;

/// The deepest element. A website configuration has five levels.
const DEPTH_MAX: usize = 16;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    /// The name without its prefix.
    pub(super) name: String,
    /// The text, without that of children.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The first element with this name: this one, or one below it.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name { Some(self) } else { self.children.iter().find_map(|child| child.find(name)) }
    }
}

/// Reads a document, and returns its root. The error states what is wrong and where.
pub(super) fn parse(text: &str) -> Result<Element, String> {
    let mut open: Vec<Element> = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut root = None;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        let at = || format!("line {}", text[..text.len() - tag.len()].matches('\n').count() + 1);
        match open.last_mut() {
            Some(element) => element.text.push_str(&unescaped(before)?),
            None if before.trim().is_empty() => {}
            None => return Err(format!("{}: expected an element, found text", at())),
        }
        let end_of = |end: &str| tag.find(end).map(|found| found + end.len());
        let special = [("<!--", "-->"), ("<?", "?>")].into_iter().find(|(start, _)| tag.starts_with(start));
        if let Some((start, end)) = special {
            rest = end_of(end).and_then(|end| tag.get(end..)).ok_or_else(|| format!("{}: {start} has no end", at()))?;
            continue;
        }
        if tag.starts_with("<!") {
            return Err(format!("{}: expected an element; DOCTYPE and CDATA are not supported", at()));
        }
        let end = end_of(">").ok_or_else(|| format!("{}: the tag has no >", at()))?;
        let inner = tag.get(1..end - 1).unwrap_or_default();
        rest = tag.get(end..).unwrap_or_default();
        let closed = if let Some(name) = inner.strip_prefix('/') {
            let element = open.pop().filter(|element| element.name == local(name));
            Some(element.ok_or_else(|| format!("{}: </{}> closes no element", at(), local(name)))?)
        } else {
            if root.is_some() || open.len() == DEPTH_MAX {
                return Err(format!("{}: expected one element of at most {DEPTH_MAX} levels", at()));
            }
            let element = Element { name: local(inner).to_owned(), ..Element::default() };
            if inner.ends_with('/') {
                Some(element)
            } else {
                open.push(element);
                None
            }
        };
        match (closed, open.last_mut()) {
            (Some(element), Some(parent)) => parent.children.push(element),
            (Some(element), None) => root = Some(element),
            (None, _) => {}
        }
    }
    match root {
        Some(root) if open.is_empty() && rest.trim().is_empty() => Ok(root),
        _ => Err("the document ends within an element, or has none".to_owned()),
    }
}

/// The name of a tag without prefix and attributes.
fn local(tag: &str) -> &str {
    let name = tag.trim_end_matches('/').split_whitespace().next().unwrap_or_default();
    name.rsplit(':').next().unwrap_or_default()
}

/// Replaces character references.
fn unescaped(text: &str) -> Result<Cow<'_, str>, String> {
    let mut pieces = text.split('&');
    let first = pieces.next().unwrap_or_default();
    if first.len() == text.len() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = first.to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(';').ok_or("& starts no entity; write &amp;")?;
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let character = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
                (Some(digits), _) => number(digits, 16),
                (None, Some(digits)) => number(digits, 10),
                (None, None) => None,
            },
        };
        out.push(character.ok_or_else(|| format!("the entity &{name}; is unknown"))?);
        out.push_str(rest);
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_names_texts_and_children() {
        let text = "<?xml version=\"1.0\"?>\n<!-- a > b -->\n<s3:A xmlns:s3=\"x\">\n <B>1 &amp;&#x41;&#66;</B><C/><D x=\"y\" />\n</s3:A>\n";
        let root = parse(text).expect("expected a document");
        let texts: Vec<_> = root.children.iter().map(|child| (&*child.name, &*child.text)).collect();
        assert_eq!((&*root.name, texts), ("A", vec![("B", "1 &AB"), ("C", ""), ("D", "")]));
        assert_eq!(root.find("B").map(|child| &*child.text), Some("1 &AB"));
    }

    #[test]
    fn other_texts_are_errors() {
        for text in [
            "",
            "x",
            "<",
            "<A",
            "<A>",
            "</A>",
            "<A></B>",
            "<A/><B/>",
            "<A>&x;</A>",
            "<A>&</A>",
            "<!DOCTYPE a><A/>",
            "<A/>x",
            "<!--",
            "<A>&#x110000;</A>",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"<A>".repeat(1_000)).is_err());
    }
}
