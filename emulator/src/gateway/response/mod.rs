//! Function response → HTTP response, as each door builds it.
//!
//! - [`http_api`]: HTTP API, payload format 2.0
//! - [`function_url`]: function URL, payload format 2.0
//! - [`rest`]: REST API, payload format 1.0
//! - [`alb`]: Application Load Balancer
//! - [`prelude`]: the head of a streamed response
//! - [`failure`]: the doors' own responses
//! - `field`: the fields that several formats have in common

pub mod alb;
pub mod failure;
mod field;
pub mod function_url;
pub mod http_api;
pub mod prelude;
pub mod rest;

use bytes::Bytes;
use http::Response;

use crate::gateway::door::Door;

/// Converts a function response to HTTP.
///
/// # Errors
/// Describes the first invalid field. The viewer receives the door's own response.
pub fn to_response(door: &Door, payload: &[u8]) -> Result<Response<Bytes>, String> {
    if let Some(limit) = door.response_bytes_max().filter(|limit| payload.len() > *limit) {
        return Err(format!("the function response exceeds {limit} bytes: {} bytes", payload.len()));
    }
    match door {
        Door::HttpApi => http_api::to_response(payload),
        Door::FunctionUrl { .. } => function_url::to_response(payload),
        Door::Rest { .. } => rest::to_response(payload),
        Door::Alb { multi_value } => alb::to_response(payload, *multi_value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_load_balancer_limits_the_response_to_one_megabyte() {
        let largest = 1024 * 1024;
        let payload = |bytes: usize| {
            let empty = json!({"statusCode": 200, "body": ""}).to_string();
            json!({"statusCode": 200, "body": "x".repeat(bytes - empty.len())}).to_string()
        };
        let alb = Door::Alb { multi_value: false };
        assert!(to_response(&alb, payload(largest).as_bytes()).is_ok());
        assert!(to_response(&alb, payload(largest + 1).as_bytes()).unwrap_err().contains("1048577 bytes"));
        assert!(to_response(&Door::HttpApi, payload(largest + 1).as_bytes()).is_ok());
    }
}
