//! HTTP over TCP, server and client, shared by all services of the local cloud.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::fault::{Fault, Faults};

/// Any error that can be sent to another thread.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A request or response body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A client with a pool of connections.
pub type HttpClient = Client<HttpConnector, Body>;

/// A body that consists of `bytes`.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that forwards `body` frame by frame.
pub fn streamed(body: Incoming) -> Body {
    body.map_err(Into::into).boxed_unsync()
}

/// A body that consists of `start` and `rest`.
pub fn prefixed(start: Bytes, rest: Body) -> Body {
    let start = futures_util::stream::iter([Ok(http_body::Frame::data(start))]);
    StreamBody::new(start.chain(BodyStream::new(rest))).boxed_unsync()
}

/// A body that fails, so that the connection closes before its end.
pub fn failed(error: BoxError) -> Body {
    StreamBody::new(futures_util::stream::iter([Err(error)])).boxed_unsync()
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectError {
    /// It exceeds the limit.
    TooLarge,
    /// The sender closed the connection before the end of the body.
    Aborted,
}

/// Reads a body of at most `limit` bytes.
///
/// It reads and discards up to ten times the limit, so that a sender that exceeds the limit receives the response
/// instead of a connection reset.
///
/// # Errors
/// [`CollectError::TooLarge`] above the limit, [`CollectError::Aborted`] if the body ends early.
pub async fn collect(body: Incoming, limit: usize) -> Result<Bytes, CollectError> {
    let mut collected = Vec::with_capacity(usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit));
    let mut received = 0_usize;
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(CollectError::Aborted) };
        let Some(data) = frame.data_ref() else { continue };
        received += data.len();
        if received <= limit {
            collected.extend_from_slice(data);
        } else if received > limit.saturating_mul(10) {
            break;
        }
    }
    if received <= limit { Ok(collected.into()) } else { Err(CollectError::TooLarge) }
}

/// Appends an address to `X-Forwarded-For`, as each hop does.
pub(crate) fn append_forwarded_for(headers: &mut HeaderMap, address: &str) {
    let previous: Vec<String> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    let addresses = previous.iter().map(String::as_str).chain([address]).collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::from_str(&addresses) {
        headers.insert("x-forwarded-for", value);
    }
}

/// Idle timeout of the client's connections: CloudFront's default for an origin
/// ([keep-alive timeout](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesOrigin.html)).
/// It must be less than the server's timeout, hyper's 30 s: a request on a connection that the server is closing fails.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A client for the requests from one service of the local cloud to the next.
pub fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    client_over(connector)
}

/// A client that opens its connections with `connector`.
pub fn client_over<C: Connect + Clone>(connector: C) -> Client<C, Body> {
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(KEEP_ALIVE).build(connector)
}

/// A server; dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Server {
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Like [`serve`], but only while `listens` returns true for the active faults.
///
/// Otherwise the port is closed, and so are all its connections.
pub fn serve_while<H, F>(
    listener: TcpListener,
    handler: H,
    faults: Faults,
    listens: impl Fn(&[Fault]) -> bool + Send + Sync + 'static,
) -> Server
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let accepting = tokio::spawn(async move {
        let Ok(address) = listener.local_addr() else { return };
        let mut listener = Some(listener);
        loop {
            faults.wait_until(&listens).await;
            let bound = match listener.take() {
                Some(listener) => Ok(listener),
                None => TcpListener::bind(address).await,
            };
            // Another program may use the port by now: retry until it is free.
            let Ok(bound) = bound else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let serving = serve(bound, handler.clone());
            faults.wait_until(|faults| !listens(faults)).await;
            drop(serving);
        }
    });
    Server { accepting }
}

/// Serves `handler` on `listener`. If the handler fails, the connection closes without a response.
pub fn serve<H, F>(listener: TcpListener, handler: H) -> Server
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let handler = Arc::new(handler);
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                // Usually the process has no free file descriptor. An immediate retry would only use CPU.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            // Otherwise each response in two writes waits for the client's delayed ACK.
            let _ = stream.set_nodelay(true);
            let handler = handler.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let handler = handler.clone();
                    async move { handler(request, peer).await.map_err(std::io::Error::other) }
                });
                // Larger than the header limits of the services, so that they reject a request with their own response.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .max_buf_size(64 * 1024)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Server { accepting }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn the_client_closes_an_idle_connection_before_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let client = client();
        let request = client.request(Request::get(address).body(full("")).unwrap());
        let respond = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            stream
        };
        let (response, mut stream) = tokio::join!(request, respond);
        assert_eq!(response.unwrap().status(), StatusCode::NO_CONTENT);
        // From here on, the clock advances whenever all tasks wait.
        tokio::time::pause();
        let end = tokio::time::timeout(Duration::from_secs(30), async { stream.read(&mut [0; 1]).await }).await;
        assert_eq!(end.expect("the client closes it within the server's 30 s").unwrap(), 0);
    }
}
