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
//! - [`cloud`]: options → everything started and wired
//! - [`edge`]: CloudFront: a distribution with two origins
//! - [`gateway`]: the HTTP API; [`event`] and [`answer`] are its pure halves
//! - [`lambda`]: the service: starts environments on demand, freezes, times out and replaces them
//! - [`environment`]: one of them, with its process
//! - [`runtime_api`]: what a handler process talks to
//! - [`bucket`]: S3's protocol over a [`site`]
//! - [`cloudwatch`]: metrics and Lambda's own log lines; [`xray`]: spans
//! - [`console`]: the page that shows them; [`dashboard`], [`metric_math`], [`insights`]: CloudWatch's dashboards, worked out
//! - [`policy`]: whether a real distribution is right for the origin; starts nothing
//! - [`fault`]: what can be made to go wrong
//! - [`journal`]: one readable line a request
//! - [`identity`]: ids in the forms that AWS gives them
//! - [`serve`]: HTTP over TCP, in both directions

pub mod answer;
pub mod bucket;
pub mod cloud;
pub mod cloudwatch;
pub mod console;
pub mod dashboard;
pub mod edge;
pub mod environment;
pub mod event;
pub mod fault;
pub mod gateway;
pub mod identity;
pub mod insights;
pub mod journal;
pub mod lambda;
pub mod metric_math;
pub mod policy;
pub mod runtime_api;
pub mod serve;
pub mod site;
pub mod xray;
