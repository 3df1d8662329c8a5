//! Properties that hold for every input, shared by the fuzz targets (`fuzz/fuzz_targets`) and `tests/fuzz.rs`.

use nearedge_core::access::secret::Secrets;
use nearedge_core::http::conditional::{Conditions, Verdict};
use nearedge_core::http::date::http_date;
use nearedge_core::http::range::{ByteRange, IfRange};
use nearedge_core::object::{KEY_BYTES_MAX, Metadata};
use nearedge_core::request::Request;
use nearedge_core::request::event::parse;
use nearedge_core::response::Outcome;
use nearedge_core::rules::{Action, Policy, decide};

const SECRET: &str = "swordfish";

fn policy() -> Policy {
    Policy {
        secrets: Secrets::new(SECRET).expect("expected a valid secret"),
        redirect_path: "https://d1.cloudfront.net".to_owned(),
        redirect_query: true,
        test_versions: None,
        variant_fallback: true,
        index_document: "index.html".to_owned(),
        spa_fallback: Some("app.html".to_owned()),
    }
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn object() -> Metadata {
    Metadata { etag: Some("\"tag\"".to_owned()), last_modified: Some(MODIFIED.to_owned()), ..Metadata::default() }
}

/// Any bytes are an event, or an error that does not quote them. Only an event with the secret is accepted.
pub(crate) fn event(bytes: &[u8]) {
    match parse(bytes) {
        Ok(request) => {
            let is_accepted = decide(&request, &policy(), None).action != Action::Respond(Outcome::Forbidden);
            assert_eq!(is_accepted, request.lambda_auth.as_deref() == Some(SECRET));
        }
        Err(error) => assert!(!error.to_string().contains(SECRET)),
    }
}

/// Any Range selects bytes of the object, or none. If-Range matches only the object's own tag or date.
pub(crate) fn range(field: &str, size_bytes: u64) {
    if let Some(selected) = ByteRange::parse(field).and_then(|range| range.select(size_bytes)) {
        assert!(selected.start < selected.end && selected.end <= size_bytes);
    }
    let same_date = http_date(field).is_some() && http_date(field) == http_date(MODIFIED);
    assert_eq!(IfRange::parse(field).matches(&object()), field.trim_ascii() == "\"tag\"" || same_date);
}

/// Any conditional fields have a verdict. If-None-Match with the object's own tag is always "not modified".
pub(crate) fn conditional(field: &str) {
    let object = object();
    let all = Some(field);
    let _ = Conditions { if_match: all, if_none_match: all, if_modified_since: all, if_unmodified_since: all }
        .evaluate(&object);
    let own = format!("\"tag\", {field}");
    let own = Conditions { if_none_match: Some(&own), ..Conditions::default() };
    assert_eq!(own.evaluate(&object), Verdict::NotModified);
}

/// Any path, variant and query give keys below the variant and a Location that is a safe header value.
pub(crate) fn path(path: &str, variant: &str, query: &str) {
    let request = Request {
        path: path.into(),
        query: query.into(),
        lambda_auth: Some(SECRET.into()),
        test_version: Some(variant.into()),
        ..Request::default()
    };
    if let Action::Fetch { first, others, .. } = decide(&request, &policy(), None).action {
        for candidate in std::iter::once(first).chain(others) {
            let is_below = candidate.key.as_str().strip_prefix(variant).is_some_and(|rest| rest.starts_with('/'));
            assert!(is_below || !candidate.of_variant);
            assert!(!candidate.key.as_str().is_empty() && !candidate.key.as_str().ends_with('/'));
            // The variant's key can be too long for S3 while its fallback is not.
            assert!(candidate.key.can_exist() || candidate.key.as_str().len() > KEY_BYTES_MAX);
        }
    }
    let redirected = Request { redirect: Some("true".into()), ..request };
    if let Action::Redirect { location, .. } = decide(&redirected, &policy(), None).action {
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
        let path = location
            .strip_prefix("https://d1.cloudfront.net/")
            .expect("expected the prefix redirect_path")
            .split('?')
            .next();
        let is_dot_segment = |segment: &str| matches!(segment, "." | "..");
        assert!(!path.unwrap_or_default().split('/').any(is_dot_segment), "expected no dot segment in {location}");
    }
}
