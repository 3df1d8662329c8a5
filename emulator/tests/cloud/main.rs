//! End-to-end tests over real sockets and processes: CDN, HTTP API, Lambda, the real handler, S3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod access;
mod bucket;
mod bucket_listing;
mod bucket_refusal;
mod bucket_write;
mod cache;
mod cdn_cache;
mod command;
mod console;
mod counting;
mod encoding;
mod experiments;
mod experiments_address;
mod experiments_cache;
mod experiments_command;
mod experiments_definition;
mod experiments_page;
mod faults;
mod function;
mod html_handling;
mod http;
mod keys;
mod refused;
mod rotation;
mod rules;
mod rules_command;
mod security;
mod site_edits;
mod site_files;
mod site_rules;
mod support;
mod telemetry;
mod tls;
mod visitor;
mod walkthrough;
