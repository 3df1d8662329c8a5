//! The lines on the terminal: one per request, and the log lines of the handler.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use http::{Request, StatusCode};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

/// Which lines of the handler's log are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum HandlerLog {
    /// Warnings, errors, and lines that are not JSON log lines.
    #[default]
    Warnings,
    /// Every line.
    All,
}

/// Writes lines to standard output, or stores them in memory for tests.
#[derive(Debug, Clone)]
pub struct Journal {
    stored: Option<Arc<Mutex<Vec<String>>>>,
    handler_log: HandlerLog,
}

impl Journal {
    /// A journal that writes to standard output.
    pub fn to_stdout(handler_log: HandlerLog) -> Self {
        Self { stored: None, handler_log }
    }

    /// A journal that stores all lines, for tests.
    pub fn in_memory() -> Self {
        Self { stored: Some(Arc::default()), handler_log: HandlerLog::All }
    }

    /// The stored lines; empty if the journal writes to standard output.
    pub fn lines(&self) -> Vec<String> {
        self.stored.as_ref().map_or_else(Vec::new, |stored| stored.lock().clone())
    }

    /// Writes a line, prefixed with the time of day in UTC.
    pub fn line(&self, line: impl fmt::Display) {
        let now = OffsetDateTime::now_utc().format(format_description!("[hour]:[minute]:[second]")).unwrap_or_default();
        let line = format!("{now}  {line}");
        match &self.stored {
            Some(stored) => stored.lock().push(line),
            // The cloud keeps serving after its standard output has closed.
            None => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    /// Writes the line of a request after its response.
    pub fn request(&self, request: &RequestLine) {
        self.line(request);
    }

    /// Writes a log line of a handler process, unless its level is below the configured one.
    pub fn handler(&self, environment: u64, line: &str) {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        // A metrics line has no level and counts as INFO.
        let level = record["level"].as_str().or_else(|| record["_aws"].is_object().then_some("INFO"));
        let quiet = level.is_some_and(|level| !matches!(level, "WARN" | "ERROR" | "FATAL"));
        if !quiet || self.handler_log == HandlerLog::All {
            self.line(format_args!("env {environment}  {line}"));
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
}

/// The line of a request.
#[derive(Debug, Clone)]
pub struct RequestLine {
    method: String,
    path: String,
    variant: String,
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
    /// The line of a request, with defaults for the fields of the response.
    pub fn of<B>(request: &Request<B>, via: Via) -> Self {
        let variant = request.headers().get("test_version").map(|value| String::from_utf8_lossy(value.as_bytes()));
        Self {
            method: request.method().to_string(),
            path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            variant: variant.map_or_else(|| "-".to_owned(), |variant| variant.escape_debug().take(64).collect()),
            via,
            status: StatusCode::OK,
            bytes: 0,
            duration: Duration::ZERO,
            integration: None,
            cold_start: None,
            error: None,
        }
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let via = match self.via {
            Via::Edge => "cdn>api",
            Via::Gateway => "api",
            Via::EdgeToBucket => "cdn>s3",
        };
        let ms = self.duration.as_secs_f64() * 1e3;
        let status = self.status.as_u16();
        write!(
            f,
            "{via:<7} {:<4} {:<32} {:<6} {status} {:>9} B {ms:>8.1} ms",
            self.method, self.path, self.variant, self.bytes
        )?;
        if let Some(cold_start) = self.cold_start {
            write!(f, "  cold start {:.1} ms", cold_start.as_secs_f64() * 1e3)?;
        }
        if let Some(error) = &self.error {
            // A handler's error message may contain line breaks.
            write!(f, "  {}", error.replace(char::is_control, " "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line() {
        let request = Request::builder().uri("/a%20b?x=1").header("test_version", "v1\u{fc}").body(()).unwrap();
        let mut line = RequestLine::of(&request, Via::Edge);
        line.cold_start = Some(Duration::from_millis(12));
        let text = line.to_string();
        for part in ["cdn>api", "GET", "/a%20b?x=1", "v1", "200", "0 B", "cold start 12.0 ms"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\n'));
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
