//! The HTTP API: a request becomes an event, the function's answer becomes a response.
//!
//! [Quotas](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html).

pub mod event;
pub mod response;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use self::event::{Api, Unroutable};
use self::response::INTERNAL_SERVER_ERROR;
use crate::cloudwatch::{CloudWatch, MetricName};
use crate::identity;
use crate::journal::{Journal, RequestLine, Via};
use crate::lambda::service::{EVENT_BYTES_MAX, Invocation, InvokeError, Lambda};
use crate::serve::{self, Body, BoxError, Server};

/// The longest request body.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The most that the request line and the header values may come to.
const HEADER_BYTES_MAX: usize = 10_240;

/// How long the integration may take.
const INTEGRATION_LIMIT: Duration = Duration::from_secs(30);

/// An HTTP API with a `$default` route to one function.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// What the events say of the API.
    pub api: Api,
    /// The function behind it.
    pub lambda: Lambda,
    /// Where the lines go.
    pub journal: Journal,
    /// Where the metrics go.
    pub cloudwatch: CloudWatch,
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
        // CloudFront marks what it forwards.
        let via = if request.headers().contains_key("x-amz-cf-id") { Via::Edge } else { Via::Gateway };
        let mut line = RequestLine::of(&request, via);
        let head = request.method() == Method::HEAD;
        let request_id = identity::letters(16);
        let mut response = self.answer(request, peer, &request_id, &mut line).await;
        if let Ok(id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert(HeaderName::from_static("apigw-requestid"), id);
        }
        let bytes = response.body().len();
        // API Gateway counts a body itself; of HEAD only the function knows, and these two have none.
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
        self.count(&line);
        response.map(serve::full)
    }

    /// The API's metrics
    /// ([HTTP API metrics](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html)).
    fn count(&self, line: &RequestLine) {
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

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
        line: &mut RequestLine,
    ) -> Response<bytes::Bytes> {
        if header_bytes(&request) > HEADER_BYTES_MAX {
            return message(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                r#"{"message":"Request Header Fields Too Large"}"#,
            );
        }
        let (mut parts, body) = request.into_parts();
        let Ok(body) = serve::collect(body, BODY_BYTES_MAX).await else {
            line.trouble = Some("the body was longer than 10 MB, or broke off".to_owned());
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
        // A task of its own: the invocation goes on when the viewer has gone or the time here is up.
        let lambda = self.lambda.clone();
        let started = Instant::now();
        let invoking = tokio::spawn(async move { lambda.invoke(event.into(), trace_id).await });
        let Ok(Ok(invoked)) = tokio::time::timeout(INTEGRATION_LIMIT, invoking).await else {
            line.trouble = Some("the integration took longer than 30 s".to_owned());
            return message(StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#);
        };
        line.integration = Some(started.elapsed());
        match invoked {
            Ok(Invocation { result: Ok(answer), cold_start }) => {
                line.cold_start = cold_start;
                response::to_response(&answer).unwrap_or_else(|problem| {
                    line.trouble = Some(problem);
                    message(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_SERVER_ERROR)
                })
            }
            Ok(Invocation { result: Err(error), cold_start }) => {
                line.cold_start = cold_start;
                line.trouble = Some(error.to_string());
                message(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_SERVER_ERROR)
            }
            Err(InvokeError::Throttled | InvokeError::ShuttingDown) => {
                line.trouble = Some("no execution environment is free".to_owned());
                message(StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#)
            }
        }
    }
}

fn message(status: StatusCode, json: &'static str) -> Response<bytes::Bytes> {
    let mut response = Response::new(bytes::Bytes::from_static(json.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn header_bytes(request: &Request<Incoming>) -> usize {
    let line = request.method().as_str().len() + request.uri().path_and_query().map_or(1, |path| path.as_str().len());
    line + request.headers().values().map(http::HeaderValue::len).sum::<usize>()
}

/// Adds what API Gateway tells the function of the connection, and gives the root of the trace.
fn add_headers(parts: &mut Parts, peer: SocketAddr, body_bytes: usize) -> String {
    let headers = &mut parts.headers;
    let root = headers
        .get("x-amzn-trace-id")
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.starts_with("Root="))
        .map_or_else(identity::trace_root, |value| value.split(';').next().unwrap_or(value).to_owned());
    set(headers, "x-amzn-trace-id", &root);
    append_address(headers, &peer.ip().to_string());
    set(headers, "x-forwarded-port", "443");
    set(headers, "x-forwarded-proto", "https");
    if !headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority().map(ToString::to_string)
    {
        set(headers, "host", &authority);
    }
    // API Gateway has read the body: its length is known, however it was sent.
    headers.remove(http::header::TRANSFER_ENCODING);
    set(headers, "content-length", &body_bytes.to_string());
    root
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Appends an address to `X-Forwarded-For`, as every hop does.
pub(crate) fn append_address(headers: &mut HeaderMap, address: &str) {
    let before: Vec<String> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    let chain = before.iter().map(String::as_str).chain([address]).collect::<Vec<_>>().join(", ");
    set(headers, "x-forwarded-for", &chain);
}
