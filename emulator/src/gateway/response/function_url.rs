//! The response of a function URL, with payload format 2.0.
//!
//! [Response payload format](https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload).

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Response};

use crate::gateway::response::{field, http_api};

/// Converts a function response to HTTP. The format is that of HTTP APIs.
///
/// # Errors
/// Describes the first invalid field. The viewer receives a 502.
pub fn to_response(payload: &[u8]) -> Result<Response<Bytes>, String> {
    let mut response = http_api::to_response(payload)?;
    remap(response.headers_mut());
    Ok(response)
}

/// Renames WWW-Authenticate.
///
/// AWS documents this only for REST APIs
/// ([known issues](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html)); several
/// projects report it of function URLs. HTTP APIs are reported to pass the field.
pub(super) fn remap(headers: &mut HeaderMap) {
    field::remap(headers, &WWW_AUTHENTICATE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    #[test]
    fn only_a_function_url_renames_www_authenticate() {
        let payload = json!({"statusCode": 401, "headers": {"WWW-Authenticate": "Bearer", "X-A": "1"}}).to_string();
        assert_eq!(http_api::to_response(payload.as_bytes()).unwrap().headers()["www-authenticate"], "Bearer");
        let renamed = to_response(payload.as_bytes()).unwrap();
        assert!(!renamed.headers().contains_key("www-authenticate"));
        assert_eq!(renamed.headers()["x-amzn-remapped-www-authenticate"], "Bearer");
        assert_eq!((renamed.status(), &renamed.headers()["x-a"]), (StatusCode::UNAUTHORIZED, &"1".parse().unwrap()));
    }
}
