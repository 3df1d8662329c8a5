//! The origin of an A/B test behind CloudFront and API Gateway, as one Lambda function in front of S3.
//!
//! One way through the house, and no way back:
//!
//! ```text
//! event bytes → Request → Decision → Object → Response → payload bytes
//!              event      decision   store    response   payload
//! ```
//!
//! # Layout
//!
//! The core, pure: no runtime, no AWS type, no environment, no clock.
//!
//! - [`event`]: API Gateway 2.0 (or Function URL) bytes → [`request::Request`], borrowed
//! - [`request`]: what the rules need to know of a request
//! - [`auth`]: the secrets, compared in constant time
//! - [`decision`]: [`decision::decide`] says everything that the rules say
//! - [`conditional`], [`range`]: RFC 9110 §13 and §14 over what is known of an object
//! - [`freshness`]: RFC 9111 and RFC 5861: how long an object may be answered from memory
//! - [`object`]: keys, objects ready to send, and why a fetch can fail
//! - [`response`]: the only module that knows status codes
//! - [`payload`]: a response as the JSON that Lambda hands to API Gateway
//!
//! The shell, thin:
//!
//! - [`config`]: the environment → [`config::Config`], once, every fault reported together
//! - [`store`]: the one seam: something that fetches a key
//! - [`s3`]: a store over aws-sdk-s3, with an HTTP client of its own (`http_client`)
//! - [`cache`]: a store around a store: bounded, revalidating, coalescing (`flight`)
//! - [`origin`]: request in, payload out: the steps above in a row
//! - [`telemetry`]: JSON log lines, and what collects spans
//! - [`metric`]: the table of metrics; [`log_line`]: the line of an invocation, in Embedded Metric Format
//! - [`trace`]: parents, sampling and spans; [`exporter`]: spans out, after the answer
//! - [`runtime`]: the Lambda loop; answers go out by `runtime_api`
//! - [`bootstrap`]: config → store → cache → origin → run, for the deployed binary and the local cloud alike

mod allocator;
pub mod auth;
pub mod bootstrap;
pub mod cache;
pub mod conditional;
pub mod config;
pub mod decision;
pub mod event;
pub mod exporter;
mod flight;
pub mod freshness;
mod http_client;
mod json;
pub mod log_line;
pub mod metric;
mod moment;
pub mod object;
pub mod origin;
pub mod payload;
pub mod range;
pub mod request;
pub mod response;
pub mod runtime;
mod runtime_api;
pub mod s3;
mod stdout;
pub mod store;
pub mod telemetry;
pub mod trace;
