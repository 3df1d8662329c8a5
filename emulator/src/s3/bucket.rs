//! A bucket: its name, its objects, and its error for a missing key.

use std::io;
use std::sync::Arc;

use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::s3::site::{Site, Stored};

/// S3's error for a missing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// NoSuchKey, for a role with `s3:ListBucket`.
    #[default]
    NoSuchKey,
    /// AccessDenied, for a role without `s3:ListBucket`.
    AccessDenied,
}

/// A local bucket.
#[derive(Debug)]
pub struct Bucket {
    /// The bucket's name.
    pub name: String,
    /// The objects.
    pub site: Site,
    /// The error for a missing key.
    pub missing_key: MissingKey,
}

impl Bucket {
    /// Fails with NoSuchBucket unless `name` is the bucket's name.
    pub(crate) fn check_name(&self, name: &str) -> S3Result<()> {
        if name == self.name { Ok(()) } else { Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")) }
    }

    /// Like [`Bucket::check_name`]; also fails for a key that S3 rejects.
    pub(crate) fn check_key(&self, name: &str, key: &str) -> S3Result<()> {
        self.check_name(name)?;
        if is_above_root(key) { Err(s3_error!(InvalidURI, "Couldn't parse the specified URI.")) } else { Ok(()) }
    }

    /// The object at `key`, or S3's error.
    pub(crate) fn find(&self, name: &str, key: &str) -> S3Result<Arc<Stored>> {
        self.check_key(name, key)?;
        match self.site.find(key).map_err(unreadable)? {
            Some(stored) => Ok(stored),
            None if self.missing_key == MissingKey::AccessDenied => Err(s3_error!(AccessDenied, "Access Denied")),
            None => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
        }
    }
}

/// Whether a key has more `..` than preceding segments. S3 rejects such a key
/// ([object key names](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html#object-key-guidelines)).
fn is_above_root(key: &str) -> bool {
    let mut depth = 0_usize;
    key.split('/').any(|segment| {
        match segment {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
        false
    })
}

/// S3's error for a file that cannot be read.
pub(crate) fn unreadable(error: io::Error) -> S3Error {
    S3Error::with_message(S3ErrorCode::InternalError, format!("cannot read the file: {error}"))
}
