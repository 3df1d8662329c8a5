//! The pure logic of nearedge: no runtime, no AWS type, no environment, no clock, no I/O.
//!
//! Data flows one way:
//!
//! ```text
//! event bytes → Request → Decision → Object → Response → payload bytes
//!              request    rules      store    response   response::payload
//! ```
//!
//! - [`request`]: a viewer's request, and the parser of Lambda events
//! - [`access`]: which requests may enter: the shared secret
//! - [`experiment`]: which variation a visitor gets, by a definition in GrowthBook's format
//! - [`rules`]: [`rules::decide`] runs the request stages in the contract's order
//! - [`http`]: conditional requests, ranges and freshness (RFC 9110, RFC 9111)
//! - [`object`]: keys, metadata, encoded bodies, and why a fetch fails
//! - [`store`]: the trait that S3 and the cache implement
//! - [`response`]: outcomes → HTTP responses → the JSON payload of Lambda
//! - [`record`]: the record of one invocation; [`metric`]: the table of metrics
//! - [`problem`]: problems of a JSON file, with line and column
//! - [`error_chain`]: an error and its sources in one line

pub mod access;
pub mod error_chain;
pub mod experiment;
pub mod http;
mod json;
pub mod metric;
pub mod object;
pub mod problem;
pub mod record;
pub mod request;
pub mod response;
pub mod rules;
pub mod store;
