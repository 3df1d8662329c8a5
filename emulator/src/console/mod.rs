//! The console: a page of what CloudWatch and X-Ray would show, from the same lines and spans; and the OTLP endpoint.

use std::collections::BTreeMap;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cloudwatch::dashboard::{DASHBOARDS, draw};
use crate::cloudwatch::{CloudWatch, MetricName, statistic};
use crate::fault::{CollectorFault, Fault, Faults};
use crate::identity;
use crate::lambda::service::Lambda;
use crate::serve::{self, Body, BoxError, Server};
use crate::xray::XRay;

/// How far back the page looks, in seconds.
const WINDOW_SECS: u64 = 120;

/// Over how many seconds a percentile is taken, so that it says something at a few requests a second.
const PERCENTILE_SECS: u64 = 10;

/// How many traces the page lists.
const TRACES: usize = 40;

/// The largest batch of spans.
const SPANS_BYTES_MAX: usize = 16 << 20;

/// More than the names of all faults.
const FAULT_BYTES_MAX: usize = 4096;

/// What the page is made of: path, type, text.
const FILES: [(&str, &str, &str); 6] = [
    ("/", "text/html; charset=utf-8", include_str!("../../console/index.html")),
    ("/console.css", "text/css; charset=utf-8", include_str!("../../console/console.css")),
    ("/console.js", "text/javascript; charset=utf-8", include_str!("../../console/console.js")),
    ("/dashboard.js", "text/javascript; charset=utf-8", include_str!("../../console/dashboard.js")),
    (
        "/vendor/uPlot.iife.min.js",
        "text/javascript; charset=utf-8",
        include_str!("../../console/vendor/uPlot.iife.min.js"),
    ),
    ("/vendor/uPlot.min.css", "text/css; charset=utf-8", include_str!("../../console/vendor/uPlot.min.css")),
];

/// The page of a dashboard.
const DASHBOARD_PAGE: &str = include_str!("../../console/dashboard.html");

/// What the console shows.
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
    /// The address of the distribution.
    pub cdn: String,
    /// What goes wrong.
    pub faults: Faults,
    /// What the placeholders of the dashboards stand for here.
    pub names: Vec<(&'static str, String)>,
}

/// Serves the console.
pub fn serve(listener: TcpListener, console: Console) -> Server {
    serve::serve(listener, move |request, _| {
        let console = console.clone();
        async move { console.answer(request).await }
    })
}

impl Console {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let path = request.uri().path().to_owned();
        if path == "/v1/traces" {
            match self.faults.collector() {
                None => {}
                Some(CollectorFault::Hang) => std::future::pending().await,
                Some(CollectorFault::Unavailable) => {
                    return Ok(text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "as --fault asks\n"));
                }
                Some(CollectorFault::Reset) => return Err("the connection is closed, as --fault asks".into()),
            }
            return Ok(self.take_spans(request).await);
        }
        if path == "/fault" {
            return Ok(self.fault(request).await);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n"));
        }
        if let Some((_, kind, file)) = FILES.iter().find(|(known, ..)| *known == path) {
            return Ok(text(StatusCode::OK, kind, *file));
        }
        if path == "/favicon.ico" {
            return Ok(text(StatusCode::NO_CONTENT, "image/x-icon", ""));
        }
        Ok(match path.strip_prefix("/api/").map(|path| path.split_once('/').unwrap_or((path, ""))) {
            Some(("state", "")) => json_of(&self.state()),
            Some(("traces", "")) => json_of(&self.xray.latest(TRACES)),
            Some(("dashboards", name)) => match self.dashboard(name) {
                Some(drawn) => json_of(&drawn),
                None => text(StatusCode::NOT_FOUND, "text/plain", "there is no such dashboard\n"),
            },
            _ if path
                .strip_prefix("/dashboards/")
                .is_some_and(|name| DASHBOARDS.iter().any(|(known, _)| *known == name)) =>
            {
                text(StatusCode::OK, "text/html; charset=utf-8", DASHBOARD_PAGE)
            }
            _ => text(StatusCode::NOT_FOUND, "text/plain", "there is no such page: go to /\n"),
        })
    }

    /// What goes wrong: GET says it, PUT changes it to those of the body, one a line, and DELETE ends it.
    async fn fault(&self, request: Request<Incoming>) -> Response<Body> {
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::DELETE => self.faults.set(Vec::new()),
            Method::PUT => {
                let body = serve::collect(request.into_body(), FAULT_BYTES_MAX).await.unwrap_or_default();
                let named: Result<Vec<Fault>, String> =
                    String::from_utf8_lossy(&body).split_whitespace().map(str::parse).collect();
                match named {
                    Ok(faults) if !faults.is_empty() => self.faults.set(faults),
                    Ok(_) => return text(StatusCode::BAD_REQUEST, "text/plain", "name a fault, or use DELETE\n"),
                    Err(problem) => return text(StatusCode::BAD_REQUEST, "text/plain", format!("{problem}\n")),
                }
            }
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET, PUT and DELETE\n"),
        }
        let lines: String = self.faults.all().iter().map(|fault| format!("{fault}\n")).collect();
        text(StatusCode::OK, "text/plain", lines)
    }

    /// OTLP over HTTP: what a collector would take.
    async fn take_spans(&self, request: Request<Incoming>) -> Response<Body> {
        let Ok(body) = serve::collect(request.into_body(), SPANS_BYTES_MAX).await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "at most 16 MiB of spans\n");
        };
        if self.xray.take_request(&body) {
            // An empty ExportTraceServiceResponse.
            text(StatusCode::OK, "application/x-protobuf", "")
        } else {
            text(StatusCode::BAD_REQUEST, "text/plain", "no ExportTraceServiceRequest in protobuf\n")
        }
    }

    /// Every dashboard's widgets with their values, over the time since the first value.
    fn dashboard(&self, name: &str) -> Option<Value> {
        let (_, body) = DASHBOARDS.iter().find(|(known, _)| *known == name)?;
        let end = identity::now_ms() / 1000;
        let start = self.cloudwatch.first().unwrap_or(end).clamp(end.saturating_sub(1_800), end.saturating_sub(60));
        let names: Vec<(&str, &str)> = self.names.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let drawn = draw(body, &names, &self.cloudwatch, start, end);
        let others: Vec<&str> = DASHBOARDS.iter().map(|(name, _)| *name).collect();
        let title = format!("{} · {}", self.service, name.replace('-', " "));
        Some(match drawn {
            Ok(widgets) => {
                json!({"name": name, "title": title, "others": others, "start": start, "end": end, "widgets": widgets})
            }
            Err(problem) => json!({"name": name, "title": title, "others": others, "widgets": [
                {"x": 0, "y": 0, "width": 24, "height": 2, "kind": "text", "problem": problem}
            ]}),
        })
    }

    /// The last two minutes, second by second.
    fn state(&self) -> Value {
        // The second that is under way is not counted yet.
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
        let each = |what: &dyn Fn(&Vec<Vec<f64>>) -> Value| -> Value {
            by_variant
                .iter()
                .map(|(variant, seconds)| (variant.clone(), what(seconds)))
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
            "cdn": self.cdn,
            "overall": {"p50": statistic(&all, "p50"), "p90": statistic(&all, "p90"), "p99": statistic(&all, "p99")},
            "seconds": (start..end).collect::<Vec<_>>(),
            "requests": each(&|seconds| json!(requests(seconds))),
            "duration": each(&|seconds| json!({
                "p50": percentile(seconds, "p50"), "p90": percentile(seconds, "p90"), "p99": percentile(seconds, "p99"),
            })),
            "cache": Value::Object(sources.into_iter().collect()),
            "status": Value::Object(classes.into_iter().collect()),
            "s3": {"requests": sums("S3Requests"), "retries": sums("S3Retries")},
            "cold_starts": sums("ColdStart"),
            "environments": {
                "running": running, "frozen": frozen, "started": self.lambda.started(), "most": self.lambda.most(),
            },
            "spans": {"received": received, "traces": traces},
        })
    }
}

fn json_of(value: &Value) -> Response<Body> {
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
