//! The one seam: something that fetches a key. S3 is one; a cache is another, around it.

use std::future::Future;
use std::time::Instant;

use crate::object::{FetchError, Object, ObjectKey};

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The headers and the body.
    Whole,
    /// The headers alone, for HEAD.
    Head,
}

/// Something that fetches objects by key.
pub trait Store: Send + Sync + 'static {
    /// Fetches `part` of the object at `key`, and answers before `deadline` whatever happens.
    fn fetch(
        &self,
        key: &ObjectKey,
        part: Part,
        deadline: Instant,
    ) -> impl Future<Output = Result<Object, FetchError>> + Send;
}
