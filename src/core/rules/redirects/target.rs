//! Targets of rules: addresses and paths of objects, with inserted captures.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

use crate::rules::line_problem::{Checked, Fault, part};
use crate::rules::path_pattern::{SPLAT, Token, tokens};
use crate::rules::percent::{
    FRAGMENT_ENCODED, FRAGMENT_TEXT_ENCODED, PARAMETER_ENCODED, PATH_ENCODED, PATH_TEXT_ENCODED, QUERY_ENCODED,
    SEGMENT_ENCODED,
};

/// A part of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// The captured text at this position.
    Capture {
        at: usize,
        /// Whether it may contain `/`.
        is_splat: bool,
    },
}

/// The address that a redirect sends the viewer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Such as `https://www.example.com`; `None` on the same site.
    origin: Option<Box<str>>,
    path: Box<[Piece]>,
    query: Option<Box<[Piece]>>,
    fragment: Option<Box<[Piece]>>,
}

/// The decoded path of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectPath(Box<[Piece]>);

/// The parts of a target's text.
#[derive(Debug, Clone, Copy)]
struct Parts<'t> {
    origin: Option<&'t str>,
    path: &'t str,
    query: Option<&'t str>,
    fragment: Option<&'t str>,
}

impl<'t> Parts<'t> {
    fn split(text: &'t str) -> Self {
        let (text, fragment) = split_off(text, '#');
        let (text, query) = split_off(text, '?');
        let host = ["https://", "http://"].iter().find_map(|scheme| text.starts_with(scheme).then_some(scheme.len()));
        let path_start = host.map_or(0, |host| text[host..].find('/').map_or(text.len(), |slash| host + slash));
        let (origin, path) = text.split_at(path_start);
        Self { origin: host.map(|_| origin), path, query, fragment }
    }
}

fn split_off(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// Placeholders of a target that its rule does not capture. They stay as text.
pub(super) type Unknown = Vec<String>;

impl Address {
    /// Reads a path or a URL.
    pub(super) fn parse(text: &str, names: &[Box<str>], unknown: &mut Unknown) -> Checked<Self> {
        let Parts { origin, path, query, fragment } = Parts::split(text);
        let mut read = |text: &str, set: &'static AsciiSet| pieces(text, names, unknown, |text| encoded(text, set));
        let origin = origin.map(checked_origin).transpose()?;
        // `/\example.com` would name a host. The path set encodes the backslash.
        let path = read(if path.is_empty() { "/" } else { path }, PATH_TEXT_ENCODED)?;
        let query = query.map(|query| read(query, QUERY_ENCODED)).transpose()?;
        let fragment = fragment.map(|fragment| read(fragment, FRAGMENT_TEXT_ENCODED)).transpose()?;
        let address = Self { origin, path, query, fragment };
        if address.path_has_dot_segment() {
            return Err(dot_segment_fault());
        }
        Ok(address)
    }

    fn path_has_dot_segment(&self) -> bool {
        has_dot_segment(&self.path.iter().map(Piece::text_or_x).collect::<String>())
    }

    /// The host, if the target is a URL.
    pub(super) fn host(&self) -> Option<&str> {
        let origin = self.origin.as_deref()?;
        Some(origin.split_once("://").map_or(origin, |(_, host)| host))
    }

    /// The Location with these captures.
    ///
    /// `None` if a capture makes a dot segment. It consists of visible ASCII characters, and has the host of the target. The request's `query` is passed on if the
    /// target has none.
    pub(super) fn location(&self, captures: &[Cow<'_, str>], query: &str) -> Option<Location> {
        let mut text = String::with_capacity(96);
        text.push_str(self.origin.as_deref().unwrap_or_default());
        let path_start = text.len();
        let is_dynamic = write(&mut text, &self.path, captures, PATH_ENCODED, SEGMENT_ENCODED)?;
        if is_dynamic && has_dot_segment(text.get(path_start..)?) {
            return None;
        }
        if self.origin.is_none() {
            // `//example.com` would name a host.
            let slashes = text.bytes().take_while(|byte| *byte == b'/').count();
            text.drain(..slashes.saturating_sub(1));
        }
        let path_end = text.len();
        match &self.query {
            Some(pieces) if !pieces.is_empty() => {
                text.push('?');
                write(&mut text, pieces, captures, PARAMETER_ENCODED, PARAMETER_ENCODED)?;
            }
            // `/target?` drops the query.
            Some(_) => {}
            None if query.is_empty() => {}
            None => {
                text.push('?');
                text.extend(utf8_percent_encode(query, QUERY_ENCODED));
            }
        }
        let query_end = text.len();
        if let Some(pieces) = &self.fragment {
            text.push('#');
            write(&mut text, pieces, captures, FRAGMENT_ENCODED, FRAGMENT_ENCODED)?;
        }
        Some(Location { text, path_start, path_end, query_end })
    }
}

/// A Location and the positions of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) text: String,
    path_start: usize,
    path_end: usize,
    query_end: usize,
}

impl Location {
    /// The encoded path.
    pub(super) fn path(&self) -> &str {
        self.text.get(self.path_start..self.path_end).unwrap_or_default()
    }

    /// The encoded query.
    pub(super) fn query(&self) -> &str {
        self.text.get(self.path_end + 1..self.query_end).unwrap_or_default()
    }

    /// Whether the Location has this decoded path and this encoded query.
    pub(super) fn is(&self, path: &str, query: &str) -> bool {
        percent_decode_str(self.path()).eq(path.bytes())
            && utf8_percent_encode(query, QUERY_ENCODED).flat_map(str::bytes).eq(self.query().bytes())
    }
}

impl ObjectPath {
    /// Reads a path in the bucket. Also returns whether it has a query or a fragment, which have no effect.
    pub(super) fn parse(text: &str, names: &[Box<str>], unknown: &mut Unknown) -> Checked<(Self, bool)> {
        let Parts { origin, path, query, fragment } = Parts::split(text);
        if origin.is_some() {
            return Err(Fault::new(
                "the object is in the bucket, other hosts are not fetched",
                "write a path, or redirect by 301, 302, 303, 307 or 308",
            ));
        }
        let path = Self(pieces(path, names, unknown, decoded)?);
        if has_dot_segment(&path.0.iter().map(Piece::text_or_x).collect::<String>()) {
            return Err(dot_segment_fault());
        }
        Ok((path, query.is_some() || fragment.is_some()))
    }

    /// The decoded path with these captures.
    ///
    /// `None` if a capture makes a dot segment, or if a query parameter contains `/`: it could name any object.
    pub(super) fn path(&self, captures: &[Cow<'_, str>]) -> Option<String> {
        let mut text = String::with_capacity(64);
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Capture { at, is_splat } => {
                    let capture = captures.get(*at).filter(|capture| *is_splat || !capture.contains('/'))?;
                    text.push_str(capture);
                }
            }
        }
        let slashes = text.bytes().take_while(|byte| *byte == b'/').count();
        text.drain(..slashes.saturating_sub(1));
        (!has_dot_segment(&text)).then_some(text)
    }
}

impl Piece {
    fn text_or_x(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Capture { .. } => "x",
        }
    }
}

/// Writes pieces, and returns whether one of them is a capture.
fn write(
    text: &mut String,
    pieces: &[Piece],
    captures: &[Cow<'_, str>],
    splat_encoded: &'static AsciiSet,
    encoded: &'static AsciiSet,
) -> Option<bool> {
    let mut has_capture = false;
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Capture { at, is_splat } => {
                let set = if *is_splat { splat_encoded } else { encoded };
                text.extend(utf8_percent_encode(captures.get(*at)?, set));
                has_capture = true;
            }
        }
    }
    Some(has_capture)
}

/// Splits a text at the placeholders in `names`.
fn pieces(
    text: &str,
    names: &[Box<str>],
    unknown: &mut Unknown,
    mut prepare: impl FnMut(&str) -> Checked<String>,
) -> Checked<Box<[Piece]>> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    for token in tokens(text) {
        match token {
            Token::Text(text) => plain.push_str(text),
            Token::Splat => {
                plain.push('*');
                unknown.push("*".to_owned());
            }
            Token::Placeholder(name) => match names.iter().position(|known| **known == *name) {
                Some(at) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(prepare(&std::mem::take(&mut plain))?.into()));
                    }
                    pieces.push(Piece::Capture { at, is_splat: name == SPLAT });
                }
                None => {
                    plain.extend([":", name]);
                    unknown.push(format!(":{name}"));
                }
            },
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(prepare(&plain)?.into()));
    }
    Ok(pieces.into())
}

/// Encodes the characters of `set`, and `%` without two digits. Dots are decoded.
fn encoded(text: &str, set: &'static AsciiSet) -> Checked<String> {
    let mut out = String::with_capacity(text.len());
    for (number, piece) in text.split('%').enumerate() {
        let is_hex = piece.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let piece = match piece.get(..2) {
            Some("2e" | "2E") if number > 0 => {
                out.push('.');
                &piece[2..]
            }
            _ if number > 0 => {
                out.push_str(if is_hex { "%" } else { "%25" });
                piece
            }
            _ => piece,
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "{}", utf8_percent_encode(piece, set));
    }
    Ok(out)
}

fn decoded(text: &str) -> Checked<String> {
    let invalid = |_| Fault::new(format!("{} is not UTF-8", part(text)), "encode the UTF-8 bytes of the path");
    Ok(percent_decode_str(text).decode_utf8().map_err(invalid)?.into_owned())
}

/// Reads the scheme, the host and the port of a target.
///
/// A placeholder in the host would let a request choose the host.
fn checked_origin(origin: &str) -> Checked<Box<str>> {
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    let (name, port) = split_off(host, ':');
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    if name.is_empty() || !name.bytes().all(is_of_host) || !port.is_none_or(is_port) {
        return Err(Fault::new(
            format!("expected a fixed host name in the target, found {}", part(host)),
            "write a name such as www.example.com without placeholders, user or password, and / behind it",
        ));
    }
    Ok(origin.to_ascii_lowercase().into())
}

fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn dot_segment_fault() -> Fault {
    Fault::new("the target has a segment . or ..", "write the resolved path")
}
