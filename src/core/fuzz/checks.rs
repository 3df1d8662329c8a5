//! What must hold of any input, for the fuzzer (`fuzz/fuzz_targets`) and for the tests (`tests/fuzz.rs`) alike.

use nearedge_core::access::secret::Secrets;
use nearedge_core::http::conditional::{Conditions, Verdict, http_date};
use nearedge_core::http::range::{ByteRange, IfRange};
use nearedge_core::object::{KEY_BYTES_MAX, Metadata};
use nearedge_core::request::Request;
use nearedge_core::request::event::parse;
use nearedge_core::response::Outcome;
use nearedge_core::rules::decision::{Action, Policy, decide};

const SECRET: &str = "swordfish";

fn policy() -> Policy {
    Policy {
        secrets: Secrets::new(SECRET).expect("a fine secret"),
        redirect_path: "https://d1.cloudfront.net".to_owned(),
        redirect_query: true,
        test_versions: None,
        variant_fallback: true,
        index_document: "index.html".to_owned(),
        spa_fallback: Some("app.html".to_owned()),
    }
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn known() -> Metadata {
    Metadata { etag: Some("\"tag\"".to_owned()), last_modified: Some(MODIFIED.to_owned()), ..Metadata::default() }
}

/// Any bytes are an event or an error that does not quote them, and nobody gets in without the secret.
pub(crate) fn event(bytes: &[u8]) {
    match parse(bytes) {
        Ok(request) => {
            let opened = decide(&request, &policy()).action != Action::Respond(Outcome::Forbidden);
            assert_eq!(opened, request.lambda_auth.as_deref() == Some(SECRET));
        }
        Err(error) => assert!(!error.to_string().contains(SECRET)),
    }
}

/// Any Range and If-Range select bytes that are there, or none.
pub(crate) fn range(field: &str, bytes: u64) {
    if let Some(selected) = ByteRange::parse(field).and_then(|range| range.select(bytes)) {
        assert!(selected.start < selected.end && selected.end <= bytes);
    }
    let same_date = http_date(field).is_some() && http_date(field) == http_date(MODIFIED);
    assert_eq!(IfRange::parse(field).matches(&known()), field.trim_ascii() == "\"tag\"" || same_date);
}

/// Any conditional fields come to a verdict; the object's own tag is never "modified".
pub(crate) fn conditional(field: &str) {
    let known = known();
    let all = Some(field);
    let _ = Conditions { if_match: all, if_none_match: all, if_modified_since: all, if_unmodified_since: all }
        .evaluate(&known);
    let own = format!("\"tag\", {field}");
    let own = Conditions { if_none_match: Some(&own), ..Conditions::default() };
    assert_eq!(own.evaluate(&known), Verdict::NotModified);
}

/// Any path, version and query lead to keys under the version and to a Location that is a safe header value.
pub(crate) fn path(path: &str, version: &str, query: &str) {
    let request = Request {
        path: path.into(),
        query: query.into(),
        lambda_auth: Some(SECRET.into()),
        test_version: Some(version.into()),
        ..Request::default()
    };
    if let Action::Fetch { first, others, .. } = decide(&request, &policy()).action {
        for candidate in std::iter::once(first).chain(others) {
            let under = candidate.key.as_str().strip_prefix(version).is_some_and(|rest| rest.starts_with('/'));
            assert!(under || !candidate.of_variant);
            assert!(!candidate.key.as_str().is_empty() && !candidate.key.as_str().ends_with('/'));
            // The first may be too long for S3 where its fallback is not.
            assert!(candidate.key.can_exist() || candidate.key.as_str().len() > KEY_BYTES_MAX);
        }
    }
    let redirected = Request { redirect: Some("true".into()), ..request };
    if let Action::Redirect { location, .. } = decide(&redirected, &policy()).action {
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
        let path = location.strip_prefix("https://d1.cloudfront.net/").expect("it leads home").split('?').next();
        let is_folded = |segment: &str| matches!(segment, "." | "..");
        assert!(!path.unwrap_or_default().split('/').any(is_folded), "whoever follows it folds nothing away");
    }
}
