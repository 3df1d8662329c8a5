//! Parses an event of an HTTP API (payload format 2.0) into a [`Request`] that borrows from it.
//!
//! Function URLs send the same format with one relevant difference: their `rawPath` is percent-encoded, that of an HTTP API is
//! decoded. The domain name distinguishes the two. [`convert`] converts the events of the other doors to this format.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::request::door::Door;
use crate::request::proxy_event;
use crate::request::text::Text;
use crate::request::visit::{Cookies, Detail, Visit};
use crate::request::{Method, Request};

/// Why an event is not a supported request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// An event of an unsupported source. Describes the event and, if known, the remedy.
    Unexpected(&'static str),
    /// Invalid JSON, or a field of an unexpected type. Holds the position, and no text of the event.
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected an event of API Gateway (HTTP API or REST API), a function URL, a load balancer or VPC Lattice, ",
        )?;
        match self {
            Self::Unexpected(event) => write!(f, "found {event}"),
            Self::Malformed { line, column } => {
                write!(f, "found malformed JSON or a field of an unexpected type at line {line}, column {column}")
            }
        }
    }
}

impl std::error::Error for EventError {}

/// Converts an event of a REST API, a load balancer or VPC Lattice to payload format 2.0, so that [`parse`] and [`parse_visit`]
/// accept it; the request then gets this door. `None` if the event is of none of them.
pub fn convert(event: &[u8]) -> Option<(Vec<u8>, Door)> {
    proxy_event::convert(event)
}

/// Parses an event of payload format 2.0.
///
/// # Errors
/// If the event is not payload format 2.0. The error never quotes the event, because it contains the secret.
pub fn parse(event: &[u8]) -> Result<Request<'_>, EventError> {
    let mut request = Request::default();
    parse_into::<REQUEST_NAMES>(event, &mut request, None)?;
    Ok(request)
}

/// Parses an event, and fills `visit` with the fields that experiments use: those that its detail asks for.
///
/// # Errors
/// As [`parse`]. `visit` is empty then, so that it can be filled from the converted event.
pub fn parse_visit<'a>(event: &'a [u8], visit: &mut Visit<'a>) -> Result<Request<'a>, EventError> {
    let mut request = Request::default();
    visit.event = event;
    let parsed = match visit.detail {
        Detail::Visit => parse_into::<VISIT_NAMES>(event, &mut request, Some(visit)),
        Detail::Viewer => parse_into::<VIEWER_NAMES>(event, &mut request, Some(visit)),
        Detail::Attributes => parse_into::<{ NAMES.len() }>(event, &mut request, Some(visit)),
    };
    if parsed.is_err() {
        *visit = Visit::with_detail(visit.detail);
    }
    parsed.map(|()| request)
}

/// Parses an event with the first `N` of [`NAMES`].
fn parse_into<'a, const N: usize>(
    event: &'a [u8],
    request: &mut Request<'a>,
    visit: Option<&mut Visit<'a>>,
) -> Result<(), EventError> {
    // Validates the whole event once. Given bytes, serde_json would validate each string.
    let text = std::str::from_utf8(event).map_err(|error| malformed_utf8(event, error.valid_up_to()))?;
    let mut event = Event { version: None, raw_path: None, context: None, headers: Headers::<N> { request, visit } };
    event.read(text).map_err(|error| EventError::Malformed { line: error.line(), column: error.column() })?;
    let Event { version, raw_path, context, headers: Headers { request, visit } } = event;
    let context = context.unwrap_or_default();
    let version = version.as_ref().map(Text::as_str);
    let (Some("2.0"), Some(Text(raw_path)), Some(http)) = (version, raw_path, context.http) else {
        return Err(EventError::Unexpected(describe_unsupported(version)));
    };
    request.path = if context.domain_name.as_ref().is_some_and(|name| is_function_url(name.as_str())) {
        request.door = Door::FunctionUrl { by_iam: is_authenticated(text) };
        decode(raw_path)
    } else {
        without_stage(raw_path, context.stage.as_ref().map(Text::as_str))
    };
    let name = http.method.map(|Text(name)| name).unwrap_or_default();
    request.method = match &*name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    };
    if request.method == Method::Other {
        request.other_method = name;
    }
    if let Some(visit) = visit {
        visit.domain_name = context.domain_name.map(|Text(name)| name);
    }
    Ok(())
}

/// Whether an unsupported event only keeps the environment warm: from serverless-plugin-warmup, lambda-warmer or a
/// schedule of EventBridge
/// ([scheduled events](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html)).
pub fn is_warm_up(event: &[u8]) -> bool {
    let Ok(Value::Object(event)) = serde_json::from_slice(event) else { return false };
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let is_schedule = text("detail-type") == Some("Scheduled Event")
        && matches!(text("source"), Some("aws.events" | "aws.scheduler"));
    is_schedule
        || text("source") == Some("serverless-plugin-warmup")
        || ["warmer", "warmup"].iter().any(|name| event.get(*name) == Some(&Value::Bool(true)))
}

/// The error for invalid UTF-8 at byte `at`: JSON must be UTF-8 (RFC 8259 §8.1).
fn malformed_utf8(event: &[u8], at: usize) -> EventError {
    let before = &event[..at];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    EventError::Malformed { line, column: at - line_start + 1 }
}

/// Describes an unsupported event by its version.
fn describe_unsupported(version: Option<&str>) -> &'static str {
    match version {
        Some("1.0") => "payload format 1.0 without path or requestContext",
        Some("2.0") => "payload format 2.0 without rawPath or requestContext.http",
        _ => "an event of an unknown source",
    }
}

/// Whether IAM has authenticated the caller of a function URL: the event then names an account. With the type of authentication
/// `NONE` it names `anonymous`. AWS does not document the value for CloudFront.
fn is_authenticated(event: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Event<'a> {
        #[serde(borrow)]
        request_context: Context<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Context<'a> {
        #[serde(borrow)]
        account_id: Text<'a>,
    }
    // Quotes within strings are escaped, and a viewer chooses only strings: this is the context itself. The rest of the event is
    // long.
    const START: &str = "\"requestContext\":{";
    let context = memchr::memmem::find(event.as_bytes(), START.as_bytes())
        .and_then(|at| event.get(at + START.len() - 1..))
        .and_then(|context| Context::deserialize(&mut serde_json::Deserializer::from_str(context)).ok())
        .or_else(|| serde_json::from_str(event).ok().map(|event: Event<'_>| event.request_context));
    context.is_some_and(|context| !matches!(context.account_id.as_str(), "" | "anonymous"))
}

/// Whether the domain is that of a Function URL, `<id>.lambda-url.<region>.on.aws`
/// ([Lambda developer guide](https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html)).
fn is_function_url(domain_name: &str) -> bool {
    domain_name.ends_with(".on.aws") && domain_name.contains(".lambda-url.")
}

/// Percent-decodes once. Invalid UTF-8 becomes U+FFFD: S3 keys are UTF-8, so such a path has no object, and a request
/// with the secret gets the response for a missing object.
fn decode(path: Cow<'_, str>) -> Cow<'_, str> {
    if !path.contains('%') {
        return path;
    }
    Cow::Owned(percent_decode_str(&path).decode_utf8_lossy().into_owned())
}

/// Removes the prefix that a named stage adds to the path; `$default` adds none.
fn without_stage<'a>(path: Cow<'a, str>, stage: Option<&str>) -> Cow<'a, str> {
    let Some(stage) = stage.filter(|stage| !stage.is_empty() && *stage != "$default") else { return path };
    let rest = path.strip_prefix('/').and_then(|rest| rest.strip_prefix(stage));
    match rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).map(str::len) {
        Some(rest_len) => match path {
            Cow::Borrowed(path) => Cow::Borrowed(&path[path.len() - rest_len..]),
            Cow::Owned(mut path) => Cow::Owned(path.split_off(path.len() - rest_len)),
        },
        None => path,
    }
}

/// The fields of an event. They are read into their places: a derived `Deserialize` would move the many header fields several times.
struct Event<'s, 'a, const N: usize> {
    version: Option<Text<'a>>,
    raw_path: Option<Text<'a>>,
    context: Option<RequestContext<'a>>,
    headers: Headers<'s, 'a, N>,
}

/// The name of a field.
#[derive(Deserialize, Clone, Copy)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Version,
    RawPath,
    RawQueryString,
    Headers,
    Cookies,
    RequestContext,
    #[serde(other)]
    Other,
}

impl<'a, const N: usize> Event<'_, 'a, N> {
    fn read(&mut self, text: &'a str) -> serde_json::Result<()> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(self)?;
        deserializer.end()
    }
}

impl<'a, const N: usize> Visitor<'a> for &mut Event<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut read = 0_u8;
        while let Some(field) = map.next_key()? {
            let bit = 1 << field as u8;
            if !matches!(field, Field::Other) && read & bit != 0 {
                return Err(A::Error::custom("an event repeats a field"));
            }
            read |= bit;
            match field {
                Field::Version => self.version = map.next_value()?,
                Field::RawPath => self.raw_path = map.next_value()?,
                Field::RawQueryString => {
                    let query: Option<Text<'a>> = map.next_value()?;
                    self.headers.request.query = query.map(|Text(query)| query).unwrap_or_default();
                }
                Field::Headers => map.next_value_seed(&mut self.headers)?,
                Field::Cookies => match &mut self.headers.visit {
                    Some(visit) => visit.cookies = map.next_value::<Option<_>>()?.unwrap_or_default(),
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
                Field::RequestContext => self.context = map.next_value()?,
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    #[serde(borrow, default)]
    domain_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    stage: Option<Text<'a>>,
    #[serde(borrow, default)]
    http: Option<Http<'a>>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
}

/// The header fields that the origin uses; the parser skips all others without copying them.
///
/// First those of a [`Request`], then those of a [`Visit`].
const NAMES: [&str; 28] = [
    "lambda_auth",
    "test_version",
    "redirect",
    "accept",
    "accept-encoding",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "traceparent",
    "sec-fetch-dest",
    "sec-purpose",
    "purpose",
    "authorization",
    "origin",
    "user-agent",
    "host",
    "referer",
    "accept-language",
    "cloudfront-viewer-country",
    "cloudfront-viewer-country-region",
    "cloudfront-viewer-city",
    "cloudfront-is-desktop-viewer",
    "cloudfront-is-mobile-viewer",
    "cloudfront-is-tablet-viewer",
    "cloudfront-is-smarttv-viewer",
];

/// How many of [`NAMES`] every request needs.
const REQUEST_NAMES: usize = 12;

/// How many of [`NAMES`] every visit needs; the others are attributes, which only some definitions use.
const VISIT_NAMES: usize = 15;

/// How many of [`NAMES`] the rules of a site need.
const VIEWER_NAMES: usize = 17;

/// The positions in [`NAMES`] of the names of each length, which tells most names apart.
const BY_LENGTH: [[u8; 4]; 33] = {
    let mut table = [[u8::MAX; 4]; 33];
    let mut index = 0;
    while index < NAMES.len() {
        let mut free = 0;
        while table[NAMES[index].len()][free] != u8::MAX {
            free += 1;
        }
        table[NAMES[index].len()][free] = index as u8;
        index += 1;
    }
    table
};

/// The places of the first `N` header fields of [`NAMES`].
struct Headers<'s, 'a, const N: usize> {
    request: &'s mut Request<'a>,
    /// There is one if `N` exceeds [`REQUEST_NAMES`].
    visit: Option<&'s mut Visit<'a>>,
}

impl<'a, const N: usize> Headers<'_, 'a, N> {
    fn place(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        for index in BY_LENGTH.get(name.len())?.map(usize::from) {
            // The names of a visit come last, and so does the end of the list.
            if index >= N {
                return None;
            }
            if NAMES[index].eq_ignore_ascii_case(name) {
                return self.place_of(index);
            }
        }
        None
    }

    /// The place of the header field with this position in [`NAMES`].
    fn place_of(&mut self, index: usize) -> Option<&mut Option<Cow<'a, str>>> {
        let Self { request, visit } = self;
        if index < REQUEST_NAMES {
            return Some(match index {
                0 => &mut request.lambda_auth,
                1 => &mut request.test_version,
                2 => &mut request.redirect,
                3 => &mut request.accept,
                4 => &mut request.accept_encoding,
                5 => &mut request.if_match,
                6 => &mut request.if_none_match,
                7 => &mut request.if_modified_since,
                8 => &mut request.if_unmodified_since,
                9 => &mut request.if_range,
                10 => &mut request.range,
                _ => &mut request.traceparent,
            });
        }
        let visit = visit.as_mut()?;
        Some(match index - REQUEST_NAMES {
            0 => &mut visit.sec_fetch_dest,
            1 => &mut visit.sec_purpose,
            2 => &mut visit.purpose,
            3 => &mut visit.authorization,
            4 => &mut visit.origin,
            5 => &mut visit.user_agent,
            6 => &mut visit.host,
            7 => &mut visit.referer,
            8 => &mut visit.accept_language,
            9 => &mut visit.country,
            10 => &mut visit.region,
            11 => &mut visit.city,
            12 => &mut visit.is_desktop,
            13 => &mut visit.is_mobile,
            14 => &mut visit.is_tablet,
            _ => &mut visit.is_tv,
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Cookies<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        Cookies::of_json(json).map_err(D::Error::custom)
    }
}

impl<'a, const N: usize> DeserializeSeed<'a> for &mut Headers<'_, 'a, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for &mut Headers<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names and values")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            let Some(place) = self.place(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let Text(value) = map.next_value()?;
            // API Gateway joins repeated fields with a comma; this joins names that differ only in case.
            *place = Some(match place.take() {
                Some(first) => Cow::Owned(format!("{first},{value}")),
                None => value,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
