//! The front door: a service that invokes the function for HTTP requests. An HTTP API, unless [`door::Door`] names another.
//!
//! - [`door`]: the services, their settings and limits
//! - [`event`]: HTTP request → event
//! - [`response`]: function response → HTTP response
//! - `streaming`: a streamed response on its way to the viewer

pub mod door;
pub mod event;
pub mod response;
mod streaming;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use self::door::{Api, Door};
use self::event::received::{ReceivedRequest, Unroutable};
use self::response::failure::Failure;
use self::streaming::{Rest, Transfer};
use crate::cloudwatch::{CloudWatch, MetricName};
use crate::identity;
use crate::journal::{Journal, RequestLine, Via};
use crate::lambda::invocation::{EVENT_BYTES_MAX, Invocation, InvokeError, StreamedResponse, StreamingInvocation};
use crate::lambda::service::Lambda;
use crate::lambda::stream::{Pace, StreamError, Transmission};
use crate::origin_access::{self, OriginAccess};
use crate::serve::{self, Body, BoxError, Server};
use crate::site_edit::SiteEdits;

/// A front door that sends all requests to one function.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The door as its events describe it.
    pub api: Api,
    /// The header with the variant, for the request lines.
    pub version_header: HeaderName,
    /// The Lambda service with the function.
    pub lambda: Lambda,
    /// The name of the function, for the metrics of a function URL.
    pub function_name: &'static str,
    /// Receives the request lines.
    pub journal: Journal,
    /// Receives the metrics.
    pub cloudwatch: CloudWatch,
    /// The edits of the files that configure the function; `None` if the site is no folder.
    pub(crate) edits: Option<Arc<SiteEdits>>,
}

/// Serves the front door.
pub fn serve(listener: TcpListener, gateway: Gateway) -> Server {
    serve::serve(listener, move |request, peer| {
        let gateway = gateway.clone();
        async move { Ok::<_, BoxError>(gateway.handle(request, peer).await) }
    })
}

impl Gateway {
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let started = Instant::now();
        // CloudFront adds this field to the requests that it forwards.
        let via = if request.headers().contains_key("x-amz-cf-id") { Via::Edge } else { Via::Gateway };
        let mut line = RequestLine::of(&request, via, &self.version_header);
        let head = request.method() == Method::HEAD;
        let request_id = identity::letters(16);
        let mut response = self.respond(request, peer, &request_id, &mut line).await;
        if let Some(name) = request_id_header(&self.api.door)
            && let Ok(id) = HeaderValue::try_from(request_id)
        {
            response.headers_mut().insert(name, id);
        }
        line.respond(&response);
        let transfer = LoggedTransfer { gateway: self.clone(), line, started, ended: false };
        match response.into_parts() {
            (parts, Content::Whole(body)) => transfer.whole(Response::from_parts(parts, body), head),
            (parts, Content::Stream(rest)) => transfer.streamed(Response::from_parts(parts, rest), head),
        }
    }

    /// Records the metrics of one request, under the names of an HTTP API or a function URL
    /// ([HTTP API metrics](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html),
    /// [function URLs](https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html)). The dashboards show no other doors, so that
    /// these have the names of an HTTP API.
    fn record_metrics(&self, line: &RequestLine) {
        let resource = format!("{}:live", self.function_name);
        let (namespace, dimensions, names) = match self.api.door {
            Door::FunctionUrl { .. } => (
                "AWS/Lambda",
                &[("FunctionName", self.function_name), ("Resource", &*resource)][..],
                ["UrlRequestCount", "Url4xxCount", "Url5xxCount", "UrlRequestLatency"],
            ),
            _ => ("AWS/ApiGateway", &[("ApiId", &*self.api.id)][..], ["Count", "4xx", "5xx", "Latency"]),
        };
        let put = |name, value| self.cloudwatch.put(MetricName::new(namespace, name, dimensions), value);
        let is = |condition: bool| f64::from(u8::from(condition));
        let milliseconds = line.duration.as_secs_f64() * 1e3;
        let values = [1.0, is(line.status.is_client_error()), is(line.status.is_server_error()), milliseconds];
        names.into_iter().zip(values).for_each(|(name, value)| put(name, value));
        if let (Some(integration), "AWS/ApiGateway") = (line.integration, namespace) {
            put("IntegrationLatency", integration.as_secs_f64() * 1e3);
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
        line: &mut RequestLine,
    ) -> Response<Content> {
        match self.try_respond(request, peer, request_id, line).await {
            Ok(response) => response,
            Err(failure) => failure.response(&self.api.door).map(Content::Whole),
        }
    }

    /// The function's response. An error is the door's own response.
    async fn try_respond(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
        line: &mut RequestLine,
    ) -> Result<Response<Content>, Failure> {
        let door = &self.api.door;
        if exceeds_header_limits(door, &request) {
            return Err(Failure::HeadersTooLarge);
        }
        let (mut parts, body) = request.into_parts();
        let limit = door.body_bytes_max();
        let body = serve::collect(body, limit).await.map_err(|_| {
            line.error = Some(format!("the request body exceeds {} MB or is incomplete", limit / (1024 * 1024)));
            Failure::BodyTooLarge
        })?;
        if door.verifies_signatures() && !OriginAccess::new(&self.api.region).verify(&parts, &body) {
            line.error = Some("the request has no valid signature of the CDN".to_owned());
            return Err(Failure::Forbidden);
        }
        let signed_by = door.verifies_signatures().then_some(origin_access::ACCESS_KEY_ID);
        let trace_id = add_headers(&mut parts, peer, body.len());
        let request = ReceivedRequest { parts: &parts, body: &body, source_ip: peer.ip(), request_id, signed_by };
        let event = event::build(&self.api, &request).map_err(|error| match error {
            Unroutable::BadPath => Failure::BadPath,
            Unroutable::NoRoute => Failure::NoRoute,
        })?;
        let event = event.to_string();
        if event.len() > EVENT_BYTES_MAX {
            return Err(Failure::BodyTooLarge);
        }
        if let Some(edits) = &self.edits {
            edits.apply(&self.lambda, &self.journal);
        }
        let started = Instant::now();
        let invocation = tokio::spawn(invoke(self.lambda.clone(), door.clone(), event.into(), trace_id));
        let Some(Ok(invocation)) = within(door.timeout(), invocation).await else {
            line.error = Some("integration timeout: the function did not respond in time".to_owned());
            return Err(Failure::Timeout);
        };
        line.integration = Some(started.elapsed());
        let StreamingInvocation { result, cold_start } = invocation.map_err(|error| match error {
            InvokeError::Throttled | InvokeError::ShuttingDown => {
                line.error = Some("no execution environment is free".to_owned());
                Failure::Throttled
            }
        })?;
        line.cold_start = cold_start;
        let response = match result {
            Ok(StreamedResponse::Buffered(payload)) => {
                response::to_response(door, &payload).map(|response| response.map(Content::Whole))
            }
            Ok(StreamedResponse::Stream(stream)) => {
                streaming::open(door, stream).await.map(|(head, rest)| head.map(|()| Content::Stream(rest)))
            }
            Err(error) => Err(error.to_string()),
        };
        response.map_err(|error| {
            line.error = Some(error);
            Failure::Function
        })
    }
}

/// The content of a response.
enum Content {
    Whole(Bytes),
    Stream(Rest),
}

/// Invokes the function as a door does. It runs in a separate task, so that the invocation continues after a disconnect of
/// the viewer or the timeout.
async fn invoke(
    lambda: Lambda,
    door: Door,
    event: Bytes,
    trace_id: String,
) -> Result<StreamingInvocation, InvokeError> {
    let Some(streaming) = door.streaming() else {
        let Invocation { result, cold_start } = lambda.invoke(event, trace_id).await?;
        return Ok(StreamingInvocation { result: result.map(StreamedResponse::Buffered), cold_start });
    };
    let uncapped_bytes = door.uncapped_bytes();
    let pace = streaming.bytes_per_sec.map(|bytes_per_sec| Pace { uncapped_bytes, bytes_per_sec });
    lambda.invoke_with_response_stream(event, trace_id, Transmission { pace, drains: streaming.drains }).await
}

/// The line and the metrics of a request, which are written when its response has ended.
struct LoggedTransfer {
    gateway: Gateway,
    line: RequestLine,
    started: Instant,
    ended: bool,
}

impl LoggedTransfer {
    /// The response with its whole content.
    fn whole(mut self, mut response: Response<Bytes>, head: bool) -> Response<Body> {
        let bytes = response.body().len();
        // The door computes Content-Length. Only the function knows that of a HEAD response; 204 and 304 have none.
        if is_bodiless(response.status()) {
            response.headers_mut().remove(CONTENT_LENGTH);
        } else if !head || !response.headers().contains_key(CONTENT_LENGTH) {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        self.line.bytes = if head { 0 } else { bytes as u64 };
        self.ended = true;
        response.map(serve::full)
    }

    /// The response with its content as it arrives.
    fn streamed(mut self, response: Response<Rest>, head: bool) -> Response<Body> {
        if !head && !is_bodiless(response.status()) {
            return response.map(|rest| rest.into_body(self));
        }
        // Such a response has no body. Dropping the stream would abort the function's upload.
        self.ended = true;
        response.map(|rest| {
            tokio::spawn(rest.discard());
            serve::full("")
        })
    }
}

impl Transfer for LoggedTransfer {
    fn count(&mut self, bytes: usize) {
        self.line.bytes += bytes as u64;
    }

    fn end(&mut self, error: Option<StreamError>) {
        self.line.error = error.map(|error| error.to_string());
        self.ended = true;
    }
}

impl Drop for LoggedTransfer {
    fn drop(&mut self) {
        if !self.ended {
            self.line.error = Some("the viewer closed the connection within the response".to_owned());
        }
        self.line.duration = self.started.elapsed();
        self.gateway.journal.request(&self.line);
        self.gateway.record_metrics(&self.line);
    }
}

/// Whether a response with this status has no content (RFC 9110 §15.3.5, §15.4.5).
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The output of a future; `None` if it takes longer than `limit`.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

/// The response header with the request id. A load balancer has none.
fn request_id_header(door: &Door) -> Option<HeaderName> {
    match door {
        Door::HttpApi => Some(HeaderName::from_static("apigw-requestid")),
        Door::FunctionUrl { .. } | Door::Rest { .. } => Some(HeaderName::from_static("x-amzn-requestid")),
        Door::Alb { .. } => None,
    }
}

fn exceeds_header_limits<B>(door: &Door, request: &Request<B>) -> bool {
    let line = request.method().as_str().len() + request.uri().path_and_query().map_or(1, |path| path.as_str().len());
    let total = line + request.headers().values().map(http::HeaderValue::len).sum::<usize>();
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let largest = fields.chain([line]).max().unwrap_or_default();
    door.header_bytes_max().is_some_and(|limit| total > limit)
        || door.header_field_bytes_max().is_some_and(|limit| largest > limit)
}

/// Adds the headers that describe the connection and the trace. Returns the trace root.
fn add_headers(parts: &mut Parts, peer: SocketAddr, body_bytes: usize) -> String {
    let headers = &mut parts.headers;
    let root = headers
        .get("x-amzn-trace-id")
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.starts_with("Root="))
        .map_or_else(identity::trace_root, |value| value.split(';').next().unwrap_or(value).to_owned());
    set(headers, "x-amzn-trace-id", &root);
    serve::append_forwarded_for(headers, &peer.ip().to_string());
    set(headers, "x-forwarded-port", "443");
    set(headers, "x-forwarded-proto", "https");
    if !headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority().map(ToString::to_string)
    {
        set(headers, "host", &authority);
    }
    // The door has buffered the body, so it sends Content-Length for a chunked body too.
    headers.remove(http::header::TRANSFER_ENCODING);
    set(headers, "content-length", &body_bytes.to_string());
    root
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests;
