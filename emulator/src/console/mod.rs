//! The console: web pages with the metrics and traces of a local run, and an OTLP endpoint.
//!
//! The pages show what CloudWatch and X-Ray would show, from the same log lines and spans.

pub mod experiments;

use std::collections::BTreeMap;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cloudwatch::dashboard::{self, Dashboard};
use crate::cloudwatch::{CloudWatch, MetricName, RETENTION_SECS, statistic};
use crate::console::experiments::Experiments;
use crate::fault::{CollectorFault, Fault, Faults};
use crate::identity;
use crate::lambda::service::Lambda;
use crate::serve::{self, Body, BoxError, Server};
use crate::xray::XRay;

/// The period that the page shows, in seconds.
const WINDOW_SECS: u64 = 120;

/// The window of a percentile, in seconds, so that a few requests per second are enough for one.
const PERCENTILE_SECS: u64 = 10;

/// The number of traces that the page lists.
const TRACES: usize = 40;

/// The maximum size of an export request of OTLP, in bytes.
const EXPORT_BYTES_MAX: usize = 16 << 20;

/// The maximum size of a list of faults, in bytes: more than the names of all faults.
const FAULT_BYTES_MAX: usize = 4096;

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The files of the pages: path, media type, text.
const FILES: [(&str, &str, &str); 21] = [
    ("/", HTML, include_str!("../../console/index.html")),
    ("/experiments", HTML, include_str!("../../console/experiments.html")),
    ("/experiments.css", CSS, include_str!("../../console/experiments.css")),
    ("/experiments.js", JAVASCRIPT, include_str!("../../console/experiments.js")),
    ("/console.css", CSS, include_str!("../../console/console.css")),
    ("/console.js", JAVASCRIPT, include_str!("../../console/console.js")),
    ("/dashboard.js", JAVASCRIPT, include_str!("../../console/dashboard.js")),
    ("/chart.js", JAVASCRIPT, include_str!("../../console/chart.js")),
    ("/definition.js", JAVASCRIPT, include_str!("../../console/definition.js")),
    ("/interval.js", JAVASCRIPT, include_str!("../../console/interval.js")),
    ("/result.js", JAVASCRIPT, include_str!("../../console/result.js")),
    ("/trend.js", JAVASCRIPT, include_str!("../../console/trend.js")),
    ("/connection.js", JAVASCRIPT, include_str!("../../console/connection.js")),
    ("/dom.js", JAVASCRIPT, include_str!("../../console/dom.js")),
    ("/format.js", JAVASCRIPT, include_str!("../../console/format.js")),
    ("/trace.js", JAVASCRIPT, include_str!("../../console/trace.js")),
    ("/variant.js", JAVASCRIPT, include_str!("../../console/variant.js")),
    ("/icon.svg", SVG, include_str!("../../console/icon.svg")),
    // A browser requests this path for a page without a link to an icon, such as /api/state.
    ("/favicon.ico", SVG, include_str!("../../console/icon.svg")),
    ("/vendor/uPlot.iife.min.js", JAVASCRIPT, include_str!("../../console/vendor/uPlot.iife.min.js")),
    ("/vendor/uPlot.min.css", CSS, include_str!("../../console/vendor/uPlot.min.css")),
];

/// The page of a dashboard.
const DASHBOARD_PAGE: &str = include_str!("../../console/dashboard.html");

/// The console and its data.
#[derive(Debug, Clone)]
pub struct Console {
    /// The function.
    pub lambda: Lambda,
    /// The metrics.
    pub cloudwatch: CloudWatch,
    /// The spans.
    pub xray: XRay,
    /// The value of the dimension `service`.
    pub service: String,
    /// A command that sends a request through the CDN.
    pub example: String,
    /// The active faults.
    pub faults: Faults,
    /// The dashboards.
    pub dashboards: Vec<Dashboard>,
    /// The experiments.
    pub experiments: Experiments,
    /// The variants that the metrics distinguish. Their order selects their colours; the first is the control.
    pub variants: Vec<String>,
}

/// Serves the console.
pub fn serve(listener: TcpListener, console: Console) -> Server {
    serve::serve(listener, move |request, _| {
        let console = console.clone();
        async move { console.respond(request).await }
    })
}

impl Console {
    async fn respond(&self, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let path = request.uri().path().to_owned();
        if path == "/v1/traces" || path == "/v1/metrics" {
            match self.faults.collector() {
                None => {}
                Some(CollectorFault::Hang) => std::future::pending().await,
                Some(CollectorFault::Unavailable) => {
                    return Ok(text(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "text/plain",
                        "injected fault: otlp-unavailable\n",
                    ));
                }
                Some(CollectorFault::Reset) => return Err("injected fault: otlp-reset".into()),
            }
            return Ok(self.receive_export(request, path == "/v1/metrics").await);
        }
        if path == "/fault" {
            return Ok(self.configure_faults(request).await);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "expected GET or HEAD\n"));
        }
        if let Some((_, kind, file)) = FILES.iter().find(|(file_path, ..)| *file_path == path) {
            return Ok(text(StatusCode::OK, kind, *file));
        }
        Ok(match path.strip_prefix("/api/").map(|path| path.split_once('/').unwrap_or((path, ""))) {
            Some(("state", "")) => json_response(&self.state()),
            Some(("experiments", "")) => {
                let (experiments, service) = (self.experiments.clone(), self.service.clone());
                // It reads a file and computes, so it must not delay other requests.
                json_response(&tokio::task::spawn_blocking(move || experiments.state(&service)).await?)
            }
            Some(("traces", "")) => json_response(&self.xray.latest(TRACES)),
            Some(("dashboards", name)) => match self.dashboard(name) {
                Some(dashboard) => json_response(&dashboard),
                None => text(StatusCode::NOT_FOUND, "text/plain", "unknown dashboard\n"),
            },
            _ if path.strip_prefix("/dashboards/").is_some_and(|name| self.find_dashboard(name).is_some()) => {
                text(StatusCode::OK, HTML, DASHBOARD_PAGE)
            }
            _ => text(StatusCode::NOT_FOUND, "text/plain", "unknown page; the console is at /\n"),
        })
    }

    /// Returns the active faults (GET), replaces them by those of the body, separated by white space (PUT), or ends them
    /// (DELETE).
    async fn configure_faults(&self, request: Request<Incoming>) -> Response<Body> {
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::DELETE => self.faults.set(Vec::new()),
            Method::PUT => {
                let body = serve::collect(request.into_body(), FAULT_BYTES_MAX).await.unwrap_or_default();
                let parsed: Result<Vec<Fault>, String> =
                    String::from_utf8_lossy(&body).split_whitespace().map(str::parse).collect();
                match parsed {
                    Ok(faults) if !faults.is_empty() => self.faults.set(faults),
                    Ok(_) => {
                        return text(
                            StatusCode::BAD_REQUEST,
                            "text/plain",
                            "expected a fault in the body; DELETE ends all faults\n",
                        );
                    }
                    Err(error) => return text(StatusCode::BAD_REQUEST, "text/plain", format!("{error}\n")),
                }
            }
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "expected GET, PUT or DELETE\n"),
        }
        let lines: String = self.faults.all().iter().map(|fault| format!("{fault}\n")).collect();
        text(StatusCode::OK, "text/plain", lines)
    }

    /// Receives an export request of OTLP over HTTP, as a collector does: metrics or spans.
    async fn receive_export(&self, request: Request<Incoming>, has_metrics: bool) -> Response<Body> {
        let Ok(body) = serve::collect(request.into_body(), EXPORT_BYTES_MAX).await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "expected at most 16 MiB of spans or metrics\n");
        };
        let (is_valid, message) = match has_metrics {
            true => (self.cloudwatch.put_otlp(&body), "ExportMetricsServiceRequest"),
            false => (self.xray.receive_request(&body), "ExportTraceServiceRequest"),
        };
        if is_valid {
            // An empty response message.
            text(StatusCode::OK, "application/x-protobuf", "")
        } else {
            text(StatusCode::BAD_REQUEST, "text/plain", format!("expected an {message} in protobuf\n"))
        }
    }

    /// The evaluated widgets of a dashboard, from the first retained value on.
    fn dashboard(&self, name: &str) -> Option<Value> {
        let body = &self.find_dashboard(name)?.body;
        let end = identity::now_ms() / 1000;
        let oldest = self.cloudwatch.oldest().unwrap_or(end);
        // At least a minute, so that the axis has a length.
        let start = oldest.clamp(end.saturating_sub(RETENTION_SECS), end.saturating_sub(60));
        let names: Vec<&str> = self.dashboards.iter().map(|dashboard| dashboard.name).collect();
        let title = format!("{} · {}", self.service, name.replace('-', " "));
        let widgets = match dashboard::evaluate(body, &self.cloudwatch, start, end) {
            Ok(widgets) => json!(widgets),
            Err(problem) => json!([{"x": 0, "y": 0, "width": 24, "height": 2, "kind": "text", "problem": problem}]),
        };
        Some(json!({
            "name": name, "title": title, "names": names, "variants": self.variants, "start": start, "end": end,
            "widgets": widgets,
        }))
    }

    fn find_dashboard(&self, name: &str) -> Option<&Dashboard> {
        self.dashboards.iter().find(|dashboard| dashboard.name == name)
    }

    /// The figures of the last two minutes, per second.
    fn state(&self) -> Value {
        // Without the current second, which is incomplete.
        let end = identity::now_ms() / 1000;
        let start = end.saturating_sub(WINDOW_SECS);
        let own = |name: &str| MetricName::new("nearedge", name, &[("service", &self.service)]);
        let sums = |name: &str| -> Vec<f64> {
            let values = self.cloudwatch.values(&own(name), start, end, 1);
            values.iter().map(|values| values.iter().sum()).collect()
        };
        let mut by_variant: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
        for name in self.cloudwatch.names() {
            if name.namespace == "nearedge"
                && name.name == "Duration"
                && let Some(variant) = name.dimension("variant")
            {
                let values = self.cloudwatch.values(&name, start.saturating_sub(PERCENTILE_SECS - 1), end, 1);
                let all = by_variant.entry(variant.to_owned()).or_insert_with(|| vec![Vec::new(); values.len()]);
                for (all, values) in all.iter_mut().zip(values) {
                    all.extend(values);
                }
            }
        }
        let before = usize::try_from(PERCENTILE_SECS - 1).unwrap_or(0);
        let requests = |seconds: &Vec<Vec<f64>>| -> Vec<usize> { seconds.iter().skip(before).map(Vec::len).collect() };
        let percentile = |seconds: &Vec<Vec<f64>>, stat: &str| -> Vec<Option<f64>> {
            seconds.windows(before + 1).map(|window| statistic(&window.concat(), stat)).collect()
        };
        let all: Vec<f64> =
            by_variant.values().flat_map(|seconds| seconds.iter().skip(before)).flatten().copied().collect();
        let per_variant = |figure: &dyn Fn(&Vec<Vec<f64>>) -> Value| -> Value {
            by_variant
                .iter()
                .map(|(variant, seconds)| (variant.clone(), figure(seconds)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let sources = ["hit", "miss", "revalidated", "coalesced", "stale", "bypass"].map(|source| {
            let metric = format!("Cache{}{}", source[..1].to_uppercase(), &source[1..]);
            (source.to_owned(), json!(sums(&metric)))
        });
        let classes =
            ["2xx", "3xx", "4xx", "5xx"].map(|class| (class.to_owned(), json!(sums(&format!("Status{class}")))));
        let (running, frozen) = self.lambda.running_and_frozen();
        let (received, traces) = self.xray.counts();
        json!({
            "now": end,
            "service": self.service,
            "example": self.example,
            "variants": self.variants,
            "overall": {"p50": statistic(&all, "p50"), "p90": statistic(&all, "p90"), "p99": statistic(&all, "p99")},
            "seconds": (start..end).collect::<Vec<_>>(),
            "requests": per_variant(&|seconds| json!(requests(seconds))),
            "duration": per_variant(&|seconds| json!({
                "p50": percentile(seconds, "p50"), "p90": percentile(seconds, "p90"), "p99": percentile(seconds, "p99"),
            })),
            "cache": Value::Object(sources.into_iter().collect()),
            "status": Value::Object(classes.into_iter().collect()),
            "s3": {"requests": sums("S3Requests"), "retries": sums("S3Retries")},
            "copies": {"source": sums("SourceBytes"), "copy": sums("CopyBytes")},
            "cold_starts": sums("ColdStart"),
            "environments": {
                "running": running, "frozen": frozen, "started": self.lambda.started(),
                "max": self.lambda.max_environments(),
            },
            "spans": {"received": received, "traces": traces},
        })
    }
}

fn json_response(value: &Value) -> Response<Body> {
    text(StatusCode::OK, "application/json", value.to_string())
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(serve::full(body));
    *response.status_mut() = status;
    let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
