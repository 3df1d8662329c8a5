//! Where objects come from: S3, and the cache in front of it. Both implement [`Store`](nearedge_core::store::Store).

pub mod cache;
pub mod copies;
pub mod s3;
