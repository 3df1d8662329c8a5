//! The objects of a folder as a store, with the files of the command line in their places.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nearedge_core::object::{Body, BodyEncoder, Head, Metadata, Object, ObjectKey};
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Fetched, Missing, Part, Source, Store};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::journal::Journal;
use crate::s3::site::{Content, Site, Stored};

/// The objects that requests are tried on.
#[derive(Debug)]
pub(super) struct Objects {
    folder: Option<(PathBuf, Site)>,
    /// Files that have another name or place, by key.
    texts: BTreeMap<String, String>,
    /// Objects that are taken to exist, without a folder.
    assumed: BTreeSet<String>,
}

impl Objects {
    /// The objects of a folder, or none without one.
    ///
    /// # Errors
    /// If the folder cannot be read: a message in one line.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, String> {
        let open = |folder: &Path| Ok::<_, String>((folder.to_owned(), Site::open(folder, Journal::in_memory())?));
        let folder = folder.map(open).transpose()?;
        Ok(Self { folder, texts: BTreeMap::new(), assumed: BTreeSet::new() })
    }

    /// Adds a file under a key.
    pub(super) fn add(&mut self, key: &str, text: String) {
        self.texts.insert(key.to_owned(), text);
    }

    /// Takes an object to exist. Has no effect with a folder, which knows.
    pub(super) fn assume(&mut self, key: String) {
        if self.folder.is_none() {
            self.assumed.insert(key);
        }
    }

    /// Whether an object exists.
    pub(super) fn exists(&self, key: &str) -> bool {
        self.texts.contains_key(key) || self.assumed.contains(key) || matches!(self.stored(key), Ok(Some(_)))
    }

    /// The text of a file of the site; `None` if it does not exist.
    ///
    /// # Errors
    /// If it cannot be read, or is not UTF-8.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, String> {
        if let Some(text) = self.texts.get(key) {
            return Ok(Some(text.clone()));
        }
        let Some(stored) = self.stored(key).map_err(|error| format!("cannot be read: {error}"))? else {
            return Ok(None);
        };
        let bytes = read(&stored.content).map_err(|error| format!("cannot be read: {error}"))?;
        String::from_utf8(bytes).map(Some).map_err(|_| "is not UTF-8: save it as UTF-8".to_owned())
    }

    /// The keys of the folder; empty without one.
    pub(super) fn keys(&self) -> Vec<String> {
        let Some((_, site)) = &self.folder else { return Vec::new() };
        site.keys("", "").map(|keys| keys.map(|(key, _)| key).collect()).unwrap_or_default()
    }

    /// Whether there is a folder, so that objects can be missing.
    pub(super) fn is_complete(&self) -> bool {
        self.folder.is_some()
    }

    fn stored(&self, key: &str) -> io::Result<Option<std::sync::Arc<Stored>>> {
        self.folder.as_ref().map_or(Ok(None), |(_, site)| site.find(key))
    }

    /// The metadata of an object, and how to read its body.
    fn find(&self, key: &str) -> io::Result<Option<(Metadata, Content)>> {
        if let Some(stored) = self.stored(key)?.filter(|_| !self.texts.contains_key(key)) {
            let metadata = Metadata {
                content_type: stored.headers.content_type.clone(),
                etag: Some(format!("\"{}\"", stored.etag)),
                last_modified: http_date(stored.modified.into()),
                size_bytes: stored.size,
                ..Metadata::default()
            };
            return Ok(Some((metadata, stored.content.clone())));
        }
        let assumed = || self.assumed.contains(key).then(String::new);
        let Some(text) = self.texts.get(key).cloned().or_else(assumed) else { return Ok(None) };
        let metadata = Metadata { size_bytes: text.len() as u64, ..Metadata::default() };
        Ok(Some((metadata, Content::Memory(text.into()))))
    }

    fn fetch_now(&self, request: &FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let failed = |error: io::Error| FetchError::Failed(error.into());
        let Some((metadata, content)) = self.find(request.key.as_str()).map_err(failed)? else {
            return Err(FetchError::Missing(Missing::NoSuchKey));
        };
        let head = Head::new(metadata);
        let Ok(range) = request.select_range(&head) else { return Ok(Fetched::Unsatisfiable(head.size_bytes)) };
        if let Some(answer) = request.answer_without_body(&head, range.as_ref()) {
            return Ok(answer);
        }
        let mut body = Body::default();
        if request.part == Part::Whole {
            let bytes = read(&content).map_err(failed)?;
            let mut encoder = BodyEncoder::with_capacity(bytes.len());
            encoder.push(&bytes[..]);
            body = encoder.finish();
            if let Some(range) = &range {
                body = body.slice(range.clone());
            }
        }
        Ok(Fetched::Object(Object { head, range, body }))
    }
}

/// The objects, for an origin and for those who read them directly.
#[derive(Debug, Clone)]
pub(super) struct FolderStore(pub(super) std::sync::Arc<Objects>);

impl Store for FolderStore {
    async fn fetch(&self, request: &FetchRequest<'_>, _: Instant) -> FetchResponse {
        FetchResponse::new(self.0.fetch_now(request), Source::Bypass)
    }

    async fn presign(&self, key: &ObjectKey, _: Part, _: Duration, _: Instant) -> Result<String, FetchError> {
        Ok(format!("https://bucket.example/{}?X-Amz-Signature=…", key.as_str()))
    }
}

fn read(content: &Content) -> io::Result<Vec<u8>> {
    match content {
        Content::Memory(bytes) => Ok(bytes.to_vec()),
        Content::File(path) => std::fs::read(path),
    }
}

/// A date as S3 sends it (RFC 9110 §5.6.7).
fn http_date(time: OffsetDateTime) -> Option<String> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    time.format(format).ok()
}
