//! HTTP over TCP, in both directions: what every part of the cloud has in common.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::fault::{Fault, Faults};

/// Any error that can cross a thread.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A body that is sent or passed on.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A client that keeps its connections.
pub type HttpClient = Client<HttpConnector, Body>;

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that is passed on as it arrives.
pub fn passed_on(body: Incoming) -> Body {
    body.map_err(Into::into).boxed_unsync()
}

/// A response of JSON.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectError {
    /// It is longer than was allowed.
    TooLong,
    /// The sender went away.
    BrokenOff,
}

/// Reads a body of at most `limit` bytes. Past that it reads on, up to ten times the limit, so that the
/// sender gets to see the answer instead of a broken connection.
///
/// # Errors
/// When there is more, or the sender goes away.
pub async fn collect(body: Incoming, limit: usize) -> Result<Bytes, CollectError> {
    let mut collected = Vec::with_capacity(usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit));
    let mut seen = 0_usize;
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(CollectError::BrokenOff) };
        let Some(data) = frame.data_ref() else { continue };
        seen += data.len();
        if seen <= limit {
            collected.extend_from_slice(data);
        } else if seen > limit.saturating_mul(10) {
            break;
        }
    }
    if seen <= limit { Ok(collected.into()) } else { Err(CollectError::TooLong) }
}

/// For how long a part of the cloud keeps a connection to the next that nobody uses: CloudFront's default for an origin
/// ([keep-alive timeout](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesOrigin.html)). It has to be
/// less than the server's, hyper's thirty seconds: who uses a connection at the moment that it is closed at the other end has an error.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A client for one part of the cloud to reach the next.
pub fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // For the real S3 over TLS another connector goes around this one.
    connector.enforce_http(false);
    client_over(connector)
}

/// The same over another connector.
pub fn client_over<C: Connect + Clone>(connector: C) -> Client<C, Body> {
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(KEEP_ALIVE).build(connector)
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
    error: std::io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, address, flag, error } = self;
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                write!(f, "{address} for the {what} is taken by another program: choose another with {flag}")
            }
            _ => write!(f, "{address} for the {what} cannot be listened on ({error}): choose another with {flag}"),
        }
    }
}

impl Error for BindError {}

/// Listens on an address; `what` and `flag` are for the error.
///
/// # Errors
/// When the address is taken or not this machine's.
pub async fn bind(address: SocketAddr, what: &'static str, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError { what, address, flag, error })
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

/// Like [`serve`], while `listens` is true of the faults in force: else nobody listens there, and no connection is open.
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
            faults.until(&listens).await;
            let bound = match listener.take() {
                Some(listener) => Ok(listener),
                None => TcpListener::bind(address).await,
            };
            // Somebody else may have taken the port meanwhile, and may give it back.
            let Ok(bound) = bound else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let serving = serve(bound, handler.clone());
            faults.until(|faults| !listens(faults)).await;
            drop(serving);
        }
    });
    Server { accepting }
}

/// Answers requests on `listener` with `handler`; a handler's error closes the connection without an answer.
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
                // Out of descriptors, as a rule: trying again at once would only burn the CPU.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            // Without it each answer in two writes waits for the other side's delayed ACK.
            let _ = stream.set_nodelay(true);
            let handler = handler.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let handler = handler.clone();
                    async move { handler(request, peer).await.map_err(std::io::Error::other) }
                });
                // Larger than any limit that a part of the cloud has to answer for itself.
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
    async fn a_connection_that_nobody_uses_is_given_up_before_a_server_would_close_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let client = client();
        let asking = client.request(Request::get(address).body(full("")).unwrap());
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            stream
        };
        let (answer, mut stream) = tokio::join!(asking, answering);
        assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
        // From here on the clock goes by itself whenever everybody waits.
        tokio::time::pause();
        let end = tokio::time::timeout(Duration::from_secs(30), async { stream.read(&mut [0; 1]).await }).await;
        assert_eq!(end.expect("it is closed within the server's thirty seconds").unwrap(), 0);
    }
}
