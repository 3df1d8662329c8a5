//! Objects: keys, metadata, and bodies that are ready to send.

mod body;
mod key;
mod version;

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::SystemTime;

use crate::http::date::http_date;
use crate::json;

pub use self::body::{Body, BodyEncoder, Reservation, base64_len};
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
    /// The size of the whole object.
    pub size_bytes: u64,
}

/// S3's default for an object uploaded without a type. Without a type, API Gateway would send text/plain.
const UNTYPED: &str = "binary/octet-stream";

impl Metadata {
    /// The names and values of the header fields that pass through to the client.
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

/// An object's metadata, with its header fields encoded once. Clones share both.
#[derive(Clone)]
pub struct Head(Arc<EncodedMetadata>);

struct EncodedMetadata {
    metadata: Metadata,
    json: Box<[u8]>,
    /// Where Cache-Control is in `json`.
    cache_control: Range<usize>,
    /// Last-Modified, parsed once.
    modified: Option<SystemTime>,
}

impl Head {
    /// Encodes the header fields of `metadata`.
    pub fn new(metadata: Metadata) -> Self {
        let mut json = Vec::with_capacity(512);
        let mut cache_control = 0..0;
        for (name, value) in metadata.fields() {
            let start = json.len();
            json::write_member(&mut json, name, value);
            if name == "cache-control" {
                cache_control = start..json.len();
            }
        }
        let modified = metadata.last_modified.as_deref().and_then(http_date);
        Self(Arc::new(EncodedMetadata { metadata, json: json.into(), cache_control, modified }))
    }

    /// The time of Last-Modified, if it is a date.
    pub fn modified(&self) -> Option<SystemTime> {
        self.0.modified
    }

    /// [`Metadata::fields`] as members of a JSON object, each followed by a comma.
    pub fn json(&self) -> &[u8] {
        &self.0.json
    }

    /// [`json`](Self::json) in two parts, without Cache-Control.
    pub fn json_without_cache_control(&self) -> [&[u8]; 2] {
        let Range { start, end } = self.0.cache_control;
        [&self.0.json[..start], &self.0.json[end..]]
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
