//! Multipart uploads, in memory. `aws s3 cp` and `aws s3 mv` use them from 8 MiB on.
//!
//! The limits and errors are those of
//! [multipart uploads](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html) and of
//! [CompleteMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use s3s::dto::{CompletedPart, ETag};
use s3s::{S3Error, S3Result, s3_error};

use crate::identity;
use crate::s3::site::{Headers, Stored};

/// The largest object that can be uploaded. S3's limit is 5 GiB per part; here, uploads stay in memory.
pub(crate) const UPLOAD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The minimum size of a part, except the last one.
const PART_BYTES_MIN: usize = 5 * 1024 * 1024;

/// The maximum number of parts.
const PARTS_MAX: i32 = 10_000;

/// The multipart uploads in progress, by id.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Upload>>);

#[derive(Debug)]
struct Upload {
    key: String,
    headers: Headers,
    parts: BTreeMap<i32, Part>,
}

#[derive(Debug)]
struct Part {
    md5: [u8; 16],
    bytes: Bytes,
}

impl Uploads {
    /// Begins an upload, and returns its id.
    pub(crate) fn create(&self, key: String, headers: Headers) -> String {
        let id = identity::letters(40);
        self.0.lock().insert(id.clone(), Upload { key, headers, parts: BTreeMap::new() });
        id
    }

    /// Stores a part, and returns its ETag.
    pub(crate) fn put_part(&self, id: &str, key: &str, number: i32, bytes: Bytes) -> S3Result<ETag> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
            ));
        }
        let mut uploads = self.0.lock();
        let upload = uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(no_such_upload)?;
        let others = upload.parts.iter().filter(|(other, _)| **other != number);
        if others.map(|(_, part)| part.bytes.len()).sum::<usize>() + bytes.len() > UPLOAD_BYTES_MAX {
            return Err(too_large());
        }
        let md5: [u8; 16] = Md5::digest(&bytes).into();
        upload.parts.insert(number, Part { md5, bytes });
        Ok(ETag::Strong(hex(&md5)))
    }

    /// The object that consists of these parts. The upload stays until [`Uploads::remove`].
    pub(crate) fn assemble(&self, id: &str, key: &str, completed: &[CompletedPart]) -> S3Result<Stored> {
        let uploads = self.0.lock();
        let upload = uploads.get(id).filter(|upload| upload.key == key).ok_or_else(no_such_upload)?;
        if completed.is_empty() {
            return Err(s3_error!(MalformedXML, "expected at least one part"));
        }
        if !completed.is_sorted_by(|a, b| a.part_number < b.part_number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        let find = |wanted: &CompletedPart| {
            let part = upload.parts.get(&wanted.part_number?)?;
            (wanted.e_tag.as_ref()?.value() == hex(&part.md5)).then_some(part)
        };
        let parts: Vec<&Part> = completed.iter().map(find).collect::<Option<_>>().ok_or_else(|| {
            s3_error!(
                InvalidPart,
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
                 specified entity tag may not match the part's entity tag."
            )
        })?;
        if parts.iter().rev().skip(1).any(|part| part.bytes.len() < PART_BYTES_MIN) {
            return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
        }
        let (mut bytes, mut md5) = (Vec::new(), Md5::new());
        for part in parts {
            bytes.extend_from_slice(&part.bytes);
            md5.update(part.md5);
        }
        // Not documented, but known: the MD5 of the MD5s of the parts, and the number of parts.
        let etag = format!("{:x}-{}", md5.finalize(), completed.len());
        Ok(Stored::upload(upload.headers.clone(), bytes.into(), Some(etag)))
    }

    /// Ends an upload.
    pub(crate) fn remove(&self, id: &str, key: &str) -> S3Result<()> {
        let mut uploads = self.0.lock();
        uploads.get(id).filter(|upload| upload.key == key).ok_or_else(no_such_upload)?;
        uploads.remove(id);
        Ok(())
    }
}

/// The error for an upload that does not fit into memory.
pub(crate) fn too_large() -> S3Error {
    s3_error!(EntityTooLarge, "the local bucket stores uploads in memory: at most 256 MiB per object")
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
         completed."
    )
}

fn hex(md5: &[u8]) -> String {
    md5.iter().map(|byte| format!("{byte:02x}")).collect()
}
