//! The body of an object that is read while it is sent: nothing but the chunks in flight is in memory.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use nearedge_core::object::Reservation;
use nearedge_core::store::{BodyStream, FetchError, NextBytes, OpenBody};

use crate::storage::s3::error::{BodyError, S3Error};
use crate::storage::s3::limits::FIRST_BYTE_TIMEOUT;

/// A body of `expected` bytes, of which none has been read.
pub(super) fn open_body(body: ByteStream, expected: u64) -> OpenBody {
    OpenBody(Box::new(S3Body { body, received: 0, expected, connection: Reservation::default() }))
}

/// The rest of a body from S3. Dropping it before its end closes its connection.
struct S3Body {
    body: ByteStream,
    received: u64,
    expected: u64,
    /// The permit of the connection.
    connection: Reservation,
}

impl S3Body {
    async fn read(&mut self) -> Option<Result<Bytes, BodyError>> {
        let chunk = match tokio::time::timeout(FIRST_BYTE_TIMEOUT, self.body.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) if self.received == self.expected => return None,
            Ok(None) => return Some(Err(self.wrong_length())),
            Ok(Some(Err(error))) => return Some(Err(BodyError::Aborted(error.into()))),
            Err(_) => return Some(Err(BodyError::Stalled)),
        };
        self.received += chunk.len() as u64;
        Some(if self.received > self.expected { Err(self.wrong_length()) } else { Ok(chunk) })
    }

    fn wrong_length(&self) -> BodyError {
        BodyError::WrongLength { sent: self.received, expected: self.expected }
    }
}

impl BodyStream for S3Body {
    fn hold(&mut self, reservation: Reservation) {
        self.connection = reservation;
    }

    fn next(&mut self) -> NextBytes<'_> {
        let failed = |error| FetchError::Unavailable(S3Error::Body(error).into());
        Box::pin(async move { self.read().await.map(|chunk| chunk.map_err(failed)) })
    }
}
