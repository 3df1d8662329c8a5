//! The local cloud of nearedge: a CDN, an HTTP API, Lambda and S3 in one process, as true to AWS as AWS
//! is documented, so that what works here works there. `emulator/README.md` says point by point what it
//! reproduces.
//!
//! ```text
//! viewer → edge → gateway → lambda → (runtime_api ⇄ handler process) → bucket
//!            └──────────────── /v1/* and /v2/* ──────────────────────→ bucket
//! ```
//!
//! # Layout
//!
//! - [`cloud`]: options → the running cloud: the only wiring
//! - [`cloudfront`]: a distribution with two origins
//! - [`gateway`]: the HTTP API
//! - [`lambda`]: the Lambda service, its execution environments and their Runtime API
//! - [`s3`]: S3's protocol over a folder
//! - [`cloudwatch`]: metrics and log lines; its dashboards, evaluated locally
//! - [`xray`]: spans
//! - [`console`]: the web page that shows them
//! - [`policy`]: `policy check`: checks the configuration of a real distribution; starts nothing
//! - [`fault`]: faults that can be injected
//! - [`journal`]: one log line per request
//! - [`identity`]: ids in AWS's formats
//! - [`serve`]: HTTP over TCP, server and client

pub mod cloud;
pub mod cloudfront;
pub mod cloudwatch;
pub mod console;
pub mod fault;
pub mod gateway;
pub mod identity;
pub mod journal;
pub mod lambda;
pub mod policy;
pub mod s3;
pub mod serve;
pub mod xray;
