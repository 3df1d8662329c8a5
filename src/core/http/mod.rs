//! HTTP semantics as pure functions: conditional requests, ranges, freshness.

pub mod conditional;
pub mod date;
pub mod freshness;
pub mod range;
