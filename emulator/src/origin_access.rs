//! Origin access control: the signature of the CDN's requests to a function URL.
//!
//! [Restrict access to a Lambda function URL](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-lambda.html).
//! The CDN signs with the signing behaviour `always`; the function URL has the authentication type AWS_IAM. CloudFront's
//! keys are not public: both sides use a fixed pair.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use time::{Date, Month, OffsetDateTime, Time};

use crate::serve::BoxError;

/// The access key id of the CDN. It is not a secret.
pub const ACCESS_KEY_ID: &str = "AKIALOCALORIGINACCES";

/// The secret access key of the CDN. It gives access to nothing else.
const SECRET_ACCESS_KEY: &str = "local-nearedge-origin-access-control-key";

/// The service whose requests are signed.
const SERVICE: &str = "lambda";

/// The longest difference between the time of a signature and that of its verification
/// ([Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html)).
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

const DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// The header with the SHA-256 of the body. A viewer sends it with a body, because the CDN does not read the body first.
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Signs and verifies requests for the function URLs of a region.
#[derive(Debug, Clone)]
pub struct OriginAccess {
    region: String,
}

impl OriginAccess {
    /// The signatures of a region.
    pub fn new(region: &str) -> Self {
        Self { region: region.to_owned() }
    }

    /// Signs a request of a viewer: replaces Authorization, X-Amz-Date and X-Amz-Content-Sha256 in `headers`.
    ///
    /// # Errors
    /// If the request cannot be signed.
    pub fn sign(
        &self,
        method: &Method,
        authority: &str,
        path: &str,
        viewer: &HeaderMap,
        headers: &mut HeaderMap,
    ) -> Result<(), BoxError> {
        let hash = viewer.get(CONTENT_SHA256).and_then(|hash| hash.to_str().ok()).filter(|hash| is_sha256(hash));
        let body = match hash {
            _ if !has_body(viewer) => SignableBody::Bytes(b""),
            Some(hash) => SignableBody::Precomputed(hash.to_owned()),
            // Lambda does not accept an unsigned payload.
            None => SignableBody::UnsignedPayload,
        };
        let signature = self.signature(method, authority, path, body, SystemTime::now())?;
        headers.remove(AUTHORIZATION);
        headers.extend(signature);
        Ok(())
    }

    /// Whether a request with this body has a valid signature.
    pub fn verify(&self, parts: &Parts, body: &[u8]) -> bool {
        self.verify_at(parts, body, SystemTime::now())
    }

    fn verify_at(&self, parts: &Parts, body: &[u8], now: SystemTime) -> bool {
        let text = |name: &HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(authority), Some(signed_at)) = (text(&HOST), text(&DATE).and_then(parse_time)) else { return false };
        let skew = now.duration_since(signed_at).unwrap_or_else(|earlier| earlier.duration());
        if skew > CLOCK_SKEW {
            return false;
        }
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        // The hash of the received body takes part in the expected signature.
        let expected = self.signature(&parts.method, authority, path, SignableBody::Bytes(body), signed_at);
        expected.is_ok_and(|expected| {
            expected.iter().all(|(name, value)| {
                let mut received = parts.headers.get_all(name).iter();
                received.next() == Some(value) && received.next().is_none()
            })
        })
    }

    /// The headers of a signature. Host and the two headers of the signature itself are signed.
    fn signature(
        &self,
        method: &Method,
        authority: &str,
        path: &str,
        body: SignableBody<'_>,
        time: SystemTime,
    ) -> Result<HeaderMap, BoxError> {
        let identity = Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None).into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(time)
            .settings(settings)
            .build()?
            .into();
        let uri = format!("https://{authority}{path}");
        let host = std::iter::once((HOST.as_str(), authority));
        let signable = SignableRequest::new(method.as_str(), uri, host, body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let fields = instructions.headers().map(|(name, value)| Ok((name.parse()?, HeaderValue::from_str(value)?)));
        fields.collect()
    }
}

/// Whether a request has a body, by its framing (RFC 9112 §6.3).
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0")
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Parses a time such as `20150830T123600Z`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let is_digit = |at: usize| !matches!(at, 8 | 15);
    let valid = text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() == is_digit(at))
        && text.as_bytes().get(8) == Some(&b'T')
        && text.ends_with('Z');
    if !valid {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let year = text.get(..4)?.parse().ok()?;
    let date = Date::from_calendar_date(year, Month::try_from(number(4, 6)?).ok()?, number(6, 8)?).ok()?;
    let time = Time::from_hms(number(9, 11)?, number(11, 13)?, number(13, 15)?).ok()?;
    Some(OffsetDateTime::new_utc(date, time).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SHA-256 of `hi`.
    const HASH: &str = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";

    fn access() -> OriginAccess {
        OriginAccess::new("us-east-1")
    }

    /// A viewer's request as the CDN sends it to the origin.
    fn signed(method: Method, path: &str, viewer: &[(&str, &str)]) -> Parts {
        let viewer: HeaderMap =
            viewer.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let mut headers = viewer.clone();
        headers.insert(HOST, HeaderValue::from_static("origin:80"));
        access().sign(&method, "origin:80", path, &viewer, &mut headers).unwrap();
        let (mut parts, ()) = http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        parts.headers = headers;
        parts
    }

    #[test]
    fn a_signed_request_is_valid_with_any_path_and_query() {
        for path in ["/", "/a%20b/%2F?x=1&x=%20&a=+", "//x/../y", "/%E6%97%A5?q", "/a+b?b=2&a=1"] {
            assert!(access().verify(&signed(Method::GET, path, &[]), b""), "{path}");
        }
    }

    #[test]
    fn the_viewers_authorization_is_replaced() {
        let parts = signed(Method::GET, "/", &[("authorization", "Bearer x"), ("x-amz-date", "20150830T123600Z")]);
        let authorization = parts.headers[AUTHORIZATION].to_str().unwrap();
        let credential = format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/");
        assert!(authorization.starts_with(&credential), "{authorization}");
        assert!(
            authorization
                .contains("/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date")
        );
        assert_eq!(parts.headers.get_all(AUTHORIZATION).iter().count(), 1);
        assert!(access().verify(&parts, b""));
    }

    #[test]
    fn any_change_of_a_signed_request_is_detected() {
        type Change = (&'static str, fn(&mut Parts));
        let changes: [Change; 8] = [
            ("no signature", |parts| _ = parts.headers.remove(AUTHORIZATION)),
            ("another signature", |parts| {
                _ = parts.headers.insert(AUTHORIZATION, "AWS4-HMAC-SHA256 x".parse().unwrap())
            }),
            ("two signatures", |parts| {
                let first = parts.headers[AUTHORIZATION].clone();
                parts.headers.append(AUTHORIZATION, first);
            }),
            ("no time", |parts| _ = parts.headers.remove(DATE)),
            ("no hash", |parts| _ = parts.headers.remove(CONTENT_SHA256)),
            ("another host", |parts| _ = parts.headers.insert(HOST, "other".parse().unwrap())),
            ("another path", |parts| parts.uri = "/y?a=1".parse().unwrap()),
            ("another method", |parts| parts.method = Method::DELETE),
        ];
        for (name, change) in changes {
            let mut parts = signed(Method::GET, "/x?a=1", &[]);
            change(&mut parts);
            assert!(!access().verify(&parts, b""), "{name}");
        }
        let parts = signed(Method::GET, "/x", &[]);
        assert!(!access().verify(&parts, b"body"), "an unsigned body");
        assert!(!OriginAccess::new("eu-west-1").verify(&parts, b""), "another region");
    }

    #[test]
    fn a_body_needs_the_hash_that_the_viewer_sends() {
        let post = |hash: &[(&str, &str)], length: &str| {
            let viewer: Vec<_> = hash.iter().copied().chain([("content-length", length)]).collect();
            signed(Method::POST, "/x", &viewer)
        };
        let with_hash = post(&[("x-amz-content-sha256", HASH)], "2");
        assert!(access().verify(&with_hash, b"hi"));
        assert!(!access().verify(&with_hash, b"ho"), "the hash is of another body");
        for hash in ["", "UNSIGNED-PAYLOAD", "8F434346648F6B96DF89DDA901C5176B10A6D83961DD3C1AC88B59B2DC327AA4"] {
            assert!(!access().verify(&post(&[("x-amz-content-sha256", hash)], "2"), b"hi"), "{hash}");
        }
        assert!(!access().verify(&post(&[], "2"), b"hi"), "no hash");
        assert!(access().verify(&post(&[], "0"), b""), "no body");
    }

    #[test]
    fn a_signature_is_valid_for_five_minutes() {
        let parts = signed(Method::GET, "/", &[]);
        let now = SystemTime::now();
        for (minutes, valid) in [(4, true), (6, false)] {
            let time = Duration::from_secs(minutes * 60);
            assert_eq!(access().verify_at(&parts, b"", now + time), valid, "{minutes} minutes later");
            assert_eq!(access().verify_at(&parts, b"", now - time), valid, "{minutes} minutes earlier");
        }
    }

    #[test]
    fn only_the_format_of_signatures_is_a_time() {
        assert_eq!(parse_time("19700102T000001Z"), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(86_401)));
        for text in
            ["", "19700102T000001", "19701302T000001Z", "19700102 000001Z", "1970010éT00001Z", "19700102T006001Z"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
