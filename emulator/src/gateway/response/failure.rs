//! The doors' own responses, when the function is not invoked or its response is not usable.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SERVER};
use http::{HeaderValue, Response, StatusCode};

use crate::gateway::door::Door;

/// Why a door responds in the function's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The request line and the headers exceed the door's limit.
    HeadersTooLarge,
    /// The request body exceeds the door's limit, or the event exceeds Lambda's.
    BodyTooLarge,
    /// The path cannot be decoded.
    BadPath,
    /// The path is outside of the stage or the base path.
    NoRoute,
    /// The request has no valid signature.
    Forbidden,
    /// The function has failed, or its response is not valid.
    Function,
    /// The function has not responded in time.
    Timeout,
    /// No execution environment is free.
    Throttled,
}

impl Failure {
    /// The response of a door. `emulator/README.md` lists the sources.
    pub fn response(self, door: &Door) -> Response<Bytes> {
        let (status, body) = match door {
            Door::HttpApi => self.of_http_api(),
            Door::FunctionUrl { .. } => self.of_function_url(),
            Door::Rest { .. } => self.of_rest(),
            Door::Alb { .. } => return self.of_alb(),
        };
        json(status, body)
    }

    fn of_http_api(self) -> (StatusCode, &'static str) {
        match self {
            Self::HeadersTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, r#"{"message":"Request Header Fields Too Large"}"#)
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Entity Too Large"}"#),
            Self::BadPath => (StatusCode::BAD_REQUEST, r#"{"message":"Bad Request"}"#),
            Self::NoRoute => (StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#),
            Self::Forbidden => (StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#),
            Self::Function => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#),
            Self::Timeout | Self::Throttled => {
                (StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#)
            }
        }
    }

    fn of_function_url(self) -> (StatusCode, &'static str) {
        match self {
            Self::HeadersTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, r#"{"Message":"Request Header Fields Too Large"}"#)
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, r#"{"Message":"Request Entity Too Large"}"#),
            Self::BadPath | Self::NoRoute => (StatusCode::BAD_REQUEST, r#"{"Message":"Bad Request"}"#),
            Self::Forbidden => (StatusCode::FORBIDDEN, r#"{"Message":"Forbidden"}"#),
            Self::Function | Self::Timeout => (StatusCode::BAD_GATEWAY, "Internal Server Error"),
            Self::Throttled => (StatusCode::TOO_MANY_REQUESTS, r#"{"Message":"Rate Exceeded."}"#),
        }
    }

    fn of_rest(self) -> (StatusCode, &'static str) {
        match self {
            Self::HeadersTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, r#"{"message":"Request Header Fields Too Large"}"#)
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Too Long"}"#),
            Self::BadPath => (StatusCode::BAD_REQUEST, r#"{"message":"Bad Request"}"#),
            Self::NoRoute | Self::Forbidden => (StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#),
            Self::Function => (StatusCode::BAD_GATEWAY, r#"{"message": "Internal server error"}"#),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, r#"{"message": "Endpoint request timed out"}"#),
            Self::Throttled => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message": "Internal server error"}"#),
        }
    }

    fn of_alb(self) -> Response<Bytes> {
        let status = match self {
            Self::HeadersTooLarge | Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadPath => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Function | Self::Timeout | Self::Throttled => StatusCode::BAD_GATEWAY,
        };
        let page = format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n\
             </body>\r\n</html>\r\n"
        );
        let mut response = Response::new(Bytes::from(page));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response.headers_mut().insert(SERVER, HeaderValue::from_static("awselb/2.0"));
        response
    }
}

fn json(status: StatusCode, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_has_its_own_error_responses() {
        let url = Door::FunctionUrl { streaming: None, origin_access_control: true };
        let rest = Door::Rest { base_path: None, streaming: None };
        for (door, failure, status, body) in [
            (Door::HttpApi, Failure::Function, 500, r#"{"message":"Internal Server Error"}"#),
            (Door::HttpApi, Failure::Timeout, 503, r#"{"message":"Service Unavailable"}"#),
            (url.clone(), Failure::Function, 502, "Internal Server Error"),
            (url.clone(), Failure::Forbidden, 403, r#"{"Message":"Forbidden"}"#),
            (url, Failure::Throttled, 429, r#"{"Message":"Rate Exceeded."}"#),
            (rest.clone(), Failure::Function, 502, r#"{"message": "Internal server error"}"#),
            (rest.clone(), Failure::Timeout, 504, r#"{"message": "Endpoint request timed out"}"#),
            (rest, Failure::NoRoute, 403, r#"{"message":"Forbidden"}"#),
        ] {
            let response = failure.response(&door);
            assert_eq!((response.status().as_u16(), response.body().as_ref()), (status, body.as_bytes()));
        }
    }

    #[test]
    fn a_load_balancer_responds_with_a_page() {
        for (failure, status) in [
            (Failure::Function, "502 Bad Gateway"),
            (Failure::Throttled, "502 Bad Gateway"),
            (Failure::BodyTooLarge, "413 Payload Too Large"),
            (Failure::HeadersTooLarge, "413 Payload Too Large"),
        ] {
            let response = failure.response(&Door::Alb { multi_value: true });
            assert_eq!(response.status().to_string(), status);
            assert_eq!(response.headers()["content-type"], "text/html");
            let start = format!("<html>\r\n<head><title>{status}</title></head>");
            assert!(response.body().starts_with(start.as_bytes()), "{failure:?}");
        }
    }
}
