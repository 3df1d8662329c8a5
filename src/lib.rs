//! The Lambda function of nearedge: an A/B-test origin behind CloudFront and API Gateway, in front of S3.
//!
//! The crate `nearedge-core` holds the pure logic. This crate adds everything that needs I/O:
//!
//! - [`bootstrap`]: environment → running function, for the deployed binary and the local cloud alike; the only wiring
//! - [`config`]: environment → settings, parsed once, all errors reported together
//! - [`lambda`]: the invocation loop and the client of the Runtime API
//! - [`warm_up`]: connections and cache entries before the first event
//! - [`origin`]: request in, payload out
//! - [`storage`]: the S3 client and the cache in front of it
//! - [`telemetry`]: log, metrics line, spans and their exporter
//! - `http_client`: HTTP/1.1 over TLS, for S3 and for the exporter
//!
//! A module imports only from modules further down this list, and there are no cycles: `.ci/imports.py` checks both.

pub mod bootstrap;
pub mod config;
mod http_client;
pub mod lambda;
mod moment;
pub mod origin;
pub mod storage;
pub mod telemetry;
pub mod warm_up;
