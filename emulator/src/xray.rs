//! X-Ray: receives spans over UDP and OTLP, and stores them in memory as traces.
//!
//! A UDP packet has the format of the AWS Distro for OpenTelemetry: `{"format":"json","version":1}`, a line break,
//! `T1S` and the base64 of an `ExportTraceServiceRequest`.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use base64_simd::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use serde_json::{Map, Value, json};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The part of a packet before the spans.
const PACKET_PREFIX: &[u8] = b"{\"format\":\"json\",\"version\":1}\nT1S";

/// The maximum number of stored traces.
const TRACES_MAX: usize = 200;

/// The maximum number of stored rules of requests, whose traces may arrive later.
const RULES_MAX: usize = 1_000;

/// A received span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// The id of the parent span; empty for a root span.
    pub parent: String,
    /// The name.
    pub name: String,
    /// `server`, `client` or `internal`.
    pub kind: &'static str,
    /// Start, in nanoseconds since 1970.
    pub start_ns: u64,
    /// End, in nanoseconds since 1970.
    pub end_ns: u64,
    /// Whether the status is an error.
    pub error: bool,
    /// The attributes.
    pub attributes: Map<String, Value>,
    /// The attribute `service.name` of the resource.
    pub service: String,
}

#[derive(Debug, Default)]
struct State {
    traces: HashMap<String, Vec<Span>>,
    /// The trace ids, the oldest first.
    order: VecDeque<String>,
    received: u64,
    /// The rules that matched requests, by the id of the invocation, the oldest first.
    rules: VecDeque<(String, String)>,
    /// All spans, if the store never evicts.
    all: Option<Vec<Span>>,
}

/// The store of spans.
#[derive(Debug, Clone, Default)]
pub struct XRay(Arc<Mutex<State>>);

/// The X-Ray daemon. Dropping it closes its port.
#[derive(Debug)]
pub struct Daemon {
    receiving: JoinHandle<()>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

impl XRay {
    /// A store that also retains the spans of evicted traces, for tests.
    pub fn retaining_all() -> Self {
        Self(Arc::new(Mutex::new(State { all: Some(Vec::new()), ..State::default() })))
    }

    /// All spans of a store that retains them; otherwise empty.
    pub fn all(&self) -> Vec<Span> {
        self.0.lock().all.clone().unwrap_or_default()
    }

    /// Starts a daemon that receives packets at `address`, and returns its actual address.
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<(Daemon, SocketAddr)> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        let xray = self.clone();
        let receiving = tokio::spawn(async move {
            let mut packet = vec![0; 1 << 16];
            while let Ok(bytes) = socket.recv(&mut packet).await {
                xray.receive_packet(&packet[..bytes]);
            }
        });
        Ok((Daemon { receiving }, address))
    }

    /// Stores the spans of a UDP packet. Returns false if the packet is invalid.
    pub fn receive_packet(&self, packet: &[u8]) -> bool {
        let request = packet.strip_prefix(PACKET_PREFIX).and_then(|base64| STANDARD.decode_to_vec(base64).ok());
        request.is_some_and(|request| self.receive_request(&request))
    }

    /// Stores the spans of an `ExportTraceServiceRequest` in protobuf. Returns false if the request is invalid.
    pub fn receive_request(&self, request: &[u8]) -> bool {
        let Ok(request) = ExportTraceServiceRequest::decode(request) else { return false };
        for resource_spans in request.resource_spans {
            let resource = attributes(resource_spans.resource.map(|resource| resource.attributes).unwrap_or_default());
            let service = resource.get("service.name").and_then(Value::as_str).unwrap_or_default();
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.record(Span {
                    trace_id: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    name: span.name,
                    kind: match span.kind {
                        2 => "server",
                        3 => "client",
                        _ => "internal",
                    },
                    start_ns: span.start_time_unix_nano,
                    end_ns: span.end_time_unix_nano,
                    error: span.status.is_some_and(|status| status.code == 2),
                    attributes: attributes(span.attributes),
                    service: service.to_owned(),
                });
            }
        }
        true
    }

    /// Stores a span, and evicts the oldest trace if there are more than 200.
    pub fn record(&self, span: Span) {
        let mut state = self.0.lock();
        state.received += 1;
        if let Some(all) = &mut state.all {
            all.push(span.clone());
        }
        let id = span.trace_id.clone();
        if !state.traces.contains_key(&id) {
            state.order.push_back(id.clone());
        }
        state.traces.entry(id).or_default().push(span);
        if state.order.len() > TRACES_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.traces.remove(&oldest);
        }
    }

    /// Stores which rule matched a request. A log line of the function names both.
    pub fn record_rule(&self, line: &Value) {
        let rule = match &line["rule"] {
            Value::String(rule) => rule.clone(),
            Value::Array(rules) => rules.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            _ => return,
        };
        let Some(id) = line["request_id"].as_str() else { return };
        let mut state = self.0.lock();
        if state.rules.len() >= RULES_MAX {
            state.rules.pop_front();
        }
        state.rules.push_back((id.to_owned(), rule));
    }

    /// The number of received spans, and the number of stored traces.
    pub fn counts(&self) -> (u64, usize) {
        let state = self.0.lock();
        (state.received, state.traces.len())
    }

    /// The newest `count` traces as JSON for the console, the newest first.
    pub fn latest(&self, count: usize) -> Value {
        let state = self.0.lock();
        state.order.iter().rev().filter_map(|id| trace(id, state.traces.get(id)?, &state.rules)).take(count).collect()
    }
}

/// A trace as JSON for the console; `None` while its server span is missing.
fn trace(id: &str, spans: &[Span], rules: &VecDeque<(String, String)>) -> Option<Value> {
    let server = spans.iter().find(|span| span.attributes.contains_key("faas.invocation_id"))?;
    let start = spans.iter().map(|span| span.start_ns).min()?;
    let end = spans.iter().map(|span| span.end_ns).max()?;
    let attribute = |name: &str| server.attributes.get(name).cloned().unwrap_or_default();
    // An unknown method has only an original name.
    let method = Some(attribute("http.request.method_original")).filter(Value::is_string);
    let invocation = attribute("faas.invocation_id");
    let rule = rules.iter().rev().find(|(id, _)| invocation == **id).map(|(_, rule)| rule);
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_by_key(|span| span.start_ns);
    let span_json = |span: &&Span| {
        json!({
            "id": span.id, "parent": span.parent, "name": span.name, "kind": span.kind,
            "start_us": (span.start_ns - start) as f64 / 1e3,
            "duration_us": span.end_ns.saturating_sub(span.start_ns) as f64 / 1e3,
            "error": span.error, "attributes": span.attributes,
        })
    };
    let (seconds, rest) = id.split_at_checked(8)?;
    Some(json!({
        "trace_id": format!("1-{seconds}-{rest}"),
        "start_ms": start / 1_000_000,
        "duration_ms": (end - start) as f64 / 1e6,
        "name": server.name,
        "method": method.unwrap_or_else(|| attribute("http.request.method")),
        "path": attribute("url.path"),
        "status": attribute("http.response.status_code"),
        "variant": attribute("nearedge.variant"),
        "outcome": attribute("nearedge.outcome"),
        "cache": attribute("nearedge.cache"),
        "rule": rule,
        "error": spans.iter().any(|span| span.error),
        "spans": sorted.iter().map(span_json).collect::<Vec<_>>(),
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(attributes: Vec<KeyValue>) -> Map<String, Value> {
    attributes.into_iter().map(|KeyValue { key, value, .. }| (key, json_of(value))).collect()
}

fn json_of(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(OtlpValue::StringValue(text)) => text.into(),
        Some(OtlpValue::BoolValue(value)) => value.into(),
        Some(OtlpValue::IntValue(value)) => value.into(),
        Some(OtlpValue::DoubleValue(value)) => value.into(),
        Some(OtlpValue::ArrayValue(array)) => array.values.into_iter().map(|value| json_of(Some(value))).collect(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_packets_and_requests_are_rejected_without_a_panic() {
        let xray = XRay::default();
        for packet in [&b""[..], b"{}", PACKET_PREFIX, b"{\"format\":\"json\",\"version\":1}\nT1S!!", b"\xff\xff"] {
            // An empty request is valid.
            assert_eq!(xray.receive_packet(packet), packet == PACKET_PREFIX, "{packet:?}");
        }
        assert!(!xray.receive_request(b"\xff\xff\xff"));
        assert_eq!(xray.counts(), (0, 0));
    }

    #[test]
    fn a_trace_names_the_rule_of_its_metrics_line() {
        let xray = XRay::default();
        let lines = [
            json!({"request_id": "a", "rule": "_redirects:12"}),
            json!({"request_id": "b", "rule": ["_headers:1", "_headers:4"]}),
            json!({"request_id": "c"}),
            json!({"rule": "no request"}),
        ];
        lines.iter().for_each(|line| xray.record_rule(line));
        for id in ["a", "b", "c"] {
            xray.record(span(id, id));
        }
        let rules: Vec<Value> = xray.latest(3).as_array().unwrap().iter().map(|trace| trace["rule"].clone()).collect();
        assert_eq!(rules, [Value::Null, json!("_headers:1, _headers:4"), json!("_redirects:12")]);
    }

    /// A server span of an invocation.
    fn span(trace: &str, invocation: &str) -> Span {
        Span {
            trace_id: format!("{trace:0>32}"),
            id: "1".repeat(16),
            parent: String::new(),
            name: "GET".into(),
            kind: "server",
            start_ns: 1,
            end_ns: 2_000_001,
            error: false,
            attributes: [("faas.invocation_id".to_owned(), json!(invocation))].into_iter().collect(),
            service: String::new(),
        }
    }

    #[test]
    fn the_oldest_traces_are_evicted() {
        let xray = XRay::default();
        for number in 0..TRACES_MAX + 5 {
            xray.record(span(&format!("{number:x}"), "x"));
        }
        assert_eq!(xray.counts(), (205, 200));
        let latest = xray.latest(1);
        assert_eq!(latest[0]["trace_id"], json!(format!("1-00000000-{:024x}", TRACES_MAX + 4)));
        assert_eq!(latest[0]["duration_ms"], json!(2.0));
    }
}
