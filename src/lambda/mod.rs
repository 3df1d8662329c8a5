//! The Lambda side: the invocation loop, the client of the Runtime API, the allocator's settings.

pub(crate) mod allocator;
pub(crate) mod descriptors;
mod drain;
pub mod invocation;
mod report;
mod runtime_api;
