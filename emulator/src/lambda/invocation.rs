//! Invocations: events, responses and errors.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::lambda::stream::{ResponseStream, Transmission};

/// The largest event that Lambda accepts, in bytes.
pub const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The response to `/next`: an event and its metadata.
#[derive(Debug)]
pub struct Event {
    /// The request id of the invocation.
    pub request_id: String,
    /// The deadline, in milliseconds since 1970.
    pub deadline_ms: u64,
    /// The function's ARN.
    pub arn: String,
    /// The trace header.
    pub trace_id: String,
    /// The payload.
    pub payload: Bytes,
}

/// The function's error, as Lambda returns it to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError(pub String);

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The handler's response to an event, or its error.
pub type Completion = Result<Bytes, FunctionError>;

/// How Lambda returns the function's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokeMode {
    /// When it is complete, as the API operation Invoke.
    Buffered,
    /// As it arrives, as the API operation InvokeWithResponseStream.
    ResponseStream(Transmission),
}

/// The response of a function that was invoked with InvokeWithResponseStream.
#[derive(Debug)]
pub enum StreamedResponse {
    /// The function posted a buffered response.
    Buffered(Bytes),
    /// The function streams its response.
    Stream(ResponseStream),
}

/// The outcome of an invocation with InvokeWithResponseStream.
#[derive(Debug)]
pub struct StreamingInvocation {
    /// The function's response or error.
    pub result: Result<StreamedResponse, FunctionError>,
    /// Startup time of the environment, if this was its first invocation.
    pub cold_start: Option<Duration>,
}

/// A response that the Runtime API delivers to an invocation.
pub(crate) enum Delivery {
    /// The whole response.
    Buffered(Bytes),
    /// The stream, and a channel that receives its end, or closes if the stream is broken.
    Stream(ResponseStream, oneshot::Receiver<()>),
}

/// The outcome of an invocation.
#[derive(Debug)]
pub struct Invocation {
    /// The function's response or error.
    pub result: Completion,
    /// Startup time of the environment, if this was its first invocation.
    pub cold_start: Option<Duration>,
}

/// Why Lambda did not invoke the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokeError {
    /// All environments are busy, and the limit is reached.
    Throttled,
    /// The cloud is shutting down.
    ShuttingDown,
}
