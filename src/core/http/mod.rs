//! HTTP semantics as pure functions: negotiation, conditional requests, ranges, freshness.

pub mod accept;
pub mod conditional;
pub mod date;
pub mod freshness;
pub mod range;
