//! What a person at the terminal sees: one readable line a request, and what the handler says when it matters.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use http::{Request, StatusCode};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

/// How much of the handler's own log is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum HandlerLog {
    /// Warnings, errors, and whatever is no JSON log line.
    #[default]
    Trouble,
    /// Every line.
    All,
}

/// Where lines go: standard output, or a list that a test can look at.
#[derive(Debug, Clone)]
pub struct Journal {
    kept: Option<Arc<Mutex<Vec<String>>>>,
    handler_log: HandlerLog,
}

impl Journal {
    /// Lines go to standard output.
    pub fn to_stdout(handler_log: HandlerLog) -> Self {
        Self { kept: None, handler_log }
    }

    /// Lines are kept, for tests.
    pub fn kept() -> Self {
        Self { kept: Some(Arc::default()), handler_log: HandlerLog::All }
    }

    /// The lines so far, where they are kept.
    pub fn lines(&self) -> Vec<String> {
        self.kept.as_ref().map_or_else(Vec::new, |kept| kept.lock().clone())
    }

    /// Writes a line.
    pub fn line(&self, line: impl fmt::Display) {
        let now = OffsetDateTime::now_utc().format(format_description!("[hour]:[minute]:[second]")).unwrap_or_default();
        let line = format!("{now}  {line}");
        match &self.kept {
            Some(kept) => kept.lock().push(line),
            // A closed pipe is no reason to stop serving.
            None => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    /// Writes the line of a request that has been answered.
    pub fn request(&self, request: &RequestLine) {
        self.line(request);
    }

    /// Writes a line that a handler process wrote, if it is to be shown.
    pub fn handler(&self, environment: u64, line: &str) {
        let line_read: Value = serde_json::from_str(line).unwrap_or_default();
        // A metrics line has no level and counts as INFO.
        let level = line_read["level"].as_str().or_else(|| line_read["_aws"].is_object().then_some("INFO"));
        let quiet = level.is_some_and(|level| !matches!(level, "WARN" | "ERROR" | "FATAL"));
        if !quiet || self.handler_log == HandlerLog::All {
            self.line(format_args!("env {environment}  {line}"));
        }
    }
}

/// The way that a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Through the edge to the API.
    Edge,
    /// Straight to the API.
    Gateway,
    /// Through the edge to the bucket.
    EdgeToBucket,
}

/// What a line says of a request.
#[derive(Debug, Clone)]
pub struct RequestLine {
    method: String,
    path: String,
    variant: String,
    /// The way it took.
    pub via: Via,
    /// The status that it was answered with.
    pub status: StatusCode,
    /// The bytes of the body.
    pub bytes: u64,
    /// From the request to its answer.
    pub duration: Duration,
    /// How much of that the function took.
    pub integration: Option<Duration>,
    /// How long the execution environment took to start, where one was started for this request.
    pub cold_start: Option<Duration>,
    /// What went wrong.
    pub trouble: Option<String>,
}

impl RequestLine {
    /// The line of a request, before it is answered.
    pub fn of<B>(request: &Request<B>, via: Via) -> Self {
        let version = request.headers().get("test_version").map(|value| String::from_utf8_lossy(value.as_bytes()));
        Self {
            method: request.method().to_string(),
            path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            variant: version.map_or_else(|| "-".to_owned(), |version| version.escape_debug().take(64).collect()),
            via,
            status: StatusCode::OK,
            bytes: 0,
            duration: Duration::ZERO,
            integration: None,
            cold_start: None,
            trouble: None,
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
        if let Some(trouble) = &self.trouble {
            // One line, whatever a handler puts into its error.
            write!(f, "  {}", trouble.replace(char::is_control, " "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_readable_line() {
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
    fn of_the_handlers_log_only_trouble_is_shown_unless_all_is_asked_for() {
        let journal = Journal { handler_log: HandlerLog::Trouble, ..Journal::kept() };
        journal.handler(1, r#"{"level":"INFO","message":"answered"}"#);
        journal.handler(1, r#"{"_aws":{"Timestamp":1},"Duration":0.5}"#);
        journal.handler(1, r#"{"level":"WARN","message":"slow"}"#);
        journal.handler(1, "Traceback (most recent call last)");
        assert_eq!(journal.lines().len(), 2);
    }
}
