//! The header fields that S3 stores with an uploaded object.

use s3s::{S3Result, s3_error};

use crate::s3::site::Headers;

/// The maximum size of the user-defined metadata in bytes: names and values together
/// ([user-defined metadata](https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html)).
const METADATA_BYTES_MAX: usize = 2_048;

/// The storage classes of a bucket
/// ([PutObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html), `x-amz-storage-class`).
const STORAGE_CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// The [`Headers`] of an input of s3s: PutObject, CreateMultipartUpload and CopyObject have the same fields.
macro_rules! headers_of {
    ($input:expr) => {
        crate::s3::site::Headers {
            content_type: $input.content_type,
            cache_control: $input.cache_control,
            content_encoding: $input.content_encoding,
            content_language: $input.content_language,
            content_disposition: $input.content_disposition,
            expires: $input.expires.map(|expires| std::time::SystemTime::from(time::OffsetDateTime::from(expires))),
            metadata: $input.metadata.unwrap_or_default(),
            storage_class: $input.storage_class.map(|class| class.as_str().to_owned()),
            customer_key_md5: $input.sse_customer_key_md5,
        }
    };
}
pub(crate) use headers_of;

/// The headers as S3 stores them, or S3's error.
///
/// An empty field of the system-defined metadata is absent. A user-defined one can be empty.
pub(crate) fn stored(headers: Headers) -> S3Result<Headers> {
    let present = |value: Option<String>| value.filter(|value| !value.trim().is_empty());
    let metadata_bytes: usize = headers.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata_bytes > METADATA_BYTES_MAX {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    if headers.storage_class.as_deref().is_some_and(|class| !STORAGE_CLASSES.contains(&class)) {
        return Err(s3_error!(InvalidStorageClass, "The storage class you specified is not valid"));
    }
    Ok(Headers {
        content_type: present(headers.content_type).or_else(|| Some("binary/octet-stream".to_owned())),
        cache_control: present(headers.cache_control),
        content_encoding: headers.content_encoding.as_deref().and_then(without_aws_chunked),
        content_language: present(headers.content_language),
        content_disposition: present(headers.content_disposition),
        storage_class: headers.storage_class.filter(|class| class != "STANDARD"),
        ..headers
    })
}

/// A Content-Encoding without `aws-chunked`, which describes the upload and not the object; `None` if nothing is left
/// ([SigV4 streaming](https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html)).
fn without_aws_chunked(value: &str) -> Option<String> {
    let is_stored = |coding: &&str| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked");
    let codings = || value.split(',').map(str::trim);
    if codings().all(|coding| is_stored(&coding)) {
        return Some(value.to_owned());
    }
    let stored: Vec<&str> = codings().filter(is_stored).collect();
    (!stored.is_empty()).then(|| stored.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_and_empty_codings_are_not_stored() {
        for (sent, expected) in [
            ("gzip", Some("gzip")),
            ("deflate,gzip", Some("deflate,gzip")),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, AWS-Chunked", Some("gzip")),
            ("br, aws-chunked, gzip", Some("br, gzip")),
            ("aws-chunked", None),
            ("aws-chunked, aws-chunked", None),
            ("aws-chunked,", None),
            ("", None),
            (" , ", None),
        ] {
            assert_eq!(without_aws_chunked(sent).as_deref(), expected, "{sent:?}");
        }
    }

    #[test]
    fn an_empty_system_field_is_absent_but_not_a_user_field() {
        let empty = || Some(String::new());
        let headers = stored(Headers {
            content_type: empty(),
            cache_control: empty(),
            content_encoding: empty(),
            content_language: Some(" ".to_owned()),
            content_disposition: empty(),
            metadata: [("note".to_owned(), String::new())].into(),
            ..Headers::default()
        });
        let expected = Headers {
            content_type: Some("binary/octet-stream".to_owned()),
            metadata: [("note".to_owned(), String::new())].into(),
            ..Headers::default()
        };
        assert_eq!(headers.unwrap(), expected);
    }
}
