//! S3: the protocol over a folder. The crate s3s verifies signatures and encodes responses.
//!
//! - [`site`]: the objects
//! - `folder`: the files of the folder, and which links are followed
//! - `bucket`: a bucket's name, objects and errors for a key that cannot be read
//! - `refusal`: the errors for an object that S3 refuses to read
//! - `operation`: GetObject and the other operations
//! - `listing`: pages of ListObjects and ListObjectsV2
//! - `upload`: the header fields that S3 stores
//! - `multipart`: uploads in parts
//! - `condition`: If-Match and the other conditions
//! - `xml`: characters that XML cannot represent

mod bucket;
mod condition;
mod folder;
mod listing;
mod multipart;
mod operation;
mod refusal;
pub mod site;
mod upload;
mod xml;

use std::sync::Arc;

use aws_credential_types::Credentials;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use crate::fault::{Fault, Faults, S3Fault};
use crate::identity;
use crate::serve::{self, Body, BoxError, Server};

pub use self::bucket::{Bucket, MissingKey};
use self::operation::Operations;

/// The maximum size of the header section of a request in bytes
/// ([error responses](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html),
/// RequestHeaderSectionTooLarge; the response contains the limit).
const HEADER_BYTES_MAX: usize = 8_192;

/// Serves a bucket to clients that sign with `credentials`.
pub fn serve(listener: TcpListener, bucket: Arc<Bucket>, credentials: &Credentials, faults: Faults) -> Server {
    let mut builder = S3ServiceBuilder::new(Operations::new(bucket, faults.clone()));
    builder.set_auth(SimpleAuth::from_single(credentials.access_key_id(), credentials.secret_access_key()));
    let service = builder.build();
    let handler_faults = faults.clone();
    let handler = move |request, _| {
        let (service, fault, fields) = (service.clone(), handler_faults.s3(), handler_faults.s3_headers());
        async move { respond(service, request, fault, fields).await }
    };
    serve::serve_while(listener, handler, faults, |faults| !faults.contains(&Fault::S3(S3Fault::Dead)))
}

async fn respond(
    service: S3Service,
    mut request: Request<Incoming>,
    fault: Option<S3Fault>,
    fields: Vec<(HeaderName, HeaderValue)>,
) -> Result<Response<Body>, BoxError> {
    match &fault {
        Some(S3Fault::Latency(delay)) => tokio::time::sleep(*delay).await,
        Some(S3Fault::Error(status, code)) => {
            return error_response(StatusCode::from_u16(*status)?, code, "<Message>injected fault</Message>");
        }
        Some(S3Fault::Hang) => std::future::pending().await,
        Some(S3Fault::Reset) => return Err("injected fault: s3-reset".into()),
        _ => {}
    }
    if header_bytes(&request) > HEADER_BYTES_MAX {
        let details = format!(
            "<Message>Your request header section exceeds the maximum allowed size.</Message>\
             <MaxSizeAllowed>{HEADER_BYTES_MAX}</MaxSizeAllowed>"
        );
        return error_response(StatusCode::BAD_REQUEST, "RequestHeaderSectionTooLarge", &details);
    }
    join_lists(request.headers_mut());
    let response = service.call(request.map(s3s::Body::from)).await.map_err(BoxError::from)?;
    let (mut parts, body) = response.into_parts();
    parts.headers.insert("x-amz-request-id", request_id()?);
    if parts.status.is_success() {
        replace_fields(&mut parts.headers, fields);
    }
    let truncates = matches!(fault, Some(S3Fault::HalfBody | S3Fault::Stall | S3Fault::WrongLength));
    let is_xml = parts.headers.get(CONTENT_TYPE).is_some_and(|media_type| media_type == "application/xml");
    // The content of an object has a length; the XML of s3s has none yet.
    if !truncates && (!is_xml || parts.headers.contains_key(CONTENT_LENGTH)) {
        return Ok(Response::from_parts(parts, body.boxed_unsync()));
    }
    let body = BodyExt::collect(body).await?.to_bytes();
    let body = if parts.headers.contains_key(CONTENT_LENGTH) { body } else { xml::escape(body) };
    if !truncates || body.is_empty() {
        return Ok(Response::from_parts(parts, serve::full(body)));
    }
    let sent_bytes = if fault == Some(S3Fault::WrongLength) { body.len() - 1 } else { body.len() / 2 };
    let truncated = truncate(&body, sent_bytes, fault == Some(S3Fault::Stall));
    Ok(Response::from_parts(parts, truncated))
}

/// The size of the header section: names and values, and the four bytes `: ` and CRLF of each field.
///
/// AWS does not document how S3 computes it. Its description mentions query parameters too, which a presigned URL has
/// in place of header fields.
fn header_bytes<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    fields.sum::<usize>() + request.uri().query().map_or(0, str::len)
}

/// Joins the lines of a repeated field that is a list (RFC 9110 §5.3). s3s rejects a repeated field; SDKs repeat
/// Content-Encoding to add `aws-chunked`. Signatures cover the joined value.
fn join_lists(headers: &mut HeaderMap) {
    for name in [CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE] {
        let lines: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if lines.len() > 1
            && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b","[..]))
        {
            headers.insert(name, joined);
        }
    }
}

/// Replaces the fields of a response. Of a name that occurs several times, all fields are sent.
fn replace_fields(headers: &mut HeaderMap, fields: Vec<(HeaderName, HeaderValue)>) {
    for (name, _) in &fields {
        headers.remove(name);
    }
    for (name, value) in fields {
        headers.append(name, value);
    }
}

/// A body of the first `sent_bytes` of `body`, which then stalls or fails.
fn truncate(body: &Bytes, sent_bytes: usize, stalls: bool) -> Body {
    let end = async move {
        // hyper flushes the part before the end only while it waits for the next frame.
        tokio::task::yield_now().await;
        if stalls {
            std::future::pending::<()>().await;
        }
        Err(BoxError::from("injected fault: the body ends here"))
    };
    let part = stream::iter([Ok(http_body::Frame::data(body.slice(..sent_bytes)))]);
    StreamBody::new(part.chain(stream::once(end))).boxed_unsync()
}

/// An error of S3. `details` are the elements after the code.
fn error_response(status: StatusCode, code: &str, details: &str) -> Result<Response<Body>, BoxError> {
    let error = format!("<Error><Code>{code}</Code>{details}</Error>");
    let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{error}");
    let mut response = Response::new(serve::full(xml));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.headers_mut().insert("x-amz-request-id", request_id()?);
    Ok(response)
}

fn request_id() -> Result<HeaderValue, BoxError> {
    Ok(HeaderValue::from_str(&identity::letters(16).to_uppercase())?)
}
