//! The responses of all outcomes.

use std::sync::LazyLock;

use super::*;
use crate::store::{Cause, Missing};

static PRESENTATION: LazyLock<Presentation> = LazyLock::new(|| Presentation::new("test_version, redirect"));

fn respond(outcome: Outcome) -> Response<'static> {
    Response::of(outcome, &Context::new(&PRESENTATION))
}

fn header<'a>(response: &'a Response<'_>, name: &str) -> Option<&'a str> {
    response.fields().find(|(field, _)| *field == name).map(|(_, value)| value)
}

fn key() -> ObjectKey {
    ObjectKey::new("v1/x.html".into())
}

fn body() -> Body {
    let mut encoder = crate::object::BodyEncoder::with_capacity(1);
    encoder.push(&b"x"[..]);
    encoder.finish()
}

fn object(range: Option<std::ops::Range<u64>>) -> Object {
    let x = || Some("x".to_owned());
    let metadata = Metadata {
        content_type: x(),
        etag: x(),
        last_modified: x(),
        cache_control: x(),
        content_encoding: x(),
        content_language: x(),
        content_disposition: x(),
        expires: x(),
        redirect_location: None,
        size_bytes: 10,
    };
    Object { head: Head::new(metadata), range, body: body() }
}

/// Fails to compile for a new outcome: add it here, to [`outcomes`] and to the table in the docs.
fn is_listed(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Forbidden | Outcome::MethodRefused | Outcome::MethodsListed | Outcome::PathRefused => true,
        Outcome::VersionRefused | Outcome::Redirected(_) | Outcome::Found(_) | Outcome::NotModified(_) => true,
        Outcome::PreconditionFailed | Outcome::RangeNotSatisfiable(_) | Outcome::Oversized(..) => true,
        Outcome::TooLarge(..) | Outcome::ErrorDocument(_) | Outcome::Moved(..) | Outcome::Generated(..) => true,
        Outcome::GoalReached | Outcome::GoalUnknown | Outcome::ValueRefused(_) => true,
        Outcome::Denied(_) | Outcome::AccessUnavailable => true,
        Outcome::NotFetched(_, FetchError::Missing(_) | FetchError::Unavailable(_)) => true,
        Outcome::NotFetched(_, FetchError::TimedOut(_) | FetchError::Failed(_) | FetchError::Refused(_)) => true,
        Outcome::NotFetched(_, FetchError::Busy(_)) => true,
    }
}

/// One outcome of each kind, in the order of the table.
fn outcomes() -> Vec<Outcome> {
    let cause = || Cause::from(std::io::Error::other("internal detail"));
    let not_fetched = |error| Outcome::NotFetched(key(), error);
    vec![
        Outcome::Forbidden,
        Outcome::MethodRefused,
        Outcome::MethodsListed,
        Outcome::PathRefused,
        Outcome::VersionRefused,
        Outcome::GoalReached,
        Outcome::GoalUnknown,
        Outcome::ValueRefused("value is not a number"),
        Outcome::Denied(Denial::MissingToken { login: Some("https://id.example/login".into()) }),
        Outcome::Denied(Denial::MissingToken { login: None }),
        Outcome::Denied(Denial::InvalidSignature),
        Outcome::Denied(Denial::Expired),
        Outcome::AccessUnavailable,
        Outcome::Redirected("https://d1/v1/x.html".into()),
        Outcome::Moved(307, "/about/".into()),
        Outcome::Generated(410, Some(object(None))),
        Outcome::Found(object(None)),
        Outcome::Found(object(Some(2..5))),
        Outcome::NotModified(object(None).head),
        Outcome::PreconditionFailed,
        Outcome::RangeNotSatisfiable(10),
        Outcome::Oversized("https://bucket/x?X-Amz-Signature=1".into(), Copyable::No),
        Outcome::TooLarge(key(), 10_000_000, Copyable::No),
        Outcome::ErrorDocument(object(None)),
        not_fetched(FetchError::Missing(Missing::NoSuchKey)),
        not_fetched(FetchError::Refused(cause())),
        not_fetched(FetchError::Unavailable(cause())),
        not_fetched(FetchError::TimedOut(cause())),
        not_fetched(FetchError::Failed(cause())),
    ]
}

#[test]
fn the_outcome_table_in_the_docs_matches_the_code() {
    let page = include_str!("../../../docs/outcomes.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).map(cells).collect();
    let names: Vec<_> = outcomes().iter().map(|outcome| format!("`{}`", outcome.name())).collect();
    assert_eq!(rows.iter().map(|row| row[1].clone()).collect::<Vec<_>>(), names, "one row per outcome, in this order");
    for (outcome, row) in outcomes().into_iter().zip(&rows) {
        assert!(is_listed(&outcome));
        let response = Response::of(outcome, &Context::new(&PRESENTATION));
        let is_cacheable = header(&response, "cache-control") != Some("no-store");
        let names: Vec<_> = response.fields().map(|(name, _)| format!("`{name}`")).collect();
        assert_eq!(row[2], response.status.to_string(), "{row:?}");
        assert_eq!(row[3], names.join(" "), "{row:?}");
        assert_eq!(row[4], if is_cacheable { "as set on the object" } else { "no-store" }, "{row:?}");
    }
}

#[test]
fn no_such_key_and_access_denied_are_the_references_no_file() {
    for missing in [Missing::NoSuchKey, Missing::AccessDenied] {
        let response = respond(Outcome::NotFetched(key(), FetchError::Missing(missing)));
        assert_eq!(response.status, 404);
        assert_eq!(response.content, Content::Text("no file: v1/x.html".into()));
    }
}

#[test]
fn missing_status_can_be_the_references_200() {
    let presentation = Presentation { missing_status: 200, ..PRESENTATION.clone() };
    let outcome = Outcome::NotFetched(key(), FetchError::Missing(Missing::NoSuchKey));
    assert_eq!(Response::of(outcome, &Context::new(&presentation)).status, 200);
}

#[test]
fn error_texts_contain_neither_no_file_nor_the_cause() {
    for outcome in outcomes() {
        let missing = matches!(outcome, Outcome::NotFetched(_, FetchError::Missing(_)));
        if let Content::Text(text) = respond(outcome).content {
            assert_eq!(text.contains("no file"), missing, "{text}");
            assert!(!text.contains("detail"), "{text}");
        }
    }
}

#[test]
fn the_forbidden_response_is_the_references() {
    let response = respond(Outcome::Forbidden);
    assert_eq!((response.status, response.content), (403, Content::Text("request is forbidden".into())));
}

#[test]
fn rfc9110_14_4_partial_content_has_a_content_range() {
    assert_eq!(header(&respond(Outcome::Found(object(Some(2..5)))), "content-range"), Some("bytes 2-4/10"));
    assert_eq!(header(&respond(Outcome::RangeNotSatisfiable(10)), "content-range"), Some("bytes */10"));
}

#[test]
fn rfc9110_15_4_5_a_304_has_one_validator() {
    let head = object(None).head;
    let both = respond(Outcome::NotModified(head.clone()));
    assert_eq!((header(&both, "etag"), header(&both, "last-modified")), (Some("x"), None));
    let dated = respond(Outcome::NotModified(Head::new(Metadata { etag: None, ..(*head).clone() })));
    assert_eq!(header(&dated, "last-modified"), Some("x"));
}

#[test]
fn an_object_without_a_type_is_binary() {
    assert_eq!(header(&respond(Outcome::Found(Object::default())), "content-type"), Some("binary/octet-stream"));
}

#[test]
fn the_variant_header_can_be_disabled() {
    let variant = |presentation: &Presentation| {
        let response =
            Response::of(Outcome::Found(object(None)), &Context { variant: Some("v1"), ..Context::new(presentation) });
        header(&response, "x-variant").map(str::to_owned)
    };
    assert_eq!(variant(&PRESENTATION).as_deref(), Some("v1"));
    assert_eq!(variant(&Presentation { variant_header: false, ..PRESENTATION.clone() }), None);
}

#[test]
fn rfc9110_9_3_2_head_has_the_content_length_of_get() {
    for outcome in outcomes() {
        let get = respond(outcome);
        assert_eq!(header(&get, "content-length"), None, "API Gateway computes it");
        let bytes = get.body_bytes;
        let head = get.without_body();
        let content_length = header(&head, "content-length").map(str::to_owned);
        assert_eq!(content_length, (bytes > 0).then(|| bytes.to_string()), "{head:?}");
    }
    assert_eq!(respond(Outcome::Found(object(Some(2..5)))).body_bytes, 3);
    assert_eq!(respond(Outcome::Forbidden).body_bytes, 20);
}

#[test]
fn header_names_are_unique_and_lower_case() {
    for outcome in outcomes() {
        let response = respond(outcome);
        let mut names: Vec<_> = response.fields().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| !byte.is_ascii_uppercase())));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}

#[test]
fn rules_of_headers_cannot_loosen_the_caching_of_a_response() {
    let set = |name, value: &'static str| Field { name, change: FieldChange::Set(value.into()) };
    // The names are written out here, so that the test does not trust `is_caching`.
    let others = [
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "netlify-cdn-cache-control",
        "vercel-cdn-cache-control",
        "surrogate-control",
        "edge-control",
        "x-accel-expires",
        "pragma",
    ];
    let is_caching = |name: &str| ["cache-control", "expires"].contains(&name) || others.contains(&name);
    let changes = others.map(|name| set(name, "public, max-age=9"));
    let changes = [&[set("cache-control", "public"), set("expires", "x")][..], &changes].concat();
    let (private, guarded) =
        (Personal { private: true, ..Personal::default() }, Guarded { private: true, ..Guarded::default() });
    for outcome in outcomes() {
        let is_momentary = !matches!(
            outcome,
            Outcome::Found(_) | Outcome::NotModified(_) | Outcome::Moved(..) | Outcome::Generated(..)
        );
        let context = Context { changes: &changes, ..Context::new(&PRESENTATION) };
        let caching = |context: &Context<'_, '_>| {
            let response = Response::of(outcome.clone(), context);
            let fields = response.fields().filter(|(name, _)| is_caching(name));
            fields.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        };
        let name = outcome.name();
        assert_eq!(caching(&context) == ["no-store"], is_momentary, "{name}");
        let personal = caching(&Context { personal: Some(&private), ..context });
        assert_eq!(personal, ["private, no-store"], "{name}");
        let of_guarded = caching(&Context { guarded: Some(&guarded), ..context });
        assert!(of_guarded == ["private"] || of_guarded == ["private, no-store"], "{name}: {of_guarded:?}");
    }
}

#[test]
fn rules_of_headers_cannot_change_what_a_text_of_the_origin_is() {
    let html = FieldChange::Set("text/html".into());
    let names = ["content-type", "x-content-type-options", "www-authenticate", "allow", "retry-after"];
    let removals = names.map(|name| Field { name, change: FieldChange::Remove });
    let texts = outcomes().into_iter().filter(|outcome| matches!(respond(outcome.clone()).content, Content::Text(_)));
    for outcome in texts {
        let is_text = |(name, _): &(&str, &str)| names.contains(name);
        let plain = respond(outcome.clone());
        for changes in [&removals[..], &[Field { name: "content-type", change: html.clone() }]] {
            let changed = Response::of(outcome.clone(), &Context { changes, ..Context::new(&PRESENTATION) });
            assert!(changed.fields().filter(is_text).eq(plain.fields().filter(is_text)), "{}", outcome.name());
        }
    }
}

#[test]
fn a_head_response_has_the_headers_of_get_and_no_body() {
    let response = respond(Outcome::Forbidden);
    let head = response.clone().without_body();
    assert_eq!(head.status, response.status);
    assert_eq!(
        head.fields().take(response.fields().count()).collect::<Vec<_>>(),
        response.fields().collect::<Vec<_>>()
    );
    assert_eq!(head.content, Content::Empty);
}
