//! S3's protocol over a [`Site`], by the crate s3s: signatures are checked, errors are S3's own.

pub mod site;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    Bucket as BucketOf, CommonPrefix, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    DeletedObject, ETag, ETagCondition, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    PutObjectInput, PutObjectOutput, Range, StreamingBlob, Timestamp,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;

use crate::fault::{Fault, Faults, S3Fault};
use crate::s3::site::{Content, Headers, Site, Stored};
use crate::serve::{self, Body, BoxError, Server};

/// The most keys that a list answers with at once
/// ([ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html)).
const KEYS_PER_PAGE: usize = 1_000;

/// The longest object that can be put in one part, kept here in memory: far less than S3's 5 GiB.
const PUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What S3 says of a key that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// As to a role that may list the bucket.
    #[default]
    NoSuchKey,
    /// As to a role with `s3:GetObject` alone.
    AccessDenied,
}

/// A bucket that is to be served.
#[derive(Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Its objects.
    pub site: Site,
    /// What it says of a missing key.
    pub missing_key: MissingKey,
}

/// Serves a bucket to whoever signs with `credentials`.
pub fn serve(listener: TcpListener, bucket: Arc<Bucket>, credentials: &Credentials, faults: Faults) -> Server {
    let mut builder = S3ServiceBuilder::new(SharedBucket(bucket));
    builder.set_auth(SimpleAuth::from_single(credentials.access_key_id(), credentials.secret_access_key()));
    let service = builder.build();
    let watched = faults.clone();
    let answer = move |request, _| {
        let (service, fault) = (service.clone(), faults.s3());
        async move { answer(service, request, fault).await }
    };
    serve::serve_while(listener, answer, watched, |faults| !faults.contains(&Fault::S3(S3Fault::Dead)))
}

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
    fault: Option<S3Fault>,
) -> Result<Response<Body>, BoxError> {
    match &fault {
        Some(S3Fault::Latency(delay)) => tokio::time::sleep(*delay).await,
        Some(S3Fault::Error(status, code)) => return Ok(fault_answer(*status, code)),
        Some(S3Fault::Hang) => std::future::pending().await,
        Some(S3Fault::Reset) => return Err("the connection is closed, as --fault s3-reset asks".into()),
        Some(S3Fault::HalfBody | S3Fault::Stall | S3Fault::WrongLength | S3Fault::Dead) | None => {}
    }
    let response = service.call(request.map(s3s::Body::from)).await.map_err(BoxError::from)?;
    let (mut parts, body) = response.into_parts();
    parts.headers.insert("x-amz-request-id", HeaderValue::from_str(&crate::identity::letters(16).to_uppercase())?);
    let whole = match fault {
        Some(S3Fault::HalfBody | S3Fault::Stall | S3Fault::WrongLength) => BodyExt::collect(body).await?.to_bytes(),
        _ => return Ok(Response::from_parts(parts, body.boxed_unsync())),
    };
    if whole.is_empty() {
        return Ok(Response::from_parts(parts, serve::full(whole)));
    }
    let come = if fault == Some(S3Fault::WrongLength) { whole.len() - 1 } else { whole.len() / 2 };
    let stalls = fault == Some(S3Fault::Stall);
    let end = async move {
        // What has been said so far leaves only when the body has to be waited for.
        tokio::task::yield_now().await;
        if stalls {
            std::future::pending::<()>().await;
        }
        Err(BoxError::from("the body ends here, as --fault asks"))
    };
    let broken = stream::iter([Ok(http_body::Frame::data(whole.slice(..come)))]).chain(stream::once(end));
    Ok(Response::from_parts(parts, http_body_util::StreamBody::new(broken).boxed_unsync()))
}

fn fault_answer(status: u16, code: &'static str) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as --fault asks</Message></Error>"
    );
    let mut response = Response::new(serve::full(xml));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Ok(id) = HeaderValue::from_str(&crate::identity::letters(16).to_uppercase()) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    response
}

#[derive(Clone)]
struct SharedBucket(Arc<Bucket>);

impl SharedBucket {
    fn check(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.0.name { Ok(()) } else { Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")) }
    }

    fn check_key(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.check(bucket)?;
        if climbs_out(key) { Err(s3_error!(InvalidURI, "Couldn't parse the specified URI.")) } else { Ok(()) }
    }

    fn find(&self, bucket: &str, key: &str) -> S3Result<Arc<Stored>> {
        self.check_key(bucket, key)?;
        match self.0.site.find(key).map_err(unreadable)? {
            Some(stored) => Ok(stored),
            None if self.0.missing_key == MissingKey::AccessDenied => Err(s3_error!(AccessDenied, "Access Denied")),
            None => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
        }
    }
}

/// S3 refuses a key with more `..` than segments before them
/// ([object key names](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html#object-key-guidelines)).
fn climbs_out(key: &str) -> bool {
    let mut above = 0_usize;
    key.split('/').any(|segment| {
        match segment {
            "" | "." => {}
            ".." if above == 0 => return true,
            ".." => above -= 1,
            _ => above += 1,
        }
        false
    })
}

fn unreadable(error: io::Error) -> S3Error {
    S3Error::with_message(S3ErrorCode::InternalError, format!("the file cannot be read: {error}"))
}

/// The conditions of a request, as GetObject and HeadObject have them.
struct Conditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// In the order of RFC 9110 §13.2.2, which is S3's
    /// ([GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html), "Overriding response headers").
    fn check(&self, stored: &Stored) -> S3Result<()> {
        let etag = ETag::Strong(stored.etag.clone());
        let modified = whole_seconds(stored.modified);
        let failed = || s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold");
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(ETagCondition::ETag(wanted)), _) if !wanted.strong_cmp(&etag) => return Err(failed()),
            (None, Some(since)) if modified > *since => return Err(failed()),
            _ => {}
        }
        let unchanged = match (&self.if_none_match, &self.if_modified_since) {
            (Some(ETagCondition::Any), _) => true,
            (Some(ETagCondition::ETag(known)), _) => known.weak_cmp(&etag),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if unchanged { Err(not_modified(stored)) } else { Ok(()) }
    }
}

/// 304 with the fields that RFC 9110 §15.4.5 asks for.
fn not_modified(stored: &Stored) -> S3Error {
    let mut headers = HeaderMap::new();
    let mut insert = |name: http::HeaderName, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    };
    insert(http::header::ETAG, Some(format!("\"{}\"", stored.etag)));
    insert(http::header::CACHE_CONTROL, stored.headers.cache_control.clone());
    let mut date = Vec::new();
    if whole_seconds(stored.modified).format(s3s::dto::TimestampFormat::HttpDate, &mut date).is_ok() {
        insert(http::header::LAST_MODIFIED, String::from_utf8(date).ok());
    }
    let mut error = s3_error!(NotModified);
    error.set_status_code(StatusCode::NOT_MODIFIED);
    error.set_headers(headers);
    error
}

/// HTTP dates have no fractions of a second.
fn whole_seconds(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

/// The bytes that a range asks for, and its Content-Range.
fn select(range: Option<Range>, bytes: u64) -> S3Result<(std::ops::Range<u64>, Option<String>)> {
    let Some(range) = range else { return Ok((0..bytes, None)) };
    let selected = range.check(bytes).ok().filter(|selected| !selected.is_empty()).ok_or_else(|| {
        let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
        if let Ok(value) = HeaderValue::try_from(format!("bytes */{bytes}")) {
            error.set_headers([(http::header::CONTENT_RANGE, value)].into_iter().collect());
        }
        error
    })?;
    let content_range = format!("bytes {}-{}/{bytes}", selected.start, selected.end - 1);
    Ok((selected, Some(content_range)))
}

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

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[async_trait::async_trait]
impl S3 for SharedBucket {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.find(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&stored)?;
        let (range, content_range) = select(input.range, stored.bytes)?;
        let headers = stored.headers.clone();
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(size(range.end - range.start)),
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
        let stored = self.find(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&stored)?;
        let (range, content_range) = select(input.range, stored.bytes)?;
        let partial = content_range.is_some().then_some(StatusCode::PARTIAL_CONTENT);
        let headers = stored.headers.clone();
        let mut response = S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(size(range.end - range.start)),
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
        self.check_key(&input.bucket, &input.key)?;
        let mut content = Vec::new();
        if let Some(mut body) = input.body {
            while let Some(chunk) =
                body.try_next().await.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?
            {
                if content.len() + chunk.len() > PUT_BYTES_MAX {
                    return Err(s3_error!(
                        EntityTooLarge,
                        "the local bucket keeps what is put in memory: up to 256 MiB"
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
        self.check_key(&request.input.bucket, &request.input.key)?;
        self.0.site.delete(request.input.key);
        Ok(S3Response::with_status(DeleteObjectOutput::default(), StatusCode::NO_CONTENT))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.check(&input.bucket)?;
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
            // A page ends at a key or at a whole folder, and goes on after it.
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
                    size: Some(size(stored.bytes)),
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
        let second = request.map_input(|input| ListObjectsV2Input {
            bucket: input.bucket,
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: input.max_keys,
            start_after: input.marker,
            ..ListObjectsV2Input::default()
        });
        let page = self.list_objects_v2(second).await?.output;
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
        self.check(&request.input.bucket)?;
        let mut deleted = Vec::new();
        for object in request.input.delete.objects {
            self.0.site.delete(object.key.clone());
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = BucketOf { name: Some(self.0.name.clone()), ..BucketOf::default() };
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(vec![bucket]), ..ListBucketsOutput::default() }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.check(&request.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }
}
