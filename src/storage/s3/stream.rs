//! Opens objects that are read while they are sent.

use std::ops::Range;
use std::time::Instant;

use nearedge_core::object::{Head, ObjectKey, Reservation};
use nearedge_core::store::{FetchError, OpenBody};

use crate::storage::s3::S3;
use crate::storage::s3::circuit_breaker::Permit;
use crate::storage::s3::error::{S3Error, fetch_error, status_of};
use crate::storage::s3::opened::open_body;
use crate::storage::s3::request::content_range;

impl S3 {
    /// Opens the bytes `range` of this version of an object.
    pub(super) async fn open_body(
        &self,
        key: &ObjectKey,
        head: &Head,
        range: Range<u64>,
        deadline: Instant,
    ) -> Result<OpenBody, FetchError> {
        let budget = deadline.saturating_duration_since(Instant::now());
        let Ok(Ok(permit)) = tokio::time::timeout(budget, self.connections.clone().acquire_owned()).await else {
            return Err(FetchError::Busy(S3Error::NoConnection.into()));
        };
        if let Permit::Rejected = self.breaker.acquire() {
            return Err(FetchError::Unavailable(S3Error::CircuitOpen.into()));
        }
        let is_whole = range == (0..head.size_bytes);
        let sent = (!is_whole).then(|| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let call = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .set_range(sent)
            .set_if_match(head.etag.clone())
            .send();
        let started = Instant::now();
        let output = match tokio::time::timeout(deadline.saturating_duration_since(started), call).await {
            Ok(Ok(output)) => output,
            // A retry finds the new version.
            Ok(Err(error)) if status_of(&error) == Some(412) => {
                return Err(FetchError::Unavailable(S3Error::ObjectChanged.into()));
            }
            Ok(Err(error)) => return Err(fetch_error(error, key)),
            Err(_) => {
                let waited = started.elapsed();
                return Err(FetchError::TimedOut(S3Error::Deadline { waited, retried: None }.into()));
            }
        };
        let found = match output.content_range.as_deref() {
            None => 0..output.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
            Some(field) => content_range(field).map(|(range, _)| range).unwrap_or_default(),
        };
        // The header fields of the response are those of `head`.
        if found != range || output.e_tag != head.etag {
            return Err(FetchError::Failed(S3Error::WrongRange.into()));
        }
        let mut opened = open_body(output.body, range.end.saturating_sub(range.start));
        opened.0.hold(Reservation::new(permit));
        Ok(opened)
    }
}
