//! Pages of a listing: ListObjects and ListObjectsV2.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object, ObjectStorageClass,
};
use s3s::{S3Result, s3_error};

use crate::s3::bucket::{Bucket, unreadable};
use crate::s3::condition::whole_seconds;
use crate::s3::site::Stored;
use crate::s3::xml;

/// The maximum number of keys in one page of a listing
/// ([ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html)).
const KEYS_PER_PAGE: i32 = 1_000;

/// The characters that `encoding-type=url` encodes. Space is `%20`, as ceph/s3-tests expects it of S3.
const URL_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// The request for one page of a listing.
struct Query<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    /// The key or common prefix after which the page begins.
    after: &'a str,
    limit: usize,
    encoding: Encoding,
}

/// How a page represents keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As they are. XML 1.0 cannot represent some characters; S3's responses with them cannot be parsed.
    Plain,
    /// `encoding-type=url`: percent-encoded.
    Url,
}

struct Page {
    objects: Vec<(String, Arc<Stored>)>,
    common_prefixes: Vec<String>,
    /// The key or prefix after which the next page begins; `None` on the last page.
    next: Option<String>,
}

/// A page of ListObjectsV2.
pub(crate) fn list_v2(bucket: &Bucket, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    bucket.check_name(&input.bucket)?;
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let after = match &input.continuation_token {
        Some(token) => percent_decode_str(token)
            .decode_utf8()
            .map_err(|_| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))?
            .into_owned(),
        None => input.start_after.clone().unwrap_or_default(),
    };
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        after: &after,
        limit: limit(input.max_keys)?,
        encoding,
    };
    let page = page(bucket, &query)?;
    let encode = |text: Option<String>| encoding.encode(text);
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        key_count: i32::try_from(page.objects.len() + page.common_prefixes.len()).ok(),
        max_keys: i32::try_from(query.limit).ok(),
        is_truncated: Some(page.next.is_some()),
        // Opaque for clients. Encoded, because it can contain any character of a key.
        next_continuation_token: page.next.map(|next| utf8_percent_encode(&next, NON_ALPHANUMERIC).to_string()),
        contents: Some(page.objects.into_iter().map(|(key, stored)| object(encode(Some(key)), &stored)).collect()),
        common_prefixes: Some(page.common_prefixes.into_iter().map(|prefix| common(encode(Some(prefix)))).collect()),
        prefix: encode(input.prefix),
        delimiter: encode(input.delimiter),
        encoding_type: input.encoding_type,
        continuation_token: input.continuation_token,
        start_after: encode(input.start_after),
        ..ListObjectsV2Output::default()
    })
}

/// A page of ListObjects.
pub(crate) fn list_v1(bucket: &Bucket, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
    bucket.check_name(&input.bucket)?;
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        after: input.marker.as_deref().unwrap_or_default(),
        limit: limit(input.max_keys)?,
        encoding,
    };
    let page = page(bucket, &query)?;
    let encode = |text: Option<String>| encoding.encode(text);
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        max_keys: i32::try_from(query.limit).ok(),
        is_truncated: Some(page.next.is_some()),
        next_marker: encode(page.next),
        contents: Some(page.objects.into_iter().map(|(key, stored)| object(encode(Some(key)), &stored)).collect()),
        common_prefixes: Some(page.common_prefixes.into_iter().map(|prefix| common(encode(Some(prefix)))).collect()),
        prefix: encode(input.prefix),
        delimiter: encode(input.delimiter),
        marker: encode(input.marker),
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    })
}

/// The number of keys in a page.
fn limit(max_keys: Option<i32>) -> S3Result<usize> {
    let limit = max_keys.unwrap_or(KEYS_PER_PAGE).min(KEYS_PER_PAGE);
    usize::try_from(limit)
        .map_err(|_| s3_error!(InvalidArgument, "Argument maxKeys must be an integer between 0 and 2147483647"))
}

fn page(bucket: &Bucket, query: &Query<'_>) -> S3Result<Page> {
    let mut page = Page { objects: Vec::new(), common_prefixes: Vec::new(), next: None };
    if query.limit == 0 {
        return Ok(page);
    }
    let mut keys = bucket.site.keys(query.prefix, query.after).map_err(unreadable)?;
    if query.common_prefix(query.after) == Some(query.after) {
        keys.skip_prefix(query.after);
    }
    let mut last = None;
    while let Some((key, listed)) = keys.next() {
        let common_prefix = query.common_prefix(&key);
        let name = common_prefix.unwrap_or(&key);
        if query.encoding == Encoding::Plain && !is_xml(name) {
            bucket.site.warn(name, &"XML 1.0 cannot represent it; list with encoding-type=url");
        } else if page.objects.len() + page.common_prefixes.len() == query.limit {
            page.next = last;
            return Ok(page);
        } else if common_prefix.is_some() {
            page.common_prefixes.push(name.to_owned());
        } else if let Some(stored) = keys.open(&key, listed) {
            page.objects.push((key.clone(), stored));
        } else {
            continue;
        }
        last = Some(name.to_owned());
        if common_prefix.is_some() {
            keys.skip_prefix(name);
        }
    }
    page.next = keys.stopped_at().map(str::to_owned);
    Ok(page)
}

impl Query<'_> {
    /// The common prefix to which a key belongs: up to the first delimiter after the prefix.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        key.get(..self.prefix.len() + rest.find(delimiter)? + delimiter.len())
    }
}

impl Encoding {
    fn parse(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    fn encode(self, text: Option<String>) -> Option<String> {
        match self {
            Self::Plain => text,
            Self::Url => text.map(|text| utf8_percent_encode(&text, URL_ENCODED).to_string()),
        }
    }
}

/// Whether XML 1.0 can represent all characters (<https://www.w3.org/TR/xml/#charsets>).
fn is_xml(text: &str) -> bool {
    text.chars().all(xml::is_char)
}

fn object(key: Option<String>, stored: &Stored) -> Object {
    let class = stored.headers.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned());
    Object {
        e_tag: Some(ETag::Strong(stored.etag.clone())),
        last_modified: Some(whole_seconds(stored.modified)),
        size: i64::try_from(stored.size).ok(),
        key,
        storage_class: Some(ObjectStorageClass::from(class)),
        ..Object::default()
    }
}

fn common(prefix: Option<String>) -> CommonPrefix {
    CommonPrefix { prefix }
}
