//! The objects of a bucket: the files of a folder, with uploads and deletions in memory.
//!
//! The folder is read again for each request, so that an edited file is visible at once. It is never written to:
//! uploads and deletions over the S3 protocol stay in memory. Tests therefore change no files, and a key that is not a
//! valid path (`a//b`, `..`) can be uploaded.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use bytes::Bytes;
use md5::{Digest, Md5};

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

/// The MD5 of a file, with the modification time and the size for which it is valid.
type Checksum = (SystemTime, u64, String);

/// The objects of a folder.
#[derive(Debug)]
pub struct Site {
    root: PathBuf,
    /// Uploads, by key; `None` marks a deleted object.
    changes: Mutex<BTreeMap<String, Option<Arc<Stored>>>>,
    checksums: Mutex<HashMap<PathBuf, Checksum>>,
}

impl Site {
    /// Opens a folder.
    ///
    /// # Errors
    /// If the folder cannot be read: a message in one line.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let unreadable = |error: io::Error| {
            format!("cannot read the folder {} ({error}): choose another folder with --site", folder.display())
        };
        let root = folder.canonicalize().map_err(unreadable)?;
        std::fs::read_dir(&root).map_err(unreadable)?;
        Ok(Self { root, changes: Mutex::default(), checksums: Mutex::default() })
    }

    /// The object at `key`.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn find(&self, key: &str) -> io::Result<Option<Arc<Stored>>> {
        if let Some(change) = self.changes.lock().get(key) {
            return Ok(change.clone());
        }
        let Some(path) = self.path_of(key) else { return Ok(None) };
        match self.stored(&path) {
            Ok(stored) => Ok(stored.map(Arc::new)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an object in memory.
    pub fn put(&self, key: String, headers: Headers, bytes: Bytes) -> Arc<Stored> {
        let stored = Arc::new(Stored {
            etag: format!("{:x}", Md5::digest(&bytes)),
            modified: SystemTime::now(),
            size: bytes.len() as u64,
            headers,
            content: Content::Memory(bytes),
        });
        self.changes.lock().insert(key, Some(stored.clone()));
        stored
    }

    /// Marks an object as deleted, in memory.
    pub fn delete(&self, key: String) {
        self.changes.lock().insert(key, None);
    }

    /// All objects whose key starts with `prefix`, sorted by the bytes of the key.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self, prefix: &str) -> io::Result<BTreeMap<String, Arc<Stored>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str)
                    && key.starts_with(prefix)
                    // Skips broken symbolic links.
                    && let Ok(Some(stored)) = self.stored(&path)
                {
                    found.insert(key.to_owned(), Arc::new(stored));
                }
            }
        }
        for (key, change) in self.changes.lock().iter().filter(|(key, _)| key.starts_with(prefix)) {
            match change {
                Some(stored) => found.insert(key.clone(), stored.clone()),
                None => found.remove(key),
            };
        }
        Ok(found)
    }

    /// The path of the file for a key; `None` if the key is not a valid path.
    fn path_of(&self, key: &str) -> Option<PathBuf> {
        let valid = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('\0');
        key.split('/').all(valid).then(|| self.root.join(key))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (tempfile::TempDir, Site) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("v1")).unwrap();
        std::fs::write(folder.path().join("index.html"), "hello").unwrap();
        std::fs::write(folder.path().join("v1/a b.png"), "png").unwrap();
        let site = Site::open(folder.path()).unwrap();
        (folder, site)
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
        for key in ["../x", "v1/../index.html", "v1", "v1/", "/index.html", "./index.html", "a\0b", "index.html/x"] {
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
    fn uploads_and_deletions_do_not_change_the_folder() {
        let (folder, site) = site();
        site.put("a//../b".to_owned(), Headers::default(), Bytes::from_static(b"odd"));
        site.delete("index.html".to_owned());
        assert_eq!(site.find("a//../b").unwrap().unwrap().size, 3);
        assert!(site.find("index.html").unwrap().is_none());
        assert_eq!(site.list("").unwrap().into_keys().collect::<Vec<_>>(), ["a//../b", "v1/a b.png"]);
        assert_eq!(site.list("v1/").unwrap().len(), 1);
        assert!(folder.path().join("index.html").exists());
    }

    #[test]
    fn the_error_names_a_missing_folder() {
        let error = Site::open(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
