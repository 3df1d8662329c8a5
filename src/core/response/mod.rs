//! Maps outcomes to HTTP responses. No other module of the core sets a status code.
//!
//! `docs/outcomes.md` lists all responses in one table; a test compares it with this module.

pub mod payload;
mod proxy_payload;
mod vary;

use std::borrow::Cow;

use crate::access::check::Denial;
use crate::http::accept::Accepts;
use crate::object::{Body, Copyable, FieldSet, Head, Metadata, Object, ObjectKey};
use crate::request::door::{Door, Transfer};
use crate::rules::headers::{Field, FieldChange, is_in_not_modified};
use crate::store::FetchError;

pub use self::vary::{NegotiatedField, Negotiation, Vary};

/// The value of Retry-After, in seconds.
const RETRY_AFTER_SECS: &str = "1";

/// The supported methods.
const ALLOW: (&str, Cow<'static, str>) = ("allow", Cow::Borrowed("GET, HEAD, OPTIONS"));

/// Forbids caching: the response describes the current moment, not the object.
const NO_STORE: (&str, Cow<'static, str>) = (CACHE_CONTROL, Cow::Borrowed("no-store"));

/// Forbids caching: the response is for one visitor.
const PRIVATE: (&str, Cow<'static, str>) = (CACHE_CONTROL, Cow::Borrowed("private, no-store"));

const CACHE_CONTROL: &str = "cache-control";

/// Whether a header field permits caching: RFC 9111 §5.2 to §5.4, the Edge Architecture Specification, and the fields that CDNs and
/// nginx prefer to Cache-Control: RFC 9213 and its vendors' own names, such as `Cloudflare-CDN-Cache-Control`.
fn is_caching(name: &str) -> bool {
    let names = [CACHE_CONTROL, "expires", "pragma", "surrogate-control", "edge-control", "x-accel-expires"];
    names.contains(&name) || name.ends_with("cdn-cache-control")
}

/// Whether a header field describes a text of the origin, such as an error message.
fn describes_text(name: &str) -> bool {
    matches!(name, "content-type" | "x-content-type-options" | "www-authenticate" | "allow" | "retry-after")
}

/// The result of a request, before it becomes a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The secret is absent or wrong.
    Forbidden,
    /// The method is not GET, HEAD or OPTIONS.
    MethodRefused,
    /// The method is OPTIONS.
    MethodsListed,
    /// The path contains a NUL.
    PathRefused,
    /// `test_version` is malformed.
    VersionRefused,
    /// A beacon for a goal.
    GoalReached,
    /// A beacon for a goal that the definition does not contain.
    GoalUnknown,
    /// A beacon with a value that cannot be counted. Holds the reason.
    ValueRefused(&'static str),
    /// A redirect to this Location, requested by the header `redirect` or made by an experiment.
    Redirected(String),
    /// The request does not satisfy a rule of access.
    Denied(Denial),
    /// No rules of access can be loaded, so that every object may be guarded.
    AccessUnavailable,
    /// A redirect with this status and Location: by a rule of the site's redirects, or to the address of a page.
    Moved(u16, String),
    /// A response with this status that a rule generates, with this object as its body.
    Generated(u16, Option<Object>),
    /// The object, a range of it, or its head.
    Found(Object),
    /// The client's copy of the object is current.
    NotModified(Head),
    /// The object does not meet a precondition of the request.
    PreconditionFailed,
    /// The range lies outside the object. Holds the object's size in bytes.
    RangeNotSatisfiable(u64),
    /// The object does not fit into a Lambda response: a redirect to this Location. A copy might fit.
    Oversized(String, Copyable),
    /// The object does not fit into a Lambda response: a rejection. Holds the key and the size in bytes.
    TooLarge(ObjectKey, u64, Copyable),
    /// The object is missing; the response has this document as its body.
    ErrorDocument(Object),
    /// The store returned no object. Holds the requested key and the reason.
    NotFetched(ObjectKey, FetchError),
}

impl Outcome {
    /// The name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::MethodRefused => "method_refused",
            Self::MethodsListed => "methods_listed",
            Self::PathRefused => "path_refused",
            Self::VersionRefused => "version_refused",
            Self::GoalReached => "goal_reached",
            Self::GoalUnknown => "goal_unknown",
            Self::ValueRefused(_) => "value_refused",
            Self::Redirected(_) => "redirected",
            Self::Denied(denial) => match denial {
                Denial::MissingToken { login: Some(_) } | Denial::InvalidToken { login: Some(_), .. } => "login",
                Denial::MissingToken { .. } | Denial::InvalidToken { .. } => "unauthorized",
                Denial::InsufficientScope | Denial::MissingSignature | Denial::InvalidSignature => "access_denied",
                Denial::Expired => "link_expired",
                Denial::Hidden => "missing",
                Denial::Unavailable => "access_unavailable",
            },
            Self::AccessUnavailable => "access_unavailable",
            Self::Moved(..) => "moved",
            Self::Generated(..) => "generated",
            Self::Found(Object { range: None, .. }) => "found",
            Self::Found(_) => "partial",
            Self::NotModified(_) => "not_modified",
            Self::PreconditionFailed => "precondition_failed",
            Self::RangeNotSatisfiable(_) => "range_not_satisfiable",
            Self::Oversized(..) => "oversized",
            Self::TooLarge(..) => "too_large",
            Self::ErrorDocument(_) => "error_document",
            Self::NotFetched(_, error) => match error {
                FetchError::Missing(_) => "missing",
                FetchError::Refused(_) => "refused",
                FetchError::Unavailable(_) | FetchError::Busy(_) => "unavailable",
                FetchError::TimedOut(_) => "timed_out",
                FetchError::Failed(_) => "failed",
            },
        }
    }
}

impl Outcome {
    /// The head of the object in the response.
    pub fn head(&self) -> Option<&Head> {
        match self {
            Self::Found(Object { head, .. })
            | Self::ErrorDocument(Object { head, .. })
            | Self::Generated(_, Some(Object { head, .. }))
            | Self::NotModified(head) => Some(head),
            _ => None,
        }
    }

    /// The kinds of copies of the object in the response, or of the one that is too large for it.
    fn copyable(&self) -> Copyable {
        match self {
            Self::Oversized(_, copyable) | Self::TooLarge(.., copyable) => *copyable,
            _ => self.head().map(Head::copyable).unwrap_or_default(),
        }
    }
}

/// The settings that responses depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// The status for a missing object: 404, or the reference's 200.
    pub missing_status: u16,
    /// Whether `x-variant` names the served variant.
    pub variant_header: bool,
    /// The values of Vary.
    pub vary: Vary,
    /// Which copies of objects may be sent.
    pub negotiation: Negotiation,
    /// Whether responses are streamed to the doors that take streams.
    pub streaming: bool,
}

impl Presentation {
    /// The defaults, for responses that the request header fields `vary` select.
    pub fn new(vary: &str) -> Self {
        Self {
            missing_status: 404,
            variant_header: true,
            vary: Vary::new(vary),
            negotiation: Negotiation::default(),
            streaming: false,
        }
    }
}

/// What a response says because experiments decided for one visitor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Personal<'a> {
    /// Whether no cache may give the response to another visitor.
    pub private: bool,
    /// Whether the response depends on a cookie.
    pub vary_cookie: bool,
    /// The value of Server-Timing, as the content of a JSON string: the variations that the visitor gets.
    pub server_timing: Option<Cow<'a, str>>,
    /// The values of Set-Cookie. A response with them answers no condition and no range of the request.
    pub cookies: Option<Box<[String; 2]>>,
}

/// The parts of a response that depend on the viewer, by rules of access or conditions of redirects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guarded<'a> {
    /// Whether no shared cache may keep the response.
    pub private: bool,
    /// Whether a private response is `no-store` too.
    pub no_store: bool,
    /// The request header fields that decided, for Vary.
    pub vary: Cow<'a, str>,
    /// The values of Set-Cookie, which open sessions.
    pub cookies: Vec<String>,
}

/// The inputs of a response besides its outcome.
#[derive(Debug, Clone, Copy)]
pub struct Context<'p, 'a> {
    /// The door that receives the response.
    pub door: Door,
    /// The variant of the served object.
    pub variant: Option<&'a str>,
    /// The decision of the experiments for the visitor.
    pub personal: Option<&'p Personal<'a>>,
    /// The rules of access that guard the request.
    pub guarded: Option<&'p Guarded<'a>>,
    /// The fields that select among the copies of an object; `None` if no copy may be sent.
    pub accepts: Option<&'p Accepts<'p>>,
    /// The changes of the site's header rules.
    pub changes: &'p [Field<'a>],
    /// The settings.
    pub presentation: &'a Presentation,
}

impl<'a> Context<'_, 'a> {
    /// The context of a request that no visitor, rule or variant concerns.
    pub fn new(presentation: &'a Presentation) -> Self {
        Self {
            door: Door::default(),
            variant: None,
            personal: None,
            guarded: None,
            accepts: None,
            changes: &[],
            presentation,
        }
    }
}

impl Context<'_, '_> {
    /// How the response reaches the door.
    pub fn transfer(&self) -> Transfer {
        self.door.transfer(self.presentation.streaming)
    }
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No body.
    Empty,
    /// A text of the origin, such as an error message.
    Text(Cow<'static, str>),
    /// An object's body.
    Object(Body),
}

/// An HTTP response, before its encoding as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    /// The object whose header fields, already encoded, come first.
    pub head: Option<Head>,
    /// The header fields of the object that are left out.
    pub omitted: FieldSet,
    /// The other header fields, with unique lower-case names.
    pub headers: Vec<(&'a str, Cow<'a, str>)>,
    /// The value of Server-Timing, as the content of a JSON string.
    pub server_timing: Option<Cow<'a, str>>,
    /// The values of Set-Cookie.
    pub cookies: Vec<String>,
    /// The body.
    pub content: Content,
    /// The length of the body that a GET receives, even if `content` is empty.
    pub body_bytes: u64,
}

impl<'a> Response<'a> {
    /// Maps an outcome to its response.
    pub fn of(outcome: Outcome, context: &Context<'_, 'a>) -> Self {
        let Context { variant, personal, guarded, accepts, changes, presentation, .. } = *context;
        // These responses are the same for every variant.
        let varies = !matches!(
            outcome,
            Outcome::Forbidden
                | Outcome::MethodRefused
                | Outcome::MethodsListed
                | Outcome::GoalReached
                | Outcome::GoalUnknown
                | Outcome::ValueRefused(_)
        );
        // Any other response describes the current moment, or is for one client.
        let is_lasting = match &outcome {
            Outcome::Found(_) | Outcome::NotModified(_) | Outcome::Moved(..) => true,
            Outcome::Generated(status, _) => *status < 500,
            _ => false,
        };
        let copyable = if accepts.is_some() { outcome.copyable() } else { Copyable::No };
        let mut response = Self::without_vary(outcome, presentation);
        if varies {
            let has_cookie = personal.is_some_and(|personal| personal.vary_cookie);
            let vary = presentation.vary.value(has_cookie, presentation.negotiation.field(copyable));
            response.headers.push(("vary", Cow::Borrowed(vary)));
        }
        // The restrictions of caching come last.
        let is_text = matches!(response.content, Content::Text(_));
        for change in changes {
            let is_kept = !is_lasting && is_caching(change.name) || is_text && describes_text(change.name);
            if !is_kept {
                response.change(change);
            }
        }
        if let Some(guarded) = guarded {
            response.guard(guarded);
        }
        if let Some(personal) = personal {
            response.personalize(personal);
        }
        if let Some(variant) = variant.filter(|_| presentation.variant_header) {
            response.headers.push(("x-variant", Cow::Borrowed(variant)));
        }
        response
    }

    /// Adds what the response says for one visitor.
    fn personalize(&mut self, personal: &Personal<'a>) {
        if personal.private {
            self.set_only_caching(PRIVATE);
        }
        self.server_timing.clone_from(&personal.server_timing);
        // A failure is no view of a page: the next visit is the first.
        if let Some(cookies) = personal.cookies.as_deref().filter(|_| self.status < 500) {
            // Before those of sessions: some doors take one cookie.
            self.cookies.splice(..0, cookies.iter().cloned());
        }
    }

    /// Removes a field of the object or of the origin.
    fn remove(&mut self, name: &str) {
        self.omitted.insert(name);
        self.headers.retain(|(own, _)| *own != name);
    }

    fn set(&mut self, (name, value): (&'a str, Cow<'a, str>)) {
        self.remove(name);
        self.headers.push((name, value));
    }

    /// Applies a rule of the site's headers.
    fn change(&mut self, field: &Field<'a>) {
        // A cache would update its stored response with any other field (RFC 9110 §15.4.5).
        if self.status == 304 && !is_in_not_modified(field.name) {
            return;
        }
        match &field.change {
            FieldChange::Remove => self.remove(field.name),
            FieldChange::Set(value) => self.set((field.name, value.clone())),
            FieldChange::Append(value) => match self.headers.iter_mut().find(|(name, _)| *name == field.name) {
                Some((_, own)) => *own = Cow::Owned([own, ", ", value].concat()),
                None => self.headers.push((field.name, value.clone())),
            },
        }
    }

    /// Restricts caching to the viewer.
    fn guard(&mut self, guarded: &Guarded<'a>) {
        if guarded.private {
            self.make_private(guarded.no_store);
        }
        if !guarded.vary.is_empty() {
            self.change(&Field { name: "vary", change: FieldChange::Append(guarded.vary.clone()) });
        }
        if self.status < 500 {
            self.cookies.extend_from_slice(&guarded.cookies);
        }
    }

    fn make_private(&mut self, no_store: bool) {
        let sent = self.fields().find(|(name, _)| *name == CACHE_CONTROL).map(|(_, value)| value);
        let directives = || sent.unwrap_or_default().split(',').map(str::trim);
        let is_kept = |directive: &&str| {
            directive.eq_ignore_ascii_case("no-cache")
                || directive.get(..8).is_some_and(|name| name.eq_ignore_ascii_case("max-age="))
        };
        let value = match no_store || directives().any(|name| name.eq_ignore_ascii_case("no-store")) {
            true => Cow::Borrowed("private, no-store"),
            false => {
                let add = |all: Cow<'static, str>, kept: &str| Cow::Owned([&all, ", ", kept].concat());
                directives().filter(is_kept).fold(Cow::Borrowed("private"), add)
            }
        };
        self.set_only_caching((CACHE_CONTROL, value));
    }

    /// Sets Cache-Control and removes every other field that permits caching.
    fn set_only_caching(&mut self, cache_control: (&'a str, Cow<'a, str>)) {
        self.omitted.insert("expires");
        self.headers.retain(|(name, _)| !is_caching(name));
        self.set(cache_control);
    }

    /// All header fields except Server-Timing and Set-Cookie, in the order of the response.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_sent = |(name, _): &(&str, &str)| !self.omitted.contains(name);
        let of_object =
            self.head.iter().flat_map(|head| head.fields()).map(|(name, value): (&str, &str)| (name, value));
        let of_object = of_object.filter(is_sent);
        of_object.chain(self.headers.iter().map(|(name, value)| (*name, &**value)))
    }

    fn without_vary(outcome: Outcome, presentation: &Presentation) -> Self {
        match outcome {
            Outcome::Found(object) => Self::object(object),
            Outcome::NotModified(head) => Self::empty(304, copy_fields(&head, allowed_in_304(&head))),
            Outcome::ErrorDocument(object) => Self::document(presentation.missing_status, object),
            Outcome::Generated(status, Some(object)) => Self::document(status, object),
            Outcome::Generated(status, None) => Self::empty(status, vec![NO_STORE]),
            Outcome::Denied(denial) => Self::denied(denial),
            Outcome::AccessUnavailable => Self::access_unavailable(),
            Outcome::Redirected(location) => Self::redirect(302, location),
            Outcome::Moved(status, location) => Self::redirect(status, location),
            // 307, not 302: the client must keep the method (RFC 9110 §15.4.8), and it keeps the Range too.
            Outcome::Oversized(location, _) => Self::redirect(307, location),
            Outcome::MethodsListed => Self::empty(204, vec![ALLOW, NO_STORE]),
            Outcome::Forbidden => Self::text(403, "request is forbidden"),
            Outcome::MethodRefused => Self::text(405, "method not allowed: use GET, HEAD or OPTIONS").with([ALLOW]),
            Outcome::PathRefused => Self::text(400, "invalid path: it contains a NUL character"),
            Outcome::GoalReached => Self::empty(204, vec![NO_STORE]),
            Outcome::GoalUnknown => Self::text(
                404,
                "no such goal: add it to \"goals\" of the definition of experiments, or correct its key",
            ),
            Outcome::ValueRefused(reason) => Self::text(400, reason),
            Outcome::VersionRefused => Self::text(
                400,
                "invalid test_version: use 1 to 64 letters, digits, dots, underscores or hyphens, but not . or ..",
            ),
            Outcome::PreconditionFailed => Self::text(
                412,
                "precondition failed: the object does not match If-Match, or was modified after If-Unmodified-Since",
            ),
            Outcome::RangeNotSatisfiable(bytes) => {
                Self::text(416, format!("range not satisfiable: the object has {bytes} bytes"))
                    .with([("content-range", Cow::Owned(format!("bytes */{bytes}"))), ACCEPT_RANGES])
            }
            Outcome::TooLarge(key, bytes, _) => {
                Self::text(413, format!("object too large for a response ({bytes} bytes): {key}"))
            }
            Outcome::NotFetched(key, error) => match error {
                FetchError::Missing(_) => Self::text(presentation.missing_status, format!("no file: {key}")),
                FetchError::Refused(_) => Self::text(403, format!("storage refuses this object: {key}")),
                FetchError::Unavailable(_) | FetchError::Busy(_) => {
                    Self::text(503, "storage is unavailable: retry after a moment")
                        .with([("retry-after", Cow::Borrowed(RETRY_AFTER_SECS))])
                }
                FetchError::TimedOut(_) => Self::text(504, "storage did not respond in time"),
                FetchError::Failed(_) => Self::text(502, "storage returned no usable response"),
            },
        }
    }

    fn object(object: Object) -> Self {
        let Object { head, range, body } = object;
        let size_bytes = head.size_bytes;
        // Accept-Ranges, Content-Range, Vary, Cache-Control, Server-Timing and X-Variant.
        let mut headers = Vec::with_capacity(6);
        // Ranges are those of the object as it is stored, so that a client must not combine them with a copy.
        if head.copy().is_none() {
            headers.push(ACCEPT_RANGES);
        }
        let (status, body_bytes) = match range {
            Some(range) => {
                let content_range = format!("bytes {}-{}/{size_bytes}", range.start, range.end.saturating_sub(1));
                headers.push(("content-range", Cow::Owned(content_range)));
                (206, range.end.saturating_sub(range.start))
            }
            None => (200, size_bytes),
        };
        Self { head: Some(head), content: Content::Object(body), body_bytes, ..Self::empty(status, headers) }
    }

    /// The response to a request that does not satisfy a rule of access. No text contains a part of the token.
    fn denied(denial: Denial) -> Self {
        let challenge = denial.challenge();
        let (status, text) = match denial {
            Denial::MissingToken { login: Some(url) } | Denial::InvalidToken { login: Some(url), .. } => {
                return Self::redirect(302, url);
            }
            Denial::MissingToken { login: None } => (401, "this address needs a token"),
            Denial::InvalidToken { login: None, .. } => (401, "the token is not valid"),
            Denial::InsufficientScope => (403, "the token does not permit this address"),
            Denial::MissingSignature => (403, "this address needs a signed link"),
            Denial::InvalidSignature => (403, "the link is not valid"),
            Denial::Expired => (410, "the link has expired"),
            Denial::Hidden => (404, "no such object"),
            Denial::Unavailable => return Self::access_unavailable(),
        };
        let mut response = Self::text(status, text);
        // Some front doors rename this field, so that no client may depend on it.
        response.headers.extend(challenge.map(|challenge| ("www-authenticate", Cow::Owned(challenge))));
        response
    }

    fn access_unavailable() -> Self {
        Self::text(503, "access rules are unavailable: retry after a moment")
            .with([("retry-after", Cow::Borrowed(RETRY_AFTER_SECS))])
    }

    /// A response with a document of the site as its body.
    fn document(status: u16, Object { head, body, .. }: Object) -> Self {
        // The fields that a client needs to decode the document. Its caching fields do not apply to this key.
        let is_needed = |name: &str| name.starts_with("content-") && name != "content-disposition";
        let mut headers = copy_fields(&head, is_needed);
        headers.push(NO_STORE);
        let content = Content::Object(body);
        Self { content, body_bytes: head.size_bytes, ..Self::empty(status, headers) }
    }

    fn redirect(status: u16, location: String) -> Self {
        Self::empty(status, vec![("location", location.into()), NO_STORE])
    }

    fn empty(status: u16, headers: Vec<(&'a str, Cow<'a, str>)>) -> Self {
        Self {
            status,
            head: None,
            omitted: FieldSet::default(),
            headers,
            server_timing: None,
            cookies: Vec::new(),
            content: Content::Empty,
            body_bytes: 0,
        }
    }

    /// A text of the origin. Not cached, and never interpreted as HTML, because it can quote the requested key.
    fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let headers = vec![
            ("content-type", Cow::Borrowed("text/plain; charset=utf-8")),
            ("x-content-type-options", Cow::Borrowed("nosniff")),
            NO_STORE,
        ];
        Self { body_bytes: text.len() as u64, content: Content::Text(text), ..Self::empty(status, headers) }
    }

    fn with<const N: usize>(mut self, headers: [(&'a str, Cow<'a, str>); N]) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The response to HEAD: the same status and header fields without the body (RFC 9110 §9.3.2).
    ///
    /// Adds Content-Length, which API Gateway computes from the body in the response to a GET.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        if self.body_bytes > 0 {
            self.headers.push(("content-length", Cow::Owned(self.body_bytes.to_string())));
        }
        Self { content: Content::Empty, ..self }
    }
}

const ACCEPT_RANGES: (&str, Cow<'static, str>) = ("accept-ranges", Cow::Borrowed("bytes"));

/// Selects the fields of a 304: one validator and the caching fields (RFC 9110 §15.4.5).
///
/// A cache copies every field of a 304 to its stored response, so other fields are left out. Last-Modified is sent only
/// without an ETag.
fn allowed_in_304(head: &Head) -> impl Fn(&str) -> bool {
    let validator = if head.etag.is_some() { "etag" } else { "last-modified" };
    move |name| name == validator || matches!(name, "cache-control" | "expires")
}

/// Copies the header fields of an object whose names match `is_selected`.
fn copy_fields<'a>(metadata: &Metadata, is_selected: impl Fn(&str) -> bool) -> Vec<(&'a str, Cow<'a, str>)> {
    metadata
        .fields()
        .filter(|(name, _)| is_selected(name))
        .map(|(name, value)| (name, Cow::Owned(value.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests;
