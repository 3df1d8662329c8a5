//! GetObject and HeadObject: one request of a store → the requests that S3 needs for it.

use std::error::Error;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat as Format};
use aws_sdk_s3::types::{ArchiveStatus, StorageClass};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::Headers;
use nearedge_core::error_chain::error_chain;
use nearedge_core::http::conditional::{Conditions, EntityTag, entity_tags};
use nearedge_core::http::date::http_date;
use nearedge_core::http::range::ByteRange;
use nearedge_core::object::{Body, BodyEncoder, Head, Metadata, Object, ObjectKey, base64_len, split_copy_tag};
use nearedge_core::request::door::PAYLOAD_BYTES_MAX;
use nearedge_core::store::{FetchError, FetchRequest, Fetched};
use tracing::field;

use crate::storage::s3::S3;
use crate::storage::s3::attempt::SpanGuard;
use crate::storage::s3::error::{BodyError, S3Error, fetch_error, status_of};
use crate::storage::s3::limits::FIRST_BYTE_TIMEOUT;
use crate::storage::s3::opened::open_body;
use crate::telemetry::trace::child_span;

impl S3 {
    /// Sends a GetObject.
    ///
    /// S3 receives the conditions, so that it sends no body that the client has, and the range, so that it sends no
    /// whole object for a part. The response is evaluated here again, because other servers deviate from S3.
    /// `body_error` receives the error of the first attempt, so that a timeout during the second can report it.
    pub(super) async fn get(
        &self,
        request: &FetchRequest<'_>,
        body_error: &OnceLock<String>,
    ) -> Result<Fetched, FetchError> {
        if needs_head_first(&request.conditions) {
            let head = self.head_metadata(request.key).await?;
            match request.answer_without_body(&head, None) {
                // A range of an object that is too large may fit.
                None | Some(Fetched::TooLarge(_)) => {}
                Some(answer) => return Ok(answer),
            }
        }
        let send = |range| self.send(request, range, body_error);
        let Some(range) = request.range else { return send(None).await };
        let part = send(Some(range)).await?;
        if let (Some(if_range), Fetched::Object(object)) = (request.if_range, &part)
            && !if_range.matches(&object.head)
        {
            // Releases the memory of the part before the whole object needs its own.
            drop(part);
            return send(None).await;
        }
        match (request.if_range, &part) {
            // The range is void if If-Range names another object, whether or not the bytes exist.
            (Some(if_range), Fetched::Unsatisfiable(_))
                if !if_range.matches(&*self.head_metadata(request.key).await?) =>
            {
                send(None).await
            }
            // The object has grown since S3 refused the range.
            (_, Fetched::Unsatisfiable(size)) if range.select(*size).is_some() => send(Some(range)).await,
            _ => Ok(part),
        }
    }

    /// Sends a GetObject, and once more if it is interrupted: the SDK retries only until the body begins.
    async fn send(
        &self,
        request: &FetchRequest<'_>,
        range: Option<ByteRange>,
        body_error: &OnceLock<String>,
    ) -> Result<Fetched, FetchError> {
        let interruption = match self.send_once(request, range).await? {
            Ok(fetched) => return Ok(fetched),
            Err(interruption) => interruption,
        };
        let needs_budget = matches!(interruption, Interruption::Body(_));
        if needs_budget && !self.attempts.budget.spend() {
            return Err(interruption.into());
        }
        // An object that has changed is read anew, whatever version is cached.
        let retried = match &interruption {
            Interruption::Changed => FetchRequest { cached: None, ..*request },
            Interruption::Body(error) => {
                let _ = body_error.set(error_chain(error));
                *request
            }
        };
        self.attempts.retries.fetch_add(1, Ordering::Relaxed);
        self.send_once(&retried, range).await?.map_err(FetchError::from)
    }

    async fn send_once(
        &self,
        request: &FetchRequest<'_>,
        range: Option<ByteRange>,
    ) -> Result<Result<Fetched, Interruption>, FetchError> {
        let Conditions { if_match, if_none_match, if_modified_since, if_unmodified_since } = request.conditions;
        let date = |field: Option<&str>| field.and_then(http_date).map(DateTime::from);
        let cached_etag = request.cached.and_then(|cached| cached.etag.clone());
        let sent = Conditional {
            if_match: forwarded_if_match(&request.conditions),
            if_none_match: cached_etag.or_else(|| if_none_match.and_then(single_tag)),
            if_modified_since: date(if_modified_since.filter(|_| if_none_match.is_none())),
            if_unmodified_since: date(if_unmodified_since.filter(|_| if_match.is_none())),
            range,
        };
        let call = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(request.key.as_str())
            .set_range(range.map(|range| range.to_string()))
            .set_if_match(sent.if_match.clone())
            .set_if_none_match(sent.if_none_match.clone())
            .set_if_modified_since(sent.if_modified_since)
            .set_if_unmodified_since(sent.if_unmodified_since);
        let output = match call.send().await {
            Ok(output) => output,
            Err(error) => return self.without_object(request, &sent, error).await,
        };
        let length = u64::try_from(output.content_length.unwrap_or(0)).unwrap_or(0);
        let selected = match output.content_range.as_deref() {
            None => None,
            Some(field) => match content_range(field) {
                Some((part, size)) if range.and_then(|range| range.select(size)) == Some(part.clone()) => {
                    let part_len = part.end - part.start;
                    if output.content_length.is_some() && length != part_len {
                        let error = BodyError::WrongLength { sent: length, expected: part_len };
                        return Err(FetchError::Failed(S3Error::Body(error).into()));
                    }
                    Some((part, size))
                }
                _ => return Err(FetchError::Failed(S3Error::WrongRange.into())),
            },
        };
        let head = Head::new(Metadata {
            size_bytes: selected.as_ref().map_or(length, |(_, size)| *size),
            content_type: output.content_type,
            etag: output.e_tag,
            last_modified: output.last_modified.as_ref().and_then(format_http_date),
            cache_control: output.cache_control,
            content_encoding: output.content_encoding,
            content_language: output.content_language,
            content_disposition: output.content_disposition,
            expires: output.expires_string,
            redirect_location: output.website_redirect_location,
        });
        // Returning here drops the unread body, which closes the connection, unless the door takes streams.
        if let Some(answer) = request.answer_without_body(&head, selected.as_ref().map(|(part, _)| part)) {
            if let (Fetched::TooLarge(_), Some(overflow)) = (&answer, request.overflow) {
                let expected = selected.as_ref().map_or(head.size_bytes, |(part, _)| part.end - part.start);
                overflow.put(selected.map(|(part, _)| part), open_body(output.body, expected));
            }
            return Ok(Ok(answer));
        }
        let announced = output.content_length.map(|_| length);
        let Some(reservation) = self.bodies.reserve(announced).await else {
            return Ok(Ok(Fetched::TooLarge(head)));
        };
        let mut encoder = BodyEncoder::new(usize::try_from(length).unwrap_or(0), self.encoding);
        // The span of the attempt ends with the response headers, so the body has one of its own.
        let mut body_span = SpanGuard::new(child_span!(
            "S3 body",
            http.response.body.size = i64::try_from(length).unwrap_or(i64::MAX),
            "error.type" = field::Empty,
            otel.status_code = field::Empty,
        ));
        let read = read_body(output.body, &mut encoder).await;
        body_span.finish(read.as_ref().err().map(|_| "broken off"));
        drop(body_span);
        match read {
            Ok(Complete::Yes) => {}
            Ok(Complete::TooLarge) => return Ok(Ok(Fetched::TooLarge(head))),
            Err(error) => return Ok(Err(Interruption::Body(error))),
        }
        self.attempts.budget.earn();
        let body = encoder.finish().with_reservation(reservation);
        let expected = match &selected {
            Some((part, _)) => Some(part.end - part.start),
            None => output.content_length.map(|_| length),
        };
        if let Some(expected) = expected.filter(|expected| *expected != body.len()) {
            return Ok(Err(Interruption::Body(BodyError::WrongLength { sent: body.len(), expected })));
        }
        // A response without Content-Length announces no size.
        let head = match &selected {
            None if head.size_bytes != body.len() => Head::new(Metadata { size_bytes: body.len(), ..(*head).clone() }),
            _ => head,
        };
        Ok(Ok(Fetched::Object(Object { head, range: selected.map(|(range, _)| range), body })))
    }

    /// Sends a HeadObject and evaluates its response.
    pub(super) async fn head(&self, request: &FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let head = self.head_metadata(request.key).await?;
        let answer = request.answer_without_body(&head, None);
        Ok(answer.unwrap_or_else(|| Fetched::Object(Object { head, range: None, body: Body::default() })))
    }

    async fn head_metadata(&self, key: &ObjectKey) -> Result<Head, FetchError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key.as_str());
        let output = match request.send().await {
            Ok(output) => output,
            Err(error) if matches!(status_of(&error), Some(400 | 403 | 404)) => return self.head_by_get(key).await,
            Err(error) => return Err(fetch_error(error, key)),
        };
        let restored = output.restore.as_deref().is_some_and(|state| state.contains("ongoing-request=\"false\""));
        let archive = is_archived(output.storage_class.as_ref(), output.archive_status.as_ref());
        // HEAD needs neither the object's bytes nor its key: let a GET of one byte decide whether S3 can read it.
        let uses_kms =
            output.server_side_encryption.is_some_and(|encryption| encryption.as_str().starts_with("aws:kms"));
        if uses_kms || (archive && !restored) {
            return self.head_by_get(key).await;
        }
        Ok(Head::new(Metadata {
            size_bytes: u64::try_from(output.content_length.unwrap_or(0)).unwrap_or(0),
            content_type: output.content_type,
            etag: output.e_tag,
            last_modified: output.last_modified.as_ref().and_then(format_http_date),
            cache_control: output.cache_control,
            content_encoding: output.content_encoding,
            content_language: output.content_language,
            content_disposition: output.content_disposition,
            expires: output.expires_string,
            redirect_location: output.website_redirect_location,
        }))
    }

    /// Maps GetObject "errors" that are HTTP responses (304, 412, 416) to [`Fetched`].
    async fn without_object<E>(
        &self,
        request: &FetchRequest<'_>,
        sent: &Conditional,
        error: SdkError<E, HttpResponse>,
    ) -> Result<Result<Fetched, Interruption>, FetchError>
    where
        E: ProvideErrorMetadata + RequestId + Error + Send + Sync + 'static,
    {
        if let Some(unrequested) = status_of(&error).and_then(|status| sent.unrequested(status)) {
            return Err(FetchError::Failed(unrequested.into()));
        }
        match status_of(&error) {
            Some(304) => {
                let raw = error.raw_response().map(HttpResponse::headers);
                self.not_modified(request, raw).await
            }
            Some(412) => Ok(Ok(Fetched::PreconditionFailed)),
            Some(416) => {
                let head = self.head_metadata(request.key).await?;
                Ok(Ok(match request.answer_without_body(&head, None) {
                    None | Some(Fetched::TooLarge(_)) => Fetched::Unsatisfiable(head.size_bytes),
                    Some(answer) => answer,
                }))
            }
            _ => Err(fetch_error(error, request.key)),
        }
    }

    /// Evaluates a 304. The SDK reports it as an error; its header fields are all that is known of the object.
    async fn not_modified(
        &self,
        request: &FetchRequest<'_>,
        raw: Option<&Headers>,
    ) -> Result<Result<Fetched, Interruption>, FetchError> {
        let field = |name: &str| raw.and_then(|headers| headers.get(name)).map(str::to_owned);
        let received = Metadata {
            etag: field("etag"),
            last_modified: field("last-modified"),
            cache_control: field("cache-control"),
            // The SDK moves Expires here, and drops it if it is not a date, such as `0`.
            expires: field("ExpiresString"),
            redirect_location: field("x-amz-website-redirect-location"),
            ..Metadata::default()
        };
        if let Some(cached) = request.cached.filter(|cached| confirms(&received, cached)) {
            return Ok(Ok(Fetched::NotModified(cached.clone())));
        }
        // S3 does not document the fields of its 304, but ours must carry the caching fields of the 200
        // (RFC 9110 §15.4.5).
        // The type of the object is missing too, on which Vary depends.
        let is_complete = received.cache_control.is_some() && received.expires.is_some() && request.accepts.is_none();
        if request.cached.is_none() && is_complete {
            return Ok(Ok(Fetched::NotModified(Head::new(received))));
        }
        let current = self.head_metadata(request.key).await?;
        let same = |etag: &Option<String>| etag.is_some() && *etag == current.etag;
        Ok(match request.cached {
            // The same bytes with other metadata.
            Some(cached) if same(&cached.etag) => Ok(Fetched::NotModified(current)),
            Some(_) => Err(Interruption::Changed),
            None if same(&received.etag) => Ok(Fetched::NotModified(current)),
            // The object has changed since: the client's copy must not receive the new object's tag.
            None => Ok(Fetched::NotModified(Head::new(received))),
        })
    }

    /// Finds out what a refused HEAD is about. Its error response has no body, so a missing key, a missing bucket and a
    /// refused signature look alike; the error response of a GET names the reason. If the object has been uploaded
    /// meanwhile, the GET finds it.
    async fn head_by_get(&self, key: &ObjectKey) -> Result<Head, FetchError> {
        let call = self.client.get_object().bucket(&self.bucket).key(key.as_str()).range("bytes=0-0");
        let output = match call.send().await {
            Ok(output) => output,
            // An empty object has no byte 0.
            Err(error) if status_of(&error) == Some(416) => {
                let call = self.client.get_object().bucket(&self.bucket).key(key.as_str());
                call.send().await.map_err(|error| fetch_error(error, key))?
            }
            Err(error) => return Err(fetch_error(error, key)),
        };
        let length = u64::try_from(output.content_length.unwrap_or(0)).unwrap_or(0);
        let size_bytes = match output.content_range.as_deref() {
            None => length,
            Some(field) => {
                content_range(field).map(|(_, size)| size).ok_or(FetchError::Failed(S3Error::WrongRange.into()))?
            }
        };
        Ok(Head::new(Metadata {
            size_bytes,
            content_type: output.content_type,
            etag: output.e_tag,
            last_modified: output.last_modified.as_ref().and_then(format_http_date),
            cache_control: output.cache_control,
            content_encoding: output.content_encoding,
            content_language: output.content_language,
            content_disposition: output.content_disposition,
            expires: output.expires_string,
            redirect_location: output.website_redirect_location,
        }))
    }
}

/// Why a GetObject is sent once more.
enum Interruption {
    /// The body ended early.
    Body(BodyError),
    /// The object changed between two requests.
    Changed,
}

impl From<Interruption> for FetchError {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            // A wrong length is wrong again: no outage, and no reason to serve other objects stale.
            Interruption::Body(error @ BodyError::WrongLength { .. }) => Self::Failed(S3Error::from(error).into()),
            Interruption::Body(error) => Self::Unavailable(S3Error::from(error).into()),
            // S3 works: other objects are revalidated as usual.
            Interruption::Changed => Self::Failed(S3Error::ObjectChanged.into()),
        }
    }
}

/// The conditions and the range of a request, as sent to S3.
struct Conditional {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<DateTime>,
    if_unmodified_since: Option<DateTime>,
    range: Option<ByteRange>,
}

impl Conditional {
    /// The error if S3 answered a condition or a range that the request did not have.
    fn unrequested(&self, status: u16) -> Option<S3Error> {
        match status {
            304 if self.if_none_match.is_none() && self.if_modified_since.is_none() => {
                Some(S3Error::Unrequested(status, "If-None-Match and If-Modified-Since"))
            }
            412 if self.if_match.is_none() && self.if_unmodified_since.is_none() => {
                Some(S3Error::Unrequested(status, "If-Match and If-Unmodified-Since"))
            }
            416 if self.range.is_none() => Some(S3Error::Unrequested(status, "Range")),
            _ => None,
        }
    }
}

/// Whether an archive may hold the object, so that S3 cannot read it at once
/// ([HeadObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html)). On some other servers the storage class
/// is only a label.
fn is_archived(class: Option<&StorageClass>, status: Option<&ArchiveStatus>) -> bool {
    // Intelligent-Tiering has archives of its own.
    status.is_some() || matches!(class, Some(StorageClass::Glacier | StorageClass::DeepArchive))
}

/// Whether a 304 with these fields confirms the cached version: the same tag and the same Last-Modified. Copying an
/// object over itself, which is how its metadata changes, keeps the tag and moves Last-Modified.
fn confirms(received: &Metadata, cached: &Metadata) -> bool {
    received.etag.as_ref().is_none_or(|_| received.etag == cached.etag)
        && received.last_modified.as_ref().is_none_or(|_| received.last_modified == cached.last_modified)
}

/// Whether the conditions hold a list of tags, or the tag of a copy, which S3 does not know. S3 documents no lists, so a HEAD decides
/// them first, and no body is sent that the client has.
fn needs_head_first(conditions: &Conditions<'_>) -> bool {
    let Conditions { if_match, if_none_match, .. } = conditions;
    // S3 does not receive this If-Match, so its 304 must not precede it (RFC 9110 §13.2.2).
    let not_forwarded =
        if_match.is_some_and(|field| field.trim_ascii() != "*") && forwarded_if_match(conditions).is_none();
    let is_of_copy = |tag: EntityTag<'_>| split_copy_tag(tag.opaque).is_some();
    let star_or_list = |field: &str| field.trim_ascii() == "*" || entity_tags(field).nth(1).is_some();
    let is_for_head = |field: &str| star_or_list(field) || entity_tags(field).any(is_of_copy);
    not_forwarded || if_none_match.is_some_and(is_for_head)
}

/// The single strong tag of If-Match; a weak tag never matches strongly.
fn forwarded_if_match(conditions: &Conditions<'_>) -> Option<String> {
    let field = conditions.if_match?;
    EntityTag::parse(field).filter(|tag| !tag.weak).and_then(|_| single_tag(field))
}

/// The longest entity tag that is sent to S3, in bytes. S3's own are shorter, and S3 rejects header sections over 8,192 bytes
/// (`RequestHeaderSectionTooLarge`), while API Gateway accepts 10,240.
const TAG_BYTES_MAX: usize = 256;

/// The field's single tag in S3's form: strong, not longer than a tag of S3 can be, not that of a copy, and ASCII because the SDK
/// sends nothing else.
fn single_tag(field: &str) -> Option<String> {
    EntityTag::parse(field)
        .filter(|tag| {
            tag.opaque.is_ascii() && tag.opaque.len() <= TAG_BYTES_MAX && split_copy_tag(tag.opaque).is_none()
        })
        .map(|tag| format!("\"{}\"", tag.opaque))
}

/// Parses `bytes first-last/length` (RFC 9110 §14.4).
pub(super) fn content_range(field: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = field.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, size.parse().ok()?))
}

/// Formats Last-Modified as S3 sent it: the SDK has parsed it, and HTTP has one form to send.
fn format_http_date(date: &DateTime) -> Option<String> {
    date.fmt(Format::HttpDate).ok()
}

/// How reading a body ended.
enum Complete {
    /// The body was read to its end.
    Yes,
    /// S3 announced no size, and the body exceeds what a response can hold.
    TooLarge,
}

/// Reads a body to its end, unless it grows too large.
async fn read_body(mut body: ByteStream, encoder: &mut BodyEncoder) -> Result<Complete, BodyError> {
    loop {
        match tokio::time::timeout(FIRST_BYTE_TIMEOUT, body.next()).await {
            Ok(None) => return Ok(Complete::Yes),
            Ok(Some(Ok(chunk))) => encoder.push(chunk),
            Ok(Some(Err(error))) => return Err(BodyError::Aborted(error.into())),
            Err(_) => return Err(BodyError::Stalled),
        }
        if base64_len(encoder.len()) > PAYLOAD_BYTES_MAX {
            return Ok(Complete::TooLarge);
        }
    }
}
