//! Objects that are read while they are sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::store::fetched::FetchError;

/// The next bytes of an object; `None` after the last ones.
pub type NextBytes<'a> = Pin<Box<dyn Future<Output = Option<Result<Bytes, FetchError>>> + Send + 'a>>;

/// The bytes of an object, in their order.
pub trait BodyStream: Send {
    /// Waits for the next bytes; `None` after the last ones.
    ///
    /// # Errors
    /// If the object ends early. The stream has ended then.
    fn next(&mut self) -> NextBytes<'_>;
}

/// A body that is read while it is sent.
pub struct OpenBody(pub Box<dyn BodyStream>);

impl fmt::Debug for OpenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenBody")
    }
}
