//! The front door: a service that invokes the function for HTTP requests. An HTTP API, unless [`door::Door`] names another.
//!
//! - [`door`]: the services, their settings and limits
//! - [`event`]: HTTP request → event
//! - [`response`]: function response → HTTP response

pub mod door;
pub mod event;
pub mod response;

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
use crate::cloudwatch::{CloudWatch, MetricName};
use crate::identity;
use crate::journal::{Journal, RequestLine, Via};
use crate::lambda::invocation::{EVENT_BYTES_MAX, Invocation, InvokeError};
use crate::lambda::service::Lambda;
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
        let bytes = response.body().len();
        // The door computes Content-Length. Only the function knows that of a HEAD response; 204 and 304 have none.
        let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless {
            response.headers_mut().remove(CONTENT_LENGTH);
        } else if !head || !response.headers().contains_key(CONTENT_LENGTH) {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        line.status = response.status();
        line.bytes = if head { 0 } else { bytes as u64 };
        line.duration = started.elapsed();
        self.journal.request(&line);
        self.record_metrics(&line);
        response.map(serve::full)
    }

    /// Records the metrics of one request, for each door under the names of an HTTP API, which the dashboards show
    /// ([HTTP API metrics](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html)).
    fn record_metrics(&self, line: &RequestLine) {
        let put = |name, value| {
            self.cloudwatch.put(MetricName::new("AWS/ApiGateway", name, &[("ApiId", &self.api.id)]), value);
        };
        put("Count", 1.0);
        put("4xx", f64::from(u8::from(line.status.is_client_error())));
        put("5xx", f64::from(u8::from(line.status.is_server_error())));
        put("Latency", line.duration.as_secs_f64() * 1e3);
        if let Some(integration) = line.integration {
            put("IntegrationLatency", integration.as_secs_f64() * 1e3);
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
        line: &mut RequestLine,
    ) -> Response<Bytes> {
        let door = &self.api.door;
        if door.header_bytes_max().is_some_and(|limit| header_bytes(&request) > limit) {
            return Failure::HeadersTooLarge.response(door);
        }
        let (mut parts, body) = request.into_parts();
        let limit = door.body_bytes_max();
        let Ok(body) = serve::collect(body, limit).await else {
            line.error = Some(format!("the request body exceeds {} MB or is incomplete", limit / (1024 * 1024)));
            return Failure::BodyTooLarge.response(door);
        };
        let trace_id = add_headers(&mut parts, peer, body.len());
        let request = ReceivedRequest { parts: &parts, body: &body, source_ip: peer.ip(), request_id, signed_by: None };
        let event = match event::build(&self.api, &request) {
            Ok(event) => event.to_string(),
            Err(Unroutable::BadPath) => return Failure::BadPath.response(door),
            Err(Unroutable::NoRoute) => return Failure::NoRoute.response(door),
        };
        if event.len() > EVENT_BYTES_MAX {
            return Failure::BodyTooLarge.response(door);
        }
        if let Some(edits) = &self.edits {
            edits.apply(&self.lambda, &self.journal);
        }
        // In a separate task, so that the invocation continues after a disconnect of the viewer or the timeout.
        let lambda = self.lambda.clone();
        let started = Instant::now();
        let invocation = tokio::spawn(async move { lambda.invoke(event.into(), trace_id).await });
        let Some(Ok(invocation)) = within(door.timeout(), invocation).await else {
            line.error = Some("integration timeout: the function did not respond in time".to_owned());
            return Failure::Timeout.response(door);
        };
        line.integration = Some(started.elapsed());
        match invocation {
            Ok(Invocation { result: Ok(payload), cold_start }) => {
                line.cold_start = cold_start;
                response::to_response(door, &payload).unwrap_or_else(|error| {
                    line.error = Some(error);
                    Failure::Function.response(door)
                })
            }
            Ok(Invocation { result: Err(error), cold_start }) => {
                line.cold_start = cold_start;
                line.error = Some(error.to_string());
                Failure::Function.response(door)
            }
            Err(InvokeError::Throttled | InvokeError::ShuttingDown) => {
                line.error = Some("no execution environment is free".to_owned());
                Failure::Throttled.response(door)
            }
        }
    }
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

fn header_bytes(request: &Request<Incoming>) -> usize {
    let line = request.method().as_str().len() + request.uri().path_and_query().map_or(1, |path| path.as_str().len());
    line + request.headers().values().map(http::HeaderValue::len).sum::<usize>()
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
