//! The settings of the exporter.

use std::fmt;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};

use crate::telemetry::exporter::{header_names, redacted};

/// Where metrics go. `Debug` shows neither header values nor the endpoint's user and query.
#[derive(Clone)]
pub struct MetricsExport {
    /// The URL that metrics are posted to.
    pub endpoint: Uri,
    /// Header fields of each request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Timeout of a request.
    pub timeout: Duration,
    /// PEM certificates to trust instead of the bundled ones.
    pub certificate: Option<Vec<u8>>,
    /// Attributes of the function, named by the semantic conventions; sent with every request.
    pub resource: Vec<(String, String)>,
}

impl fmt::Debug for MetricsExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, headers, timeout, certificate: _, resource } = self;
        f.debug_struct("MetricsExport")
            .field("endpoint", &redacted(endpoint))
            .field("headers", &header_names(headers))
            .field("timeout", timeout)
            .field("resource", resource)
            .finish_non_exhaustive()
    }
}
