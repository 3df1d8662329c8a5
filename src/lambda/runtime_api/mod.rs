//! A client of the Runtime API: HTTP/1.1 over persistent connections, without copies of the payload.
//!
//! lambda_runtime's own client spends more on a response and an event than the rest of a cache hit takes: it has a
//! pool, tasks, URIs and header maps (docs/performance.md). Here a response is one `writev` and an event one `read`.
//!
//! - `connection`: reads a response from a connection; `response`: parses it; `stream`: posts a response as it is made, and
//!   `posted` is the result of that

mod connection;
mod posted;
mod response;
mod stream;

use std::fmt;
use std::io;

use bytes::{Buf, Bytes};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use crate::lambda::runtime_api::connection::Connection;
use crate::lambda::runtime_api::response::{Response, invalid};

pub(crate) use crate::lambda::runtime_api::posted::Posted;
pub(crate) use crate::lambda::runtime_api::response::{INVOCATION_ID, Invocation};

/// Header field with the type of an error
/// ([Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html)).
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// Path of the Runtime API, with its version.
const RUNTIME_PATH: &str = "/2018-06-01/runtime";

/// Path of the Extensions API, which has the same address.
const EXTENSION_PATH: &str = "/2020-01-01/extension";

/// Header field with the id of a registered extension.
const EXTENSION_ID: &str = "lambda-extension-identifier";

/// A client of the Runtime API.
pub(crate) struct RuntimeApi {
    /// `host:port`.
    authority: String,
    /// Prefix of each path: [`RUNTIME_PATH`], after the prefix that a substitute of the API adds.
    runtime_base: String,
    /// The same for the Extensions API.
    extension_base: String,
    idle: Mutex<Vec<Connection>>,
}

/// The body of an error report.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorReport<'a> {
    error_type: &'static str,
    error_message: &'a str,
    stack_trace: [(); 0],
}

impl RuntimeApi {
    /// A client of the API at `address`. The first request opens a connection.
    ///
    /// `AWS_LAMBDA_RUNTIME_API` is `host:port` in Lambda, and a URL with a path under cargo-lambda.
    pub(crate) fn new(address: &str) -> Self {
        let address = address.strip_prefix("http://").unwrap_or(address);
        let (authority, path) = address.split_once('/').unwrap_or((address, ""));
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let path = path.trim_end_matches('/');
        let base = |version: &str| if path.is_empty() { version.to_owned() } else { format!("/{path}{version}") };
        Self {
            runtime_base: base(RUNTIME_PATH),
            extension_base: base(EXTENSION_PATH),
            authority,
            idle: Mutex::default(),
        }
    }

    /// Posts the response of an invocation. Returns the status with which the API acknowledges it.
    ///
    /// # Errors
    /// If the API cannot be reached or does not acknowledge the response.
    pub(crate) async fn post_response(
        &self,
        request_id: &str,
        invocation_id: Option<&[u8]>,
        payload: &[Bytes; 3],
    ) -> io::Result<StatusCode> {
        self.post(self.response_head(request_id, invocation_id), payload).await
    }

    fn response_head(&self, request_id: &str, invocation_id: Option<&[u8]>) -> Vec<u8> {
        let mut head = self.request_head("POST", &["/invocation/", request_id, "/response"]);
        push_field(&mut head, INVOCATION_ID, invocation_id);
        head
    }

    /// Reports that an invocation failed without a response.
    ///
    /// # Errors
    /// As for [`Self::post_response`].
    pub(crate) async fn post_error(
        &self,
        request_id: &str,
        invocation_id: Option<&[u8]>,
        error_type: &'static str,
        message: &str,
    ) -> io::Result<StatusCode> {
        let mut head = self.request_head("POST", &["/invocation/", request_id, "/error"]);
        push_field(&mut head, INVOCATION_ID, invocation_id);
        self.post_report(head, error_type, message).await
    }

    /// Reports that the function cannot start.
    ///
    /// # Errors
    /// As for [`Self::post_response`].
    pub(crate) async fn post_init_error(&self, error_type: &'static str, message: &str) -> io::Result<StatusCode> {
        self.post_report(self.request_head("POST", &["/init/error"]), error_type, message).await
    }

    /// Waits for the next event. The environment may be frozen meanwhile, for hours. `with_arn` copies the function's ARN.
    ///
    /// # Errors
    /// If the API cannot be reached or returns no event.
    pub(crate) async fn next(&self, with_arn: bool) -> io::Result<Invocation> {
        let mut head = self.request_head("GET", &["/invocation/next"]);
        head.extend_from_slice(b"\r\n");
        self.exchange(head.into(), &[const { Bytes::new() }; 3]).await?.into_invocation(with_arn)
    }

    /// Registers an extension without events, and returns its id. Lambda sends SIGTERM to an environment that has an
    /// extension before it ends the environment. The extension must be registered before the first event is requested,
    /// and must then call [`Self::wait_as_extension`]
    /// ([Extensions API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html)).
    ///
    /// # Errors
    /// If the API does not exist or rejects the extension.
    pub(crate) async fn register_extension(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut head = self.extension_head("POST", "/register");
        let body = [Bytes::from_static(b"{\"events\":[]}"), Bytes::new(), Bytes::new()];
        push_field(&mut head, "lambda-extension-name", Some(name.as_bytes()));
        push_field(&mut head, "content-type", Some(b"application/json"));
        push_field(&mut head, "content-length", Some(body[0].len().to_string().as_bytes()));
        head.extend_from_slice(b"\r\n");
        let response = self.exchange(head.into(), &body).await?;
        let id = response.field(EXTENSION_ID)?.filter(|_| response.status == StatusCode::OK);
        id.ok_or_else(|| {
            invalid(format!("expected 200 and an id from the Extensions API, found status {}", response.status))
        })
    }

    /// Waits as an extension without events: forever.
    ///
    /// # Errors
    /// If the API closes the connection or responds.
    pub(crate) async fn wait_as_extension(&self, extension: &[u8]) -> io::Result<()> {
        let mut head = self.extension_head("GET", "/event/next");
        push_field(&mut head, EXTENSION_ID, Some(extension));
        head.extend_from_slice(b"\r\n");
        let response = self.exchange(head.into(), &[const { Bytes::new() }; 3]).await?;
        Err(invalid(format!("expected no event for the extension, found status {}", response.status)))
    }

    fn extension_head(&self, method: &str, path: &str) -> Vec<u8> {
        let Self { extension_base, authority, .. } = self;
        format!("{method} {extension_base}{path} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes()
    }

    async fn post_report(&self, mut head: Vec<u8>, error_type: &'static str, message: &str) -> io::Result<StatusCode> {
        let report = ErrorReport { error_type, error_message: message, stack_trace: [] };
        push_field(&mut head, ERROR_TYPE, Some(error_type.as_bytes()));
        self.post(head, &[serde_json::to_vec(&report)?.into(), Bytes::new(), Bytes::new()]).await
    }

    /// The request line and the Host field. Copies pieces, because `format!` would take as long as a cache lookup.
    fn request_head(&self, method: &str, path: &[&str]) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        for piece in [method, " ", &self.runtime_base].iter().chain(path).chain(&[
            " HTTP/1.1\r\nhost: ",
            &self.authority,
            "\r\n",
        ]) {
            head.extend_from_slice(piece.as_bytes());
        }
        head
    }

    async fn post(&self, mut head: Vec<u8>, body: &[Bytes; 3]) -> io::Result<StatusCode> {
        let length = body.iter().map(Bytes::len).sum::<usize>().to_string();
        push_field(&mut head, "content-type", Some(b"application/json"));
        push_field(&mut head, "content-length", Some(length.as_bytes()));
        head.extend_from_slice(b"\r\n");
        Ok(self.exchange(head.into(), body).await?.status)
    }

    /// Sends a request, and retries on a new connection if an idle connection fails: the API may have closed it while
    /// the environment was frozen.
    async fn exchange(&self, head: Bytes, body: &[Bytes; 3]) -> io::Result<Response> {
        let idle = self.idle.lock().pop();
        if let Some(connection) = idle
            && let Ok(response) = self.send(connection, &head, body).await
        {
            return Ok(response);
        }
        self.send(Connection::open(&self.authority).await?, &head, body).await
    }

    /// Writes a request, reads the response, and keeps the connection if it is reusable.
    async fn send(&self, mut connection: Connection, head: &Bytes, body: &[Bytes; 3]) -> io::Result<Response> {
        let [first, second, third] = body.clone();
        let mut message = head.clone().chain(first).chain(second).chain(third);
        let written = connection.stream.write_all_buf(&mut message).await;
        // Reads even after a write error: a server that rejects a request midway usually sends a response first.
        let response = connection.read_response().await?;
        if response.reusable && written.is_ok() {
            self.idle.lock().push(connection);
        }
        Ok(response)
    }
}

impl fmt::Debug for RuntimeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeApi").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// Appends a header field, if it has a value.
fn push_field(head: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests;
