//! A bucket: its name, its objects, and its errors for a key that cannot be read.

use std::io;
use std::sync::Arc;

use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::fault::Refusal;
use crate::s3::refusal;
use crate::s3::site::{Site, Stored};

/// The storage classes whose objects cannot be read before they are restored
/// ([storage classes](https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html)).
const ARCHIVED: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

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

/// A request to read an object.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// The fault that refuses the request.
    pub(crate) refusal: Option<Refusal>,
    /// The MD5 of the SSE-C key that the request contains.
    pub(crate) customer_key_md5: Option<String>,
    /// Whether the request reads the content too, and not only the headers.
    pub(crate) content: bool,
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
    ///
    /// Permissions come first, then the existence, then the encryption, then the storage class. AWS does not document
    /// an order; this one reveals least.
    pub(crate) fn find(&self, name: &str, key: &str, access: &Access) -> S3Result<Arc<Stored>> {
        self.check_key(name, key)?;
        let refusal = access.refusal;
        if let Some(error) = refusal::denied(refusal, name, key) {
            return Err(error);
        }
        let Some(mut stored) = self.site.find(key).map_err(unreadable)? else {
            let may_list = self.missing_key == MissingKey::NoSuchKey && refusal != Some(Refusal::ListDenied);
            return Err(if may_list {
                s3_error!(NoSuchKey, "The specified key does not exist.")
            } else {
                refusal::list_denied(name)
            });
        };
        if let Some(error) = refusal::undecryptable(refusal) {
            return Err(error);
        }
        match refusal {
            Some(Refusal::Archived) => Arc::make_mut(&mut stored).headers.storage_class = Some("GLACIER".to_owned()),
            Some(Refusal::CustomerKey) => {
                Arc::make_mut(&mut stored).headers.customer_key_md5 = Some("another key".to_owned());
            }
            _ => {}
        }
        match (&stored.headers.customer_key_md5, &access.customer_key_md5) {
            (Some(_), None) => return Err(refusal::customer_key_missing()),
            (Some(key), Some(sent)) if key != sent => return Err(refusal::customer_key_wrong()),
            (None, Some(_)) => return Err(refusal::customer_key_unexpected()),
            _ => {}
        }
        let class = stored.headers.storage_class.as_deref();
        if access.content && class.is_some_and(|class| ARCHIVED.contains(&class)) {
            return Err(refusal::archived());
        }
        Ok(stored)
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
