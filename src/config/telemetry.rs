//! The settings of traces and metrics. Those that OpenTelemetry names mean what its specification says
//! ([environment variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/),
//! [OTLP exporter](https://opentelemetry.io/docs/specs/otel/protocol/exporter/)); what cannot be had is a fault, never
//! passed over.

use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;

use super::Reader;
use crate::http_client::read_anchors;
use crate::telemetry::TelemetryConfig;
use crate::telemetry::exporter::{Destination, ExportConfig};
use crate::telemetry::metrics_line::MetricsConfig;
use crate::telemetry::spans::TracesConfig;
use crate::telemetry::trace::TracePolicy;
use nearedge_core::metric::{NAMESPACE, Variants};
use nearedge_core::rules::variant::is_version;

/// The walk-through's variants.
const USUAL_VARIANTS: [&str; 2] = ["v1", "v2"];

/// A collector next door answers in a few milliseconds. The specification's 10 s are for processes that have nothing
/// else to wait for; here the next event waits.
const TIMEOUT_MS: u64 = 500;

/// The most dimensions that a list of variants may make.
const VARIANTS_MAX: usize = 20;

impl<E: Fn(&str) -> Option<String>> Reader<'_, E> {
    pub(super) fn telemetry(&mut self, test_versions: Option<&[String]>) -> TelemetryConfig {
        let service = self.service();
        let namespace = self.text("metrics_namespace").unwrap_or_else(|| NAMESPACE.to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#:".contains(&byte);
        if namespace.len() > 255 || namespace.starts_with(':') || !namespace.bytes().all(allowed) {
            self.fault(
                "metrics_namespace",
                "is no namespace of CloudWatch's: use up to 255 of A-Z a-z 0-9 . _ - / # :",
            );
        }
        if self.text("metrics_namespace").is_some_and(|namespace| namespace.starts_with("AWS/")) {
            self.fault("metrics_namespace", "begins with AWS/, which is AWS's own: use another");
        }
        let variants = self.metrics_variants(test_versions);
        let metrics =
            self.flag("metrics", true).then(|| MetricsConfig { namespace, service: service.clone(), variants });
        TelemetryConfig { metrics, traces: self.traces(&service) }
    }

    /// The function's name, unless OpenTelemetry's variables give another.
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
            (None, None) => USUAL_VARIANTS.map(str::to_owned).to_vec(),
        };
        if variants.len() > VARIANTS_MAX {
            self.fault(
                "metrics_variants",
                format!("lists more than {VARIANTS_MAX}: each costs its own metrics every month"),
            );
        }
        if let Some(bad) = variants.iter().find(|version| listed.is_some() && !is_version(version)) {
            let problem = format!("holds {bad:?}, which is no version: list versions such as v1,v2");
            self.fault("metrics_variants", problem);
        }
        Variants(variants)
    }

    fn traces(&mut self, service: &str) -> Option<TracesConfig> {
        // Off is off: what is set for somebody else's exporter then is no fault of ours.
        if self.text("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        match self.text("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return None,
            Some(other) => {
                let problem = format!("is {other:?}: use otlp or none");
                self.fault("OTEL_TRACES_EXPORTER", problem);
            }
        }
        let destination = self.destination()?;
        let policy =
            TracePolicy { sampler: self.sampler(), ratio: self.ratio("trace_ratio", 0.0), ..self.propagators() };
        let timeout_ms = self.either_number("TIMEOUT", TIMEOUT_MS, 1..=60_000);
        let export = ExportConfig {
            destination,
            timeout: Duration::from_millis(timeout_ms.min(self.number("OTEL_BSP_EXPORT_TIMEOUT", 30_000, 1..=600_000))),
            queue_spans: self.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1..=65_536),
            batch_spans: self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1..=65_536),
            delay: Duration::from_millis(self.number("OTEL_BSP_SCHEDULE_DELAY", 5_000, 1..=600_000)),
            certificate: self.certificate(),
        };
        Some(TracesConfig { policy, export, resource: self.resource(service) })
    }

    /// A share, from 0 to 1.
    fn ratio(&mut self, name: &'static str, default: f64) -> f64 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.fault(name, format!("is {text:?}: use a number from 0 to 1, such as 0.05"));
                default
            }
        }
    }

    /// Where spans go: to the endpoint that is set, or else to X-Ray's daemon, which Lambda names.
    fn destination(&mut self) -> Option<Destination> {
        let (name, endpoint) = if let Some(endpoint) = self.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            // As it is.
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)
        } else if let Some(base) = self.text("OTEL_EXPORTER_OTLP_ENDPOINT") {
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/v1/traces", base.trim_end_matches('/')))
        } else {
            return self.daemon();
        };
        let usable = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        let Some(endpoint) = endpoint.parse().ok().filter(usable) else {
            self.fault(name, "is no address of a collector: use one such as http://127.0.0.1:4318");
            return None;
        };
        if let Some((name, protocol)) = self.either("PROTOCOL").filter(|(_, protocol)| protocol != "http/protobuf") {
            self.fault(name, format!("is {protocol:?}: spans are sent as http/protobuf, to port 4318 as a rule"));
        }
        if let Some((name, compression)) = self.either("COMPRESSION").filter(|(_, compression)| compression != "none") {
            self.fault(name, format!("is {compression:?}: spans are sent as they are, use none"));
        }
        if let Some((name, _)) = self.either("CLIENT_CERTIFICATE").or_else(|| self.either("CLIENT_KEY")) {
            self.fault(name, "is set: a collector that asks for a certificate is out of reach, leave it out");
        }
        Some(Destination::Http { endpoint, headers: self.headers() })
    }

    /// `127.0.0.1:2000`, or `tcp:127.0.0.1:2000 udp:127.0.0.2:2001`
    /// ([X-Ray SDK](https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-nodejs-configuration.html)).
    fn daemon(&mut self) -> Option<Destination> {
        let addresses = self.text("AWS_XRAY_DAEMON_ADDRESS")?;
        let udp = addresses.split(' ').find_map(|address| address.strip_prefix("udp:")).unwrap_or(&addresses);
        let usable = udp.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !usable {
            self.fault("AWS_XRAY_DAEMON_ADDRESS", "is no address of a daemon: use one such as 127.0.0.1:2000");
        }
        Some(Destination::Udp(udp.to_owned()))
    }

    /// The variable for traces alone before that for all signals.
    fn either(&self, what: &str) -> Option<(&'static str, String)> {
        let names = match what {
            "PROTOCOL" => ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"],
            "COMPRESSION" => ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
            "CLIENT_CERTIFICATE" => {
                ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"]
            }
            "CLIENT_KEY" => ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"],
            "CERTIFICATE" => ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"],
            "TIMEOUT" => ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
            _ => ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
        };
        names.into_iter().find_map(|name| Some((name, self.text(name)?)))
    }

    fn either_number(&mut self, what: &str, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        match self.either(what) {
            Some((name, _)) => self.number(name, default, range),
            None => default,
        }
    }

    /// `name=value,name=value`, percent-encoded. A fault quotes none of it: there are keys in it, as a rule.
    fn headers(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        let Some((name, list)) = self.either("HEADERS") else { return Vec::new() };
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
            self.fault(name, "is no list of header fields: use name=value,name=value, percent-encoded");
        }
        headers.unwrap_or_default()
    }

    fn certificate(&mut self) -> Option<Vec<u8>> {
        let (name, path) = self.either("CERTIFICATE")?;
        let read = std::fs::read(&path).map_err(|error| format!("cannot be read: {error}"));
        match read.and_then(|pem| read_anchors(&pem).map(|_| pem)) {
            Ok(pem) => Some(pem),
            Err(problem) => {
                self.fault(name, format!("names {path}, which {problem}"));
                None
            }
        }
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
                let problem = format!(
                    "is {name:?}: use always_on, always_off or traceidratio, each also as parentbased_always_on and so on"
                );
                self.fault("OTEL_TRACES_SAMPLER", problem);
                Sampler::AlwaysOff
            }
        };
        if follows_parent { Sampler::ParentBased(Box::new(root)) } else { root }
    }

    /// Which headers name the parent: all that are known, unless a list says otherwise.
    fn propagators(&mut self) -> TracePolicy {
        let mut policy = TracePolicy { sampler: Sampler::AlwaysOff, ratio: 0.0, lambda: true, traceparent: true };
        let Some(list) = self.text("OTEL_PROPAGATORS") else { return policy };
        (policy.lambda, policy.traceparent) = (false, false);
        for name in list.split(',').map(str::trim_ascii) {
            match name {
                "xray" | "xray-lambda" => policy.lambda = true,
                "tracecontext" => policy.traceparent = true,
                // There is nothing to carry on to S3.
                "baggage" | "none" => {}
                other => {
                    let problem = format!("holds {other:?}: list xray, tracecontext, baggage, or none");
                    self.fault("OTEL_PROPAGATORS", problem);
                }
            }
        }
        policy
    }

    /// `name=value,name=value`, percent-encoded.
    fn resource_attributes(&self) -> Vec<(String, String)> {
        let list = self.text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let decoded = |text: &str| percent_decode_str(text.trim_ascii()).decode_utf8_lossy().into_owned();
        let pairs = list.split(',').filter_map(|item| item.split_once('='));
        pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
    }

    /// What the semantic conventions have to say of a function
    /// ([resource](https://opentelemetry.io/docs/specs/semconv/resource/faas/)).
    fn resource(&self, service: &str) -> Vec<(String, String)> {
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
        // What is set goes over what is found.
        let mut attributes: Vec<(String, String)> = detected.chain(self.resource_attributes()).collect();
        attributes.push(("service.name".to_owned(), service.to_owned()));
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::COMPLETE;
    use crate::config::{Config, ConfigError};
    use std::collections::HashMap;

    const DAEMON: (&str, &str) = ("AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129:2000");
    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    fn read(changes: &[(&str, &str)]) -> Result<TelemetryConfig, ConfigError> {
        let env: HashMap<&str, &str> = COMPLETE.iter().chain(changes).copied().collect();
        Config::from_env(|name| env.get(name).map(|value| (*value).to_owned())).map(|config| config.telemetry)
    }

    fn faults(changes: &[(&str, &str)]) -> Vec<&'static str> {
        read(changes).unwrap_err().0.iter().map(|fault| fault.name).collect()
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
    fn spans_go_to_the_endpoint_that_is_set_or_else_to_lambdas_daemon_or_else_nowhere() {
        assert!(read(&[]).unwrap().traces.is_none());
        assert_eq!(endpoint(&[DAEMON]), "udp 169.254.79.129:2000");
        assert_eq!(
            endpoint(&[("AWS_XRAY_DAEMON_ADDRESS", "tcp:127.0.0.1:2000 udp:127.0.0.2:2001")]),
            "udp 127.0.0.2:2001"
        );
        assert_eq!(endpoint(&[DAEMON, COLLECTOR]), "http://collector:4318/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://xray.eu-west-1.amazonaws.com/v1/traces");
        assert_eq!(endpoint(&[COLLECTOR, own]), "https://xray.eu-west-1.amazonaws.com/v1/traces", "as it is");
        // Whatever else is set, for somebody else.
        let others = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_PROPAGATORS", "b3")];
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert!(read(&[COLLECTOR, off, others[0], others[1]]).unwrap().traces.is_none(), "{off:?}");
        }
        assert!(read(&[COLLECTOR, ("OTEL_SDK_DISABLED", "no")]).unwrap().traces.is_some());
    }

    #[test]
    fn opentelemetrys_variables_mean_what_its_specification_says() {
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
        assert!(!format!("{export:?}").contains("a b"), "a key is no secret to the log: {export:?}");
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
    fn the_resource_says_which_function_it_is_and_what_is_set_goes_over_what_is_found() {
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
    fn the_variants_of_metrics_are_a_list_of_ours() {
        let variants = |changes: &[(&str, &str)]| read(changes).unwrap().metrics.unwrap().variants.0;
        assert_eq!(variants(&[]), ["v1", "v2"]);
        assert_eq!(variants(&[("test_versions", "a,b,c")]), ["a", "b", "c"]);
        assert_eq!(variants(&[("test_versions", "a,b,c"), ("metrics_variants", "a, b")]), ["a", "b"]);
        assert!(read(&[("metrics", "false")]).unwrap().metrics.is_none());
        assert_eq!(faults(&[("metrics_variants", "a,../b")]), ["metrics_variants"]);
        let many: Vec<String> = (0..21).map(|number| format!("v{number}")).collect();
        assert_eq!(faults(&[("metrics_variants", &many.join(","))]), ["metrics_variants"]);
    }

    #[test]
    fn what_cannot_be_had_is_a_fault_and_never_passed_over() {
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
            // The others are looked at where spans go to a collector.
            let collector = if name == "AWS_XRAY_DAEMON_ADDRESS" { ("metrics", "true") } else { COLLECTOR };
            let error = read(&[collector, (name, bad)]).unwrap_err();
            assert_eq!(error.0.iter().map(|fault| fault.name).collect::<Vec<_>>(), [name], "{error}");
            assert!(!error.to_string().contains("secret-key"), "{error}");
        }
    }
}
