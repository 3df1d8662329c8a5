//! The local cloud of nearedge: CloudFront, API Gateway, Lambda and S3 in one process.
//!
//! It behaves as AWS documents, so that a result here holds in AWS too. `emulator/README.md` lists the behaviour that
//! it reproduces.
//!
//! ```text
//! viewer → cloudfront → gateway → lambda → (runtime_api ⇄ handler process) → s3
//!              └──────────────── /v1/* and /v2/* ──────────────────────────→ s3
//! ```
//!
//! # Layout
//!
//! - [`address`]: the listen addresses of the services, and the addresses for viewers
//! - [`banner`]: the message when the cloud is ready
//! - [`cloud`]: starts the cloud from its options; the only place that connects the services
//! - [`cloudfront`]: a distribution with two origins
//! - [`gateway`]: the front door: an HTTP API, a function URL, a REST API or a load balancer
//! - [`origin_access`]: the signature of the CDN's requests to a function URL
//! - [`lambda`]: the Lambda service, its execution environments and their Runtime API
//! - [`s3`]: S3's protocol over a folder
//! - [`cloudwatch`]: metrics and log lines, and the evaluation of dashboards
//! - [`xray`]: the spans of traces
//! - [`console`]: the web page that shows metrics, dashboards and traces
//! - `contents`: the objects of a site that the banner's commands can name
//! - [`definition`]: the definition of the site's experiments
//! - [`policy`]: `policy check`, which checks the configuration of a distribution; starts no cloud
//! - [`experiment`]: `experiment check` and others, for definitions of experiments; starts no cloud
//! - [`fault`]: fault injection
//! - [`journal`]: one log line per request
//! - [`identity`]: random ids in the formats of AWS
//! - [`serve`]: HTTP over TCP, server and client

pub mod address;
pub mod banner;
pub mod cloud;
pub mod cloudfront;
pub mod cloudwatch;
pub mod console;
mod contents;
pub mod definition;
pub mod experiment;
pub mod fault;
pub mod gateway;
pub mod identity;
pub mod journal;
pub mod lambda;
mod mask;
pub mod origin_access;
pub mod policy;
pub mod rules;
pub mod s3;
pub mod serve;
mod site_edit;
mod site_file;
mod site_summary;
pub mod xray;
