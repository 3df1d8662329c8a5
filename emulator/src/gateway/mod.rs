//! API Gateway: an HTTP API that invokes one function; or the function's URL.
//!
//! [Quotas](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html).

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

use self::event::{Api, Endpoint, Unroutable};
use self::response::INTERNAL_SERVER_ERROR;
use crate::cloudwatch::{CloudWatch, MetricName};
use crate::identity;
use crate::journal::{Journal, RequestLine, Via};
use crate::lambda::invocation::{EVENT_BYTES_MAX, Invocation, InvokeError};
use crate::lambda::service::Lambda;
use crate::serve::{self, Body, BoxError, Server};
use crate::site_edit::SiteEdits;

/// The largest request body.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The limit for the request line and the header values together.
const HEADER_BYTES_MAX: usize = 10_240;

/// The maximum integration timeout.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP API with a `$default` route to one function.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The API as its events describe it.
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

/// Serves the API.
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
        if let Ok(id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert(HeaderName::from_static("apigw-requestid"), id);
        }
        let bytes = response.body().len();
        // API Gateway computes Content-Length. Only the function knows that of a HEAD response; 204 and 304 have none.
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

    /// Records the API's metrics of one request
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
        if header_bytes(&request) > HEADER_BYTES_MAX {
            return message(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                r#"{"message":"Request Header Fields Too Large"}"#,
            );
        }
        let (mut parts, body) = request.into_parts();
        let Ok(body) = serve::collect(body, BODY_BYTES_MAX).await else {
            line.error = Some("the request body exceeds 10 MB or is incomplete".to_owned());
            return message(StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Entity Too Large"}"#);
        };
        let trace_id = add_headers(&mut parts, peer, body.len());
        let event = match event::build(&self.api, &parts, &body, peer.ip(), request_id) {
            Ok(event) => event.to_string(),
            Err(Unroutable::BadPath) => return message(StatusCode::BAD_REQUEST, r#"{"message":"Bad Request"}"#),
            Err(Unroutable::NoRoute) => return message(StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#),
        };
        if event.len() > EVENT_BYTES_MAX {
            return message(StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Entity Too Large"}"#);
        }
        if let Some(edits) = &self.edits {
            edits.apply(&self.lambda, &self.journal);
        }
        // In a separate task, so that the invocation continues after a disconnect of the viewer or the timeout.
        let lambda = self.lambda.clone();
        let started = Instant::now();
        let invocation = tokio::spawn(async move { lambda.invoke(event.into(), trace_id).await });
        let Ok(Ok(invocation)) = tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await else {
            line.error = Some("integration timeout: the function did not respond within 30 s".to_owned());
            return message(StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#);
        };
        line.integration = Some(started.elapsed());
        match invocation {
            Ok(Invocation { result: Ok(payload), cold_start }) => {
                line.cold_start = cold_start;
                let response = response::to_response(&payload).unwrap_or_else(|error| {
                    line.error = Some(error);
                    message(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_SERVER_ERROR)
                });
                match self.api.endpoint {
                    Endpoint::HttpApi => response,
                    Endpoint::FunctionUrl => response::remap(response),
                }
            }
            Ok(Invocation { result: Err(error), cold_start }) => {
                line.cold_start = cold_start;
                line.error = Some(error.to_string());
                message(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_SERVER_ERROR)
            }
            Err(InvokeError::Throttled | InvokeError::ShuttingDown) => {
                line.error = Some("no execution environment is free".to_owned());
                message(StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#)
            }
        }
    }
}

fn message(status: StatusCode, json: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(json.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
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
    // API Gateway has buffered the body, so it sends Content-Length for a chunked body too.
    headers.remove(http::header::TRANSFER_ENCODING);
    set(headers, "content-length", &body_bytes.to_string());
    root
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
