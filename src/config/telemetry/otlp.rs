//! The settings of OTLP for each signal, and of metrics over OTLP.
//!
//! OpenTelemetry's variables have the meaning of its specification
//! ([OTLP exporter](https://opentelemetry.io/docs/specs/otel/protocol/exporter/)). An unsupported value is an error and
//! is never ignored.

use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::config::reader::Reader;
use crate::config::{REGIONS, is_region};
use crate::telemetry::metrics_exporter::MetricsExport;

/// Default timeout of an export. A collector nearby responds in a few milliseconds. The specification's default of 10 s
/// suits a background task; here the export delays the next event.
const TIMEOUT_MS: u64 = 500;

/// The variables of a signal. Those of the signal precede and override those of all signals.
#[derive(Debug)]
pub(super) struct Signal {
    exporter: &'static str,
    /// The path of the signal at the endpoint of all signals.
    path: &'static str,
    endpoint: &'static str,
    protocol: [&'static str; 2],
    compression: [&'static str; 2],
    client_certificate: [&'static str; 2],
    client_key: [&'static str; 2],
    certificate: [&'static str; 2],
    timeout: [&'static str; 2],
    headers: [&'static str; 2],
}

macro_rules! signal {
    ($name:literal, $path:literal) => {
        Signal {
            exporter: concat!("OTEL_", $name, "_EXPORTER"),
            path: $path,
            endpoint: concat!("OTEL_EXPORTER_OTLP_", $name, "_ENDPOINT"),
            protocol: signal!($name, "PROTOCOL", both),
            compression: signal!($name, "COMPRESSION", both),
            client_certificate: signal!($name, "CLIENT_CERTIFICATE", both),
            client_key: signal!($name, "CLIENT_KEY", both),
            certificate: signal!($name, "CERTIFICATE", both),
            timeout: signal!($name, "TIMEOUT", both),
            headers: signal!($name, "HEADERS", both),
        }
    };
    ($name:literal, $setting:literal, both) => {
        [concat!("OTEL_EXPORTER_OTLP_", $name, "_", $setting), concat!("OTEL_EXPORTER_OTLP_", $setting)]
    };
}

/// Spans.
pub(super) const TRACES: Signal = signal!("TRACES", "/v1/traces");

/// Metrics.
const METRICS: Signal = signal!("METRICS", "/v1/metrics");

/// The endpoint of all signals.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Header fields of a request.
type Headers = Vec<(HeaderName, HeaderValue)>;

impl<E: Fn(&str) -> Option<String>> Reader<'_, E> {
    /// Whether a signal is exported. If it is not, its other variables are not checked: they may configure another exporter.
    pub(super) fn otlp_is_on(&mut self, signal: &Signal) -> bool {
        if self.text("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return false;
        }
        match self.text(signal.exporter).as_deref() {
            None | Some("otlp") => true,
            Some("none") => false,
            Some(other) => {
                self.reject(signal.exporter, format!("is {other:?}: use otlp or none"));
                true
            }
        }
    }

    /// Where metrics go, for `metrics=otlp`; `None` if they are off.
    pub(super) fn metrics_export(&mut self, service: &str) -> Option<MetricsExport> {
        if !self.otlp_is_on(&METRICS) {
            return None;
        }
        for (name, supported, reason) in [
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "an environment may end at any time"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
                "base2_exponential_bucket_histogram",
                "histograms are exponential",
            ),
            ("OTEL_METRIC_EXPORT_INTERVAL", "60000", "metrics are exported every minute"),
        ] {
            if let Some(other) = self.text(name).filter(|value| !value.eq_ignore_ascii_case(supported)) {
                self.reject(name, format!("is {other:?}: remove it or use {supported}, because {reason}"));
            }
        }
        let (endpoint, headers) = match self.otlp_configured_endpoint(&METRICS) {
            Some((name, endpoint)) => self.otlp_endpoint(&METRICS, name, &endpoint)?,
            None => self.cloudwatch()?,
        };
        Some(MetricsExport {
            endpoint,
            headers,
            timeout: self.otlp_timeout(&METRICS, "OTEL_METRIC_EXPORT_TIMEOUT"),
            certificate: self.otlp_certificates(&METRICS),
            resource: self.resource(service),
        })
    }

    /// CloudWatch's own endpoint in the function's region
    /// ([OTLP endpoints](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html)). In AWS
    /// China its domain is that of all endpoints there, as in AWS's own exporter
    /// ([ADOT 0.21.0](https://github.com/aws-observability/aws-otel-python-instrumentation/releases/tag/v0.21.0)).
    fn cloudwatch(&mut self) -> Option<(Uri, Headers)> {
        // The settings of AWS report a missing or invalid region.
        let region = REGIONS.iter().find_map(|name| self.text(name)).filter(|region| is_region(region))?;
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = format!("https://monitoring.{region}.{domain}{}", METRICS.path).parse().ok()?;
        // Header fields of all signals may contain the key of another destination.
        let [name, _] = METRICS.headers;
        Some((endpoint, self.header_list([name, name])))
    }

    /// The endpoint of a signal and its variable; `None` if neither variable is set.
    pub(super) fn otlp_configured_endpoint(&self, signal: &Signal) -> Option<(&'static str, String)> {
        // Used unchanged, unlike the endpoint for all signals.
        if let Some(endpoint) = self.text(signal.endpoint) {
            return Some((signal.endpoint, endpoint));
        }
        let base = self.text(ENDPOINT)?;
        Some((ENDPOINT, format!("{}{}", base.trim_end_matches('/'), signal.path)))
    }

    /// The URL in the variable `name`, and the header fields of each request to it.
    pub(super) fn otlp_endpoint(
        &mut self,
        signal: &Signal,
        name: &'static str,
        endpoint: &str,
    ) -> Option<(Uri, Headers)> {
        let usable = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        let Some(endpoint) = endpoint.parse().ok().filter(usable) else {
            // Unquoted: its query or user may be a key.
            self.reject(name, "is not an HTTP URL with a host: use the collector's, such as http://127.0.0.1:4318");
            return None;
        };
        if let Some((name, protocol)) = self.first_text(signal.protocol).filter(|(_, value)| value != "http/protobuf") {
            self.reject(
                name,
                format!("is {protocol:?}: use http/protobuf and the collector's port for it, by default 4318"),
            );
        }
        if let Some((name, compression)) = self.first_text(signal.compression).filter(|(_, value)| value != "none") {
            self.reject(name, format!("is {compression:?}: use none, because compression is not supported"));
        }
        if let Some((name, _)) =
            self.first_text(signal.client_certificate).or_else(|| self.first_text(signal.client_key))
        {
            self.reject(name, "is set: remove it, because client certificates are not supported");
        }
        Some((endpoint, self.header_list(signal.headers)))
    }

    /// The timeout of an export: the shorter one of OTLP's and `limit`, a variable of the SDK.
    pub(super) fn otlp_timeout(&mut self, signal: &Signal, limit: &'static str) -> Duration {
        let timeout_ms = match self.first_text(signal.timeout) {
            Some((name, _)) => self.number(name, TIMEOUT_MS, 1..=60_000),
            None => TIMEOUT_MS,
        };
        Duration::from_millis(timeout_ms.min(self.number(limit, 30_000, 1..=600_000)))
    }

    /// The certificates to trust.
    pub(super) fn otlp_certificates(&mut self, signal: &Signal) -> Option<Vec<u8>> {
        let (name, _) = self.first_text(signal.certificate)?;
        self.certificates(name)
    }

    /// The first of these variables that is set: its name and its value.
    fn first_text(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        names.into_iter().find_map(|name| Some((name, self.text(name)?)))
    }

    /// Header fields: `name=value,name=value`, percent-encoded. No error quotes them, because they usually contain
    /// keys.
    fn header_list(&mut self, names: [&'static str; 2]) -> Headers {
        let Some((name, list)) = self.first_text(names) else { return Vec::new() };
        let header = |item: &str| {
            let (name, value) = item.split_once('=')?;
            let value = percent_decode_str(value.trim_ascii()).decode_utf8().ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((name.trim_ascii().parse().ok()?, value))
        };
        let items = list.split(',').filter(|item| !item.trim_ascii().is_empty());
        let headers: Option<Vec<_>> = items.map(header).collect();
        if headers.is_none() {
            self.reject(name, "is not a list of header fields: use name=value,name=value, percent-encoded");
        }
        headers.unwrap_or_default()
    }

    /// `OTEL_RESOURCE_ATTRIBUTES`: `name=value,name=value`, percent-encoded.
    pub(super) fn resource_attributes(&self) -> Vec<(String, String)> {
        let list = self.text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let decoded = |text: &str| percent_decode_str(text.trim_ascii()).decode_utf8_lossy().into_owned();
        let pairs = list.split(',').filter_map(|item| item.split_once('='));
        pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
    }

    /// Attributes of the function, named by the semantic conventions
    /// ([resource](https://opentelemetry.io/docs/specs/semconv/resource/faas/)).
    pub(super) fn resource(&self, service: &str) -> Vec<(String, String)> {
        let memory = self.text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|memory| memory.parse::<u64>().ok());
        let detected = [
            ("cloud.provider", Some("aws".to_owned())),
            ("cloud.platform", Some("aws_lambda".to_owned())),
            ("cloud.region", self.text("AWS_REGION")),
            ("faas.name", self.text("AWS_LAMBDA_FUNCTION_NAME")),
            ("faas.version", self.text("AWS_LAMBDA_FUNCTION_VERSION")),
            ("faas.instance", self.text("AWS_LAMBDA_LOG_STREAM_NAME")),
            ("faas.max_memory", memory.map(|megabytes| (megabytes << 20).to_string())),
            ("aws.log.group.names", self.text("AWS_LAMBDA_LOG_GROUP_NAME")),
        ];
        let detected = detected.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        // Later attributes override earlier ones of the same name: configured ones override detected ones.
        let mut attributes: Vec<(String, String)> = detected.chain(self.resource_attributes()).collect();
        attributes.push(("service.name".to_owned(), service.to_owned()));
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{self, rejected};
    use crate::telemetry::MetricsMode;

    const OTLP: (&str, &str) = ("metrics", "otlp");
    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    fn export(changes: &[(&str, &str)]) -> Option<MetricsExport> {
        let changes: Vec<_> = [OTLP].iter().chain(changes).copied().collect();
        let telemetry = tests::read(&changes).unwrap().telemetry;
        match telemetry.mode {
            MetricsMode::Otlp(_, export) => Some(*export),
            _ => {
                assert!(telemetry.metrics.is_none());
                None
            }
        }
    }

    fn endpoint(changes: &[(&str, &str)]) -> String {
        export(changes).unwrap().endpoint.to_string()
    }

    #[test]
    fn metrics_go_to_the_endpoint_or_else_to_cloudwatch() {
        let region = |name| endpoint(&[("AWS_REGION", name)]);
        assert_eq!(region("us-east-1"), "https://monitoring.us-east-1.amazonaws.com/v1/metrics");
        assert_eq!(region("cn-north-1"), "https://monitoring.cn-north-1.amazonaws.com.cn/v1/metrics");
        assert_eq!(endpoint(&[COLLECTOR]), "http://collector:4318/v1/metrics");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://metrics.example/otlp");
        assert_eq!(endpoint(&[COLLECTOR, own]), "https://metrics.example/otlp");
        assert_eq!(rejected(&[OTLP, ("AWS_REGION", "a/b")]), ["AWS_REGION"]);
    }

    #[test]
    fn metrics_are_off_with_the_exporter_none_or_without_the_sdk() {
        for off in [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "TRUE")] {
            assert!(
                export(&[COLLECTOR, off, ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"), ("slow_ms", "5")]).is_none()
            );
        }
        // Another mode does not read the variables.
        for mode in ["line", "batch"] {
            let changes = [("metrics", mode), ("OTEL_METRICS_EXPORTER", "none")];
            assert!(tests::read(&changes).unwrap().telemetry.metrics.is_some(), "{mode}");
        }
    }

    #[test]
    fn variables_of_metrics_override_those_of_all_signals() {
        let export = export(&[
            COLLECTOR,
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=all"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=sesame"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "9000"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA"),
        ])
        .unwrap();
        assert_eq!(export.headers, [("x-key".parse().unwrap(), "sesame".parse().unwrap())]);
        assert_eq!(export.timeout, Duration::from_millis(250));
        assert!(export.resource.contains(&("service.name".to_owned(), "lambdaapi".to_owned())));
        assert!(!format!("{export:?}").contains("sesame"), "{export:?}");
    }

    #[test]
    fn headers_of_all_signals_do_not_go_to_cloudwatch() {
        let general = ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=sesame");
        assert_eq!(export(&[general]).unwrap().headers, []);
        let own = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=Bearer%20sesame");
        assert_eq!(export(&[general, own]).unwrap().headers.len(), 1);
    }

    #[test]
    fn unsupported_settings_of_metrics_are_rejected() {
        for (name, bad) in [
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "grpc://secret-key@collector"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/key.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/nowhere.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "secret-key"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "0"),
            // Both signals read it, and it is reported once.
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret-key"),
        ] {
            let error = tests::read(&[OTLP, COLLECTOR, (name, bad)]).unwrap_err();
            assert_eq!(error.0.iter().map(|setting| setting.name).collect::<Vec<_>>(), [name], "{error}");
            assert!(!error.to_string().contains("secret-key"), "{error}");
        }
        assert_eq!(rejected(&[("metrics", "prometheus")]), ["metrics"]);
        for value in ["0.5", "much"] {
            assert_eq!(rejected(&[("log_ratio", value)]), ["log_ratio"]);
        }
    }
}
