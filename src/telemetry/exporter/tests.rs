//! The exporter with UDP sockets, and with collectors that are slow, hang or fail.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use ::http::Uri;
use aws_sdk_s3::config::Credentials;
use base64_simd::STANDARD;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::SpanProcessor;
use prost::Message;

use super::*;
use crate::http_client;
use crate::telemetry::exporter::http::{Signer, post, service_and_region};
use crate::telemetry::exporter::udp::PACKET_PREFIX;

fn config(destination: Destination) -> ExportConfig {
    let (timeout, delay) = (Duration::from_millis(200), Duration::from_millis(10));
    ExportConfig { destination, timeout, queue_spans: 100, batch_spans: 40, delay, certificate: None }
}

fn span(number: u64, text_bytes: usize) -> SpanData {
    let flags = TraceFlags::SAMPLED;
    let context = SpanContext::new(TraceId::from(7), SpanId::from(number + 1), flags, false, TraceState::default());
    SpanData {
        span_context: context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "span".into(),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::now(),
        attributes: vec![KeyValue::new("text", "x".repeat(text_bytes))],
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("nearedge").build(),
    }
}

fn exporter(config: &ExportConfig) -> Exporter {
    let queue = Arc::new(SpanQueue::new(config));
    let anchors = http_client::bundled_anchors();
    Exporter::new(config, queue, &Resource::builder_empty().build(), anchors, None).unwrap()
}

/// A deadline after every timeout of these tests.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The number of spans in each packet that arrived.
fn received(daemon: &UdpSocket) -> Vec<usize> {
    daemon.set_nonblocking(true).unwrap();
    let mut packet = vec![0; 1 << 16];
    let mut counts = Vec::new();
    while let Ok(bytes) = daemon.recv(&mut packet) {
        let spans = STANDARD.decode_to_vec(packet[..bytes].strip_prefix(PACKET_PREFIX).unwrap()).unwrap();
        let request = ExportTraceServiceRequest::decode(spans.as_slice()).unwrap();
        counts.push(request.resource_spans[0].scope_spans[0].spans.len());
    }
    counts
}

/// A socket as the X-Ray daemon, and settings that lead to it.
fn daemon() -> (UdpSocket, ExportConfig) {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap().to_string();
    (daemon, config(Destination::Udp(address)))
}

#[tokio::test]
async fn spans_are_sent_in_batches_and_overflow_is_counted() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    (0..130).for_each(|number| exporter.queue.push(span(number, 10)));
    assert_eq!(exporter.dropped(), 30);
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!(received(&daemon), [40, 40, 20]);
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!(received(&daemon), [0; 0]);
}

#[tokio::test]
async fn a_large_batch_is_split_and_an_oversized_span_counted() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    (0..8).for_each(|number| exporter.queue.push(span(number, 10_000)));
    exporter.queue.push(span(8, 70_000));
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    let counts = received(&daemon);
    assert_eq!((counts.iter().sum::<usize>(), exporter.dropped()), (8, 1), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_collector_starts_a_backoff_and_spans_wait() {
    let unreachable = "http://127.0.0.1:1/v1/traces".parse().unwrap();
    let exporter = exporter(&config(Destination::Http { endpoint: unreachable, headers: Vec::new() }));
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!(exporter.dropped(), 1, "the span was not dropped");
    exporter.queue.push(span(1, 1));
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!((exporter.dropped(), exporter.queue.len()), (1, 1));
    tokio::time::advance(BACKOFF).await;
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!((exporter.dropped(), exporter.queue.len()), (2, 0));
}

#[tokio::test]
async fn requests_to_aws_endpoints_are_signed_for_their_service() {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret-key", Some("token".into()), None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    for (endpoint, scope) in [
        ("https://xray.eu-west-1.amazonaws.com/v1/traces", "/eu-west-1/xray/aws4_request"),
        ("https://xray.cn-north-1.amazonaws.com.cn/v1/traces", "/cn-north-1/xray/aws4_request"),
        ("https://monitoring.us-east-1.amazonaws.com/v1/metrics", "/us-east-1/monitoring/aws4_request"),
        ("https://monitoring.cn-northwest-1.amazonaws.com.cn/v1/metrics", "/cn-northwest-1/monitoring/aws4_request"),
    ] {
        let endpoint: Uri = endpoint.parse().unwrap();
        let signer = Signer::of(&endpoint, &[], Some(&credentials)).unwrap();
        let mut signed = post(&endpoint, &[], b"message".to_vec()).unwrap();
        signer.sign(&mut signed, b"message").await.unwrap();
        let authorization = signed.headers()["authorization"].to_str().unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
        assert!(authorization.contains(scope), "{authorization}");
        assert_eq!(signed.headers()["x-amz-security-token"], "token");
    }
}

#[test]
fn requests_to_others_and_with_an_api_key_are_not_signed() {
    let credentials = SharedCredentialsProvider::new(Credentials::new("AKIDEXAMPLE", "key", None, None, "test"));
    let aws: Uri = "https://monitoring.us-east-1.amazonaws.com/v1/metrics".parse().unwrap();
    let api_key = [("authorization".parse().unwrap(), "Bearer sesame".parse().unwrap())];
    assert!(Signer::of(&aws, &api_key, Some(&credentials)).is_none());
    assert!(Signer::of(&aws, &[], None).is_none());
    for host in [
        "collector.example.com",
        "logs.us-east-1.amazonaws.com",
        "monitoring.us-east-1.amazonaws.com.example",
        "monitoring",
        "amazonaws.com",
    ] {
        assert_eq!(service_and_region(host), None, "{host}");
    }
}

/// A collector that responds to as many batches as the counter permits, and lets the others wait.
fn collector() -> (Uri, Arc<AtomicU64>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap();
    let permits = Arc::new(AtomicU64::new(0));
    let available = permits.clone();
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Read, Write};
        while let Ok((stream, _)) = listener.accept() {
            let available = available.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                loop {
                    let (mut length, mut line) = (0, String::new());
                    while line != "\r\n" {
                        line.clear();
                        if stream.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        let lower = line.to_lowercase();
                        if let Some(value) = lower.strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    stream.read_exact(&mut vec![0; length]).unwrap();
                    let one_less = |left: u64| left.checked_sub(1);
                    while available.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
                        std::thread::yield_now();
                    }
                    let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    (endpoint, permits)
}

/// An exporter with a timeout that suffices on a busy machine.
fn exporter_with_long_timeout(endpoint: Uri) -> Exporter {
    let destination = Destination::Http { endpoint, headers: Vec::new() };
    exporter(&ExportConfig { timeout: Duration::from_secs(2), ..config(destination) })
}

#[tokio::test]
async fn a_slow_collector_loses_no_span_and_starts_a_backoff() {
    let (endpoint, permits) = collector();
    let exporter = exporter_with_long_timeout(endpoint);
    (0..100).for_each(|number| exporter.queue.push(span(number, 1)));
    // The collector accepts the first of three batches. The second one has less than the full timeout.
    permits.store(1, Ordering::SeqCst);
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!((exporter.dropped(), exporter.queue.len()), (0, 60));
    assert!(exporter.backoff.lock().await.is_some(), "the next event would wait too");
    permits.store(u64::MAX, Ordering::SeqCst);
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!(exporter.queue.len(), 60);
    exporter.flush(FlushReason::Shutdown, later()).await;
    assert_eq!((exporter.dropped(), exporter.queue.len()), (0, 0));
}

#[tokio::test]
async fn the_end_of_an_invocation_starts_no_backoff() {
    let (endpoint, permits) = collector();
    let exporter = exporter_with_long_timeout(endpoint);
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, Instant::now() + Duration::from_millis(20)).await;
    assert_eq!((exporter.dropped(), exporter.queue.len()), (0, 1));
    assert!(exporter.backoff.lock().await.is_none());
    permits.store(u64::MAX, Ordering::SeqCst);
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!((exporter.dropped(), exporter.queue.len()), (0, 0));
}

#[tokio::test]
async fn a_hanging_collector_starts_a_backoff_in_background_too() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap();
    let exporter = exporter(&config(Destination::Http { endpoint, headers: Vec::new() }));
    exporter.queue.push(span(0, 1));
    let timed_out = async {
        while exporter.dropped() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = exporter.run() => {}
        ended = tokio::time::timeout(Duration::from_secs(10), timed_out) => assert!(ended.is_ok(), "no timeout"),
    }
    assert!(exporter.backoff.lock().await.is_some());
}

#[tokio::test]
async fn the_flush_at_shutdown_ignores_the_backoff() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    *exporter.backoff.lock().await = Some(Moment::now());
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!(received(&daemon), [0; 0]);
    exporter.flush(FlushReason::Shutdown, later()).await;
    assert_eq!(received(&daemon), [1]);
}

#[test]
fn debug_output_shows_no_key_of_headers_or_address() {
    let headers = vec![("x-key".parse().unwrap(), "sesame".parse().unwrap())];
    let endpoint = "https://me:sesame@host:4318/v1/traces?key=sesame".parse().unwrap();
    let destination = Destination::Http { endpoint, headers };
    let output = format!("{destination:?}");
    assert!(
        output.contains("https://host:4318/v1/traces") && output.contains("x-key") && !output.contains("sesame"),
        "{output}"
    );
}

#[tokio::test]
async fn without_time_left_nothing_is_sent_and_nothing_lost() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, Instant::now()).await;
    assert_eq!((received(&daemon).len(), exporter.dropped()), (0, 0));
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!(received(&daemon), [1]);
}

#[tokio::test]
async fn an_unsampled_span_is_not_sent() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    let enqueue = Enqueue(exporter.queue.clone());
    let unsampled =
        SpanContext::new(TraceId::from(7), SpanId::from(9), TraceFlags::default(), false, TraceState::default());
    enqueue.on_end(SpanData { span_context: unsampled, ..span(0, 1) });
    enqueue.on_end(span(1, 1));
    exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!(received(&daemon), [1]);
}

#[tokio::test]
async fn a_full_queue_smaller_than_a_batch_is_sent() {
    let (daemon, config) = daemon();
    // The delay never passes in this test.
    let exporter = exporter(&ExportConfig { queue_spans: 5, delay: Duration::from_secs(600), ..config });
    (0..5).for_each(|number| exporter.queue.push(span(number, 1)));
    let sent = async {
        while exporter.queue.len() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = exporter.run() => {}
        ended = tokio::time::timeout(Duration::from_secs(10), sent) => assert!(ended.is_ok(), "it waited"),
    }
    assert_eq!(received(&daemon), [5]);
}
