//! Conditional requests: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CACHE_CONTROL, ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};

use crate::s3::site::Stored;

/// The conditions of GetObject and HeadObject, and those on the source of a copy.
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

    /// Like [`Conditions::check`], for the source of a copy: each condition that is not met is a 412
    /// ([CopyObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html)).
    pub(crate) fn check_source(&self, stored: &Stored) -> S3Result<()> {
        self.check(stored).map_err(|_| failed())
    }
}

/// The conditions on the current object of a key that is written or deleted
/// ([conditional writes](https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html)).
#[derive(Default)]
pub(crate) struct WriteConditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    /// The conditions in the header of a request. s3s does not parse them for CopyObject.
    pub(crate) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let parse = |name: HeaderName| {
            let value = headers.get(&name).filter(|value| !value.is_empty());
            value
                .map(|value| ETagCondition::parse_http_header(value.as_bytes()))
                .transpose()
                .map_err(|_| s3_error!(InvalidArgument, "invalid {name}: expected an ETag or *"))
        };
        Ok(Self { if_match: parse(IF_MATCH)?, if_none_match: parse(IF_NONE_MATCH)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Checks a write.
    ///
    /// # Errors
    /// PreconditionFailed; NoSuchKey for If-Match without an object; NotImplemented for If-None-Match with an ETag.
    pub(crate) fn check(&self, current: Option<&Stored>) -> S3Result<()> {
        match (&self.if_match, current) {
            (Some(_), None) => return Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (Some(ETagCondition::ETag(expected)), Some(stored)) if !is_of(expected, stored) => return Err(failed()),
            _ => {}
        }
        match (&self.if_none_match, current) {
            (Some(ETagCondition::Any), Some(_)) => Err(failed()),
            (Some(ETagCondition::ETag(_)), _) => {
                Err(s3_error!(NotImplemented, "A header you provided implies functionality that is not implemented"))
            }
            _ => Ok(()),
        }
    }

    /// Checks a deletion. A key without an object can always be deleted
    /// ([DeleteObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html)).
    pub(crate) fn check_deletion(&self, current: Option<&Stored>) -> S3Result<()> {
        match (&self.if_match, current) {
            (Some(ETagCondition::ETag(expected)), Some(stored)) if !is_of(expected, stored) => Err(failed()),
            _ => Ok(()),
        }
    }
}

fn is_of(etag: &ETag, stored: &Stored) -> bool {
    etag.strong_cmp(&ETag::Strong(stored.etag.clone()))
}

fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
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
