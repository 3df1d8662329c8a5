//! Posts responses in the Runtime API's streaming mode
//! ([custom runtimes](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming)).
//!
//! lambda_runtime 1.5 sends an error within a stream as bytes of the body, so that the client would take the response for complete.
//! Here it becomes a trailer, for which Lambda aborts the client's response.

use std::io;
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::StatusCode;
use nearedge_core::store::{FetchError, OpenBody};
use tokio::io::AsyncWriteExt;

use crate::lambda::runtime_api::connection::Connection;
use crate::lambda::runtime_api::posted::Posted;
use crate::lambda::runtime_api::{ERROR_TYPE, ErrorReport, RuntimeApi, push_field};

/// Trailer with the description of an error, as JSON in base64.
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// The type of an error within a stream.
const ERROR_NAME: &str = "Origin.BodyInterrupted";

impl RuntimeApi {
    /// Posts a response with a small body, as a stream of one chunk.
    ///
    /// # Errors
    /// As for [`Self::post_response`].
    pub(crate) async fn post_chunk(
        &self,
        request_id: &str,
        invocation_id: Option<&[u8]>,
        [head, body, _]: &[Bytes; 3],
    ) -> io::Result<StatusCode> {
        let mut message = self.streaming_head(request_id, invocation_id);
        message.extend_from_slice(size_line(head.len() + body.len()).as_bytes());
        let tail = Bytes::from_static(b"\r\n0\r\n\r\n");
        Ok(self.exchange(message.into(), &[head.clone(), body.clone(), tail]).await?.status)
    }

    /// Posts a response whose body is read while it is sent, until `deadline`. `sent` counts the bytes of the body.
    ///
    /// # Errors
    /// If the API cannot be reached or does not acknowledge the response.
    pub(crate) async fn post_stream(
        &self,
        request_id: &str,
        invocation_id: Option<&[u8]>,
        prelude: &Bytes,
        body: &mut OpenBody,
        (deadline, sent): (Instant, &mut u64),
    ) -> io::Result<Posted> {
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            // It carried this invocation's event.
            Some(connection) => connection,
            None => Connection::open(&self.authority).await?,
        };
        let mut head = self.streaming_head(request_id, invocation_id);
        head.extend_from_slice(size_line(prelude.len()).as_bytes());
        head.extend_from_slice(prelude);
        connection.stream.write_all(&head).await?;
        // With the acknowledgement: Lambda may still send the last bytes to a slow client.
        let posting = async {
            let error = match send(&mut connection, body, sent).await {
                Ok(()) => None,
                Err(Broken::Body(error)) => Some(error),
                Err(Broken::Connection(error)) => return Ok((Posted::Disconnected(error), false)),
            };
            connection.stream.write_all(&end_of_stream(error.as_ref())?).await?;
            let response = connection.read_response().await?;
            Ok((error.map_or(Posted::Whole(response.status), Posted::Interrupted), response.reusable))
        };
        let posted: Result<io::Result<_>, _> = tokio::time::timeout_at(deadline.into(), posting).await;
        let Ok(posted) = posted else {
            // A chunk may be half-sent: nothing but the end of the connection tells the API, and it must not come after megabytes
            // that wait in buffers.
            let _ = connection.stream.set_zero_linger();
            return Ok(Posted::OutOfTime);
        };
        let (posted, is_reusable) = posted?;
        if is_reusable {
            self.idle.lock().push(connection);
        }
        Ok(posted)
    }

    fn streaming_head(&self, request_id: &str, invocation_id: Option<&[u8]>) -> Vec<u8> {
        let mut head = self.response_head(request_id, invocation_id);
        push_field(&mut head, "lambda-runtime-function-response-mode", Some(b"streaming"));
        push_field(&mut head, "content-type", Some(b"application/vnd.awslambda.http-integration-response"));
        push_field(&mut head, "transfer-encoding", Some(b"chunked"));
        push_field(&mut head, "trailer", Some(format!("{ERROR_TYPE}, {ERROR_BODY}").as_bytes()));
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// The reason for the early end of a stream.
enum Broken {
    Body(FetchError),
    Connection(io::Error),
}

/// Sends a body, chunk by chunk.
async fn send(connection: &mut Connection, body: &mut OpenBody, sent: &mut u64) -> Result<(), Broken> {
    while let Some(chunk) = body.0.next().await {
        let chunk = chunk.map_err(Broken::Body)?;
        if chunk.is_empty() {
            continue;
        }
        // Ends the chunk before, in the same write.
        let (len, line) = (chunk.len(), Bytes::from(format!("\r\n{}", size_line(chunk.len()))));
        connection.stream.write_all_buf(&mut line.chain(chunk)).await.map_err(Broken::Connection)?;
        *sent += len as u64;
    }
    Ok(())
}

/// The last chunk, and the trailers that report an error.
fn end_of_stream(error: Option<&FetchError>) -> io::Result<Vec<u8>> {
    let mut tail = Vec::from(b"\r\n0\r\n".as_slice());
    if let Some(error) = error {
        let message = error.cause().map(ToString::to_string).unwrap_or_default();
        let report = ErrorReport { error_type: ERROR_NAME, error_message: &message, stack_trace: [] };
        let report = base64_simd::STANDARD.encode_to_string(serde_json::to_vec(&report)?);
        push_field(&mut tail, ERROR_TYPE, Some(ERROR_NAME.as_bytes()));
        push_field(&mut tail, ERROR_BODY, Some(report.as_bytes()));
    }
    tail.extend_from_slice(b"\r\n");
    Ok(tail)
}

/// The first line of a chunk (RFC 9112 §7.1).
fn size_line(len: usize) -> String {
    format!("{len:x}\r\n")
}

#[cfg(test)]
mod tests;
