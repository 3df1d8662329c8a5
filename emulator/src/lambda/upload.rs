//! The upload of a streamed response to the Runtime API.
//!
//! [Response streaming in a custom runtime](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::lambda::environment::OpenStream;
use crate::lambda::stream::{Pacer, STREAM_BYTES_MAX, StreamWriter, Transmission};

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
    transmission: Transmission,
) -> Ended {
    let mut upload = Upload { body: request.into_body(), received_bytes: 0, error: None };
    let mut pacer = Pacer::new(transmission.pace);
    loop {
        let step = tokio::select! {
            step = upload.next() => step,
            // The caller can leave while the function is silent.
            () = writer.closed() => return upload.end_without_caller(stream, transmission.drains).await,
        };
        match step {
            Step::Data(data) => {
                let send = async {
                    pacer.wait(data.len()).await;
                    writer.send(data).await
                };
                let sent = tokio::select! {
                    sent = send => sent.is_ok(),
                    () = writer.closed() => false,
                };
                if !sent {
                    return upload.end_without_caller(stream, transmission.drains).await;
                }
            }
            Step::End => break,
            Step::TooLarge => {
                writer.fail(format!("the streamed response exceeds {STREAM_BYTES_MAX} bytes")).await;
                return Ended::TooLarge;
            }
            Step::Broken(reason) => {
                writer.fail(format!("the function's connection broke within its response: {reason}")).await;
                return Ended::Broken;
            }
        }
    }
    match upload.error {
        Some(error) => {
            writer.fail(error).await;
            // The invocation has failed: dropping the stream says so.
            drop(stream);
        }
        None => {
            // It fails if the caller has gone in the meantime.
            let _ = writer.end().await;
            stream.finish();
        }
    }
    Ended::Complete
}

/// The body of an upload.
struct Upload {
    body: Incoming,
    received_bytes: u64,
    /// The error in the trailers.
    error: Option<String>,
}

/// The next part of an upload.
enum Step {
    Data(Bytes),
    End,
    TooLarge,
    Broken(hyper::Error),
}

impl Upload {
    async fn next(&mut self) -> Step {
        loop {
            match self.body.frame().await {
                None => return Step::End,
                Some(Err(reason)) => return Step::Broken(reason),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
                        self.received_bytes = self.received_bytes.saturating_add(bytes);
                        return if self.received_bytes > STREAM_BYTES_MAX { Step::TooLarge } else { Step::Data(data) };
                    }
                    Err(frame) => self.error = frame.trailers_ref().and_then(trailer_error),
                },
            }
        }
    }

    /// Aborts the upload, or reads the rest of it, because the caller has gone. That is not the function's failure.
    async fn end_without_caller(mut self, stream: OpenStream, drains: bool) -> Ended {
        if !drains {
            stream.finish();
            return Ended::CallerGone;
        }
        loop {
            match self.next().await {
                Step::Data(_) => {}
                Step::End => {
                    if self.error.is_none() {
                        stream.finish();
                    }
                    return Ended::Complete;
                }
                Step::TooLarge => return Ended::TooLarge,
                Step::Broken(_) => return Ended::Broken,
            }
        }
    }
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
