//! The upload of a streamed response to the Runtime API.
//!
//! [Response streaming in a custom runtime](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming).

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::lambda::environment::OpenStream;
use crate::lambda::stream::{Pace, Pacer, STREAM_BYTES_MAX, StreamWriter};

/// The header with which a function announces a streamed response.
const MODE_HEADER: &str = "lambda-runtime-function-response-mode";

/// The trailers with an error that happened after the start of the stream.
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is complete, also if the function ended it with an error.
    Complete,
    /// It exceeds [`STREAM_BYTES_MAX`].
    TooLarge,
    /// The function's connection broke.
    Broken,
    /// The caller has gone.
    CallerGone,
}

/// Whether a function posts a streamed response.
pub fn is_streamed(headers: &HeaderMap) -> bool {
    headers.get(MODE_HEADER).is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"streaming"))
}

/// The content type of a posted response.
pub fn content_type(headers: &HeaderMap) -> HeaderValue {
    headers.get(CONTENT_TYPE).cloned().unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// Forwards an upload chunk by chunk. The invocation ends with it.
pub async fn forward(
    request: Request<Incoming>,
    writer: StreamWriter,
    stream: OpenStream,
    pace: Option<Pace>,
) -> Ended {
    let mut body = request.into_body();
    let mut pacer = Pacer::new(pace);
    let mut received_bytes = 0_u64;
    let mut error = None;
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            // The caller can leave while the function is silent.
            () = writer.closed() => return caller_gone(stream),
        };
        let data = match frame {
            None => break,
            Some(Err(reason)) => {
                writer.fail(format!("the function's connection broke within its response: {reason}")).await;
                return Ended::Broken;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    error = frame.trailers_ref().and_then(trailer_error);
                    continue;
                }
            },
        };
        received_bytes = received_bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if received_bytes > STREAM_BYTES_MAX {
            writer.fail(format!("the streamed response exceeds {STREAM_BYTES_MAX} bytes")).await;
            return Ended::TooLarge;
        }
        let send = async {
            pacer.wait(data.len()).await;
            writer.send(data).await
        };
        let sent = tokio::select! {
            sent = send => sent.is_ok(),
            () = writer.closed() => false,
        };
        if !sent {
            return caller_gone(stream);
        }
    }
    match error {
        Some(error) => {
            writer.fail(error).await;
            // The invocation has failed: dropping the stream says so.
            drop(stream);
        }
        None => {
            // The caller may go without waiting for the end, such as for a HEAD request.
            let _ = writer.end().await;
            stream.finish();
        }
    }
    Ended::Complete
}

/// The caller's disconnect is not the function's failure.
fn caller_gone(stream: OpenStream) -> Ended {
    stream.finish();
    Ended::CallerGone
}

/// The error in the trailers: its type, and its decoded body.
fn trailer_error(trailers: &HeaderMap) -> Option<String> {
    let text = |name: &str| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (kind, body) = (text(ERROR_TYPE), text(ERROR_BODY));
    if kind.is_none() && body.is_none() {
        return None;
    }
    // A body that is not base64 is still better than none.
    let body = body.map(|body| match base64_simd::STANDARD.decode_to_vec(&body) {
        Ok(decoded) => String::from_utf8_lossy(&decoded).into_owned(),
        Err(_) => body,
    });
    Some(format!("{}: {}", kind.unwrap_or_default(), body.unwrap_or_default()))
}
