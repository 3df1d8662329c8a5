//! The settings of traces and metrics.
//!
//! OpenTelemetry's variables have the meaning of its specification
//! ([environment variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)). An
//! unsupported value is an error and is never ignored.
//!
//! - `otlp`: those of each signal over OTLP

mod otlp;

use std::time::Duration;

use nearedge_core::metric::{NAMESPACE, Variants};
use nearedge_core::object::is_version;
use opentelemetry_sdk::trace::Sampler;

use crate::config::reader::Reader;
use crate::config::telemetry::otlp::TRACES;
use crate::telemetry::exporter::{Destination, ExportConfig};
use crate::telemetry::metrics_batch::AccessLines;
use crate::telemetry::metrics_line::MetricsConfig;
use crate::telemetry::spans::TracesConfig;
use crate::telemetry::trace::TracePolicy;
use crate::telemetry::{MetricsMode, TelemetryConfig};

/// The variants of the walk-through.
const DEFAULT_VARIANTS: [&str; 2] = ["v1", "v2"];

/// Upper bound of the number of variants with metrics of their own.
const VARIANTS_MAX: usize = 20;

impl<E: Fn(&str) -> Option<String>> Reader<'_, E> {
    /// The settings of metrics and traces.
    pub(super) fn telemetry(&mut self, test_versions: Option<&[String]>) -> TelemetryConfig {
        let service = self.service();
        let namespace = self.text("metrics_namespace").unwrap_or_else(|| NAMESPACE.to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#:".contains(&byte);
        if namespace.len() > 255 || namespace.starts_with(':') || !namespace.bytes().all(allowed) {
            self.reject(
                "metrics_namespace",
                format!("is {namespace:?}: use up to 255 characters of A-Z a-z 0-9 . _ - / # : and no leading colon"),
            );
        }
        if self.text("metrics_namespace").is_some_and(|namespace| namespace.starts_with("AWS/")) {
            self.reject("metrics_namespace", "starts with AWS/, which CloudWatch reserves: use another namespace");
        }
        let variants = self.metrics_variants(test_versions);
        let mode = self.metrics_mode(&service);
        let metrics = mode.is_some().then(|| MetricsConfig { namespace, service: service.clone(), variants });
        TelemetryConfig { metrics, mode: mode.unwrap_or(MetricsMode::Line), traces: self.traces(&service) }
    }

    /// How metrics are written; `None` if they are off.
    fn metrics_mode(&mut self, service: &str) -> Option<MetricsMode> {
        let metrics = self.text("metrics");
        let mode = match metrics.as_deref() {
            None | Some("line" | "true") => Some(MetricsMode::Line),
            Some("batch") => return Some(MetricsMode::Batch(self.access_lines())),
            Some("otlp") => {
                let lines = self.access_lines();
                return Some(MetricsMode::Otlp(lines, Box::new(self.metrics_export(service)?)));
            }
            Some("false") => None,
            Some(other) => {
                self.reject("metrics", format!("is {other:?}: use line, batch, otlp or false"));
                None
            }
        };
        for name in ["log_ratio", "slow_ms"] {
            if self.text(name).is_some() {
                self.reject(name, "has no effect without metrics=batch: remove it, or set metrics to batch or otlp");
            }
        }
        mode
    }

    fn access_lines(&mut self) -> AccessLines {
        AccessLines {
            ratio: self.ratio("log_ratio", 0.01),
            slow: Duration::from_millis(self.number("slow_ms", 1_000, 0..=900_000)),
        }
    }

    /// The service name: from OpenTelemetry's variables, or else the function's name.
    fn service(&self) -> String {
        let listed = self.resource_attributes().into_iter().find(|(name, _)| name == "service.name");
        self.text("OTEL_SERVICE_NAME")
            .or_else(|| listed.map(|(_, value)| value))
            .or_else(|| self.text("AWS_LAMBDA_FUNCTION_NAME"))
            .unwrap_or_default()
    }

    fn metrics_variants(&mut self, test_versions: Option<&[String]>) -> Variants {
        let listed = self.text("metrics_variants");
        let variants: Vec<String> = match (&listed, test_versions) {
            (Some(list), _) => list.split(',').map(|version| version.trim().to_owned()).collect(),
            (None, Some(versions)) => versions.iter().take(VARIANTS_MAX).cloned().collect(),
            (None, None) => DEFAULT_VARIANTS.map(str::to_owned).to_vec(),
        };
        if variants.len() > VARIANTS_MAX {
            self.reject(
                "metrics_variants",
                format!(
                    "lists {} variants: list at most {VARIANTS_MAX}, because each costs its own metrics every month",
                    variants.len()
                ),
            );
        }
        if let Some(bad) = variants.iter().find(|version| listed.is_some() && !is_version(version)) {
            let problem = format!("contains {bad:?}, which is not a valid variant: list variants such as v1,v2");
            self.reject("metrics_variants", problem);
        }
        Variants(variants)
    }

    fn traces(&mut self, service: &str) -> Option<TracesConfig> {
        // Without traces, the other variables are not checked: they may configure another exporter.
        if !self.otlp_is_on(&TRACES) {
            return None;
        }
        let destination = self.destination()?;
        let policy =
            TracePolicy { sampler: self.sampler(), ratio: self.ratio("trace_ratio", 0.0), ..self.propagators() };
        let export = ExportConfig {
            destination,
            timeout: self.otlp_timeout(&TRACES, "OTEL_BSP_EXPORT_TIMEOUT"),
            queue_spans: self.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1..=65_536),
            batch_spans: self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1..=65_536),
            delay: Duration::from_millis(self.number("OTEL_BSP_SCHEDULE_DELAY", 5_000, 1..=600_000)),
            certificate: self.otlp_certificates(&TRACES),
        };
        Some(TracesConfig { policy, export, resource: self.resource(service) })
    }

    /// Where spans go: the configured endpoint, or else the X-Ray daemon that Lambda provides.
    fn destination(&mut self) -> Option<Destination> {
        let Some((name, endpoint)) = self.otlp_configured_endpoint(&TRACES) else { return self.xray_daemon() };
        let (endpoint, headers) = self.otlp_endpoint(&TRACES, name, &endpoint)?;
        Some(Destination::Http { endpoint, headers })
    }

    /// The X-Ray daemon: `127.0.0.1:2000`, or `tcp:127.0.0.1:2000 udp:127.0.0.2:2001`
    /// ([X-Ray SDK](https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-nodejs-configuration.html)).
    fn xray_daemon(&mut self) -> Option<Destination> {
        let addresses = self.text("AWS_XRAY_DAEMON_ADDRESS")?;
        let udp = addresses.split(' ').find_map(|address| address.strip_prefix("udp:")).unwrap_or(&addresses);
        let usable = udp.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !usable {
            self.reject("AWS_XRAY_DAEMON_ADDRESS", format!("is {addresses:?}: use host:port, such as 127.0.0.1:2000"));
        }
        Some(Destination::Udp(udp.to_owned()))
    }

    fn sampler(&mut self) -> Sampler {
        let name = self.text("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
        let (follows_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name.as_str()),
        };
        let root = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.ratio("OTEL_TRACES_SAMPLER_ARG", 1.0)),
            _ => {
                self.reject(
                    "OTEL_TRACES_SAMPLER",
                    format!(
                        "is {name:?}: use always_on, always_off or traceidratio, or one of them after parentbased_"
                    ),
                );
                Sampler::AlwaysOff
            }
        };
        if follows_parent { Sampler::ParentBased(Box::new(root)) } else { root }
    }

    /// Which trace headers may name the parent: those that `OTEL_PROPAGATORS` lists, by default both.
    fn propagators(&mut self) -> TracePolicy {
        let mut policy = TracePolicy { sampler: Sampler::AlwaysOff, ratio: 0.0, lambda: true, traceparent: true };
        let Some(list) = self.text("OTEL_PROPAGATORS") else { return policy };
        (policy.lambda, policy.traceparent) = (false, false);
        for name in list.split(',').map(str::trim_ascii) {
            match name {
                "xray" | "xray-lambda" => policy.lambda = true,
                "tracecontext" => policy.traceparent = true,
                // Accepted without effect: requests to S3 carry no baggage.
                "baggage" | "none" => {}
                other => self.reject(
                    "OTEL_PROPAGATORS",
                    format!("contains {other:?}: list xray, xray-lambda, tracecontext or baggage, or use none"),
                ),
            }
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigError;
    use crate::config::tests::{self, rejected};

    const DAEMON: (&str, &str) = ("AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129:2000");
    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    fn read(changes: &[(&str, &str)]) -> Result<TelemetryConfig, ConfigError> {
        tests::read(changes).map(|config| config.telemetry)
    }

    fn traces(changes: &[(&str, &str)]) -> TracesConfig {
        read(changes).unwrap().traces.unwrap()
    }

    fn endpoint(changes: &[(&str, &str)]) -> String {
        match traces(changes).export.destination {
            Destination::Http { endpoint, .. } => endpoint.to_string(),
            Destination::Udp(address) => format!("udp {address}"),
        }
    }

    #[test]
    fn spans_go_to_the_endpoint_or_else_to_the_xray_daemon() {
        assert!(read(&[]).unwrap().traces.is_none());
        assert_eq!(endpoint(&[DAEMON]), "udp 169.254.79.129:2000");
        assert_eq!(
            endpoint(&[("AWS_XRAY_DAEMON_ADDRESS", "tcp:127.0.0.1:2000 udp:127.0.0.2:2001")]),
            "udp 127.0.0.2:2001"
        );
        assert_eq!(endpoint(&[DAEMON, COLLECTOR]), "http://collector:4318/v1/traces");
        let for_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://xray.eu-west-1.amazonaws.com/v1/traces");
        assert_eq!(
            endpoint(&[COLLECTOR, for_traces]),
            "https://xray.eu-west-1.amazonaws.com/v1/traces",
            "the endpoint for traces is used unchanged"
        );
        // Unsupported values, which may be meant for another exporter.
        let unsupported = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_PROPAGATORS", "b3")];
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert!(read(&[COLLECTOR, off, unsupported[0], unsupported[1]]).unwrap().traces.is_none(), "{off:?}");
        }
        assert!(read(&[COLLECTOR, ("OTEL_SDK_DISABLED", "no")]).unwrap().traces.is_some());
    }

    #[test]
    fn opentelemetry_variables_follow_the_specification() {
        let export = traces(&[
            COLLECTOR,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "9000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "9000"),
        ])
        .export;
        assert_eq!(
            (export.timeout, export.delay, export.queue_spans),
            (Duration::from_millis(250), Duration::from_millis(100), 7)
        );
        let Destination::Http { headers, .. } = &export.destination else { panic!("{export:?}") };
        assert_eq!(headers[0], ("api-key".parse().unwrap(), "a b".parse().unwrap()));
        assert!(!format!("{export:?}").contains("a b"), "Debug shows a header field: {export:?}");
        assert_eq!(traces(&[COLLECTOR]).export.timeout, Duration::from_millis(500));
        let sampler = |name: &str, argument: &str| {
            let set = [COLLECTOR, ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            format!("{:?}", traces(&set).policy.sampler)
        };
        assert_eq!(sampler("", ""), "ParentBased(AlwaysOn)");
        assert_eq!(sampler("always_off", ""), "AlwaysOff");
        assert_eq!(sampler("traceidratio", "0.25"), "TraceIdRatioBased(0.25)");
        assert_eq!(sampler("parentbased_traceidratio", "0.5"), "ParentBased(TraceIdRatioBased(0.5))");
        let propagators = |list| {
            let policy = traces(&[COLLECTOR, ("OTEL_PROPAGATORS", list)]).policy;
            (policy.lambda, policy.traceparent)
        };
        assert_eq!(propagators(""), (true, true));
        assert_eq!(propagators("tracecontext,baggage"), (false, true));
        assert_eq!((propagators("xray-lambda"), propagators("none")), ((true, false), (false, false)));
    }

    #[test]
    fn configured_resource_attributes_override_detected_ones() {
        let set = [COLLECTOR, ("OTEL_RESOURCE_ATTRIBUTES", "cloud.region=mars,team=a%2Cb,service.name=listed")];
        let resource = traces(&set).resource;
        let of = |name: &str| resource.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        for (name, value) in [
            ("cloud.provider", "aws"),
            ("cloud.platform", "aws_lambda"),
            ("cloud.region", "mars"),
            ("faas.name", "lambdaapi"),
            ("faas.max_memory", "134217728"),
            ("team", "a,b"),
            ("service.name", "listed"),
        ] {
            assert_eq!(of(name), Some(value), "{name}");
        }
        let metrics = read(&[("OTEL_SERVICE_NAME", "shop")]).unwrap().metrics.unwrap();
        assert_eq!((metrics.service.as_str(), metrics.namespace.as_str()), ("shop", "nearedge"));
    }

    #[test]
    fn metrics_variants_default_to_test_versions_or_v1_and_v2() {
        let variants = |changes: &[(&str, &str)]| read(changes).unwrap().metrics.unwrap().variants.0;
        assert_eq!(variants(&[]), ["v1", "v2"]);
        assert_eq!(variants(&[("test_versions", "a,b,c")]), ["a", "b", "c"]);
        assert_eq!(variants(&[("test_versions", "a,b,c"), ("metrics_variants", "a, b")]), ["a", "b"]);
        assert!(read(&[("metrics", "false")]).unwrap().metrics.is_none());
        assert_eq!(rejected(&[("metrics_variants", "a,../b")]), ["metrics_variants"]);
        let many: Vec<String> = (0..21).map(|number| format!("v{number}")).collect();
        assert_eq!(rejected(&[("metrics_variants", &many.join(","))]), ["metrics_variants"]);
    }

    #[test]
    fn unsupported_telemetry_settings_are_rejected() {
        for (name, bad) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret-key"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("trace_ratio", "2"),
            ("trace_ratio", "0,05"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
            ("AWS_XRAY_DAEMON_ADDRESS", "somewhere"),
            ("metrics_namespace", "AWS/Lambda"),
            ("metrics_namespace", "a b"),
        ] {
            // The other variables are checked only if spans go to a collector.
            let collector = if name == "AWS_XRAY_DAEMON_ADDRESS" { ("metrics", "true") } else { COLLECTOR };
            let error = read(&[collector, (name, bad)]).unwrap_err();
            assert_eq!(error.0.iter().map(|setting| setting.name).collect::<Vec<_>>(), [name], "{error}");
            assert!(!error.to_string().contains("secret-key"), "{error}");
        }
    }
}
