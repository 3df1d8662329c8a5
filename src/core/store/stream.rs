//! Objects that are read while they are sent.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::object::Reservation;
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

    /// Keeps `reservation` until the stream is dropped: the permit of its connection.
    fn hold(&mut self, reservation: Reservation);
}

/// A body that is read while it is sent.
pub struct OpenBody(pub Box<dyn BodyStream>);

impl fmt::Debug for OpenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenBody")
    }
}

/// Receives the body of an object that is too large for memory.
///
/// A store that finds [`Fetched::TooLarge`](crate::store::Fetched::TooLarge) fills it with the bytes that the request needs.
#[derive(Debug, Default)]
pub struct Overflow(Mutex<Option<(Option<Range<u64>>, OpenBody)>>);

impl Overflow {
    /// Keeps the body of the object, or of this range of it.
    pub fn put(&self, range: Option<Range<u64>>, body: OpenBody) {
        *self.0.lock() = Some((range, body));
    }

    /// Lets the body keep `reservation`, if there is one.
    pub fn hold(&self, reservation: Reservation) {
        if let Some((_, body)) = &mut *self.0.lock() {
            body.0.hold(reservation);
        }
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_none()
    }

    /// The body, and the range that it holds.
    pub fn take(&self) -> Option<(Option<Range<u64>>, OpenBody)> {
        self.0.lock().take()
    }
}
