//! Outcomes → HTTP responses: the only module that knows status codes.
//!
//! `docs/outcomes.md` has the whole of it in one table, which a test reads.

pub mod payload;

use std::borrow::Cow;

use crate::object::{Body, Head, Metadata, Object, ObjectKey};
use crate::store::FetchError;

/// How long a client is asked to wait before it tries again, in seconds.
const RETRY_AFTER_SECS: &str = "1";

/// The methods that are answered.
const ALLOW: (&str, Cow<'static, str>) = ("allow", Cow::Borrowed("GET, HEAD, OPTIONS"));

/// Says that an answer may not be kept: it is about this moment, not about the object.
const NO_STORE: (&str, Cow<'static, str>) = ("cache-control", Cow::Borrowed("no-store"));

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The secret is absent or wrong.
    Forbidden,
    /// None of GET, HEAD and OPTIONS.
    MethodRefused,
    /// OPTIONS.
    MethodsListed,
    /// The path holds a NUL.
    PathRefused,
    /// `test_version` is not of the form that a version has.
    VersionRefused,
    /// The viewer is sent to this Location, as the header `redirect` asks.
    Redirected(String),
    /// The object, a part of it, or its head.
    Found(Object),
    /// The client has the object already.
    NotModified(Head),
    /// The object is not what the client takes it for.
    PreconditionFailed,
    /// There are no such bytes in the object: its size.
    RangeNotSatisfiable(u64),
    /// Too large for an answer: the viewer is sent to this Location instead.
    Oversized(String),
    /// Too large for an answer, and to be refused: the key and the size.
    TooLarge(ObjectKey, u64),
    /// The object is missing, and this document says so.
    ErrorDocument(Object),
    /// The key that was asked for, and why there is no object.
    NotFetched(ObjectKey, FetchError),
}

impl Outcome {
    /// The word that logs and metrics use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::MethodRefused => "method_refused",
            Self::MethodsListed => "methods_listed",
            Self::PathRefused => "path_refused",
            Self::VersionRefused => "version_refused",
            Self::Redirected(_) => "redirected",
            Self::Found(Object { range: None, .. }) => "found",
            Self::Found(_) => "partial",
            Self::NotModified(_) => "not_modified",
            Self::PreconditionFailed => "precondition_failed",
            Self::RangeNotSatisfiable(_) => "range_not_satisfiable",
            Self::Oversized(_) => "oversized",
            Self::TooLarge(..) => "too_large",
            Self::ErrorDocument(_) => "error_document",
            Self::NotFetched(_, error) => match error {
                FetchError::Missing(_) => "missing",
                FetchError::Unavailable(_) => "unavailable",
                FetchError::TimedOut(_) => "timed_out",
                FetchError::Failed(_) => "failed",
            },
        }
    }
}

/// The settings that responses depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// The status of a missing object: 404, or the reference's 200.
    pub missing_status: u16,
    /// Whether `x-variant` says which variant was served.
    pub variant_header: bool,
    /// What answers vary by: the request headers that choose between them (RFC 9110 §12.5.5).
    pub vary: &'static str,
}

/// What a response carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Empty,
    /// A short text of our own.
    Text(Cow<'static, str>),
    /// An object's body.
    Object(Body),
}

/// An HTTP response, before it is written as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    /// The object whose own header fields come first, written already.
    pub head: Option<Head>,
    /// The other header fields: lower-case names, each once.
    pub headers: Vec<(&'static str, Cow<'a, str>)>,
    /// The body.
    pub content: Content,
    /// How long the body of a GET is, in bytes, whether or not it is there.
    pub body_bytes: u64,
}

impl<'a> Response<'a> {
    /// The one place where outcomes become HTTP. `variant` is the one that the object was found under.
    pub fn of(outcome: Outcome, variant: Option<&'a str>, presentation: &Presentation) -> Self {
        // Nobody's answer to a refused secret or method depends on a version.
        let varies = !matches!(outcome, Outcome::Forbidden | Outcome::MethodRefused | Outcome::MethodsListed);
        let mut response = Self::without_vary(outcome, presentation);
        if varies {
            response.headers.push(("vary", Cow::Borrowed(presentation.vary)));
        }
        if let Some(variant) = variant.filter(|_| presentation.variant_header) {
            response.headers.push(("x-variant", Cow::Borrowed(variant)));
        }
        response
    }

    /// All header fields, in the order in which they are written.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = self.head.iter().flat_map(|head| head.fields());
        own.chain(self.headers.iter().map(|(name, value)| (*name, &**value)))
    }

    fn without_vary(outcome: Outcome, presentation: &Presentation) -> Self {
        match outcome {
            Outcome::Found(object) => Self::object(object),
            Outcome::NotModified(head) => Self::empty(304, owned(&head, for_not_modified(&head))),
            Outcome::ErrorDocument(Object { head, body, .. }) => {
                // What it takes to read it, and nothing of its own time to live.
                let mut headers = owned(&head, |name| name.starts_with("content-") && name != "content-disposition");
                headers.push(NO_STORE);
                let content = Content::Object(body);
                Self { status: presentation.missing_status, head: None, headers, content, body_bytes: head.size_bytes }
            }
            Outcome::Redirected(location) => Self::elsewhere(302, location),
            // 307, not 302: the method stays, and the Range with it (RFC 9110 §15.4.8).
            Outcome::Oversized(location) => Self::elsewhere(307, location),
            Outcome::MethodsListed => Self::empty(204, vec![ALLOW, NO_STORE]),
            Outcome::Forbidden => Self::text(403, "request is forbidden"),
            Outcome::MethodRefused => Self::text(405, "only GET, HEAD and OPTIONS are answered here").with([ALLOW]),
            Outcome::PathRefused => Self::text(400, "the path must not hold a NUL"),
            Outcome::VersionRefused => Self::text(
                400,
                "test_version must be 1 to 64 letters, digits, dots, underscores or hyphens, and neither . nor ..",
            ),
            Outcome::PreconditionFailed => Self::text(
                412,
                "the object is another than the request's If-Match or \
                If-Unmodified-Since takes it for",
            ),
            Outcome::RangeNotSatisfiable(bytes) => Self::text(416, format!("the object has {bytes} bytes"))
                .with([("content-range", Cow::Owned(format!("bytes */{bytes}"))), ACCEPT_RANGES]),
            Outcome::TooLarge(key, bytes) => {
                Self::text(413, format!("file too large to be answered from here ({bytes} bytes): {key}"))
            }
            Outcome::NotFetched(key, error) => match error {
                FetchError::Missing(_) => Self::text(presentation.missing_status, format!("no file: {key}")),
                FetchError::Unavailable(_) => Self::text(503, "storage is unavailable: try again in a moment")
                    .with([("retry-after", Cow::Borrowed(RETRY_AFTER_SECS))]),
                FetchError::TimedOut(_) => Self::text(504, "storage did not answer in time"),
                FetchError::Failed(_) => Self::text(502, "storage gave no usable answer"),
            },
        }
    }

    fn object(object: Object) -> Self {
        let Object { head, range, body } = object;
        let bytes = head.size_bytes;
        // Room for what is added to an object's own fields.
        let mut headers = Vec::with_capacity(4);
        headers.push(ACCEPT_RANGES);
        let (status, body_bytes) = match range {
            Some(range) => {
                let content_range = format!("bytes {}-{}/{bytes}", range.start, range.end.saturating_sub(1));
                headers.push(("content-range", Cow::Owned(content_range)));
                (206, range.end.saturating_sub(range.start))
            }
            None => (200, bytes),
        };
        Self { status, head: Some(head), headers, content: Content::Object(body), body_bytes }
    }

    fn elsewhere(status: u16, location: String) -> Self {
        Self::empty(status, vec![("location", location.into()), NO_STORE])
    }

    fn empty(status: u16, headers: Vec<(&'static str, Cow<'a, str>)>) -> Self {
        Self { status, head: None, headers, content: Content::Empty, body_bytes: 0 }
    }

    /// A text of our own: never kept, and never taken for HTML though it may repeat what was asked for.
    fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self {
            status,
            head: None,
            headers: vec![
                ("content-type", Cow::Borrowed("text/plain; charset=utf-8")),
                ("x-content-type-options", Cow::Borrowed("nosniff")),
                NO_STORE,
            ],
            body_bytes: text.len() as u64,
            content: Content::Text(text),
        }
    }

    fn with<const N: usize>(mut self, headers: [(&'static str, Cow<'a, str>); N]) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The response to HEAD: the same status and headers, no body (RFC 9110 §9.3.2). API Gateway counts the body
    /// of a GET; that of a HEAD is not there to be counted.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        if self.body_bytes > 0 {
            self.headers.push(("content-length", Cow::Owned(self.body_bytes.to_string())));
        }
        Self { content: Content::Empty, ..self }
    }
}

const ACCEPT_RANGES: (&str, Cow<'static, str>) = ("accept-ranges", Cow::Borrowed("bytes"));

/// What a 304 carries (RFC 9110 §15.4.5): the validator and what guides a cache, and nothing else that the
/// cache would take over; Last-Modified only where there is no ETag.
fn for_not_modified(head: &Head) -> impl Fn(&str) -> bool {
    let validator = if head.etag.is_some() { "etag" } else { "last-modified" };
    move |name| name == validator || matches!(name, "cache-control" | "expires")
}

/// Those of an object's own fields that are wanted.
fn owned<'a>(metadata: &Metadata, wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, Cow<'a, str>)> {
    metadata
        .fields()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name, Cow::Owned(value.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Cause, Missing};

    const PRESENTATION: Presentation =
        Presentation { missing_status: 404, variant_header: true, vary: "test_version, redirect" };

    fn respond(outcome: Outcome) -> Response<'static> {
        Response::of(outcome, None, &PRESENTATION)
    }

    fn header<'a>(response: &'a Response<'_>, name: &str) -> Option<&'a str> {
        response.fields().find(|(given, _)| *given == name).map(|(_, value)| value)
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
        let all = || Some("x".to_owned());
        let metadata = Metadata {
            content_type: all(),
            etag: all(),
            last_modified: all(),
            cache_control: all(),
            content_encoding: all(),
            content_language: all(),
            content_disposition: all(),
            expires: all(),
            size_bytes: 10,
        };
        Object { head: Head::new(metadata), range, body: body() }
    }

    /// A new outcome does not compile until it has been put into [`outcomes`] and the table too.
    fn is_known(outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Forbidden | Outcome::MethodRefused | Outcome::MethodsListed | Outcome::PathRefused => true,
            Outcome::VersionRefused | Outcome::Redirected(_) | Outcome::Found(_) | Outcome::NotModified(_) => true,
            Outcome::PreconditionFailed | Outcome::RangeNotSatisfiable(_) | Outcome::Oversized(_) => true,
            Outcome::TooLarge(..) | Outcome::ErrorDocument(_) => true,
            Outcome::NotFetched(_, FetchError::Missing(_) | FetchError::Unavailable(_)) => true,
            Outcome::NotFetched(_, FetchError::TimedOut(_) | FetchError::Failed(_)) => true,
        }
    }

    /// One outcome of every kind.
    fn outcomes() -> Vec<Outcome> {
        let cause = || Cause::from(std::io::Error::other("detail that is not for viewers"));
        let not_fetched = |error| Outcome::NotFetched(key(), error);
        vec![
            Outcome::Forbidden,
            Outcome::MethodRefused,
            Outcome::MethodsListed,
            Outcome::PathRefused,
            Outcome::VersionRefused,
            Outcome::Redirected("https://d1/v1/x.html".into()),
            Outcome::Found(object(None)),
            Outcome::Found(object(Some(2..5))),
            Outcome::NotModified(object(None).head),
            Outcome::PreconditionFailed,
            Outcome::RangeNotSatisfiable(10),
            Outcome::Oversized("https://bucket/x?X-Amz-Signature=1".into()),
            Outcome::TooLarge(key(), 10_000_000),
            Outcome::ErrorDocument(object(None)),
            not_fetched(FetchError::Missing(Missing::NoSuchKey)),
            not_fetched(FetchError::Unavailable(cause())),
            not_fetched(FetchError::TimedOut(cause())),
            not_fetched(FetchError::Failed(cause())),
        ]
    }

    #[test]
    fn the_table_of_outcomes_in_the_docs_is_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/outcomes.md");
        let page = std::fs::read_to_string(path).unwrap();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).map(cells).collect();
        let names: Vec<_> = outcomes().iter().map(|outcome| format!("`{}`", outcome.name())).collect();
        assert_eq!(rows.iter().map(|row| row[1].clone()).collect::<Vec<_>>(), names, "one row for each, in this order");
        for (outcome, row) in outcomes().into_iter().zip(&rows) {
            assert!(is_known(&outcome));
            let response = Response::of(outcome, None, &PRESENTATION);
            let kept = header(&response, "cache-control") != Some("no-store");
            let names: Vec<_> = response.fields().map(|(name, _)| format!("`{name}`")).collect();
            assert_eq!(row[2], response.status.to_string(), "{row:?}");
            assert_eq!(row[3], names.join(" "), "{row:?}");
            assert_eq!(row[4], if kept { "as the object says" } else { "no-store" }, "{row:?}");
        }
    }

    #[test]
    fn a_missing_object_is_a_404_with_the_references_body_whichever_way_s3_says_it() {
        for missing in [Missing::NoSuchKey, Missing::AccessDenied] {
            let response = respond(Outcome::NotFetched(key(), FetchError::Missing(missing)));
            assert_eq!(response.status, 404);
            assert_eq!(response.content, Content::Text("no file: v1/x.html".into()));
        }
    }

    #[test]
    fn missing_status_can_be_the_references_200() {
        let presentation = Presentation { missing_status: 200, ..PRESENTATION };
        let outcome = Outcome::NotFetched(key(), FetchError::Missing(Missing::NoSuchKey));
        assert_eq!(Response::of(outcome, None, &presentation).status, 200);
    }

    #[test]
    fn no_text_of_trouble_says_no_file_or_quotes_the_detail() {
        for outcome in outcomes() {
            let missing = matches!(outcome, Outcome::NotFetched(_, FetchError::Missing(_)));
            if let Content::Text(text) = respond(outcome).content {
                assert_eq!(text.contains("no file"), missing, "{text}");
                assert!(!text.contains("detail"), "{text}");
            }
        }
    }

    #[test]
    fn the_forbidden_answer_is_the_references() {
        let response = respond(Outcome::Forbidden);
        assert_eq!((response.status, response.content), (403, Content::Text("request is forbidden".into())));
    }

    #[test]
    fn rfc9110_14_4_a_part_says_where_it_lies() {
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
    fn the_variant_header_can_be_turned_off() {
        let variant = |presentation: &Presentation| {
            let response = Response::of(Outcome::Found(object(None)), Some("v1"), presentation);
            header(&response, "x-variant").map(str::to_owned)
        };
        assert_eq!(variant(&PRESENTATION).as_deref(), Some("v1"));
        assert_eq!(variant(&Presentation { variant_header: false, ..PRESENTATION }), None);
    }

    #[test]
    fn rfc9110_9_3_2_a_head_says_how_long_the_body_of_a_get_is() {
        for outcome in outcomes() {
            let get = respond(outcome);
            assert_eq!(header(&get, "content-length"), None, "API Gateway counts it");
            let bytes = get.body_bytes;
            let head = get.without_body();
            let said = header(&head, "content-length").map(str::to_owned);
            assert_eq!(said, (bytes > 0).then(|| bytes.to_string()), "{head:?}");
        }
        assert_eq!(respond(Outcome::Found(object(Some(2..5)))).body_bytes, 3);
        assert_eq!(respond(Outcome::Forbidden).body_bytes, 20);
    }

    #[test]
    fn no_header_is_there_twice_and_every_name_is_in_lower_case() {
        for outcome in outcomes() {
            let response = respond(outcome);
            let mut names: Vec<_> = response.fields().map(|(name, _)| name).collect();
            assert!(names.iter().all(|name| name.bytes().all(|byte| !byte.is_ascii_uppercase())));
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        }
    }

    #[test]
    fn a_response_to_head_has_the_headers_and_no_body() {
        let response = respond(Outcome::Forbidden);
        let head = response.clone().without_body();
        assert_eq!(head.status, response.status);
        assert_eq!(
            head.fields().take(response.fields().count()).collect::<Vec<_>>(),
            response.fields().collect::<Vec<_>>()
        );
        assert_eq!(head.content, Content::Empty);
    }
}
