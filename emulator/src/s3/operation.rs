//! The S3 operations of the local bucket.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderValue, StatusCode};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket as ListedBucket, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, Error, GetBucketLocationInput, GetBucketLocationOutput,
    GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, MetadataDirective, PutObjectInput, PutObjectOutput, Range, StorageClass,
    StreamingBlob, Timestamp, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::fault::Faults;
use crate::s3::bucket::{Access, Bucket, unreadable};
use crate::s3::condition::{Conditions, WriteConditions, whole_seconds};
use crate::s3::listing;
use crate::s3::multipart::{UPLOAD_BYTES_MAX, Uploads, too_large};
use crate::s3::site::{Content, Headers, Stored};
use crate::s3::upload::{self, headers_of};

/// The encryption algorithm of SSE-C, the only one.
const SSE_C: &str = "AES256";

/// The operations on a bucket.
#[derive(Clone)]
pub(crate) struct Operations {
    bucket: Arc<Bucket>,
    faults: Faults,
    uploads: Arc<Uploads>,
}

impl Operations {
    pub(crate) fn new(bucket: Arc<Bucket>, faults: Faults) -> Self {
        Self { bucket, faults, uploads: Arc::default() }
    }

    /// Runs code that reads files in another thread, so that other requests go on.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Bucket) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let bucket = self.bucket.clone();
        tokio::task::spawn_blocking(move || read(&bucket)).await.map_err(|error| s3_error!(error, InternalError))?
    }

    /// The object that a request reads.
    async fn find(
        &self,
        bucket: &str,
        key: &str,
        customer_key_md5: Option<String>,
        content: bool,
    ) -> S3Result<Arc<Stored>> {
        let access = Access { refusal: self.faults.refusal(key), customer_key_md5, content };
        let (name, key) = (bucket.to_owned(), key.to_owned());
        self.blocking(move |bucket| bucket.find(&name, &key, &access)).await
    }

    /// The object that a copy reads.
    async fn find_source(
        &self,
        source: &CopySource,
        customer_key_md5: Option<String>,
        conditions: &Conditions,
    ) -> S3Result<Arc<Stored>> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(s3_error!(NotImplemented, "the local bucket has no access points: copy from bucket/key"));
        };
        // The id of an object in a bucket without versioning.
        if version_id.as_deref().is_some_and(|id| id != "null") {
            return Err(s3_error!(NoSuchVersion, "The specified version does not exist."));
        }
        let stored = self.find(bucket, key, customer_key_md5, true).await?;
        conditions.check_source(&stored)?;
        Ok(stored)
    }

    /// Stores an object if the conditions are met.
    async fn put(&self, key: String, stored: Stored, conditions: WriteConditions) -> S3Result<Arc<Stored>> {
        let stored = Arc::new(stored);
        let written = stored.clone();
        self.blocking(move |bucket| {
            if conditions.is_empty() {
                bucket.site.set(key, Some(written));
                return Ok(());
            }
            bucket.site.change(key, Some(written), |current| conditions.check(current.map_err(unreadable)?.as_deref()))
        })
        .await?;
        Ok(stored)
    }

    /// Deletes a key if its object has this ETag.
    async fn delete(&self, key: String, if_match: Option<ETagCondition>) -> S3Result<()> {
        self.blocking(move |bucket| {
            if if_match.is_none() {
                bucket.site.set(key, None);
                return Ok(());
            }
            let conditions = WriteConditions { if_match, if_none_match: None };
            bucket.site.change(key, None, |current| conditions.check_deletion(current.map_err(unreadable)?.as_deref()))
        })
        .await
    }
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.find(&input.bucket, &input.key, input.sse_customer_key_md5, true).await?;
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
            storage_class: headers.storage_class.map(StorageClass::from),
            sse_customer_algorithm: headers.customer_key_md5.is_some().then(|| SSE_C.to_owned()),
            sse_customer_key_md5: headers.customer_key_md5,
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let stored = self.find(&input.bucket, &input.key, input.sse_customer_key_md5, false).await?;
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
            storage_class: headers.storage_class.map(StorageClass::from),
            sse_customer_algorithm: headers.customer_key_md5.is_some().then(|| SSE_C.to_owned()),
            sse_customer_key_md5: headers.customer_key_md5,
            ..HeadObjectOutput::default()
        });
        response.status = partial;
        Ok(response)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        self.bucket.check_key(&input.bucket, &input.key)?;
        let conditions = WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match };
        let headers = upload::stored(headers_of!(input))?;
        let content = receive(input.body).await?;
        let stored = self.put(input.key, Stored::upload(headers, content, None), conditions).await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            ..PutObjectOutput::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let write_conditions = WriteConditions::of(&request.headers)?;
        let input = request.input;
        self.bucket.check_key(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let source = self.find_source(&input.copy_source, input.copy_source_sse_customer_key_md5, &conditions).await?;
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(_) => return Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
        };
        let is_itself = matches!(&input.copy_source, CopySource::Bucket { key, .. } if **key == input.key);
        let key = input.key.clone();
        // The storage class and the encryption are those of the request in any case.
        let headers = upload::stored(if replace {
            headers_of!(input)
        } else {
            let Headers { storage_class, customer_key_md5, .. } = headers_of!(input);
            Headers { storage_class, customer_key_md5, ..source.headers.clone() }
        })?;
        let is_same = headers == source.headers && input.server_side_encryption.is_none();
        if is_itself && !replace && is_same {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let content = read(&source, 0..source.size).await?;
        let stored = self.put(key, Stored::upload(headers, content, None), write_conditions).await?;
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            last_modified: Some(whole_seconds(stored.modified)),
            ..CopyObjectResult::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.bucket.check_key(&input.bucket, &input.key)?;
        let headers = upload::stored(headers_of!(input))?;
        let id = self.uploads.create(input.key.clone(), headers);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        self.bucket.check_key(&input.bucket, &input.key)?;
        let content = receive(input.body).await?;
        let etag = self.uploads.put_part(&input.upload_id, &input.key, input.part_number, content)?;
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(etag), ..UploadPartOutput::default() }))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        self.bucket.check_key(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let source = self.find_source(&input.copy_source, input.copy_source_sse_customer_key_md5, &conditions).await?;
        let range = input.copy_source_range.as_deref().map(Range::parse).transpose().map_err(|_| {
            s3_error!(
                InvalidArgument,
                "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                 zero-based offsets of the first and last bytes to copy"
            )
        })?;
        let (range, _) = select(range, source.size)?;
        let content = read(&source, range).await?;
        let etag = self.uploads.put_part(&input.upload_id, &input.key, input.part_number, content)?;
        let result = CopyPartResult {
            e_tag: Some(etag),
            last_modified: Some(whole_seconds(source.modified)),
            ..CopyPartResult::default()
        };
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        self.bucket.check_key(&input.bucket, &input.key)?;
        let conditions = WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match };
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let stored = self.uploads.assemble(&input.upload_id, &input.key, &parts)?;
        let stored = self.put(input.key.clone(), stored, conditions).await?;
        self.uploads.remove(&input.upload_id, &input.key)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.bucket.check_key(&request.input.bucket, &request.input.key)?;
        self.uploads.remove(&request.input.upload_id, &request.input.key)?;
        Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), StatusCode::NO_CONTENT))
    }

    /// Objects have no tags. `aws s3 cp` requests them before a copy in parts.
    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let (bucket, key) = (request.input.bucket, request.input.key);
        self.blocking(move |local| {
            local.check_key(&bucket, &key)?;
            let found = local.site.find(&key).map_err(unreadable)?;
            found.map(|_| ()).ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
        })
        .await?;
        Ok(S3Response::new(GetObjectTaggingOutput::default()))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.bucket.check_key(&request.input.bucket, &request.input.key)?;
        self.delete(request.input.key, request.input.if_match).await?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), StatusCode::NO_CONTENT))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.bucket.check_name(&request.input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in request.input.delete.objects {
            match self.delete(object.key.clone(), object.e_tag.map(ETagCondition::ETag)).await {
                Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    ..Error::default()
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.blocking(|bucket| listing::list_v2(bucket, request.input)).await.map(S3Response::new)
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.blocking(|bucket| listing::list_v1(bucket, request.input)).await.map(S3Response::new)
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = ListedBucket {
            name: Some(self.bucket.name.clone()),
            creation_date: Some(whole_seconds(self.bucket.site.opened())),
            ..ListedBucket::default()
        };
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(vec![bucket]), ..ListBucketsOutput::default() }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket.check_name(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket.check_name(&request.input.bucket)?;
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

/// Reads a range of an object's content into memory.
async fn read(stored: &Stored, range: std::ops::Range<u64>) -> S3Result<Bytes> {
    receive(Some(open(stored, range).await?)).await
}

/// Reads the body of an upload into memory.
async fn receive(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut content = Vec::new();
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    while let Some(chunk) =
        body.try_next().await.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?
    {
        if content.len() + chunk.len() > UPLOAD_BYTES_MAX {
            return Err(too_large());
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.into())
}

/// A size as S3's API types represent it.
fn content_length(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
