//! Metrics, log lines and spans of the Lambda service itself.

use std::time::Duration;

use serde_json::json;

use crate::cloudwatch::MetricName;
use crate::identity;
use crate::lambda::environment::Environment;
use crate::lambda::function::Function;
use crate::xray::Span;

/// The trace of an invocation.
pub(crate) struct Trace {
    /// `Root=1-…`, from API Gateway.
    root: String,
    /// The id of Lambda's span, the parent of the function's spans.
    span_id: String,
    sampled: bool,
}

impl Trace {
    /// A trace below `root`; the function's sampling ratio decides whether it is sampled.
    pub(crate) fn new(root: String, function: &Function) -> Self {
        Self { root, span_id: identity::hex(16), sampled: fastrand::f64() < function.sampled }
    }

    /// The trace header of the event.
    pub(crate) fn header(&self) -> String {
        format!("{};Parent={};Sampled={}", self.root, self.span_id, u8::from(self.sampled))
    }
}

/// A completed invocation.
pub(crate) struct Report {
    pub(crate) request_id: String,
    pub(crate) trace: Trace,
    pub(crate) start_ns: u64,
    pub(crate) duration: Duration,
    pub(crate) cold_start: Option<Duration>,
    pub(crate) failed: bool,
    /// Number of concurrent invocations, including this one.
    pub(crate) concurrency: usize,
}

impl Report {
    /// Emits the metrics, the log line and, if the trace is sampled, the span.
    pub(crate) fn emit(self, function: &Function, environment: &Environment) {
        self.metrics(function);
        self.log_line(function, environment);
        if self.trace.sampled {
            self.span(function);
        }
    }

    /// The metrics of the function
    /// ([metrics](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html)).
    fn metrics(&self, function: &Function) {
        metric(function, "Invocations", 1.0);
        metric(function, "Errors", f64::from(u8::from(self.failed)));
        metric(function, "Duration", milliseconds(self.duration));
        metric(function, "ConcurrentExecutions", self.concurrency as f64);
    }

    /// The line `platform.report`
    /// ([JSON log format](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html)).
    fn log_line(&self, function: &Function, environment: &Environment) {
        let mut metrics = json!({
            "durationMs": milliseconds(self.duration),
            "billedDurationMs": milliseconds(self.duration + self.cold_start.unwrap_or_default()).ceil(),
            "memorySizeMB": function.memory_mb,
            "maxMemoryUsedMB": environment.memory_mb("VmHWM"),
        });
        if let Some(cold_start) = self.cold_start {
            metrics["initDurationMs"] = milliseconds(cold_start).into();
        }
        let status = if self.failed { "error" } else { "success" };
        let record = json!({"requestId": self.request_id, "status": status, "metrics": metrics});
        function.cloudwatch.report(json!({"type": "platform.report", "record": record}));
    }

    /// Lambda's own span.
    fn span(self, function: &Function) {
        function.xray.record(Span {
            trace_id: self.trace.root.trim_start_matches("Root=1-").replace('-', ""),
            id: self.trace.span_id,
            parent: String::new(),
            name: function.name.clone(),
            kind: "internal",
            start_ns: self.start_ns,
            end_ns: identity::now_ns(),
            error: self.failed,
            attributes: [("aws.origin".to_owned(), "AWS::Lambda".into())].into_iter().collect(),
            service: function.name.clone(),
        });
    }
}

/// Records a value of a metric of the function.
pub(crate) fn metric(function: &Function, name: &str, value: f64) {
    function.cloudwatch.put(MetricName::new("AWS/Lambda", name, &[("FunctionName", &function.name)]), value);
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
