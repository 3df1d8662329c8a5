//! Outcomes → HTTP responses: the only module that knows status codes.

use std::borrow::Cow;

use crate::object::{Body, FetchError, Object, ObjectKey};

/// How long a client is asked to wait before it tries again, in seconds.
const RETRY_AFTER_SECS: &str = "1";

/// Says that an answer may not be kept: it is about this moment, not about the object.
const NO_STORE: (&str, Cow<'static, str>) = ("cache-control", Cow::Borrowed("no-store"));

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The secret is absent or wrong.
    Forbidden,
    /// Neither GET nor HEAD.
    MethodRefused,
    /// `test_version` is not of the form that a version has.
    VersionRefused,
    /// The viewer is sent to this Location.
    Redirected(String),
    /// The object, or its head.
    Found(Object),
    /// The key that was asked for, and why nothing was sent.
    NotFetched(ObjectKey, FetchError),
}

impl Outcome {
    /// The word that logs and metrics use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::MethodRefused => "method_refused",
            Self::VersionRefused => "version_refused",
            Self::Redirected(_) => "redirected",
            Self::Found(_) => "found",
            Self::NotFetched(_, error) => match error {
                FetchError::Missing(_) => "missing",
                FetchError::TooLarge(_) => "too_large",
                FetchError::Unavailable(_) => "unavailable",
                FetchError::TimedOut(_) => "timed_out",
                FetchError::Failed(_) => "failed",
            },
        }
    }
}

/// The settings that responses depend on.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// The status of a missing object: 404, or the reference's 200.
    pub missing_status: u16,
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
pub struct Response {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    /// Header fields: lower-case names, each once.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub content: Content,
}

impl Response {
    /// The one place where outcomes become HTTP.
    pub fn of(outcome: Outcome, presentation: &Presentation) -> Self {
        match outcome {
            Outcome::Found(object) => Self::object(object),
            Outcome::Redirected(location) => {
                Self { status: 302, headers: vec![("location", location.into()), NO_STORE], content: Content::Empty }
            }
            Outcome::Forbidden => Self::text(403, "request is forbidden"),
            Outcome::MethodRefused => Self::text(405, "only GET and HEAD are answered here").with("allow", "GET, HEAD"),
            Outcome::VersionRefused => Self::text(
                400,
                "test_version must be 1 to 64 letters, digits, dots, underscores or hyphens, and neither . nor ..",
            ),
            Outcome::NotFetched(key, error) => match error {
                FetchError::Missing(_) => Self::text(presentation.missing_status, format!("no file: {key}")),
                FetchError::TooLarge(bytes) => {
                    Self::text(413, format!("file too large to be answered from here ({bytes} bytes): {key}"))
                }
                FetchError::Unavailable(_) => Self::text(503, "storage is unavailable: try again in a moment")
                    .with("retry-after", RETRY_AFTER_SECS),
                FetchError::TimedOut(_) => Self::text(504, "storage did not answer in time"),
                FetchError::Failed(_) => Self::text(502, "storage gave no usable answer"),
            },
        }
    }

    fn object(object: Object) -> Self {
        // S3's own default, so that API Gateway does not make it text/plain.
        let content_type = object.content_type.map_or(Cow::Borrowed("binary/octet-stream"), Cow::Owned);
        Self { status: 200, headers: vec![("content-type", content_type)], content: Content::Object(object.body) }
    }

    /// A text of our own: never kept, and never taken for HTML though it may repeat what was asked for.
    fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            headers: vec![
                ("content-type", Cow::Borrowed("text/plain; charset=utf-8")),
                ("x-content-type-options", Cow::Borrowed("nosniff")),
                NO_STORE,
            ],
            content: Content::Text(text.into()),
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, Cow::Borrowed(value)));
        self
    }

    /// The response to HEAD: the same status and headers, no body (RFC 9110 §9.3.2).
    #[must_use]
    pub fn without_body(self) -> Self {
        Self { content: Content::Empty, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Missing;

    fn respond(outcome: Outcome) -> Response {
        Response::of(outcome, &Presentation { missing_status: 404 })
    }

    fn not_fetched(error: FetchError) -> Outcome {
        Outcome::NotFetched(ObjectKey::new("v1/x.html".into()), error)
    }

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers.iter().find(|(given, _)| *given == name).map(|(_, value)| &**value)
    }

    #[test]
    fn a_missing_object_is_a_404_with_the_references_body_whichever_way_s3_says_it() {
        for missing in [Missing::NoSuchKey, Missing::AccessDenied] {
            let response = respond(not_fetched(FetchError::Missing(missing)));
            assert_eq!(response.status, 404);
            assert_eq!(response.content, Content::Text("no file: v1/x.html".into()));
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
        }
    }

    #[test]
    fn missing_status_can_be_the_references_200() {
        let outcome = not_fetched(FetchError::Missing(Missing::NoSuchKey));
        assert_eq!(Response::of(outcome, &Presentation { missing_status: 200 }).status, 200);
    }

    #[test]
    fn trouble_in_s3_is_never_a_missing_file_and_is_never_kept() {
        let detail = || "secret detail".to_owned();
        for (error, status, retry_after) in [
            (FetchError::Unavailable(detail()), 503, Some("1")),
            (FetchError::TimedOut(detail()), 504, None),
            (FetchError::Failed(detail()), 502, None),
        ] {
            let response = respond(not_fetched(error));
            assert_eq!(response.status, status);
            assert_eq!(header(&response, "retry-after"), retry_after);
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
            let Content::Text(text) = response.content else { panic!("no text") };
            assert!(!text.contains("no file") && !text.contains("secret detail"), "{text}");
        }
    }

    #[test]
    fn the_forbidden_answer_is_the_references() {
        let response = respond(Outcome::Forbidden);
        assert_eq!((response.status, response.content), (403, Content::Text("request is forbidden".into())));
    }

    #[test]
    fn a_redirect_is_never_kept() {
        let response = respond(Outcome::Redirected("https://d1/v1/x".into()));
        assert_eq!(response.status, 302);
        assert_eq!(header(&response, "location"), Some("https://d1/v1/x"));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
    }

    #[test]
    fn a_refused_method_is_told_the_allowed_ones() {
        let response = respond(Outcome::MethodRefused);
        assert_eq!((response.status, header(&response, "allow")), (405, Some("GET, HEAD")));
    }

    #[test]
    fn an_object_keeps_its_type_and_one_without_is_binary() {
        let html = Object { content_type: Some("text/html".into()), ..Object::default() };
        assert_eq!(header(&respond(Outcome::Found(html)), "content-type"), Some("text/html"));
        let untyped = respond(Outcome::Found(Object::default()));
        assert_eq!(header(&untyped, "content-type"), Some("binary/octet-stream"));
    }

    #[test]
    fn a_response_to_head_has_the_headers_and_no_body() {
        let response = respond(Outcome::Forbidden);
        let head = response.clone().without_body();
        assert_eq!((head.status, head.headers), (response.status, response.headers));
        assert_eq!(head.content, Content::Empty);
    }
}
