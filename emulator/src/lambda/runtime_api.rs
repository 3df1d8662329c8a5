//! The Runtime API of a handler process: an HTTP server for each environment.
//!
//! [Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::fault::Faults;
use crate::lambda::environment::Environment;
use crate::lambda::invocation::{Event, FunctionError, InvokeMode};
use crate::lambda::stream::{self, Transmission};
use crate::lambda::upload::{self, Ended};
use crate::serve::{self, Body, BoxError, CollectError, Server};

/// The largest response that Lambda accepts, in bytes: 6 MiB and 100 bytes.
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;

/// The service behind the Runtime API.
pub trait EventSource: Clone + Send + Sync + 'static {
    /// Returns a channel that receives the next event of an environment. Until then the environment is idle and can be
    /// frozen. The channel closes when the cloud shuts down.
    fn next_event(&self, environment: &Arc<Environment>) -> oneshot::Receiver<Event>;

    /// The injected faults.
    fn faults(&self) -> &Faults;
}

/// Serves the Runtime API of one environment on a free port.
///
/// # Errors
/// If no port can be opened.
pub async fn serve(lambda: impl EventSource, environment: Arc<Environment>) -> Result<(Server, SocketAddr), BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(|error| format!("cannot open a port for the Runtime API: {error}"))?;
    let address = listener.local_addr()?;
    let server = serve::serve(listener, move |request, _| {
        let (lambda, environment) = (lambda.clone(), environment.clone());
        async move { respond(&lambda, &environment, request).await }
    });
    Ok((server, address))
}

async fn respond(
    lambda: &impl EventSource,
    environment: &Arc<Environment>,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let path = request.uri().path().to_owned();
    if let Some(route) = path.strip_prefix("/2020-01-01/extension/") {
        return extension(route, &request).await;
    }
    let Some(route) = path.strip_prefix("/2018-06-01/runtime/") else {
        return Ok(reject(StatusCode::NOT_FOUND, "UnknownPath"));
    };
    let parts: Vec<&str> = route.split('/').collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => next(lambda, environment).await,
        (&Method::POST, ["invocation", _, "response"]) if environment.inject_crash(lambda.faults()) => {
            Err("injected fault: the process was killed".into())
        }
        (&Method::POST, ["invocation", id, "response"]) => {
            if upload::is_streamed(request.headers())
                && let Some(InvokeMode::ResponseStream(transmission)) = environment.invoke_mode(id)
            {
                return stream(environment, id, request, transmission).await;
            }
            match serve::collect(request.into_body(), PAYLOAD_BYTES_MAX).await {
                Ok(response) => Ok(accept(environment.complete(id, Ok(response)))),
                Err(CollectError::Aborted) => Err("the handler closed the connection within its response".into()),
                Err(CollectError::TooLarge) => {
                    environment.complete(
                        id,
                        Err(FunctionError(format!(
                            "Response payload size exceeded maximum allowed payload size ({PAYLOAD_BYTES_MAX} bytes)."
                        ))),
                    );
                    Ok(reject(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"))
                }
            }
        }
        (&Method::POST, ["invocation", id, "error"]) => {
            let error = error_message(request.into_body(), PAYLOAD_BYTES_MAX).await;
            Ok(accept(environment.complete(id, Err(FunctionError(error)))))
        }
        (&Method::POST, ["init", "error"]) => {
            environment.fail_init(error_message(request.into_body(), PAYLOAD_BYTES_MAX).await);
            Ok(accept(true))
        }
        _ => Ok(reject(StatusCode::NOT_FOUND, "UnknownPath")),
    }
}

/// Streams a response to the caller as it arrives.
async fn stream(
    environment: &Arc<Environment>,
    request_id: &str,
    request: Request<Incoming>,
    transmission: Transmission,
) -> Result<Response<Body>, BoxError> {
    let (writer, response) = stream::channel(upload::content_type(request.headers()));
    let Some(open) = environment.open_stream(request_id, response) else { return Ok(accept(false)) };
    // In a separate task: a function may close its connection once it has written everything, without reading the response,
    // and hyper then drops this future.
    match tokio::spawn(upload::forward(request, writer, open, transmission)).await? {
        Ended::Complete => Ok(accept(true)),
        Ended::TooLarge => Ok(reject(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge")),
        Ended::Broken => Err("the handler closed the connection within its response".into()),
        Ended::CallerGone => Err("the caller closed the connection within the response".into()),
    }
}

/// The Extensions API, for an extension that registers for no events
/// ([Extensions API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html)).
async fn extension(route: &str, request: &Request<Incoming>) -> Result<Response<Body>, BoxError> {
    match (request.method(), route) {
        (&Method::POST, "register") if request.headers().contains_key("lambda-extension-name") => {
            let mut response =
                serve::json(StatusCode::OK, r#"{"functionName":"lambdaapi","functionVersion":"$LATEST"}"#);
            let id = HeaderValue::try_from(crate::identity::uuid())?;
            response.headers_mut().insert("lambda-extension-identifier", id);
            Ok(response)
        }
        (&Method::GET, "event/next") if request.headers().contains_key("lambda-extension-identifier") => {
            std::future::pending().await
        }
        _ => Ok(reject(StatusCode::FORBIDDEN, "Extension.Unknown")),
    }
}

async fn next(lambda: &impl EventSource, environment: &Arc<Environment>) -> Result<Response<Body>, BoxError> {
    // The channel fails when the cloud shuts down. Then the connection closes.
    let event = lambda.next_event(environment).await?;
    let mut response = serve::json(StatusCode::OK, event.payload);
    let headers = response.headers_mut();
    headers.insert("lambda-runtime-aws-request-id", HeaderValue::try_from(event.request_id)?);
    headers.insert("lambda-runtime-deadline-ms", HeaderValue::from(event.deadline_ms));
    headers.insert("lambda-runtime-invoked-function-arn", HeaderValue::try_from(event.arn)?);
    headers.insert("lambda-runtime-trace-id", HeaderValue::try_from(event.trace_id)?);
    Ok(response)
}

/// The type and the message of an error that a handler reports.
async fn error_message(body: Incoming, limit: usize) -> String {
    let body = serve::collect(body, limit).await.unwrap_or_default();
    let report: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (report["errorType"].as_str(), report["errorMessage"].as_str()) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (_, Some(message)) => message.to_owned(),
        _ => String::from_utf8_lossy(&body).into_owned(),
    }
}

fn accept(known: bool) -> Response<Body> {
    if known {
        serve::json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#)
    } else {
        reject(StatusCode::BAD_REQUEST, "InvalidRequestID")
    }
}

fn reject(status: StatusCode, error_type: &str) -> Response<Body> {
    serve::json(status, format!(r#"{{"errorMessage":"{error_type}","errorType":"{error_type}"}}"#))
}

#[cfg(test)]
mod tests;
