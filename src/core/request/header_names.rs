//! Other names for the headers `lambda_auth` and `test_version`.
//!
//! Some proxies drop header names with underscores, nginx by default
//! ([underscores_in_headers](https://nginx.org/en/docs/http/ngx_http_core_module.html#underscores_in_headers)).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::request::Request;
use crate::request::header_scan::{Unclear, scan};
use crate::request::text::Text;

/// The default name of the header with the secret.
pub const AUTH_HEADER: &str = "lambda_auth";

/// The default name of the header with the variant.
pub const VERSION_HEADER: &str = "test_version";

/// The headers that the origin uses under fixed names.
const FIXED: [&str; 10] = [
    "redirect",
    "accept",
    "accept-encoding",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "traceparent",
];

/// The names of the two headers, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderNames {
    auth: String,
    version: String,
}

/// Why a header name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderNameError {
    /// Not a token (RFC 9110 §5.6.2).
    NotAToken,
    /// The name of a header with another meaning.
    Taken,
}

impl fmt::Display for HeaderNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAToken => "is not a header name: use letters, digits and hyphens, such as x-lambda-auth",
            Self::Taken => "is the name of a header with another meaning: use one such as x-lambda-auth",
        })
    }
}

/// Checks a header name and returns it in lower case.
///
/// # Errors
/// If the name is not a token, or has another meaning.
pub fn parse_header_name(name: &str) -> Result<String, HeaderNameError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
        return Err(HeaderNameError::NotAToken);
    }
    let name = name.to_ascii_lowercase();
    // CloudFront and API Gateway set, remove or reject these
    // ([custom headers](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/add-origin-custom-headers.html)).
    let others = [
        "accept-encoding",
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "max-forwards",
        "pragma",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "warning",
        "x-real-ip",
    ];
    let is_reserved =
        ["x-amz", "x-forwarded-", "x-edge-", "cloudfront-", "proxy-"].iter().any(|prefix| name.starts_with(prefix));
    match FIXED.contains(&name.as_str()) || others.contains(&name.as_str()) || is_reserved {
        true => Err(HeaderNameError::Taken),
        false => Ok(name),
    }
}

impl HeaderNames {
    /// These names, from [`parse_header_name`]; `None` if they are the defaults, which [`parse`](super::event::parse) reads.
    pub fn new(auth: String, version: String) -> Option<Self> {
        (auth != AUTH_HEADER || version != VERSION_HEADER).then_some(Self { auth, version })
    }

    /// Replaces the values of the default headers in `request` by those of these headers in `event`, from which `request` was
    /// parsed.
    pub fn apply<'a>(&self, event: &'a [u8], request: &mut Request<'a>) {
        // The event was valid a moment ago.
        let headers = serde_json::from_slice(event).map(|Event { headers }: Event<'_>| headers).unwrap_or_default();
        request.lambda_auth = headers.joined(&self.auth);
        request.test_version = headers.joined(&self.version);
    }
}

/// The value of any header field of an event, by its name.
pub(super) fn header<'a>(event: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    match scan(event, name) {
        Ok(value) => value.map(Cow::Borrowed),
        Err(Unclear) => header_by_parsing(event, name),
    }
}

pub(super) fn header_by_parsing<'a>(event: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let Event { headers } = serde_json::from_slice(event).ok()?;
    headers.joined(name)
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    headers: Headers<'a>,
}

/// All headers, with their values as JSON.
#[derive(Default)]
struct Headers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Headers<'a> {
    /// The value of a header; several are joined by commas, as API Gateway does.
    fn joined(&self, name: &str) -> Option<Cow<'a, str>> {
        let values = self.0.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        values.filter_map(|(_, value)| serde_json::from_str(value.get()).ok()).fold(None, |joined, Text(value)| {
            Some(match joined {
                None => value,
                Some(first) => Cow::Owned(format!("{first},{value}")),
            })
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;

        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = Headers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut headers = Headers::default();
                while let Some((Text(name), value)) = map.next_entry()? {
                    headers.0.push((name, value));
                }
                Ok(headers)
            }
        }

        deserializer.deserialize_map(HeadersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::event::parse;
    use serde_json::json;

    #[test]
    fn renamed_headers_replace_the_default_ones() {
        let names = HeaderNames::new("x-auth".into(), "x-variant-request".into()).unwrap();
        let read = |headers: serde_json::Value| {
            let event = json!({
                "version": "2.0", "rawPath": "/", "headers": headers, "requestContext": {"http": {"method": "GET"}},
            });
            let event = event.to_string().into_bytes();
            let mut request = parse(&event).unwrap();
            names.apply(&event, &mut request);
            (request.lambda_auth.map(Cow::into_owned), request.test_version.map(Cow::into_owned))
        };
        let (auth, version) = (Some("s\u{e9}".to_owned()), Some("v1".to_owned()));
        assert_eq!(read(json!({"X-Auth": "s\u{e9}", "x-variant-request": "v1", "x": null})), (auth.clone(), version));
        assert_eq!(read(json!({"lambda_auth": "secret", "test_version": "v1"})), (None, None));
        assert_eq!(read(json!({"x-auth": "a", "X-AUTH": "b"})).0.as_deref(), Some("b,a"));
        assert_eq!(read(json!({"x-auth": 5})), (None, None));
    }

    #[test]
    fn only_free_tokens_are_header_names() {
        assert_eq!(parse_header_name("X-Lambda-Auth").as_deref(), Ok("x-lambda-auth"));
        for bad in ["", "x auth", "x:auth", "x\r\n", "\u{e9}"] {
            assert_eq!(parse_header_name(bad), Err(HeaderNameError::NotAToken), "{bad:?}");
        }
        for taken in ["Host", "range", "Cookie", "x-amzn-trace-id", "x-forwarded-for", "X-Amz-Cf-Id"] {
            assert_eq!(parse_header_name(taken), Err(HeaderNameError::Taken), "{taken}");
        }
        assert_eq!(HeaderNames::new(AUTH_HEADER.into(), VERSION_HEADER.into()), None);
    }
}
