//! The objects of a bucket: a folder, and in front of it what has been put or deleted since the start.
//!
//! The folder is only ever read, and read again for each request, so that an edited file shows as soon as it is asked for. What
//! is put or deleted over the S3 protocol lives in memory: a test never changes anybody's files, and keys
//! that no file can have (`a//b`, `..`) are objects like any other.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use bytes::Bytes;
use md5::{Digest, Md5};

/// The headers that are kept with an object, as they were put.
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
    /// `x-amz-meta-*`, without that prefix.
    pub metadata: HashMap<String, String>,
}

/// Where an object's bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// Put over the S3 protocol.
    Memory(Bytes),
    /// A file of the folder.
    File(PathBuf),
}

/// One object.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The ETag without its quotes: the MD5 of the content, as S3 has it for an object put in one part.
    pub etag: String,
    /// When it was last changed.
    pub modified: SystemTime,
    /// Its size.
    pub bytes: u64,
    /// What is kept with it.
    pub headers: Headers,
    /// Its bytes.
    pub content: Content,
}

/// The MD5 of a file as it was at a time and a size.
type Sum = (SystemTime, u64, String);

/// A folder of objects.
#[derive(Debug)]
pub struct Site {
    root: PathBuf,
    /// `None` marks a deleted object.
    changes: Mutex<BTreeMap<String, Option<Arc<Stored>>>>,
    sums: Mutex<HashMap<PathBuf, Sum>>,
}

impl Site {
    /// The objects of `folder`.
    ///
    /// # Errors
    /// When the folder cannot be read, with one line that says so.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let unreadable = |error: io::Error| {
            format!("the folder {} cannot be read ({error}): name another with --site", folder.display())
        };
        let root = folder.canonicalize().map_err(unreadable)?;
        std::fs::read_dir(&root).map_err(unreadable)?;
        Ok(Self { root, changes: Mutex::default(), sums: Mutex::default() })
    }

    /// The object at `key`.
    ///
    /// # Errors
    /// When its file is there and cannot be read.
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

    /// Puts an object, in memory.
    pub fn put(&self, key: String, headers: Headers, bytes: Bytes) -> Arc<Stored> {
        let stored = Arc::new(Stored {
            etag: format!("{:x}", Md5::digest(&bytes)),
            modified: SystemTime::now(),
            bytes: bytes.len() as u64,
            headers,
            content: Content::Memory(bytes),
        });
        self.changes.lock().insert(key, Some(stored.clone()));
        stored
    }

    /// Deletes an object, in memory.
    pub fn delete(&self, key: String) {
        self.changes.lock().insert(key, None);
    }

    /// Every key with `prefix`, in the order of its bytes, and its object.
    ///
    /// # Errors
    /// When the folder cannot be read.
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
                    // A link to nowhere is no object.
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

    /// The file that a key names; `None` for a key that no file can have.
    fn path_of(&self, key: &str) -> Option<PathBuf> {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        key.split('/').all(plain).then(|| self.root.join(key))
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
            bytes: file.len(),
            headers: Headers {
                content_type: Some(content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
                ..Headers::default()
            },
            content: Content::File(path.to_owned()),
        }))
    }

    fn etag(&self, path: &Path, modified: SystemTime, bytes: u64) -> io::Result<String> {
        if let Some((at, size, sum)) = self.sums.lock().get(path)
            && (*at, *size) == (modified, bytes)
        {
            return Ok(sum.clone());
        }
        let mut md5 = Md5::new();
        io::copy(&mut std::fs::File::open(path)?, &mut md5)?;
        let sum = format!("{:x}", md5.finalize());
        self.sums.lock().insert(path.to_owned(), (modified, bytes, sum.clone()));
        Ok(sum)
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
    fn files_are_objects_with_a_type_by_extension_and_the_md5_as_etag() {
        let (_folder, site) = site();
        let stored = site.find("index.html").unwrap().unwrap();
        assert_eq!(stored.etag, "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(stored.headers.content_type.as_deref(), Some("text/html"));
        assert_eq!(site.find("v1/a b.png").unwrap().unwrap().headers.content_type.as_deref(), Some("image/png"));
    }

    #[test]
    fn a_key_that_leaves_the_folder_or_names_a_folder_is_no_object() {
        let (_folder, site) = site();
        for key in ["../x", "v1/../index.html", "v1", "v1/", "/index.html", "./index.html", "a\0b", "index.html/x"] {
            assert!(site.find(key).unwrap().is_none(), "{key:?}");
        }
        assert!(site.find(&"k".repeat(1024)).unwrap().is_none());
    }

    #[test]
    fn an_edited_file_shows_at_once_with_a_new_etag() {
        let (folder, site) = site();
        let before = site.find("index.html").unwrap().unwrap().etag.clone();
        std::fs::write(folder.path().join("index.html"), "changed").unwrap();
        assert_ne!(site.find("index.html").unwrap().unwrap().etag, before);
    }

    #[test]
    fn what_is_put_and_deleted_never_touches_the_folder() {
        let (folder, site) = site();
        site.put("a//../b".to_owned(), Headers::default(), Bytes::from_static(b"odd"));
        site.delete("index.html".to_owned());
        assert_eq!(site.find("a//../b").unwrap().unwrap().bytes, 3);
        assert!(site.find("index.html").unwrap().is_none());
        assert_eq!(site.list("").unwrap().into_keys().collect::<Vec<_>>(), ["a//../b", "v1/a b.png"]);
        assert_eq!(site.list("v1/").unwrap().len(), 1);
        assert!(folder.path().join("index.html").exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Site::open(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
