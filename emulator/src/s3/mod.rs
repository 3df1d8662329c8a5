//! S3: the protocol over a folder. The crate s3s verifies signatures and encodes responses.
//!
//! - [`site`]: the objects
//! - `bucket`: a bucket's name, objects and error for a missing key
//! - `operation`: GetObject and the other operations
//! - `condition`: If-Match and the other conditions

mod bucket;
mod condition;
mod operation;
pub mod site;

use std::sync::Arc;

use aws_credential_types::Credentials;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Request, Response, StatusCode};
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

/// Serves a bucket to clients that sign with `credentials`.
pub fn serve(listener: TcpListener, bucket: Arc<Bucket>, credentials: &Credentials, faults: Faults) -> Server {
    let mut builder = S3ServiceBuilder::new(Operations(bucket));
    builder.set_auth(SimpleAuth::from_single(credentials.access_key_id(), credentials.secret_access_key()));
    let service = builder.build();
    let handler_faults = faults.clone();
    let handler = move |request, _| {
        let (service, fault) = (service.clone(), handler_faults.s3());
        async move { respond(service, request, fault).await }
    };
    serve::serve_while(listener, handler, faults, |faults| !faults.contains(&Fault::S3(S3Fault::Dead)))
}

async fn respond(
    service: S3Service,
    request: Request<Incoming>,
    fault: Option<S3Fault>,
) -> Result<Response<Body>, BoxError> {
    match &fault {
        Some(S3Fault::Latency(delay)) => tokio::time::sleep(*delay).await,
        Some(S3Fault::Error(status, code)) => return fault_response(*status, code),
        Some(S3Fault::Hang) => std::future::pending().await,
        Some(S3Fault::Reset) => return Err("injected fault: s3-reset".into()),
        Some(S3Fault::HalfBody | S3Fault::Stall | S3Fault::WrongLength | S3Fault::Dead) | None => {}
    }
    let response = service.call(request.map(s3s::Body::from)).await.map_err(BoxError::from)?;
    let (mut parts, body) = response.into_parts();
    parts.headers.insert("x-amz-request-id", request_id()?);
    let body = match fault {
        Some(S3Fault::HalfBody | S3Fault::Stall | S3Fault::WrongLength) => BodyExt::collect(body).await?.to_bytes(),
        _ => return Ok(Response::from_parts(parts, body.boxed_unsync())),
    };
    if body.is_empty() {
        return Ok(Response::from_parts(parts, serve::full(body)));
    }
    let sent_bytes = if fault == Some(S3Fault::WrongLength) { body.len() - 1 } else { body.len() / 2 };
    let truncated = truncate(&body, sent_bytes, fault == Some(S3Fault::Stall));
    Ok(Response::from_parts(parts, truncated))
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

fn fault_response(status: u16, code: &str) -> Result<Response<Body>, BoxError> {
    let error = format!("<Error><Code>{code}</Code><Message>injected fault</Message></Error>");
    let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{error}");
    let mut response = Response::new(serve::full(xml));
    *response.status_mut() = StatusCode::from_u16(status)?;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.headers_mut().insert("x-amz-request-id", request_id()?);
    Ok(response)
}

fn request_id() -> Result<HeaderValue, BoxError> {
    Ok(HeaderValue::from_str(&identity::letters(16).to_uppercase())?)
}
