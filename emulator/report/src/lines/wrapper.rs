//! A line as the tools of CloudWatch Logs write it -> its records.
//!
//! | source | a line |
//! |---|---|
//! | standard output of the handler | `{"message":"exposure",…}` |
//! | `aws logs tail`, also `--format short`; an export to S3 | `2026-11-23T12:54:50 {"message":"exposure",…}` |
//! | `aws logs filter-log-events`, `get-log-events` | `"message": "{\"message\":\"exposure\",…}",` |
//! | the same with `--output text` | `EVENTS 3956 1795438490551 stream {"message":"exposure",…} 1795438490551`, with tabs |
//! | `aws logs get-query-results` of Logs Insights | `"value": "{\"message\":\"exposure\",…}"` |
//! | CSV of Logs Insights | `2026-11-23 12:54:50.550,"{""message"":""exposure"",…}"` |
//! | subscriptions and Firehose, one document after another | `{"messageType":"DATA_MESSAGE","logEvents":[{"message":"{\"message\"…` |
//!
//! Only members that hold a message are read as lines: viewers choose the values of the others.

use std::borrow::Cow;

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use crate::lines::parse::{Error, Parsed, parse, string};
use crate::lines::record::{Record, Sink};
use crate::lines::walk::{Part, Walker};

/// The names of the members whose strings are lines, with the text up to the string.
const MESSAGES: [&[u8]; 3] = [b"\"message\"", b"\"@message\"", b"\"value\""];

/// The number of records found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// The exposures.
    pub exposures: u64,
    /// The conversions.
    pub conversions: u64,
    /// The requests.
    pub accesses: u64,
}

/// Finds records in lines.
#[derive(Debug)]
pub struct Wrapper<'s> {
    by: Option<&'s str>,
    needles: [Finder<'static>; 3],
}

impl<'s> Wrapper<'s> {
    /// Finds records with the attribute `by`.
    pub fn new(by: Option<&'s str>) -> Self {
        Self { by, needles: ["\"exposure", "\"conversion", "\"answered"].map(Finder::new) }
    }

    /// Whether a text may contain a record.
    fn mentions(&self, text: &[u8]) -> bool {
        self.needles.iter().any(|needle| needle.find(text).is_some())
    }

    /// The start of the last text that belongs to a record.
    fn last_mention(&self, text: &[u8]) -> usize {
        self.needles.iter().filter_map(|needle| needle.find_iter(text).last()).max().unwrap_or_default()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// With the reason if a part of the line is broken; the other parts have been taken.
    pub fn read(&self, line: &[u8], sink: &mut impl Sink, found: &mut Found) -> Result<(), String> {
        if !self.mentions(line) {
            let is_cut = line.starts_with(b"{\"_aws\"") && !line.trim_ascii_end().ends_with(b"}");
            return if is_cut { Err("the line is cut off".to_owned()) } else { Ok(()) };
        }
        let mut result = Ok(());
        let mut rest = line;
        let mut last = None;
        while let Some(open) = memchr(b'{', rest) {
            let (outcome, end) = self.read_at(rest, open, sink, found);
            result = result.and(outcome);
            rest = rest.get(end..).unwrap_or_default();
            // Searched once: a line of 4 MB can have a million objects.
            if rest.is_empty() || line.len() - rest.len() > *last.get_or_insert_with(|| self.last_mention(line)) {
                return result;
            }
        }
        if rest.len() == line.len() && is_pretty(line) {
            return Err("the object spans several lines: use --format short, or no format".to_owned());
        }
        result
    }

    /// Reads what starts with the brace at `open`, and returns where it ends.
    fn read_at(
        &self,
        text: &[u8],
        open: usize,
        sink: &mut impl Sink,
        found: &mut Found,
    ) -> (Result<(), String>, usize) {
        let is_quoted = open > 0 && text[open - 1] == b'"';
        match &text[open + 1..] {
            [b'\\', ..] if is_quoted => {
                let Some((message, read)) = string(&text[open - 1..]) else {
                    return (Err("not valid JSON: a string without end".to_owned()), text.len());
                };
                let end = open - 1 + read;
                let is_message = is_message(&text[..open - 1]);
                (if is_message { self.read_message(&message, sink, found) } else { Ok(()) }, end)
            }
            [b'"', b'"', next, ..] if is_quoted && *next != b':' => {
                let (message, end) = csv_field(text, open);
                (self.read_message(&String::from_utf8_lossy(&message), sink, found), end)
            }
            _ => {
                let text = &text[open..];
                let (outcome, read) = match parse(text, self.by) {
                    Ok((Parsed::Record(record), read)) => (take(&record, sink, found), read),
                    Ok((Parsed::Event(message), read)) => (self.read_message(&message, sink, found), read),
                    Ok((Parsed::Other, read)) => (Ok(()), read),
                    Ok((Parsed::Unknown, read)) => (self.walk(&text[..read], None, sink, found), read),
                    Err(Error::Member(reason, read)) => (Err(reason), read),
                    Err(Error::Syntax(reason)) => (self.walk(text, Some(reason), sink, found), text.len()),
                };
                (outcome, open + read)
            }
        }
    }

    /// Reads the objects in a text that is no record; if there are none, it is broken for the reason, if any.
    fn walk(&self, text: &[u8], reason: Option<String>, sink: &mut impl Sink, found: &mut Found) -> Result<(), String> {
        let (mut result, mut is_any) = (Ok(()), false);
        Walker::default().walk(text, |part| {
            let (is_taken, outcome) = self.read_part(part, sink, found);
            is_any |= is_taken;
            if result.is_ok() {
                result = outcome;
            }
            is_taken
        });
        match reason {
            Some(reason) if !is_any => Err(reason),
            _ => result,
        }
    }

    /// Reads a part of a document. Returns whether the part was understood, too.
    pub(super) fn read_part(
        &self,
        part: Part<'_>,
        sink: &mut impl Sink,
        found: &mut Found,
    ) -> (bool, Result<(), String>) {
        match part {
            Part::Object(object) if self.mentions(object) => match parse(object, self.by) {
                Ok((Parsed::Record(record), _)) => (true, take(&record, sink, found)),
                Ok((Parsed::Event(message), _)) => (true, self.read_message(&message, sink, found)),
                Ok((Parsed::Other, _)) => (true, Ok(())),
                Ok((Parsed::Unknown, _)) | Err(Error::Syntax(_)) => (false, Ok(())),
                Err(Error::Member(reason, _)) => (true, Err(reason)),
            },
            Part::String(text) if text.starts_with(b"\"{") && self.mentions(text) => match string(text) {
                Some((message, _)) => (true, self.read_message(&message, sink, found)),
                None => (false, Ok(())),
            },
            Part::Object(_) | Part::String(_) => (false, Ok(())),
        }
    }

    /// Reads the message of an event: a line of the handler.
    fn read_message(&self, message: &str, sink: &mut impl Sink, found: &mut Found) -> Result<(), String> {
        let message = message.trim().as_bytes();
        if !self.mentions(message) {
            return Ok(());
        }
        match parse(message, self.by) {
            Ok((Parsed::Record(record), _)) => take(&record, sink, found),
            Ok(_) => Ok(()),
            Err(Error::Syntax(reason) | Error::Member(reason, _)) => Err(reason),
        }
    }
}

fn take(record: &Record<'_>, sink: &mut impl Sink, found: &mut Found) -> Result<(), String> {
    sink.take(record)?;
    match record {
        Record::Exposure(_) => found.exposures += 1,
        Record::Conversion(_) => found.conversions += 1,
        Record::Access(_) => found.accesses += 1,
    }
    Ok(())
}

/// Whether the string after this text is a message: by its name, or as an element of a list.
fn is_message(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    match before.strip_suffix(b":") {
        Some(name) => MESSAGES.iter().any(|message| name.trim_ascii_end().ends_with(message)),
        None => matches!(before.last(), None | Some(b'[' | b',' | b'\t')),
    }
}

/// Whether a line is that of a message in an object on several lines.
fn is_pretty(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"\"message\": \"")
}

/// Decodes the CSV field (RFC 4180) whose content starts at `start`, and returns where it ends.
fn csv_field(text: &[u8], start: usize) -> (Cow<'_, [u8]>, usize) {
    let mut content = Vec::new();
    let mut at = start;
    while let Some(found) = memchr(b'"', &text[at..]) {
        content.extend_from_slice(&text[at..at + found]);
        at += found + 1;
        if text.get(at) != Some(&b'"') {
            return (content.into(), at);
        }
        content.push(b'"');
        at += 1;
    }
    // The message ends with a line feed, which is in the field too.
    content.extend_from_slice(&text[at..]);
    (content.into(), text.len())
}

/// The end of the last whole line.
pub(super) fn last_line_end(text: &[u8]) -> Option<usize> {
    memrchr(b'\n', text).map(|end| end + 1)
}
