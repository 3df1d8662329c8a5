//! Patterns of paths and hosts, with `:placeholders` and one `*`.
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

/// A pattern of a path without its first `/`, or of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SegmentPattern {
    /// `/` or `.`.
    separator: u8,
    /// The whole text, if there is neither a placeholder nor `*`.
    literal: Option<Box<str>>,
    head: Box<[Segment]>,
    splat: Option<Splat>,
    /// The number of captured texts.
    captures: usize,
    /// Whether all texts match that have the pattern's [`steps`](Self::steps).
    pub(super) is_decided_by_steps: bool,
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

/// Splits a text at its placeholders and `*`.
///
/// A placeholder is a colon, a letter, and letters, digits or underscores.
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
    pub(super) fn parse(text: &str, separator: u8, names: &mut Vec<Box<str>>) -> Checked<Self> {
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
                    for (position, text) in decoded(text)?.split(char::from(separator)).enumerate() {
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
        let has_mixed = head.iter().any(|segment| matches!(segment, Segment::Mixed(_)));
        let ends_in_splat = splat.as_ref().is_some_and(|splat| splat.after.is_empty() && splat.tail.is_empty());
        let is_decided_by_steps = literal.is_some() || ends_in_splat && !has_mixed;
        Ok(Self { separator, literal, head: head.into(), splat, captures, is_decided_by_steps })
    }

    /// All paths that start with `prefix`.
    pub(super) fn of_prefix(prefix: &str) -> Self {
        let (head, before) = prefix.rsplit_once('/').map_or((None, prefix), |(head, before)| (Some(head), before));
        let head = head.into_iter().flat_map(|head| head.split('/')).map(|text| Segment::Text(text.into())).collect();
        let splat = Splat { before: before.into(), after: Box::default(), tail: Box::default() };
        Self { separator: b'/', literal: None, head, splat: Some(splat), captures: 1, is_decided_by_steps: true }
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
            let text = rest?;
            let (found, behind) = match memchr::memchr(self.separator, text.as_bytes()) {
                Some(end) => (text.get(..end)?, text.get(end + 1..)),
                None => (text, None),
            };
            position += segment.capture(found, captures.get_mut(position..)?)?;
            rest = behind;
        }
        let Some(splat) = &self.splat else { return rest.is_none().then_some(()) };
        let mut rest = rest?;
        let mut end = captures.len();
        for segment in splat.tail.iter().rev() {
            let start = memchr::memrchr(self.separator, rest.as_bytes())?;
            let (before, found) = (rest.get(..start)?, rest.get(start + 1..)?);
            let count = segment.placeholders();
            segment.capture(found, captures.get_mut(end - count..end)?)?;
            end -= count;
            rest = before;
        }
        *captures.get_mut(position)? = rest.strip_prefix(&*splat.before)?.strip_suffix(&*splat.after)?;
        Some(())
    }

    /// The first parts of all matching paths.
    ///
    /// They end at the first part that only [`Self::matches`] can decide.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let has_more = |position: usize| position + 1 < self.head.len() || self.splat.is_some();
        let separator = if self.separator == b'/' { "/" } else { "." };
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

    /// The text before `*`, if all texts that start so match.
    pub(super) fn prefix(&self) -> Option<String> {
        let splat = self.splat.as_ref().filter(|splat| splat.after.is_empty() && splat.tail.is_empty())?;
        let mut prefix = String::new();
        for segment in &self.head {
            let Segment::Text(text) = segment else { return None };
            prefix.push_str(text);
            prefix.push(char::from(self.separator));
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
            let separator = char::from(self.separator);
            segments.push(format!("{before}y1-{separator}y2-{after}"));
            segments.extend(tail.iter().map(&mut text_of));
        }
        segments.join(char::from(self.separator).encode_utf8(&mut [0; 4]))
    }

    pub(super) fn has_dot_segment(&self) -> bool {
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
