//! A streamed response on its way to the viewer.

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::gateway::door::Door;
use crate::gateway::response::prelude::{self, CONTENT_TYPE_OF_PRELUDE, PreludeReader};
use crate::lambda::stream::{ResponseStream, StreamError};
use crate::serve::{Body, BoxError};

/// The rest of a stream after its head.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The start of the body, which has arrived with the head.
    start: Bytes,
    stream: ResponseStream,
}

/// Learns how the transfer of a streamed response ends.
pub(crate) trait Transfer: Send + 'static {
    /// A chunk of this length is on its way to the viewer.
    fn count(&mut self, bytes: usize);

    /// The transfer has ended; `None` is the success. Not called if the viewer disconnects.
    fn end(&mut self, error: Option<StreamError>);
}

/// Reads a stream until the response has a head.
///
/// # Errors
/// If the stream has no valid head: the reason for the log.
pub(crate) async fn open(door: &Door, mut stream: ResponseStream) -> Result<(Response<()>, Rest), String> {
    let essence = stream.content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(CONTENT_TYPE_OF_PRELUDE) {
        let head = prelude::head_without_prelude(door, &stream.content_type);
        let head = head.ok_or_else(|| format!("content type of the stream: expected {CONTENT_TYPE_OF_PRELUDE}"))?;
        return Ok((head, Rest { start: Bytes::new(), stream }));
    }
    let mut reader = PreludeReader::default();
    loop {
        let chunk = stream.next().await.ok_or("prelude: the stream ended before its eight NUL bytes")?;
        let chunk = chunk.map_err(|error| error.to_string())?;
        if let Some((prelude, start)) = reader.push(&chunk)? {
            return Ok((prelude::to_head(door, &prelude)?, Rest { start, stream }));
        }
    }
}

impl Rest {
    /// The body for the viewer. If the stream breaks, the viewer's connection is aborted.
    pub(crate) fn into_body(self, transfer: impl Transfer) -> Body {
        let start = (!self.start.is_empty()).then_some(self.start);
        let chunks = stream::unfold((start, self.stream, transfer), |(start, mut stream, mut transfer)| async {
            let next = match start {
                Some(start) => Some(Ok(start)),
                None => stream.next().await,
            };
            match next {
                Some(Ok(chunk)) => {
                    transfer.count(chunk.len());
                    Some((Ok(Frame::data(chunk)), (None, stream, transfer)))
                }
                Some(Err(error)) => {
                    transfer.end(Some(error.clone()));
                    Some((Err(BoxError::from(error)), (None, stream, transfer)))
                }
                None => {
                    transfer.end(None);
                    None
                }
            }
        });
        StreamBody::new(chunks).boxed_unsync()
    }

    /// Reads the stream to its end and discards it, for a response without content.
    pub(crate) async fn discard(mut self) {
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::stream::{StreamWriter, channel};
    use http::HeaderValue;
    use parking_lot::Mutex;
    use std::sync::Arc;

    const URL: Door = Door::FunctionUrl { streaming: None, origin_access_control: false };
    const REST: Door = Door::Rest { base_path: None, streaming: None };

    /// The bytes of a transfer, and the error at its end.
    type Learnt = Arc<Mutex<(usize, Option<Option<StreamError>>)>>;

    struct Recorder(Learnt);

    impl Transfer for Recorder {
        fn count(&mut self, bytes: usize) {
            self.0.lock().0 += bytes;
        }

        fn end(&mut self, error: Option<StreamError>) {
            self.0.lock().1 = Some(error);
        }
    }

    fn stream(content_type: &'static str) -> (StreamWriter, ResponseStream) {
        channel(HeaderValue::from_static(content_type))
    }

    async fn send(writer: &StreamWriter, chunk: &'static [u8]) {
        writer.send(Bytes::from_static(chunk)).await.unwrap();
    }

    #[tokio::test]
    async fn the_head_is_ready_before_the_body() {
        let (writer, stream) = stream(CONTENT_TYPE_OF_PRELUDE);
        send(&writer, b"{\"statusCode\":201}\0\0\0\0\0\0\0\0a").await;
        let (head, rest) = open(&REST, stream).await.unwrap();
        assert_eq!(head.status(), 201);
        let learnt = Learnt::default();
        let mut body = rest.into_body(Recorder(learnt.clone()));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        send(&writer, b"bc").await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "bc");
        writer.end().await.unwrap();
        assert!(body.frame().await.is_none());
        assert_eq!(*learnt.lock(), (3, Some(None)));
    }

    #[tokio::test]
    async fn a_broken_stream_breaks_the_body() {
        let (writer, stream) = stream("text/plain");
        let (head, rest) = open(&URL, stream).await.unwrap();
        assert_eq!((head.status().as_u16(), &head.headers()["content-type"]), (200, &"text/plain".parse().unwrap()));
        let learnt = Learnt::default();
        let mut body = rest.into_body(Recorder(learnt.clone()));
        send(&writer, b"a").await;
        drop(writer);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert!(matches!(&*learnt.lock(), (1, Some(Some(_)))));
    }

    #[tokio::test]
    async fn the_writer_learns_that_the_body_was_dropped() {
        let (writer, stream) = stream("text/plain");
        let (_, rest) = open(&URL, stream).await.unwrap();
        let learnt = Learnt::default();
        drop(rest.into_body(Recorder(learnt.clone())));
        writer.closed().await;
        assert_eq!(*learnt.lock(), (0, None));
    }

    #[tokio::test]
    async fn a_stream_without_a_valid_head_is_an_error() {
        let (_writer, of_text) = stream("text/plain");
        assert!(open(&REST, of_text).await.unwrap_err().contains("content type"));
        let (writer, short) = stream(CONTENT_TYPE_OF_PRELUDE);
        send(&writer, b"{}\0\0\0").await;
        writer.end().await.unwrap();
        assert!(open(&REST, short).await.unwrap_err().contains("NUL"));
        let (writer, broken) = stream(CONTENT_TYPE_OF_PRELUDE);
        drop(writer);
        assert!(open(&URL, broken).await.unwrap_err().contains("closed the connection"));
    }
}
