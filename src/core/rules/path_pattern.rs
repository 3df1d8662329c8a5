//! Patterns of URLs: an optional host and a path, with `:placeholders` and one `*`.
//!
//! A placeholder matches one or more characters of a segment; `*` matches any text. All else matches itself, including its
//! case. A pattern is percent-decoded once, because it is compared with decoded paths.

use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use crate::rules::line_problem::{Checked, Fault, part};

/// The texts that a pattern captured, in the order of its names.
pub(super) type Captures<'t> = SmallVec<[&'t str; 6]>;

/// The name of the text that `*` captures.
pub(super) const SPLAT: &str = "splat";

/// The most placeholders of a pattern.
const CAPTURES_MAX: usize = 32;

/// A segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    /// This text.
    Text(Box<str>),
    /// A placeholder alone.
    Placeholder,
    /// Placeholders between texts, such as `post-:year-:month.html`: one text more than placeholders.
    Mixed(Box<[Box<str>]>),
}

/// The part of a pattern from the segment with `*` on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Splat {
    /// The text of the segment before `*`.
    before: Box<str>,
    /// The text of the segment behind `*`.
    after: Box<str>,
    /// The segments behind it.
    tail: Box<[Segment]>,
}

/// A pattern of segments: of a path behind its first `/`, or of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SegmentPattern {
    separator: char,
    /// The whole text, if there is neither a placeholder nor `*`.
    literal: Option<Box<str>>,
    head: Box<[Segment]>,
    splat: Option<Splat>,
    /// The number of captured texts.
    captures: usize,
}

/// A part of a pattern, for an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'p> {
    /// The path continues with this text.
    Text(&'p str),
    /// The path continues with one segment.
    Segment,
}

/// A part of a pattern's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// Text between placeholders, still encoded.
    Text(&'t str),
    /// `:NAME`, without the colon.
    Placeholder(&'t str),
    /// `*`.
    Splat,
}

/// Splits a text at its placeholders: a colon, a letter, and letters, digits or underscores.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let special = rest.char_indices().find(|(at, character)| match character {
            '*' => true,
            ':' => rest[at + 1..].starts_with(|next: char| next.is_ascii_alphabetic()),
            _ => false,
        });
        let (token, end) = match special {
            Some((0, '*')) => (Token::Splat, 1),
            Some((0, _)) => {
                let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
                let end = rest[1..].find(|character| !is_of_name(character)).map_or(rest.len(), |end| end + 1);
                (Token::Placeholder(&rest[1..end]), end)
            }
            Some((at, _)) => (Token::Text(&rest[..at]), at),
            None => (Token::Text(rest), rest.len()),
        };
        rest = &rest[end..];
        Some(token)
    })
}

/// A segment while it is read: texts and placeholders in turn.
#[derive(Default)]
struct Draft {
    /// One text more than placeholders.
    texts: Vec<String>,
    text: String,
    splat_before: Option<String>,
}

impl Draft {
    fn finish(mut self) -> Segment {
        if self.texts.is_empty() {
            return Segment::Text(self.text.into());
        }
        self.texts.push(self.text);
        if self.texts.len() == 2 && self.texts.iter().all(String::is_empty) {
            return Segment::Placeholder;
        }
        Segment::Mixed(self.texts.into_iter().map(Into::into).collect())
    }
}

impl SegmentPattern {
    /// Reads a pattern, and adds its names to `names`.
    fn parse(text: &str, separator: char, names: &mut Vec<Box<str>>) -> Checked<Self> {
        let names_before = names.len();
        let mut segments: Vec<Segment> = Vec::new();
        let mut splat: Option<(Box<str>, Box<str>)> = None;
        let mut head: Option<Vec<Segment>> = None;
        let mut draft = Draft::default();
        let mut finish = |draft: Draft, segments: &mut Vec<Segment>| match draft.splat_before {
            Some(before) => {
                splat = Some((before.into(), draft.text.into()));
                head = Some(std::mem::take(segments));
            }
            None => segments.push(draft.finish()),
        };
        for token in tokens(text) {
            match token {
                Token::Text(text) => {
                    for (position, text) in decoded(text)?.split(separator).enumerate() {
                        if position > 0 {
                            finish(std::mem::take(&mut draft), &mut segments);
                        }
                        draft.text.push_str(text);
                    }
                }
                Token::Placeholder(name) if draft.splat_before.is_none() => {
                    draft.texts.push(std::mem::take(&mut draft.text));
                    add_name(name, names)?;
                }
                Token::Splat if draft.texts.is_empty() && draft.splat_before.is_none() => {
                    draft.splat_before = Some(std::mem::take(&mut draft.text));
                    if names.iter().any(|name| **name == *SPLAT) {
                        return Err(splat_fault());
                    }
                    add_name(SPLAT, names)?;
                }
                Token::Splat if draft.splat_before.is_some() => return Err(splat_fault()),
                _ => {
                    return Err(Fault::new(
                        "a segment has * and a placeholder, which have no boundary",
                        "put / between them, or use only one of them",
                    ));
                }
            }
        }
        finish(draft, &mut segments);
        let captures = names.len() - names_before;
        let literal = (captures == 0).then(|| decoded(text).map(Into::into)).transpose()?;
        let (head, splat) = match (head, splat) {
            (Some(head), Some((before, after))) => (head, Some(Splat { before, after, tail: segments.into() })),
            _ => (segments, None),
        };
        Ok(Self { separator, literal, head: head.into(), splat, captures })
    }

    /// All paths that start with `prefix`.
    fn of_prefix(prefix: &str) -> Self {
        let (head, before) = prefix.rsplit_once('/').map_or((None, prefix), |(head, before)| (Some(head), before));
        let head = head.into_iter().flat_map(|head| head.split('/')).map(|text| Segment::Text(text.into())).collect();
        let splat = Splat { before: before.into(), after: Box::default(), tail: Box::default() };
        Self { separator: '/', literal: None, head, splat: Some(splat), captures: 1 }
    }

    /// Whether `text` matches. Adds the captured texts to `captures`, or an unspecified part of them if it does not match.
    pub(super) fn matches<'t>(&self, text: &'t str, captures: &mut Captures<'t>) -> bool {
        if let Some(literal) = &self.literal {
            return **literal == *text;
        }
        let first = captures.len();
        captures.resize(first + self.captures, "");
        self.capture(text, captures.get_mut(first..).unwrap_or_default()).is_some()
    }

    fn capture<'t>(&self, text: &'t str, captures: &mut [&'t str]) -> Option<()> {
        let mut position = 0;
        let mut rest = Some(text);
        for segment in &self.head {
            let found = rest?;
            let (found, behind) = match found.split_once(self.separator) {
                Some((found, behind)) => (found, Some(behind)),
                None => (found, None),
            };
            position += segment.capture(found, captures.get_mut(position..)?)?;
            rest = behind;
        }
        let Some(splat) = &self.splat else { return rest.is_none().then_some(()) };
        let mut rest = rest?;
        let mut end = captures.len();
        for segment in splat.tail.iter().rev() {
            let (before, found) = rest.rsplit_once(self.separator)?;
            let count = segment.placeholders();
            segment.capture(found, captures.get_mut(end - count..end)?)?;
            end -= count;
            rest = before;
        }
        *captures.get_mut(position)? = rest.strip_prefix(&*splat.before)?.strip_suffix(&*splat.after)?;
        Some(())
    }

    /// The parts that a path certainly has, up to the first one that only [`Self::matches`] can decide.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let has_more = |position: usize| position + 1 < self.head.len() || self.splat.is_some();
        let separator = if self.separator == '/' { "/" } else { "." };
        let head = self.head.iter().enumerate().flat_map(move |(position, segment)| {
            let step = match segment {
                Segment::Text(text) => Step::Text(text),
                Segment::Placeholder => Step::Segment,
                Segment::Mixed(texts) => Step::Text(texts.first().map_or("", |text| text)),
            };
            let follows = !matches!(segment, Segment::Mixed(_)) && has_more(position);
            std::iter::once((step, matches!(segment, Segment::Mixed(_))))
                .chain(follows.then_some((Step::Text(separator), false)))
        });
        let splat = self.splat.iter().map(|splat| (Step::Text(&splat.before), true));
        let mut is_over = false;
        head.chain(splat).map_while(move |(step, is_last)| (!std::mem::replace(&mut is_over, is_last)).then_some(step))
    }

    /// The whole text, if there is neither a placeholder nor `*`.
    pub(super) fn literal(&self) -> Option<&str> {
        self.literal.as_deref()
    }

    /// The text before a `*` that ends a pattern without placeholders: it matches all texts that start so.
    pub(super) fn prefix(&self) -> Option<String> {
        let splat = self.splat.as_ref().filter(|splat| splat.after.is_empty() && splat.tail.is_empty())?;
        let mut prefix = String::new();
        for segment in &self.head {
            let Segment::Text(text) = segment else { return None };
            prefix.push_str(text);
            prefix.push(self.separator);
        }
        prefix.push_str(&splat.before);
        Some(prefix)
    }

    /// A text that every matching text starts with.
    pub(super) fn certain_prefix(&self) -> String {
        let is_text = |step: &Step<'_>| matches!(step, Step::Text(_));
        let text_of = |step| if let Step::Text(text) = step { text } else { "" };
        self.steps().take_while(is_text).map(text_of).collect()
    }

    /// An example that matches, with unusual texts for placeholders.
    pub(super) fn example(&self) -> String {
        if let Some(literal) = &self.literal {
            return literal.to_string();
        }
        let mut count = 0;
        let mut text_of = |segment: &Segment| match segment {
            Segment::Text(text) => text.to_string(),
            Segment::Placeholder => {
                count += 1;
                format!("x{count}-")
            }
            Segment::Mixed(texts) => {
                count += texts.len();
                texts.join(&format!("x{count}-"))
            }
        };
        let mut segments: Vec<String> = self.head.iter().map(&mut text_of).collect();
        if let Some(Splat { before, after, tail }) = &self.splat {
            let separator = self.separator;
            segments.push(format!("{before}y1-{separator}y2-{after}"));
            segments.extend(tail.iter().map(&mut text_of));
        }
        segments.join(self.separator.encode_utf8(&mut [0; 4]))
    }

    fn has_dot_segment(&self) -> bool {
        let is_dot = |segment: &Segment| matches!(segment, Segment::Text(text) if matches!(&**text, "." | ".."));
        let tail = self.splat.iter().flat_map(|splat| &splat.tail);
        self.head.iter().chain(tail).any(is_dot)
    }
}

impl Segment {
    fn placeholders(&self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Placeholder => 1,
            Self::Mixed(texts) => texts.len() - 1,
        }
    }

    /// Captures the texts of the placeholders, and returns their number. `None` if the segment does not match.
    ///
    /// An earlier placeholder takes as much as possible, as in Cloudflare's regular expressions. Texts are searched from the
    /// end, so the time is linear.
    fn capture<'t>(&self, text: &'t str, captures: &mut [&'t str]) -> Option<usize> {
        match self {
            Self::Text(expected) => (**expected == *text).then_some(0),
            Self::Placeholder if text.is_empty() => None,
            Self::Placeholder => {
                *captures.first_mut()? = text;
                Some(1)
            }
            Self::Mixed(texts) => {
                let [first, between @ .., last] = &**texts else { return None };
                let mut rest = text.strip_prefix(&**first)?.strip_suffix(&**last)?;
                for (position, text) in between.iter().enumerate().rev() {
                    // A placeholder takes at least one character.
                    let (end, _) = rest.char_indices().next_back()?;
                    let at = rest.get(..end)?.rfind(&**text)?;
                    *captures.get_mut(position + 1)? = rest.get(at + text.len()..)?;
                    rest = rest.get(..at)?;
                }
                if rest.is_empty() {
                    return None;
                }
                *captures.first_mut()? = rest;
                Some(between.len() + 1)
            }
        }
    }
}

/// A pattern of a URL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UrlPattern {
    /// The host in lower case, without a port; `None` matches every host.
    pub(super) host: Option<SegmentPattern>,
    /// The path behind its first `/`.
    pub(super) path: SegmentPattern,
    /// The names of the captured texts: those of the host, then those of the path.
    pub(super) names: Box<[Box<str>]>,
}

impl UrlPattern {
    /// Reads a path such as `/blog/:slug` or `/docs/*`, or a URL such as `https://old.example.com/*`.
    ///
    /// The scheme is not compared: behind CloudFront the function sees HTTPS only.
    pub(super) fn parse(text: &str) -> Checked<Self> {
        let of_host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (host, path) = match of_host {
            Some(rest) => rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, "")),
            None => ("", text),
        };
        if of_host.is_none() && !text.starts_with('/') {
            return Err(Fault::new(
                format!("expected a path or a URL, found {}", part(text)),
                "start it with /, https:// or http://",
            ));
        }
        if let Some(at) = text.find(['?', '#']) {
            return Err(Fault::new(
                format!("{} is not a part of a path", part(&text[at..])),
                "remove it; a query string is matched by name=value between the path and the target",
            ));
        }
        let mut names = Vec::new();
        let host = match of_host {
            Some(_) => Some(SegmentPattern::parse(&checked_host(host)?, '.', &mut names)?),
            None => None,
        };
        let path = SegmentPattern::parse(path.strip_prefix('/').unwrap_or(path), '/', &mut names)?;
        if path.has_dot_segment() {
            return Err(Fault::new(
                "clients resolve the segments . and .. before a request",
                "write the resolved path",
            ));
        }
        Ok(Self { host, path, names: names.into() })
    }

    /// The paths that start with `prefix`, a decoded text without placeholders.
    pub(super) fn of_prefix(prefix: &str) -> Self {
        let path = SegmentPattern::of_prefix(prefix);
        Self { host: None, path, names: [SPLAT.into()].into() }
    }

    /// Whether the decoded `path` matches. `host` is called if the pattern has a host.
    pub(super) fn matches<'t>(
        &self,
        host: impl FnOnce() -> &'t str,
        path: &'t str,
        captures: &mut Captures<'t>,
    ) -> bool {
        captures.clear();
        let Some(path) = path.strip_prefix('/') else { return false };
        self.host.as_ref().is_none_or(|pattern| pattern.matches(host(), captures)) && self.path.matches(path, captures)
    }
}

/// The host of a pattern in lower case.
fn checked_host(host: &str) -> Checked<String> {
    let is_of_host = |character: char| character.is_ascii_alphanumeric() || "-._:*".contains(character);
    let mut plain = tokens(host).filter_map(|token| if let Token::Text(text) = token { Some(text) } else { None });
    if host.is_empty() || !host.chars().all(is_of_host) || plain.any(|text| text.contains(':')) {
        return Err(Fault::new(
            format!("expected a host name without port, found {}", part(host)),
            "write a name such as www.example.com; write an international name in its ASCII form (xn--…)",
        ));
    }
    // The names of placeholders keep their case.
    let mut lower = String::with_capacity(host.len());
    for token in tokens(host) {
        match token {
            Token::Text(text) => lower.push_str(&text.to_ascii_lowercase()),
            Token::Placeholder(name) => lower.extend([":", name]),
            Token::Splat => lower.push('*'),
        }
    }
    Ok(lower)
}

fn add_name(name: &str, names: &mut Vec<Box<str>>) -> Checked<()> {
    if names.iter().any(|known| **known == *name) {
        return Err(match name {
            SPLAT => splat_fault(),
            _ => Fault::new(format!("the placeholder :{name} occurs twice"), "give each placeholder a name of its own"),
        });
    }
    if names.len() >= CAPTURES_MAX {
        return Err(Fault::new(
            format!("found more than {CAPTURES_MAX} placeholders"),
            "use * for the rest of the path",
        ));
    }
    names.push(name.into());
    Ok(())
}

fn splat_fault() -> Fault {
    Fault::new("expected at most one *, which :splat names", "use a placeholder such as :name for one of them")
}

/// Decodes percent-encoded bytes.
fn decoded(text: &str) -> Checked<String> {
    let invalid = |_| Fault::new(format!("{} is not UTF-8", part(text)), "encode the UTF-8 bytes of the path");
    let decoded = percent_decode_str(text).decode_utf8().map_err(invalid)?;
    if decoded.chars().any(char::is_control) {
        return Err(Fault::new(format!("{} has a control character", part(text)), "remove it"));
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The captured texts; `None` if the URL does not match.
    fn captured(pattern: &str, host: &'static str, path: &'static str) -> Option<Vec<String>> {
        let mut captures = Captures::new();
        let pattern = UrlPattern::parse(pattern).unwrap_or_else(|fault| panic!("{pattern}: {fault:?}"));
        let is_match = pattern.matches(|| host, path, &mut captures);
        is_match.then(|| captures.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("/", "/", Some(vec![])),
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/", None),
            ("/a", "/A", None),
            ("/a%20b", "/a b", Some(vec![])),
            ("/a b", "/a b", Some(vec![])),
            ("/a%2Fb", "/a/b", Some(vec![])),
            ("/%2a", "/*", Some(vec![])),
            ("/日", "/日", Some(vec![])),
            ("/:1", "/:1", Some(vec![])),
            ("/*", "/", Some(vec![""])),
            ("/*", "/a/b", Some(vec!["a/b"])),
            ("/a/*", "/a", None),
            ("/a/*", "/a/", Some(vec![""])),
            ("/a/*", "/a//b", Some(vec!["/b"])),
            ("/a*", "/a/b", Some(vec!["/b"])),
            ("/a*", "/b", None),
            ("/*.svg", "/x/y.svg", Some(vec!["x/y"])),
            ("/*.svg", "/x.svg/y", None),
            ("/a/*/b", "/a/b", None),
            ("/a/*/b", "/a//b", Some(vec![""])),
            ("/a/*/b", "/a/x/y/b", Some(vec!["x/y"])),
            ("/ab*ba", "/aba", None),
            ("/:x", "/a", Some(vec!["a"])),
            ("/:x", "/", None),
            ("/:x", "/a/b", None),
            ("/:x/", "/a/", Some(vec!["a"])),
            ("/:x/:y", "/a/b", Some(vec!["a", "b"])),
            ("/:x/:y", "/a/", None),
            ("/p:x", "/pa", Some(vec!["a"])),
            ("/p:x", "/p", None),
            ("/:y-:m.html", "/2026-08-01.html", Some(vec!["2026-08", "01"])),
            ("/:y-:m.html", "/-01.html", None),
            ("/:y-:m.html", "/2026-.html", None),
            ("/:a:b", "/日本語", Some(vec!["日本", "語"])),
            ("/:a:b", "/日", None),
            ("/:a/*/:b-:c", "/1/2/3/4-5", Some(vec!["1", "2/3", "4", "5"])),
        ] {
            let expected = expected.map(|texts| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(captured(pattern, "h", path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_host_matches_in_any_scheme() {
        for (pattern, host, expected) in [
            ("https://a.com/x", "a.com", Some(vec![])),
            ("http://A.com/x", "a.com", Some(vec![])),
            ("https://a.com/x", "b.a.com", None),
            ("https://:sub.a.:tld/x", "www.a.dev", Some(vec!["www", "dev"])),
            ("https://:sub.a.com/x", "x.www.a.com", None),
            ("https://*.a.com/x", "x.www.a.com", Some(vec!["x.www"])),
            ("https://:Sub.a.*/:y", "www.a.co.uk", Some(vec!["www", "co.uk", "x"])),
        ] {
            let expected = expected.map(|texts| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(captured(pattern, host, "/x"), expected, "{pattern} {host}");
        }
        assert_eq!(captured("https://a.com", "a.com", "/"), Some(vec![]));
    }

    #[test]
    fn invalid_patterns_have_a_reason() {
        for (pattern, reason) in [
            ("a", "expected a path or a URL, found a"),
            ("/a?b=1", "?b=1 is not a part of a path"),
            ("/a#b", "#b is not a part of a path"),
            ("https:///a", "expected a host name without port, found "),
            ("https://a.com:8080/", "expected a host name without port, found a.com:8080"),
            ("https://me@a.com/", "expected a host name without port, found me@a.com"),
            ("https://é.com/", "expected a host name without port, found é.com"),
            ("/*/*", "expected at most one *, which :splat names"),
            ("/**", "expected at most one *, which :splat names"),
            ("https://*.a.com/*", "expected at most one *, which :splat names"),
            ("/*/:splat", "expected at most one *, which :splat names"),
            ("/:splat/*", "expected at most one *, which :splat names"),
            ("/:a/:a", "the placeholder :a occurs twice"),
            ("/:a*", "a segment has * and a placeholder, which have no boundary"),
            ("/*:a", "a segment has * and a placeholder, which have no boundary"),
            ("/%ff", "%ff is not UTF-8"),
            ("/%0a", "%0a has a control character"),
            ("/a/../b", "clients resolve the segments . and .. before a request"),
            ("/*/.", "clients resolve the segments . and .. before a request"),
        ] {
            assert_eq!(UrlPattern::parse(pattern).map_err(|fault| fault.reason), Err(reason.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn an_example_matches_its_pattern() {
        for pattern in ["/", "/a/b", "/*", "/a/*", "/a*b/:c", "/:a/:b-:c/*/d/:e", "/:x.html"] {
            let pattern = UrlPattern::parse(pattern).expect("expected a valid pattern");
            let example = format!("/{}", pattern.path.example());
            assert!(pattern.matches(|| "", &example, &mut Captures::new()), "{example}");
        }
    }

    #[test]
    fn steps_end_at_the_first_part_that_needs_a_search() {
        for (pattern, expected) in [
            ("/a/b", vec![Step::Text("a"), Step::Text("/"), Step::Text("b")]),
            ("/a/:b/c", vec![Step::Text("a"), Step::Text("/"), Step::Segment, Step::Text("/"), Step::Text("c")]),
            ("/:b", vec![Step::Segment]),
            ("/x/p:b/c", vec![Step::Text("x"), Step::Text("/"), Step::Text("p")]),
            ("/x/p*/c", vec![Step::Text("x"), Step::Text("/"), Step::Text("p")]),
            ("/*", vec![Step::Text("")]),
        ] {
            let pattern = UrlPattern::parse(pattern).expect("expected a valid pattern");
            assert_eq!(pattern.path.steps().collect::<Vec<_>>(), expected);
        }
    }
}
