//! The S3 operations of the local bucket.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderValue, StatusCode};
use s3s::dto::{
    Bucket as ListedBucket, CommonPrefix, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETag, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    PutObjectInput, PutObjectOutput, Range, StreamingBlob, Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::s3::bucket::{Bucket, unreadable};
use crate::s3::condition::{Conditions, whole_seconds};
use crate::s3::site::{Content, Headers, Stored};

/// The maximum number of keys in one page of a listing
/// ([ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html)).
const KEYS_PER_PAGE: usize = 1_000;

/// The largest object that can be uploaded. S3's limit is 5 GiB; here, uploads stay in memory.
const PUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The operations on a bucket.
#[derive(Clone)]
pub(crate) struct Operations(pub(crate) Arc<Bucket>);

#[async_trait::async_trait]
impl S3 for Operations {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.0.find(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&stored)?;
        let (range, content_range) = select(input.range, stored.size)?;
        let headers = stored.headers.clone();
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(content_length(range.end - range.start)),
            body: Some(open(&stored, range).await?),
            content_range,
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            last_modified: Some(whole_seconds(stored.modified)),
            content_type: input.response_content_type.or(headers.content_type),
            cache_control: input.response_cache_control.or(headers.cache_control),
            content_encoding: input.response_content_encoding.or(headers.content_encoding),
            content_language: input.response_content_language.or(headers.content_language),
            content_disposition: input.response_content_disposition.or(headers.content_disposition),
            expires: headers.expires.map(Timestamp::from),
            metadata: Some(headers.metadata),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let stored = self.0.find(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&stored)?;
        let (range, content_range) = select(input.range, stored.size)?;
        let partial = content_range.is_some().then_some(StatusCode::PARTIAL_CONTENT);
        let headers = stored.headers.clone();
        let mut response = S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(content_length(range.end - range.start)),
            content_range,
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            last_modified: Some(whole_seconds(stored.modified)),
            content_type: headers.content_type,
            cache_control: headers.cache_control,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            expires: headers.expires.map(Timestamp::from),
            metadata: Some(headers.metadata),
            ..HeadObjectOutput::default()
        });
        response.status = partial;
        Ok(response)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        self.0.check_key(&input.bucket, &input.key)?;
        let mut content = Vec::new();
        if let Some(mut body) = input.body {
            while let Some(chunk) =
                body.try_next().await.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?
            {
                if content.len() + chunk.len() > PUT_BYTES_MAX {
                    return Err(s3_error!(
                        EntityTooLarge,
                        "the local bucket stores uploads in memory: at most 256 MiB per object"
                    ));
                }
                content.extend_from_slice(&chunk);
            }
        }
        let headers = Headers {
            content_type: Some(input.content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
            cache_control: input.cache_control,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_disposition: input.content_disposition,
            expires: input.expires.map(|expires| SystemTime::from(time::OffsetDateTime::from(expires))),
            metadata: input.metadata.unwrap_or_default(),
        };
        let stored = self.0.site.put(input.key, headers, Bytes::from(content));
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            ..PutObjectOutput::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.check_key(&request.input.bucket, &request.input.key)?;
        self.0.site.delete(request.input.key);
        Ok(S3Response::with_status(DeleteObjectOutput::default(), StatusCode::NO_CONTENT))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.0.check_name(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let limit = input.max_keys.map_or(KEYS_PER_PAGE, |keys| usize::try_from(keys).unwrap_or(0).min(KEYS_PER_PAGE));
        let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
        let (mut contents, mut prefixes, mut last, mut truncated) = (Vec::new(), BTreeSet::new(), None, false);
        for (key, stored) in self.0.site.list(&prefix).map_err(unreadable)? {
            let folder = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()).and_then(|delimiter| {
                let end = key.get(prefix.len()..)?.find(delimiter)?;
                key.get(..prefix.len() + end + delimiter.len()).map(str::to_owned)
            });
            let name = folder.as_deref().unwrap_or(&key);
            // A page ends with a key or a common prefix. The next page starts after it.
            if name <= after.as_str() || folder.as_ref().is_some_and(|folder| prefixes.contains(folder)) {
                continue;
            }
            if contents.len() + prefixes.len() == limit {
                truncated = true;
                break;
            }
            last = Some(name.to_owned());
            match folder {
                Some(folder) => {
                    prefixes.insert(folder);
                }
                None => contents.push(Object {
                    e_tag: Some(ETag::Strong(stored.etag.clone())),
                    last_modified: Some(whole_seconds(stored.modified)),
                    size: Some(content_length(stored.size)),
                    key: Some(key),
                    ..Object::default()
                }),
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: i32::try_from(contents.len() + prefixes.len()).ok(),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(truncated),
            next_continuation_token: last.filter(|_| truncated),
            contents: Some(contents),
            common_prefixes: Some(prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect()),
            prefix: input.prefix,
            delimiter: input.delimiter,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let marker = request.input.marker.clone();
        let v2 = request.map_input(|input| ListObjectsV2Input {
            bucket: input.bucket,
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: input.max_keys,
            start_after: input.marker,
            ..ListObjectsV2Input::default()
        });
        let page = self.list_objects_v2(v2).await?.output;
        Ok(S3Response::new(ListObjectsOutput {
            name: page.name,
            prefix: page.prefix,
            delimiter: page.delimiter,
            marker,
            max_keys: page.max_keys,
            is_truncated: page.is_truncated,
            next_marker: page.next_continuation_token,
            contents: page.contents,
            common_prefixes: page.common_prefixes,
            ..ListObjectsOutput::default()
        }))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.0.check_name(&request.input.bucket)?;
        let mut deleted = Vec::new();
        for object in request.input.delete.objects {
            self.0.site.delete(object.key.clone());
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = ListedBucket { name: Some(self.0.name.clone()), ..ListedBucket::default() };
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(vec![bucket]), ..ListBucketsOutput::default() }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.0.check_name(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.0.check_name(&request.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }
}

/// The bytes that a range selects, and the Content-Range.
fn select(range: Option<Range>, size: u64) -> S3Result<(std::ops::Range<u64>, Option<String>)> {
    let Some(range) = range else { return Ok((0..size, None)) };
    let selected = range.check(size).ok().filter(|selected| !selected.is_empty()).ok_or_else(|| {
        let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
        if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
            error.set_headers([(http::header::CONTENT_RANGE, value)].into_iter().collect());
        }
        error
    })?;
    let content_range = format!("bytes {}-{}/{size}", selected.start, selected.end - 1);
    Ok((selected, Some(content_range)))
}

/// Opens a range of an object's content.
async fn open(stored: &Stored, range: std::ops::Range<u64>) -> S3Result<StreamingBlob> {
    match &stored.content {
        Content::Memory(bytes) => {
            let part = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok())
                .and_then(|(start, end)| (end <= bytes.len()).then(|| bytes.slice(start..end)));
            Ok(StreamingBlob::from(s3s::Body::from(part.unwrap_or_default())))
        }
        Content::File(path) => {
            let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
            file.seek(io::SeekFrom::Start(range.start)).await.map_err(unreadable)?;
            let part = file.take(range.end - range.start);
            Ok(StreamingBlob::wrap(ReaderStream::with_capacity(part, 64 * 1024)))
        }
    }
}

/// A size as S3's API types represent it.
fn content_length(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
