//! Keys, objects that are ready to send, and why a fetch can fail.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::json;

/// The longest key that S3 knows, in bytes of UTF-8
/// ([S3 user guide, object keys](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)).
pub const KEY_BYTES_MAX: usize = 1024;

/// The name of an object in the bucket: UTF-8, never empty, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// A key; the caller has made sure that it is not empty.
    pub(crate) fn new(key: String) -> Self {
        debug_assert!(!key.is_empty());
        Self(key)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has a segment that whoever is sent to its address resolves, and so comes to another
    /// ([RFC 3986 §5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4), percent-encoded or not).
    pub fn has_dot_segment(&self) -> bool {
        self.0.split('/').any(|segment| matches!(segment, "." | ".."))
    }

    /// Whether it climbs out of the bucket, with a `..` for which there is no segment before it: S3 answers such a key with 400
    /// ([object key names](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html#object-key-guidelines)), other
    /// servers with another bucket's object.
    fn climbs_out(&self) -> bool {
        let mut depth = 0_i32;
        let mut climbs = |segment: &str| {
            match segment {
                ".." => depth -= 1,
                "" | "." => {}
                _ => depth += 1,
            }
            depth < 0
        };
        self.0.as_bytes().windows(2).any(|pair| pair == b"..") && self.0.split('/').any(&mut climbs)
    }

    /// Whether S3 could be asked for an object of this name at all: the SDK takes a key of nothing but white
    /// space for no key.
    pub fn can_exist(&self) -> bool {
        self.0.len() <= KEY_BYTES_MAX && !self.0.trim().is_empty() && !self.climbs_out()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's bytes as the answer carries them: base64 text (RFC 4648 §4), encoded once.
///
/// Cloning shares the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    base64: Bytes,
    bytes: u64,
}

impl Body {
    /// The base64 text.
    pub fn base64(&self) -> &Bytes {
        &self.base64
    }

    /// How many bytes the text stands for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of `range`, which lies within the body. Where its ends fall between groups of three bytes the text
    /// is shared; else just that part of it is written again.
    pub fn slice(&self, range: Range<u64>) -> Self {
        let bytes = range.end.saturating_sub(range.start);
        let group = range.start / 3;
        let position = |byte: u64| usize::try_from(base64_bytes(byte)).unwrap_or(usize::MAX).min(self.base64.len());
        let text = self.base64.slice(position(group * 3)..position(range.end));
        let skipped = range.start % 3;
        if skipped == 0 && (range.end.is_multiple_of(3) || range.end == self.bytes) {
            return Self { base64: text, bytes };
        }
        // It is our own text, so it decodes.
        let decoded = base64_simd::STANDARD.decode_to_vec(&text).unwrap_or_default();
        let wanted = decoded.into_iter().skip(usize::try_from(skipped).unwrap_or(0));
        let wanted: Vec<u8> = wanted.take(usize::try_from(bytes).unwrap_or(0)).collect();
        let mut encoder = BodyEncoder::with_capacity(wanted.len());
        encoder.push(wanted.as_slice());
        encoder.finish()
    }
}

/// The length of the base64 text of so many bytes, padding included.
pub const fn base64_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Encodes a body as its chunks arrive, into one buffer of exactly its final size.
#[derive(Debug)]
pub struct BodyEncoder {
    base64: Vec<u8>,
    /// Up to two bytes that wait for a third.
    carry: [u8; 3],
    carried: usize,
    bytes: u64,
}

impl BodyEncoder {
    /// An encoder for a body of `bytes`; a wrong guess costs only a reallocation.
    pub fn with_capacity(bytes: usize) -> Self {
        let capacity = usize::try_from(base64_bytes(bytes as u64)).unwrap_or(0);
        Self { base64: Vec::with_capacity(capacity), carry: [0; 3], carried: 0, bytes: 0 }
    }

    /// How many bytes there have been.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Encodes the next bytes.
    pub fn push(&mut self, mut chunk: impl Buf) {
        while chunk.has_remaining() {
            let slice = chunk.chunk();
            let taken = slice.len();
            self.push_slice(slice);
            chunk.advance(taken);
        }
    }

    fn push_slice(&mut self, mut slice: &[u8]) {
        self.bytes += slice.len() as u64;
        while self.carried > 0 && self.carried < 3 {
            let Some((&first, rest)) = slice.split_first() else { return };
            self.carry[self.carried] = first;
            self.carried += 1;
            slice = rest;
        }
        if self.carried == 3 {
            append(&self.carry, &mut self.base64);
            self.carried = 0;
        }
        let (whole, rest) = slice.split_at(slice.len() - slice.len() % 3);
        append(whole, &mut self.base64);
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carried = rest.len();
    }

    /// The body.
    pub fn finish(mut self) -> Body {
        append(&self.carry[..self.carried], &mut self.base64);
        // Nothing to do where the guess was right.
        self.base64.shrink_to_fit();
        Body { base64: self.base64.into(), bytes: self.bytes }
    }
}

fn append(bytes: &[u8], base64: &mut Vec<u8>) {
    base64_simd::STANDARD.encode_append(bytes, base64);
}

/// What S3 says of an object, byte for byte as it says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Content-Type.
    pub content_type: Option<String>,
    /// ETag, with its quotes.
    pub etag: Option<String>,
    /// Last-Modified.
    pub last_modified: Option<String>,
    /// Cache-Control.
    pub cache_control: Option<String>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// Content-Language.
    pub content_language: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Expires.
    pub expires: Option<String>,
    /// The size of the whole object, in bytes.
    pub bytes: u64,
}

/// S3's own default for an object that was put without a type: so that API Gateway does not make it text/plain.
const UNTYPED: &str = "binary/octet-stream";

impl Metadata {
    /// What passes through: the names and values of header fields.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("content-type", Some(self.content_type.as_deref().unwrap_or(UNTYPED))),
            ("etag", self.etag.as_deref()),
            ("last-modified", self.last_modified.as_deref()),
            ("cache-control", self.cache_control.as_deref()),
            ("content-encoding", self.content_encoding.as_deref()),
            ("content-language", self.content_language.as_deref()),
            ("content-disposition", self.content_disposition.as_deref()),
            ("expires", self.expires.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// What S3 says of an object, and the header fields that say so, written once. Cloning shares both.
#[derive(Clone)]
pub struct Head(Arc<Described>);

struct Described {
    metadata: Metadata,
    json: Box<[u8]>,
}

impl Head {
    /// Writes the header fields.
    pub fn new(metadata: Metadata) -> Self {
        let mut json = Vec::with_capacity(512);
        for (name, value) in metadata.fields() {
            json::write_member(&mut json, name, value);
        }
        Self(Arc::new(Described { metadata, json: json.into() }))
    }

    /// [`Metadata::fields`] as members of a JSON object, each followed by a comma.
    pub fn json(&self) -> &[u8] {
        &self.0.json
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new(Metadata::default())
    }
}

impl Deref for Head {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        &self.0.metadata
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.0.metadata == other.0.metadata
    }
}

impl Eq for Head {}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.metadata.fmt(f)
    }
}

/// An object as a store gives it: what its answer needs, ready to send. Cloning shares all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// What S3 says of it.
    pub head: Head,
    /// The bytes that the body holds, where it is not the whole object.
    pub range: Option<Range<u64>>,
    /// The body; empty when only the head was asked for.
    pub body: Body,
}

/// What a store has to say of a key that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The object, or the part or the head that was asked for.
    Object(Object),
    /// The asker has it already.
    NotModified(Head),
    /// It is not what the client takes it for.
    PreconditionFailed,
    /// There are no such bytes in it: its size.
    Unsatisfiable(u64),
    /// It, or the part asked for, is larger than an answer can be.
    TooLarge(Head),
}

/// Why S3 gave no object where there may simply be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// S3 says that there is no such key.
    NoSuchKey,
    /// S3 refuses, as it does for a missing key to a role without `s3:ListBucket`
    /// ([GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html), "Permissions").
    AccessDenied,
}

impl Missing {
    /// The word that logs and metrics use.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSuchKey => "no_such_key",
            Self::AccessDenied => "access_denied",
        }
    }
}

/// Why a fetch gave no object. The details are for the log; they hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// There is no such object, as far as we may know.
    Missing(Missing),
    /// S3 is throttling or cannot be reached: worth another try in a moment.
    Unavailable(String),
    /// No answer within the budget.
    TimedOut(String),
    /// Anything else: a refused signature, a missing bucket, an answer that makes no sense.
    Failed(String),
}

impl FetchError {
    /// What went wrong, where something did: a missing object is an answer.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Missing(_) => None,
            Self::Unavailable(trouble) | Self::TimedOut(trouble) | Self::Failed(trouble) => Some(trouble),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_body_in_chunks_encodes_as_the_whole_does(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        ) {
            let whole = chunks.concat();
            let mut encoder = BodyEncoder::with_capacity(whole.len());
            let capacity = encoder.base64.capacity();
            for chunk in &chunks {
                encoder.push(chunk.as_slice());
            }
            prop_assert_eq!(encoder.base64.capacity(), capacity, "the buffer never grows");
            let body = encoder.finish();
            prop_assert_eq!(body.bytes(), whole.len() as u64);
            prop_assert_eq!(body.base64().len() as u64, base64_bytes(whole.len() as u64));
            prop_assert_eq!(base64_simd::STANDARD.decode_to_vec(body.base64()).unwrap(), whole);
        }

        #[test]
        fn a_slice_of_a_body_is_the_body_of_a_slice(
            whole in prop::collection::vec(any::<u8>(), 1..60),
            ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let encode = |bytes: &[u8]| {
                let mut encoder = BodyEncoder::with_capacity(bytes.len());
                encoder.push(bytes);
                encoder.finish()
            };
            let (one, other) = (ends.0.index(whole.len()), ends.1.index(whole.len()));
            let range = one.min(other)..one.max(other) + 1;
            let slice = encode(&whole).slice(range.start as u64..range.end as u64);
            prop_assert_eq!(slice, encode(&whole[range]));
        }
    }
}
