//! HTTP request → Lambda event, as each door builds it.
//!
//! The tables in `emulator/README.md` list undocumented behaviour, with the places where it was observed.
//!
//! - [`http_api`]: HTTP API, payload format 2.0
//! - [`function_url`]: function URL, payload format 2.0
//! - [`rest`]: REST API, payload format 1.0
//! - [`alb`]: Application Load Balancer
//! - [`received`]: the request
//! - `format_2`: payload format 2.0; `field`: the fields that several formats have in common

pub mod alb;
mod field;
mod format_2;
pub mod function_url;
pub mod http_api;
pub mod received;
pub mod rest;

use serde_json::Value;

use self::received::{ReceivedRequest, Unroutable};
use crate::gateway::door::{Api, Door};

/// Builds the event of a request.
///
/// # Errors
/// If the path cannot be decoded or has no route.
pub fn build(api: &Api, request: &ReceivedRequest<'_>) -> Result<Value, Unroutable> {
    match &api.door {
        Door::HttpApi => http_api::build(api, request),
        Door::FunctionUrl { .. } => Ok(function_url::build(api, request)),
        Door::Rest { .. } => rest::build(api, request),
        Door::Alb { multi_value } => Ok(alb::build(api, request, *multi_value)),
    }
}
