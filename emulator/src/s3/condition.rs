//! Conditional requests: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CACHE_CONTROL, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};

use crate::s3::site::Stored;

/// The conditions of GetObject and HeadObject.
pub(crate) struct Conditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// Evaluates the conditions in the order of RFC 9110 §13.2.2, which S3 uses too
    /// ([GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html), "Overriding response headers").
    pub(crate) fn check(&self, stored: &Stored) -> S3Result<()> {
        let etag = ETag::Strong(stored.etag.clone());
        let modified = whole_seconds(stored.modified);
        let failed = || s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold");
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(ETagCondition::ETag(expected)), _) if !expected.strong_cmp(&etag) => return Err(failed()),
            (None, Some(since)) if modified > *since => return Err(failed()),
            _ => {}
        }
        let unchanged = match (&self.if_none_match, &self.if_modified_since) {
            (Some(ETagCondition::Any), _) => true,
            (Some(ETagCondition::ETag(cached)), _) => cached.weak_cmp(&etag),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if unchanged { Err(not_modified(stored)) } else { Ok(()) }
    }
}

/// A 304 with the fields that RFC 9110 §15.4.5 requires.
fn not_modified(stored: &Stored) -> S3Error {
    let mut headers = HeaderMap::new();
    let mut insert = |name: HeaderName, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    };
    insert(ETAG, Some(format!("\"{}\"", stored.etag)));
    insert(CACHE_CONTROL, stored.headers.cache_control.clone());
    let mut date = Vec::new();
    if whole_seconds(stored.modified).format(TimestampFormat::HttpDate, &mut date).is_ok() {
        insert(LAST_MODIFIED, String::from_utf8(date).ok());
    }
    let mut error = s3_error!(NotModified);
    error.set_status_code(StatusCode::NOT_MODIFIED);
    error.set_headers(headers);
    error
}

/// A timestamp without fractions of a second, which HTTP dates do not have.
pub(crate) fn whole_seconds(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}
