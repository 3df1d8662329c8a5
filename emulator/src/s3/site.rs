//! The objects of a bucket: the files of a folder, with uploads and deletions in memory.
//!
//! The folder is read again for each request, so that an edited file is visible at once. It is never written to:
//! uploads and deletions over the S3 protocol stay in memory. Tests therefore change no files, and a key that is not a
//! valid path (`a//b`, `..`) can be uploaded.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::iter::Peekable;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::vec;

use parking_lot::Mutex;

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::journal::Journal;
use crate::s3::folder::{self, Folder, Walk};

/// The headers stored with an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Content-Type.
    pub content_type: Option<String>,
    /// Cache-Control.
    pub cache_control: Option<String>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// Content-Language.
    pub content_language: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Expires.
    pub expires: Option<SystemTime>,
    /// The `x-amz-meta-*` headers, without the prefix.
    pub metadata: HashMap<String, String>,
    /// The storage class; `None` is STANDARD.
    pub storage_class: Option<String>,
    /// The MD5, in base64, of the key with which SSE-C encrypts the object.
    pub customer_key_md5: Option<String>,
}

/// The location of an object's content.
#[derive(Debug, Clone)]
pub enum Content {
    /// Uploaded over the S3 protocol.
    Memory(Bytes),
    /// A file in the folder.
    File(PathBuf),
}

/// An object.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The ETag without quotes: the MD5 of the content, as S3 computes it for an object uploaded in one part.
    pub etag: String,
    /// The time of the last change.
    pub modified: SystemTime,
    /// The size in bytes.
    pub size: u64,
    /// The stored headers.
    pub headers: Headers,
    /// The content.
    pub content: Content,
}

impl Stored {
    /// An uploaded object. `etag` replaces the MD5 of the content.
    pub(crate) fn upload(headers: Headers, bytes: Bytes, etag: Option<String>) -> Self {
        Self {
            etag: etag.unwrap_or_else(|| format!("{:x}", Md5::digest(&bytes))),
            modified: SystemTime::now(),
            size: bytes.len() as u64,
            headers,
            content: Content::Memory(bytes),
        }
    }
}

/// The MD5 of a file, with the modification time and the size for which it is valid.
type Checksum = (SystemTime, u64, String);

/// The objects of a folder.
#[derive(Debug)]
pub struct Site {
    folder: Folder,
    /// The time at which the folder was opened.
    opened: SystemTime,
    /// Uploads, by key; `None` marks a deleted object.
    changes: Mutex<BTreeMap<String, Option<Arc<Stored>>>>,
    checksums: Mutex<HashMap<PathBuf, Checksum>>,
    /// A key, and the file outside the folder that is its object.
    mounted: Option<(String, PathBuf)>,
}

impl Site {
    /// Opens a folder. `journal` receives the keys that are left out, and why.
    ///
    /// # Errors
    /// If the folder cannot be read: a message in one line.
    pub fn open(folder: &Path, journal: Journal) -> Result<Self, String> {
        Ok(Self {
            folder: Folder::open(folder, journal)?,
            opened: SystemTime::now(),
            changes: Mutex::default(),
            checksums: Mutex::default(),
            mounted: None,
        })
    }

    /// The same site with the file at `path` as the object `key`. The file is read again for each request too.
    ///
    /// Listings contain the key only if the folder has a file of the same name.
    #[must_use]
    pub fn with_file(self, key: &str, path: &Path) -> Self {
        Self { mounted: Some((key.to_owned(), path.to_owned())), ..self }
    }

    /// The time at which the folder was opened.
    pub(crate) fn opened(&self) -> SystemTime {
        self.opened
    }

    /// The object at `key`.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn find(&self, key: &str) -> io::Result<Option<Arc<Stored>>> {
        let change = self.changes.lock().get(key).cloned();
        change.map_or_else(|| self.find_file(key), Ok)
    }

    fn find_file(&self, key: &str) -> io::Result<Option<Arc<Stored>>> {
        let mounted = self.mounted.as_ref().filter(|(mounted, _)| mounted == key).map(|(_, path)| path.clone());
        let path = match mounted {
            Some(path) => Some(path),
            None => self.folder.find(key)?,
        };
        let Some(path) = path else { return Ok(None) };
        match self.stored(&path) {
            Ok(stored) => Ok(stored.map(Arc::new)),
            Err(error) if folder::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an object in memory, or with `None` marks it as deleted, if `check` accepts the current object.
    ///
    /// No other change of the key happens between the check and the change.
    ///
    /// # Errors
    /// That of `check`.
    pub(crate) fn change<E>(
        &self,
        key: String,
        change: Option<Arc<Stored>>,
        check: impl FnOnce(io::Result<Option<Arc<Stored>>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut changes = self.changes.lock();
        let current = changes.get(&key).cloned();
        check(current.map_or_else(|| self.find_file(&key), Ok))?;
        changes.insert(key, change);
        Ok(())
    }

    /// Stores an object in memory, or with `None` marks it as deleted.
    pub(crate) fn set(&self, key: String, change: Option<Arc<Stored>>) {
        self.changes.lock().insert(key, change);
    }

    /// The keys that start with `prefix` and are greater than `after`, sorted by their bytes.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn keys<'a>(&'a self, prefix: &'a str, after: &str) -> io::Result<Keys<'a>> {
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let changes = self.changes.lock();
        let changed = changes.range::<str, _>((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        let changed: Vec<_> = changed.map(|(key, change)| (key.clone(), change.clone())).collect();
        Ok(Keys {
            site: self,
            walk: self.folder.walk(prefix, after)?,
            file: None,
            changed: changed.into_iter().peekable(),
            skipped: None,
        })
    }

    /// Writes to the journal, once, why `key` is left out of a listing.
    pub(crate) fn warn(&self, key: &str, reason: &dyn fmt::Display) {
        self.folder.warn(key.as_ref(), reason);
    }

    fn stored(&self, path: &Path) -> io::Result<Option<Stored>> {
        let file = std::fs::metadata(path)?;
        if !file.is_file() {
            return Ok(None);
        }
        let modified = file.modified()?;
        let content_type = mime_guess::from_path(path).first_raw().map(str::to_owned);
        Ok(Some(Stored {
            etag: self.etag(path, modified, file.len())?,
            modified,
            size: file.len(),
            headers: Headers {
                content_type: Some(content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
                ..Headers::default()
            },
            content: Content::File(path.to_owned()),
        }))
    }

    /// The MD5 of a file, computed again only if its modification time or size has changed.
    fn etag(&self, path: &Path, modified: SystemTime, size: u64) -> io::Result<String> {
        if let Some((known_modified, known_size, checksum)) = self.checksums.lock().get(path)
            && (*known_modified, *known_size) == (modified, size)
        {
            return Ok(checksum.clone());
        }
        let mut md5 = Md5::new();
        io::copy(&mut std::fs::File::open(path)?, &mut md5)?;
        let checksum = format!("{:x}", md5.finalize());
        self.checksums.lock().insert(path.to_owned(), (modified, size, checksum.clone()));
        Ok(checksum)
    }
}

/// A part of the keys of a site, in order. Files and changes are merged; a change replaces the file of its key.
pub(crate) struct Keys<'a> {
    site: &'a Site,
    walk: Walk<'a>,
    /// The next file.
    file: Option<(String, PathBuf)>,
    changed: Peekable<vec::IntoIter<(String, Option<Arc<Stored>>)>>,
    skipped: Option<String>,
}

/// The object of a key that was listed, before its content is read.
pub(crate) enum Listed {
    Upload(Arc<Stored>),
    File(PathBuf),
}

impl Keys<'_> {
    /// Skips the keys that start with `prefix`.
    pub(crate) fn skip_prefix(&mut self, prefix: &str) {
        self.walk.skip_prefix(prefix);
        self.file.take_if(|(key, _)| key.starts_with(prefix));
        self.skipped = Some(prefix.to_owned());
    }

    /// The text up to which the keys are complete, if reading all of them would take too long.
    pub(crate) fn stopped_at(&self) -> Option<&str> {
        self.walk.stopped_before()
    }

    /// The object of a key; `None` if its file has disappeared or cannot be read.
    pub(crate) fn open(&self, key: &str, listed: Listed) -> Option<Arc<Stored>> {
        match listed {
            Listed::Upload(stored) => Some(stored),
            Listed::File(path) => match self.site.stored(&path) {
                Ok(stored) => stored.map(Arc::new),
                Err(error) if folder::is_missing(&error) => None,
                Err(error) => {
                    self.site.warn(key, &error);
                    None
                }
            },
        }
    }
}

impl Iterator for Keys<'_> {
    type Item = (String, Listed);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.file.is_none() {
                self.file = self.walk.next();
            }
            let change_is_next = match (&self.file, self.changed.peek()) {
                (None, None) => return None,
                (Some(_), None) => false,
                // Beyond the position of the walk, files may come first.
                (None, Some((key, _))) if self.walk.stopped_before().is_some_and(|end| key.as_str() > end) => {
                    return None;
                }
                (None, Some(_)) => true,
                (Some((file, _)), Some((key, _))) => key <= file,
            };
            if !change_is_next {
                return self.file.take().map(|(key, path)| (key, Listed::File(path)));
            }
            let (key, change) = self.changed.next()?;
            self.file.take_if(|(file, _)| *file == key);
            if self.skipped.as_deref().is_some_and(|skipped| key.starts_with(skipped)) {
                continue;
            }
            if let Some(stored) = change {
                return Some((key, Listed::Upload(stored)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (tempfile::TempDir, Site) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("v1")).unwrap();
        std::fs::write(folder.path().join("index.html"), "hello").unwrap();
        std::fs::write(folder.path().join("v1/a b.png"), "png").unwrap();
        let site = Site::open(folder.path(), Journal::in_memory()).unwrap();
        (folder, site)
    }

    fn put(site: &Site, key: &str, bytes: &'static str) {
        let stored = Stored::upload(Headers::default(), Bytes::from_static(bytes.as_bytes()), None);
        site.set(key.to_owned(), Some(Arc::new(stored)));
    }

    fn keys(site: &Site, prefix: &str, after: &str) -> Vec<String> {
        site.keys(prefix, after).unwrap().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_file_has_a_type_by_extension_and_its_md5_as_etag() {
        let (_folder, site) = site();
        let stored = site.find("index.html").unwrap().unwrap();
        assert_eq!(stored.etag, "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(stored.headers.content_type.as_deref(), Some("text/html"));
        assert_eq!(site.find("v1/a b.png").unwrap().unwrap().headers.content_type.as_deref(), Some("image/png"));
    }

    #[test]
    fn a_key_outside_the_folder_or_of_a_folder_is_missing() {
        let (_folder, site) = site();
        for key in ["../x", "v1/../index.html", "v1", "v1/", "/index.html", "./index.html", "a\0b", "index.html/x", ""]
        {
            assert!(site.find(key).unwrap().is_none(), "{key:?}");
        }
        assert!(site.find(&"k".repeat(1024)).unwrap().is_none());
    }

    #[test]
    fn an_edited_file_has_a_new_etag_at_once() {
        let (folder, site) = site();
        let before = site.find("index.html").unwrap().unwrap().etag.clone();
        std::fs::write(folder.path().join("index.html"), "changed").unwrap();
        assert_ne!(site.find("index.html").unwrap().unwrap().etag, before);
    }

    #[test]
    fn a_mounted_file_replaces_the_object_of_its_key() {
        let (_folder, site) = site();
        let other = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(other.path(), "mounted").unwrap();
        let site = site.with_file("index.html", other.path());
        assert_eq!(site.find("index.html").unwrap().unwrap().size, 7);
        std::fs::write(other.path(), "edited too").unwrap();
        assert_eq!(site.find("index.html").unwrap().unwrap().size, 10);
        put(&site, "index.html", "upload");
        assert_eq!(site.find("index.html").unwrap().unwrap().size, 6);
        site.set("index.html".to_owned(), None);
        assert!(site.find("index.html").unwrap().is_none());
        assert_eq!(site.find("v1/a b.png").unwrap().unwrap().size, 3);
    }

    #[test]
    fn uploads_and_deletions_do_not_change_the_folder() {
        let (folder, site) = site();
        put(&site, "a//../b", "odd");
        site.set("index.html".to_owned(), None);
        assert_eq!(site.find("a//../b").unwrap().unwrap().size, 3);
        assert!(site.find("index.html").unwrap().is_none());
        assert_eq!(keys(&site, "", ""), ["a//../b", "v1/a b.png"]);
        assert!(folder.path().join("index.html").exists());
    }

    #[test]
    fn files_and_uploads_are_merged_in_order() {
        let (_folder, site) = site();
        for key in ["a", "index.html", "v1/a", "v1/z", "z"] {
            put(&site, key, "upload");
        }
        assert_eq!(keys(&site, "", ""), ["a", "index.html", "v1/a", "v1/a b.png", "v1/z", "z"]);
        assert_eq!(keys(&site, "v1/", ""), ["v1/a", "v1/a b.png", "v1/z"]);
        assert_eq!(keys(&site, "v1/", "v1/a"), ["v1/a b.png", "v1/z"]);
        assert_eq!(keys(&site, "", "v1/a b.png"), ["v1/z", "z"]);
        let mut some = site.keys("", "index.html").unwrap();
        assert_eq!(some.next().unwrap().0, "v1/a");
        some.skip_prefix("v1/");
        assert_eq!(some.map(|(key, _)| key).collect::<Vec<_>>(), ["z"]);
    }

    #[test]
    fn a_change_happens_only_if_the_check_accepts_the_object() {
        let (_folder, site) = site();
        let new = Arc::new(Stored::upload(Headers::default(), Bytes::new(), None));
        let none = |current: io::Result<Option<Arc<Stored>>>| if current.unwrap().is_none() { Ok(()) } else { Err(()) };
        assert_eq!(site.change("index.html".to_owned(), Some(new.clone()), none), Err(()), "the file exists");
        assert_eq!(site.find("index.html").unwrap().unwrap().size, 5);
        assert_eq!(site.change("new".to_owned(), Some(new.clone()), none), Ok(()));
        assert_eq!(site.change("new".to_owned(), Some(new), none), Err(()), "the upload exists");
    }

    #[test]
    fn the_error_names_a_missing_folder() {
        let error = Site::open(Path::new("/nowhere/at/all"), Journal::in_memory()).unwrap_err();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
