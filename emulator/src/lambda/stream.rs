//! A streamed response on its way from the Runtime API to the caller.
//!
//! The channel is bounded: when the caller does not read, the upload of the function waits.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The largest streamed response, in bytes
/// ([quotas](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html): 200 MB, since 2025-07-31).
pub const STREAM_BYTES_MAX: u64 = 200 * 1024 * 1024;

/// The number of chunks between the function and the caller.
const CHUNKS: usize = 8;

/// Why a stream has no end. The caller must not take it for a complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamError(pub String);

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StreamError {}

enum Item {
    Data(Bytes),
    End,
    Broken(StreamError),
}

/// The function's side of a stream. If it is dropped without [`StreamWriter::end`], the stream is broken.
#[derive(Debug)]
pub struct StreamWriter(mpsc::Sender<Item>);

/// The caller's side of a stream. If it is dropped, the upload of the function is aborted.
#[derive(Debug)]
pub struct ResponseStream {
    /// The content type of the function's request to the Runtime API.
    pub content_type: HeaderValue,
    items: mpsc::Receiver<Item>,
    ended: bool,
}

/// The caller has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerGone;

/// The two sides of a stream.
pub fn channel(content_type: HeaderValue) -> (StreamWriter, ResponseStream) {
    let (sender, items) = mpsc::channel(CHUNKS);
    (StreamWriter(sender), ResponseStream { content_type, items, ended: false })
}

impl StreamWriter {
    /// Sends a chunk. Waits while the channel is full.
    ///
    /// # Errors
    /// If the caller has gone.
    pub async fn send(&self, chunk: Bytes) -> Result<(), CallerGone> {
        self.0.send(Item::Data(chunk)).await.map_err(|_| CallerGone)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// If the caller has gone.
    pub async fn end(self) -> Result<(), CallerGone> {
        self.0.send(Item::End).await.map_err(|_| CallerGone)
    }

    /// Breaks the stream, with the reason for the caller's log.
    pub async fn fail(self, reason: String) {
        // It fails if the caller has gone.
        let _ = self.0.send(Item::Broken(StreamError(reason))).await;
    }

    /// Waits until the caller has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl ResponseStream {
    /// The next chunk; `None` after the end.
    ///
    /// # Errors
    /// If the stream is broken.
    pub async fn next(&mut self) -> Option<Result<Bytes, StreamError>> {
        if self.ended {
            return None;
        }
        match self.items.recv().await {
            Some(Item::Data(chunk)) => Some(Ok(chunk)),
            Some(Item::End) => {
                self.ended = true;
                None
            }
            Some(Item::Broken(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            None => {
                self.ended = true;
                Some(Err(StreamError("the function closed the connection within its response".to_owned())))
            }
        }
    }
}

/// The bandwidth of a stream: uncapped first bytes, then a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The bytes before the rate applies.
    pub uncapped_bytes: u64,
    /// The rate after them.
    pub bytes_per_sec: u64,
}

/// How Lambda transmits a stream to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transmission {
    /// The bandwidth; `None` does not limit it.
    pub pace: Option<Pace>,
    /// Whether the upload is read to its end, and discarded, when the caller has gone. Otherwise it is aborted.
    pub drains: bool,
}

/// Delays the chunks of a stream so that they keep to a pace.
#[derive(Debug)]
pub struct Pacer {
    pace: Option<Pace>,
    sent_bytes: u64,
    /// When the bytes that have been sent are due.
    due: Option<Instant>,
}

impl Pacer {
    /// Delays nothing without a pace.
    pub fn new(pace: Option<Pace>) -> Self {
        Self { pace, sent_bytes: 0, due: None }
    }

    /// Waits until a chunk of this length may be sent.
    pub async fn wait(&mut self, bytes: usize) {
        let Some(pace) = self.pace else { return };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.sent_bytes;
        self.sent_bytes = before.saturating_add(bytes);
        let capped = self.sent_bytes.saturating_sub(pace.uncapped_bytes.max(before));
        if capped == 0 {
            return;
        }
        let time = Duration::from_secs_f64(capped as f64 / pace.bytes_per_sec.max(1) as f64);
        let due = self.due.unwrap_or_else(Instant::now).max(Instant::now()) + time;
        self.due = Some(due);
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (StreamWriter, ResponseStream) {
        channel(HeaderValue::from_static("text/plain"))
    }

    #[tokio::test]
    async fn only_an_ended_stream_has_an_end() {
        let (writer, mut stream) = open();
        writer.send(Bytes::from_static(b"a")).await.unwrap();
        writer.end().await.unwrap();
        assert_eq!(stream.next().await, Some(Ok(Bytes::from_static(b"a"))));
        assert_eq!((stream.next().await, stream.next().await), (None, None));

        let (writer, mut stream) = open();
        writer.send(Bytes::from_static(b"a")).await.unwrap();
        drop(writer);
        assert!(stream.next().await.unwrap().is_ok());
        assert!(stream.next().await.unwrap().unwrap_err().0.contains("closed the connection"));
        assert_eq!(stream.next().await, None);

        let (writer, mut stream) = open();
        writer.fail("because".to_owned()).await;
        assert_eq!(stream.next().await, Some(Err(StreamError("because".to_owned()))));
    }

    #[tokio::test]
    async fn a_writer_waits_for_a_reader_that_does_not_read() {
        let (writer, mut stream) = open();
        for _ in 0..CHUNKS {
            writer.send(Bytes::from_static(b"a")).await.unwrap();
        }
        let full = tokio::time::timeout(Duration::from_millis(20), writer.send(Bytes::from_static(b"b"))).await;
        assert!(full.is_err(), "the channel holds {CHUNKS} chunks");
        stream.next().await.unwrap().unwrap();
        writer.send(Bytes::from_static(b"b")).await.unwrap();
        drop(stream);
        assert_eq!(writer.send(Bytes::new()).await, Err(CallerGone));
        writer.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_delays_only_the_bytes_after_the_uncapped_ones() {
        let started = Instant::now();
        let mut pacer = Pacer::new(Some(Pace { uncapped_bytes: 10, bytes_per_sec: 2 }));
        pacer.wait(8).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        pacer.wait(4).await;
        let elapsed = started.elapsed();
        assert!((1_000..1_010).contains(&elapsed.as_millis()), "two capped bytes: {elapsed:?}");
        pacer.wait(6).await;
        let elapsed = started.elapsed();
        assert!((4_000..4_010).contains(&elapsed.as_millis()), "six more: {elapsed:?}");
        Pacer::new(None).wait(usize::MAX).await;
    }
}
