//! The response to a viewer from a cached one: conditions, ranges, HEAD and Age.
//!
//! Ranges: [How CloudFront processes partial requests](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RangeGETs.html).

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use nearedge_core::http::conditional::{Conditions, Verdict};
use nearedge_core::http::range::{ByteRange, IfRange};
use nearedge_core::object::Metadata;

use crate::cloudfront::cache::store::Entry;

/// The conditions of a request, and its Range.
pub const CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Whether the request has conditions or a Range.
pub fn is_conditional_or_partial(headers: &HeaderMap) -> bool {
    CONDITIONS.iter().any(|name| headers.contains_key(name))
}

/// The response from an entry. `age` is absent if the origin has just sent or confirmed it.
pub fn answer(entry: &Entry, method: &Method, viewer: &HeaderMap, age: Option<Duration>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = entry.headers.clone();
    if let Some(age) = age {
        response.headers_mut().insert(AGE, HeaderValue::from(age.as_secs()));
    }
    *response.status_mut() = entry.status;
    let head = *method == Method::HEAD;
    if entry.status == StatusCode::OK && (head || *method == Method::GET) {
        let metadata = metadata(entry);
        match conditions(viewer, &metadata).evaluate(&metadata, None) {
            Verdict::Proceed => {}
            Verdict::NotModified => return without_content(response, StatusCode::NOT_MODIFIED),
            Verdict::Failed => return without_content(response, StatusCode::PRECONDITION_FAILED),
        }
        let range = text(viewer, RANGE).filter(|_| !head).and_then(ByteRange::parse);
        let applies = text(viewer, IF_RANGE).is_none_or(|field| IfRange::parse(field).matches(&metadata));
        if let Some(range) = range.filter(|_| applies) {
            return partial(response, entry, range);
        }
    }
    if !head {
        *response.body_mut() = entry.body.clone();
    }
    response
}

fn partial(mut response: Response<Bytes>, entry: &Entry, range: ByteRange) -> Response<Bytes> {
    let size = entry.body.len() as u64;
    let selected = range.select(size).and_then(|selected| {
        let bounds = usize::try_from(selected.start).ok()?..usize::try_from(selected.end).ok()?;
        Some((entry.body.slice(bounds), format!("bytes {}-{}/{size}", selected.start, selected.end - 1)))
    });
    let Some((part, content_range)) = selected else {
        response = without_content(response, StatusCode::RANGE_NOT_SATISFIABLE);
        if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
            response.headers_mut().insert(CONTENT_RANGE, value);
        }
        return response;
    };
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(part.len()));
    if let Ok(value) = HeaderValue::try_from(content_range) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    *response.body_mut() = part;
    response
}

fn without_content(mut response: Response<Bytes>, status: StatusCode) -> Response<Bytes> {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
        response.headers_mut().remove(name);
    }
    *response.status_mut() = status;
    response
}

/// The viewer's conditions. "If you do not specify an ETag value, CloudFront ignores subsequent If-Match or If-None-Match
/// headers"
/// ([caching](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html#ResponseCustomCaching)).
fn conditions<'a>(viewer: &'a HeaderMap, metadata: &Metadata) -> Conditions<'a> {
    let has_etag = metadata.etag.is_some();
    Conditions {
        if_match: text(viewer, IF_MATCH).filter(|_| has_etag),
        if_none_match: text(viewer, IF_NONE_MATCH).filter(|_| has_etag),
        if_modified_since: text(viewer, IF_MODIFIED_SINCE),
        if_unmodified_since: text(viewer, IF_UNMODIFIED_SINCE),
    }
}

fn metadata(entry: &Entry) -> Metadata {
    Metadata {
        etag: text(&entry.headers, ETAG).map(str::to_owned),
        last_modified: text(&entry.headers, LAST_MODIFIED).map(str::to_owned),
        size_bytes: entry.body.len() as u64,
        ..Metadata::default()
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cloudfront::cache::freshness::Freshness;

    fn entry(status: u16, fields: &[(HeaderName, &'static str)]) -> Entry {
        let zero = Duration::ZERO;
        let freshness = Freshness {
            ttl: Duration::from_secs(60),
            revalidate: true,
            stale_while_revalidate: zero,
            stale_if_error: zero,
            stale_if_unreachable: zero,
            keeps_cookies: true,
        };
        let status = StatusCode::from_u16(status).unwrap();
        Entry::new(status, &headers(fields), Bytes::from_static(b"0123456789"), freshness, SystemTime::UNIX_EPOCH)
    }

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn status_of(entry: &Entry, viewer: &[(HeaderName, &'static str)]) -> u16 {
        answer(entry, &Method::GET, &headers(viewer), None).status().as_u16()
    }

    #[test]
    fn conditions_apply_to_the_cached_object() {
        let tagged = entry(200, &[(ETAG, "\"a\""), (LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT")]);
        for (name, value, expected) in [
            (IF_NONE_MATCH, "\"a\"", 304),
            (IF_NONE_MATCH, "\"b\", W/\"a\"", 304),
            (IF_NONE_MATCH, "\"b\"", 200),
            (IF_MODIFIED_SINCE, "Fri, 02 Jan 2026 00:00:00 GMT", 304),
            (IF_MATCH, "\"b\"", 412),
            (IF_UNMODIFIED_SINCE, "Wed, 31 Dec 2025 00:00:00 GMT", 412),
        ] {
            assert_eq!(status_of(&tagged, &[(name.clone(), value)]), expected, "{name}: {value}");
        }
        let untagged = entry(200, &[]);
        assert_eq!(status_of(&untagged, &[(IF_MATCH, "\"b\"")]), 200, "CloudFront ignores it without an ETag");
        assert_eq!(status_of(&entry(404, &[(ETAG, "\"a\"")]), &[(IF_NONE_MATCH, "\"a\"")]), 404);
    }

    #[test]
    fn a_range_selects_a_part_if_if_range_matches() {
        let tagged = entry(200, &[(ETAG, "\"a\""), (CONTENT_LENGTH, "10")]);
        let viewer = headers(&[(RANGE, "bytes=-3"), (IF_RANGE, "\"a\"")]);
        let part = answer(&tagged, &Method::GET, &viewer, None);
        assert_eq!((part.status(), part.body().as_ref()), (StatusCode::PARTIAL_CONTENT, &b"789"[..]));
        assert_eq!(
            (&part.headers()[CONTENT_LENGTH], &part.headers()[CONTENT_RANGE]),
            (&HeaderValue::from(3), &HeaderValue::from_static("bytes 7-9/10"))
        );
        assert_eq!(status_of(&tagged, &[(RANGE, "bytes=-3"), (IF_RANGE, "\"b\"")]), 200);
        assert_eq!(status_of(&tagged, &[(RANGE, "bytes=0-1,3-4")]), 200);
        assert_eq!(status_of(&tagged, &[(RANGE, "bytes=10-")]), 416);
        let head = answer(&tagged, &Method::HEAD, &viewer, None);
        assert_eq!(
            (head.status(), head.body().len(), &head.headers()[CONTENT_LENGTH]),
            (StatusCode::OK, 0, &HeaderValue::from(10))
        );
    }
}
