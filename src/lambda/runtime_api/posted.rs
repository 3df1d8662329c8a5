//! The result of posting a response as it is made.

use std::io;

use http::StatusCode;
use nearedge_core::store::FetchError;

/// How posting a stream ended.
#[derive(Debug)]
pub(crate) enum Posted {
    /// The whole response was posted; the API acknowledged it with this status.
    Whole(StatusCode),
    /// The body ended early, which the client learns from an aborted response.
    Interrupted(FetchError),
    /// The invocation's time was over before the API had acknowledged the response.
    OutOfTime,
    /// The API closed the connection within the body, because the client has gone.
    Disconnected(io::Error),
}
