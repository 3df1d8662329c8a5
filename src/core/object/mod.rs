//! Objects: keys, metadata, and bodies that are ready to send.

mod body;
mod copy;
mod key;
mod version;

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::SystemTime;

use crate::http::date::http_date;
use crate::json;

pub use self::body::{Body, BodyEncoder, Encoding, Reservation, base64_len};
use self::copy::copyable;
pub use self::copy::{CODED_BYTES_MIN, CopyKind, Copyable, copy_tag, sources_of_copy, split_copy_tag};
pub use self::key::{KEY_BYTES_MAX, ObjectKey};
pub use self::version::is_version;

/// The metadata of an object, byte for byte as S3 sends it.
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
    /// `x-amz-website-redirect-location`: where S3's website endpoint would redirect
    /// ([object redirects](https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html)).
    pub redirect_location: Option<String>,
    /// The size of the whole object.
    pub size_bytes: u64,
}

/// The header fields of objects that pass through to the client.
const FIELDS: [&str; 8] = [
    "content-type",
    "etag",
    "last-modified",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-disposition",
    "expires",
];

/// Some of the header fields of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldSet(u8);

impl FieldSet {
    /// Adds a field; ignores names that no object has.
    pub fn insert(&mut self, name: &str) {
        if let Some(index) = FIELDS.iter().position(|field| *field == name) {
            self.0 |= 1 << index;
        }
    }

    /// Whether the set has the field with this name.
    pub fn contains(self, name: &str) -> bool {
        FIELDS.iter().position(|field| *field == name).is_some_and(|index| self.has(index))
    }

    /// Whether the set has no field.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn has(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }
}

/// S3's default for an object uploaded without a type. Without a type, API Gateway would send text/plain.
const UNTYPED: &str = "binary/octet-stream";

impl Metadata {
    /// The names and values of the header fields that pass through to the client.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        FIELDS.into_iter().zip(self.values()).filter_map(|(name, value)| Some((name, value?)))
    }

    /// The values of [`FIELDS`].
    fn values(&self) -> [Option<&str>; FIELDS.len()] {
        [
            Some(self.content_type.as_deref().unwrap_or(UNTYPED)),
            self.etag.as_deref(),
            self.last_modified.as_deref(),
            self.cache_control.as_deref(),
            self.content_encoding.as_deref(),
            self.content_language.as_deref(),
            self.content_disposition.as_deref(),
            self.expires.as_deref(),
        ]
    }
}

/// An object's metadata, with its header fields encoded once. Clones share both.
#[derive(Clone)]
pub struct Head(Arc<EncodedMetadata>);

struct EncodedMetadata {
    metadata: Metadata,
    json: Box<[u8]>,
    /// Where each of [`FIELDS`] ends in `json`.
    ends: [usize; FIELDS.len()],
    /// Last-Modified, parsed once.
    modified: Option<SystemTime>,
    /// The kinds of copies that the object may have; of a copy, those of its source.
    copyable: Copyable,
    /// The kind of a copy, and the size of its source.
    copy: Option<(CopyKind, u64)>,
}

impl Head {
    /// Encodes the header fields of `metadata`.
    pub fn new(metadata: Metadata) -> Self {
        let content_type = metadata.content_type.as_deref().unwrap_or_default();
        let (coding, control) = (metadata.content_encoding.as_deref(), metadata.cache_control.as_deref());
        let copyable = copyable(content_type, metadata.size_bytes, coding, control);
        Self::encode(metadata, copyable, None)
    }

    /// The head of a copy of this object, with `size_bytes`. `identity` distinguishes it from all other copies of this kind, as
    /// [`copy_tag`] says.
    pub fn of_copy(&self, kind: CopyKind, size_bytes: u64, identity: &[u8]) -> Self {
        let Metadata { content_type, etag, content_encoding, .. } = (**self).clone();
        let metadata = Metadata {
            content_type: kind.media_type().map(str::to_owned).or(content_type),
            etag: etag.map(|source| copy_tag(&source, kind, identity)),
            content_encoding: kind.coding().map(str::to_owned).or(content_encoding),
            size_bytes,
            ..(**self).clone()
        };
        Self::encode(metadata, self.0.copyable, Some((kind, self.size_bytes)))
    }

    /// The same head with another entity tag.
    pub fn with_etag(&self, etag: String) -> Self {
        Self::encode(Metadata { etag: Some(etag), ..(**self).clone() }, self.0.copyable, self.0.copy)
    }

    fn encode(metadata: Metadata, copyable: Copyable, copy: Option<(CopyKind, u64)>) -> Self {
        let mut json = Vec::with_capacity(512);
        let mut ends = [0; FIELDS.len()];
        for ((name, value), end) in FIELDS.into_iter().zip(metadata.values()).zip(&mut ends) {
            if let Some(value) = value {
                json::write_member(&mut json, name, value);
            }
            *end = json.len();
        }
        let modified = metadata.last_modified.as_deref().and_then(http_date);
        Self(Arc::new(EncodedMetadata { metadata, json: json.into(), ends, modified, copyable, copy }))
    }

    /// The kinds of copies that the object may have; of a copy, those of its source.
    pub fn copyable(&self) -> Copyable {
        self.0.copyable
    }

    /// The kind of a copy, and the size of its source in bytes; `None` for an object.
    pub fn copy(&self) -> Option<(CopyKind, u64)> {
        self.0.copy
    }

    /// The time of Last-Modified, if it is a date.
    pub fn modified(&self) -> Option<SystemTime> {
        self.0.modified
    }

    /// [`Metadata::fields`] as members of a JSON object, each followed by a comma.
    pub fn json(&self) -> &[u8] {
        &self.0.json
    }

    /// [`json`](Self::json) in parts, without some fields.
    pub fn json_without(&self, omitted: FieldSet) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        let part = move |(index, end): (usize, &usize)| {
            let range = std::mem::replace(&mut start, *end)..*end;
            self.0.json.get(range).filter(|_| !omitted.has(index))
        };
        self.0.ends.iter().enumerate().filter_map(part)
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
        Arc::ptr_eq(&self.0, &other.0) || self.0.metadata == other.0.metadata
    }
}

impl Eq for Head {}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.metadata.fmt(f)
    }
}

/// An object as a store returns it, ready to send. Clones share metadata and body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// The metadata.
    pub head: Head,
    /// The bytes that the body holds; `None` for the whole object.
    pub range: Option<Range<u64>>,
    /// The body; empty if only the head was requested.
    pub body: Body,
}
