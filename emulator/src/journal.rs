//! The lines on the terminal: one per request, and the log lines of the handler.
//!
//! With [`Format::Json`], each line is a JSON object; `emulator/README.md` documents its fields.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::mask::mask;

/// The first line of the message that the cloud is ready. Scripts wait for it.
pub const READY: &str = "nearedge is ready";

/// Which lines of the handler's log are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum HandlerLog {
    /// Warnings, errors, and lines that are not JSON log lines.
    #[default]
    Warnings,
    /// Every line.
    All,
}

/// The format of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Text for a person.
    #[default]
    Text,
    /// Text with the escape sequences of terminal colours.
    Colours,
    /// One JSON object per line.
    Json,
}

/// Writes lines to standard output, or stores them in memory for tests.
#[derive(Debug, Clone)]
pub struct Journal {
    stored: Option<Arc<Mutex<Vec<String>>>>,
    handler_log: HandlerLog,
    format: Format,
}

/// The content of a line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Entry<'a> {
    /// The cloud accepts requests.
    Ready {
        message: &'a str,
        #[serde(flatten)]
        fields: Value,
    },
    /// A request and its response.
    Request(RequestFields<'a>),
    /// An event of an execution environment.
    Environment { environment: u64, message: &'a str },
    /// A line of a handler: a JSON object in `record`, or any other text in `message`.
    Handler { environment: u64, record: Option<&'a Value>, message: Option<&'a str> },
    /// Any other event of the cloud.
    Message { message: &'a str },
    /// The cloud stops.
    Stopping { message: &'a str },
}

/// An entry with its time, as in JSON.
#[derive(Serialize)]
struct Timed<'a> {
    time: String,
    #[serde(flatten)]
    entry: &'a Entry<'a>,
}

impl Journal {
    /// A journal that writes to standard output.
    pub fn to_stdout(handler_log: HandlerLog, format: Format) -> Self {
        Self { stored: None, handler_log, format }
    }

    /// A journal that stores all lines, for tests.
    pub fn in_memory() -> Self {
        Self { stored: Some(Arc::default()), handler_log: HandlerLog::All, format: Format::Text }
    }

    /// The stored lines; empty if the journal writes to standard output.
    pub fn lines(&self) -> Vec<String> {
        self.stored.as_ref().map_or_else(Vec::new, |stored| stored.lock().clone())
    }

    /// Writes the message that the cloud is ready. As text it starts with [`READY`].
    pub fn ready(&self, message: &(impl fmt::Display + Serialize)) {
        match self.format {
            Format::Json => {
                let fields = serde_json::to_value(message).unwrap_or_default();
                self.json(&Entry::Ready { message: READY, fields });
            }
            Format::Text | Format::Colours => self.write(&message.to_string()),
        }
    }

    /// Writes the line of any other event.
    pub fn line(&self, message: impl fmt::Display) {
        let message = message.to_string();
        match self.format {
            Format::Json => self.json(&Entry::Message { message: &message }),
            Format::Text | Format::Colours => self.text(&message),
        }
    }

    /// Writes the message that the cloud stops.
    pub fn stopping(&self) {
        let message = "stopping: requests in progress and the execution environments end within about a second; \
                       press Ctrl-C again to stop at once";
        match self.format {
            Format::Json => self.json(&Entry::Stopping { message }),
            Format::Text | Format::Colours => self.text(message),
        }
    }

    /// Writes the line of a request after its response.
    pub fn request(&self, request: &RequestLine) {
        match self.format {
            Format::Json => self.json(&Entry::Request(request.fields())),
            Format::Text | Format::Colours => self.text(&request.text(self.palette())),
        }
    }

    /// Writes the line of an event of an execution environment, such as its start or its exit.
    pub fn environment(&self, environment: u64, message: &str) {
        match self.format {
            Format::Json => self.json(&Entry::Environment { environment, message }),
            Format::Text | Format::Colours => self.text(&format!("env {environment}  {message}")),
        }
    }

    /// Writes a log line of a handler process, unless its level is below the configured one.
    pub fn handler(&self, environment: u64, line: &str) {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        // A metrics line has no level and counts as INFO.
        let level = record["level"].as_str().or_else(|| record["_aws"].is_object().then_some("INFO"));
        let quiet = level.is_some_and(|level| !matches!(level, "WARN" | "ERROR" | "FATAL"));
        if quiet && self.handler_log != HandlerLog::All {
            return;
        }
        if self.format == Format::Json {
            let (record, message) = if record.is_object() { (Some(&record), None) } else { (None, Some(line)) };
            return self.json(&Entry::Handler { environment, record, message });
        }
        let palette = self.palette();
        let style = match level {
            Some("WARN") => palette.warning,
            Some("ERROR" | "FATAL") => palette.error,
            _ => Style::new(),
        };
        self.text(&format!("env {environment}  {style}{line}{style:#}"));
    }

    /// Writes a line of text, prefixed with the time of day in UTC.
    fn text(&self, line: &str) {
        let now = OffsetDateTime::now_utc().format(format_description!("[hour]:[minute]:[second]")).unwrap_or_default();
        let quiet = self.palette().quiet;
        self.write(&format!("{quiet}{now}{quiet:#}  {line}"));
    }

    /// Writes a line of JSON.
    fn json(&self, entry: &Entry<'_>) {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        let time = OffsetDateTime::now_utc().format(format).unwrap_or_default();
        self.write(&serde_json::to_string(&Timed { time, entry }).unwrap_or_default());
    }

    fn write(&self, line: &str) {
        match &self.stored {
            Some(stored) => stored.lock().push(line.to_owned()),
            // The cloud keeps serving after its standard output has closed.
            None => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    fn palette(&self) -> Palette {
        if self.format == Format::Colours { Palette::COLOURS } else { Palette::default() }
    }
}

/// The styles of the parts of a line. The default ones write no escape sequence.
#[derive(Debug, Clone, Copy, Default)]
struct Palette {
    quiet: Style,
    variant: Style,
    success: Style,
    redirection: Style,
    warning: Style,
    error: Style,
}

impl Palette {
    const COLOURS: Self = Self {
        quiet: Style::new().dimmed(),
        variant: Style::new().bold(),
        success: AnsiColor::Green.on_default(),
        redirection: AnsiColor::Cyan.on_default(),
        warning: AnsiColor::Yellow.on_default(),
        error: AnsiColor::Red.on_default().bold(),
    };

    fn of_status(&self, status: StatusCode) -> Style {
        match status.as_u16() {
            200..=299 => self.success,
            300..=399 => self.redirection,
            400..=499 => self.warning,
            _ => self.error,
        }
    }
}

/// The path of a request through the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Through the CDN to the API.
    Edge,
    /// Directly to the API.
    Gateway,
    /// Through the CDN to the bucket.
    EdgeToBucket,
    /// To the CDN only, which responds from its cache or refuses the method.
    EdgeOnly,
}

impl Via {
    /// The name in a line.
    fn name(self) -> &'static str {
        match self {
            Self::Edge => "cdn>api",
            Self::Gateway => "api",
            Self::EdgeToBucket => "cdn>s3",
            Self::EdgeOnly => "cdn",
        }
    }
}

/// The line of a request.
#[derive(Debug, Clone)]
pub struct RequestLine {
    method: String,
    path: String,
    variant: Option<String>,
    /// The path through the cloud.
    pub via: Via,
    /// The status of the response.
    pub status: StatusCode,
    /// The size of the response body in bytes.
    pub bytes: u64,
    /// Time from the request to the response.
    pub duration: Duration,
    /// Duration of the function's invocation, if there was one. It is not part of the text.
    pub integration: Option<Duration>,
    /// Startup time of the execution environment, if this was its first invocation.
    pub cold_start: Option<Duration>,
    /// The error, if the request failed in the cloud.
    pub error: Option<String>,
}

impl RequestLine {
    /// The line of a request, with defaults for the fields of the response. `version_header` names the requested variant.
    pub fn of<B>(request: &Request<B>, via: Via, version_header: &HeaderName) -> Self {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        Self {
            method: request.method().to_string(),
            path: escaped(&mask(path)).collect(),
            variant: request.headers().get(version_header).map(shortened),
            via,
            status: StatusCode::OK,
            bytes: 0,
            duration: Duration::ZERO,
            integration: None,
            cold_start: None,
            error: None,
        }
    }

    /// Takes the status of the response, and the variant that it names: that of a visitor in a test, whose request names none.
    pub fn respond<B>(&mut self, response: &Response<B>) {
        self.status = response.status();
        if let Some(variant) = response.headers().get("x-variant") {
            self.variant = Some(shortened(variant));
        }
    }
}

/// The value of a field, as a line can contain it.
fn shortened(value: &HeaderValue) -> String {
    escaped(&String::from_utf8_lossy(value.as_bytes())).take(64).collect()
}

/// The fields of a request's line in JSON. Absent values are `null`.
#[derive(Serialize)]
struct RequestFields<'a> {
    via: &'static str,
    method: &'a str,
    path: &'a str,
    variant: Option<&'a str>,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    cold_start_ms: Option<f64>,
    error: Option<&'a str>,
}

impl RequestLine {
    fn fields(&self) -> RequestFields<'_> {
        // Microseconds are the resolution.
        let ms = |duration: Duration| duration.as_micros() as f64 / 1e3;
        RequestFields {
            via: self.via.name(),
            method: &self.method,
            path: &self.path,
            variant: self.variant.as_deref(),
            status: self.status.as_u16(),
            bytes: self.bytes,
            duration_ms: ms(self.duration),
            cold_start_ms: self.cold_start.map(ms),
            error: self.error.as_deref(),
        }
    }

    fn text(&self, palette: Palette) -> String {
        let Palette { quiet, variant, warning, error, .. } = palette;
        let status = palette.of_status(self.status);
        let mut line = format!(
            "{quiet}{:<7}{quiet:#} {:<4} {:<32} {variant}{:<6}{variant:#} {status}{}{status:#} {:>9} B {:>8.1} ms",
            self.via.name(),
            self.method,
            self.path,
            self.variant.as_deref().unwrap_or("-"),
            self.status.as_u16(),
            self.bytes,
            self.duration.as_secs_f64() * 1e3,
        );
        if let Some(cold_start) = self.cold_start {
            line.push_str(&format!("  {warning}cold start {:.1} ms{warning:#}", cold_start.as_secs_f64() * 1e3));
        }
        if let Some(reason) = &self.error {
            // A handler's error message may contain line breaks.
            line.push_str(&format!("  {error}{}{error:#}", reason.replace(char::is_control, " ")));
        }
        line
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Palette::default()))
    }
}

/// The characters of `text`, with control characters escaped: a terminal would execute them.
fn escaped(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|character| {
        let escape = character.is_control().then(|| character.escape_default());
        escape.into_iter().flatten().chain((!character.is_control()).then_some(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST_VERSION: HeaderName = HeaderName::from_static("test_version");

    #[test]
    fn a_request_is_one_line() {
        let request = Request::builder().uri("/a%20b?x=1").header("test_version", "v1\u{fc}").body(()).unwrap();
        let mut line = RequestLine::of(&request, Via::Edge, &TEST_VERSION);
        line.cold_start = Some(Duration::from_millis(12));
        let text = line.to_string();
        for part in ["cdn>api", "GET", "/a%20b?x=1", "v1", "200", "0 B", "cold start 12.0 ms"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_line_names_the_variant_of_the_response_or_else_that_of_the_request() {
        let request = Request::builder().uri("/").header("test_version", "v1").body(()).unwrap();
        let line = |response: Response<()>| {
            let mut line = RequestLine::of(&request, Via::Edge, &TEST_VERSION);
            line.respond(&response);
            (line.fields().status, line.variant)
        };
        let served = Response::builder().status(206).header("x-variant", "v2\u{9b}").body(()).unwrap();
        assert_eq!(line(served), (206, Some("v2\\u{9b}".to_owned())));
        assert_eq!(line(Response::new(())), (200, Some("v1".to_owned())));
    }

    #[test]
    fn a_request_line_contains_no_control_characters() {
        let request = Request::builder().uri("/a\u{9b}31m").header("test_version", "v\u{9b}1").body(()).unwrap();
        let mut line = RequestLine::of(&request, Via::Gateway, &TEST_VERSION);
        line.error = Some("a\u{1b}[31m\nb".to_owned());
        assert!(!line.to_string().contains(char::is_control), "{line}");
    }

    #[test]
    fn colours_change_no_visible_character() {
        let request = Request::builder().uri("/a").header("test_version", "v1").body(()).unwrap();
        let mut line = RequestLine::of(&request, Via::Edge, &TEST_VERSION);
        (line.cold_start, line.error) = (Some(Duration::from_millis(12)), Some("Runtime exited".to_owned()));
        for status in [200, 302, 404, 502] {
            line.status = StatusCode::from_u16(status).unwrap();
            let coloured = line.text(Palette::COLOURS);
            assert!(coloured.contains("\u{1b}["));
            assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), line.to_string());
        }
    }

    #[test]
    fn json_lines_have_stable_fields() {
        let journal = Journal { format: Format::Json, ..Journal::in_memory() };
        let request = Request::builder().uri("/a%20b?x=1").header("test_version", "v1").body(()).unwrap();
        let mut line = RequestLine::of(&request, Via::EdgeToBucket, &TEST_VERSION);
        (line.bytes, line.duration) = (7, Duration::from_micros(2_500));
        journal.request(&line);
        let plain = Request::builder().uri("/").body(()).unwrap();
        let mut failed = RequestLine::of(&plain, Via::Gateway, &TEST_VERSION);
        (failed.cold_start, failed.error) = (Some(Duration::from_millis(3)), Some("a\nb".to_owned()));
        journal.request(&failed);
        journal.environment(1, "started in 3.0 ms");
        journal.handler(1, r#"{"level":"WARN","message":"slow"}"#);
        journal.handler(2, "Traceback");
        journal.ready(&serde_json::json!({"cdn": "http://127.0.0.1:3000"}));
        journal.line("a broken link");
        journal.stopping();
        let mut lines: Vec<Value> = journal.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &mut lines {
            let time = line.as_object_mut().unwrap().remove("time").unwrap();
            let time = time.as_str().unwrap();
            assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        }
        let expected = serde_json::json!([
            {"type": "request", "via": "cdn>s3", "method": "GET", "path": "/a%20b?x=1", "variant": "v1", "status": 200,
             "bytes": 7, "duration_ms": 2.5, "cold_start_ms": null, "error": null},
            {"type": "request", "via": "api", "method": "GET", "path": "/", "variant": null, "status": 200, "bytes": 0,
             "duration_ms": 0.0, "cold_start_ms": 3.0, "error": "a\nb"},
            {"type": "environment", "environment": 1, "message": "started in 3.0 ms"},
            {"type": "handler", "environment": 1, "record": {"level": "WARN", "message": "slow"}, "message": null},
            {"type": "handler", "environment": 2, "record": null, "message": "Traceback"},
        ]);
        assert_eq!(lines[..5], expected.as_array().unwrap()[..]);
        assert_eq!(lines[5]["type"], "ready");
        assert_eq!(lines[5]["message"], READY);
        assert_eq!(lines[5]["cdn"], "http://127.0.0.1:3000");
        assert_eq!(lines[6], serde_json::json!({"type": "message", "message": "a broken link"}));
        assert_eq!(lines[7]["type"], "stopping");
    }

    #[test]
    fn the_handlers_info_lines_are_hidden_by_default() {
        let journal = Journal { handler_log: HandlerLog::default(), ..Journal::in_memory() };
        journal.handler(1, r#"{"level":"INFO","message":"response sent"}"#);
        journal.handler(1, r#"{"_aws":{"Timestamp":1},"Duration":0.5}"#);
        journal.handler(1, r#"{"level":"WARN","message":"slow"}"#);
        journal.handler(1, "Traceback (most recent call last)");
        assert_eq!(journal.lines().len(), 2);
    }
}
