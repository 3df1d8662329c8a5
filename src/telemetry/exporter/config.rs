//! The settings of the exporter.

use std::fmt;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};

/// Where spans go, and the limits of their queue and export.
#[derive(Debug, Clone)]
pub struct ExportConfig {
    /// Where spans go.
    pub destination: Destination,
    /// Timeout of a flush, for all its batches together.
    pub timeout: Duration,
    /// How many spans the queue holds.
    pub queue_spans: usize,
    /// How many spans a batch holds.
    pub batch_spans: usize,
    /// How long spans may wait for a full batch, if several invocations run at once.
    pub delay: Duration,
    /// PEM certificates to trust instead of the bundled ones.
    pub certificate: Option<Vec<u8>>,
}

/// Where spans go. `Debug` shows neither header values nor an address's user and query.
#[derive(Clone)]
pub enum Destination {
    /// OTLP over HTTP, in protobuf ([OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp)).
    Http {
        /// The URL that spans are posted to.
        endpoint: Uri,
        /// Header fields of each request.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// The X-Ray daemon: `host:port`.
    Udp(String),
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { endpoint, headers } => {
                let names = header_names(headers);
                f.debug_struct("Http").field("endpoint", &redacted(endpoint)).field("headers", &names).finish()
            }
            Self::Udp(address) => f.debug_tuple("Udp").field(address).finish(),
        }
    }
}

/// The names of header fields, whose values may contain a key.
pub(in crate::telemetry) fn header_names(headers: &[(HeaderName, HeaderValue)]) -> Vec<&HeaderName> {
    headers.iter().map(|(name, _)| name).collect()
}

/// The endpoint without its user and query, which may contain a key.
pub(in crate::telemetry) fn redacted(endpoint: &Uri) -> String {
    let (scheme, host) = (endpoint.scheme_str().unwrap_or_default(), endpoint.host().unwrap_or_default());
    let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{}", endpoint.path())
}
