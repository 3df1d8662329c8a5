//! What the exporter does with a queue, a socket and a collector in trouble.

use super::*;
use aws_sdk_s3::config::Credentials;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};

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

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

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

fn daemon() -> (UdpSocket, ExportConfig) {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap().to_string();
    (daemon, config(Destination::Udp(address)))
}

#[tokio::test]
async fn spans_go_out_in_batches_and_what_is_more_than_the_queue_holds_is_counted() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    (0..130).for_each(|number| exporter.queue.push(span(number, 10)));
    assert_eq!(exporter.dropped(), 30);
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!(received(&daemon), [40, 40, 20]);
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!(received(&daemon), [0; 0]);
}

#[tokio::test]
async fn a_batch_that_no_packet_holds_is_divided_and_a_span_that_none_holds_is_counted() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    (0..8).for_each(|number| exporter.queue.push(span(number, 10_000)));
    exporter.queue.push(span(8, 70_000));
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    let counts = received(&daemon);
    assert_eq!((counts.iter().sum::<usize>(), exporter.dropped()), (8, 1), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_fails_is_left_alone_for_a_while_and_what_ends_meanwhile_waits() {
    let gone = "http://127.0.0.1:1/v1/traces".parse().unwrap();
    let exporter = exporter(&config(Destination::Http { endpoint: gone, headers: Vec::new() }));
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!(exporter.dropped(), 1, "there is no retry");
    exporter.queue.push(span(1, 1));
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!((exporter.dropped(), exporter.queue.spans.lock().len()), (1, 1));
    tokio::time::advance(PAUSE).await;
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!((exporter.dropped(), exporter.queue.spans.lock().len()), (2, 0));
}

#[tokio::test]
async fn what_goes_to_x_rays_own_endpoint_is_signed_for_it() {
    assert_eq!(xray_region("xray.eu-west-1.amazonaws.com"), Some("eu-west-1"));
    assert_eq!(xray_region("xray.cn-north-1.amazonaws.com.cn"), Some("cn-north-1"));
    assert_eq!(xray_region("collector.example.com"), None);
    let credentials = Credentials::new("AKIDEXAMPLE", "secret-key", Some("token".into()), None, "test");
    let signer = Signer { region: "eu-west-1".into(), credentials: SharedCredentialsProvider::new(credentials) };
    let endpoint: Uri = "https://xray.eu-west-1.amazonaws.com/v1/traces".parse().unwrap();
    let mut signed = request(&endpoint, &[], b"spans".to_vec()).unwrap();
    signer.sign(&mut signed, b"spans").await.unwrap();
    let authorization = signed.headers()["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
    assert!(authorization.contains("/eu-west-1/xray/aws4_request"), "{authorization}");
    assert_eq!(signed.headers()["x-amz-security-token"], "token");
}

/// A collector that answers as many batches as it may, and lets the others wait.
fn collector() -> (Uri, Arc<AtomicU64>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap();
    let may_answer = Arc::new(AtomicU64::new(0));
    let allowed = may_answer.clone();
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Read, Write};
        while let Ok((stream, _)) = listener.accept() {
            let allowed = allowed.clone();
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
                    while allowed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
                        std::thread::yield_now();
                    }
                    let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    (endpoint, may_answer)
}

/// With time enough for a busy machine.
fn patient(endpoint: Uri) -> Exporter {
    let destination = Destination::Http { endpoint, headers: Vec::new() };
    exporter(&ExportConfig { timeout: Duration::from_secs(2), ..config(destination) })
}

#[tokio::test]
async fn a_collector_that_is_slow_loses_nothing_and_is_then_left_alone_while_events_wait() {
    let (endpoint, may_answer) = collector();
    let exporter = patient(endpoint);
    (0..100).for_each(|number| exporter.queue.push(span(number, 1)));
    // One batch of three is taken; the second has less than the whole time to be.
    may_answer.store(1, Ordering::SeqCst);
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!((exporter.dropped(), exporter.queue.spans.lock().len()), (0, 60));
    assert!(exporter.resting.lock().await.is_some(), "the next event does not wait for it too");
    may_answer.store(u64::MAX, Ordering::SeqCst);
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!(exporter.queue.spans.lock().len(), 60);
    exporter.flush(FlushReason::Shutdown, soon()).await;
    assert_eq!((exporter.dropped(), exporter.queue.spans.lock().len()), (0, 0));
}

#[tokio::test]
async fn an_invocation_that_ends_before_the_collector_answers_blames_nobody() {
    let (endpoint, may_answer) = collector();
    let exporter = patient(endpoint);
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, Instant::now() + Duration::from_millis(20)).await;
    assert_eq!((exporter.dropped(), exporter.queue.spans.lock().len()), (0, 1));
    assert!(exporter.resting.lock().await.is_none());
    may_answer.store(u64::MAX, Ordering::SeqCst);
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!((exporter.dropped(), exporter.queue.spans.lock().len()), (0, 0));
}

#[tokio::test]
async fn beside_the_invocations_too_a_collector_that_hangs_is_left_alone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap();
    let exporter = exporter(&config(Destination::Http { endpoint, headers: Vec::new() }));
    exporter.queue.push(span(0, 1));
    let blamed = async {
        while exporter.dropped() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = exporter.run() => {}
        ended = tokio::time::timeout(Duration::from_secs(10), blamed) => assert!(ended.is_ok(), "it waits for ever"),
    }
    assert!(exporter.resting.lock().await.is_some());
}

#[tokio::test]
async fn at_the_end_a_collector_that_is_left_alone_is_asked_all_the_same() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    *exporter.resting.lock().await = Some(Moment::now());
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!(received(&daemon), [0; 0]);
    exporter.flush(FlushReason::Shutdown, soon()).await;
    assert_eq!(received(&daemon), [1]);
}

#[test]
fn neither_a_key_in_a_header_nor_one_in_an_address_is_shown() {
    let headers = vec![("x-key".parse().unwrap(), "sesame".parse().unwrap())];
    let endpoint = "https://me:sesame@host:4318/v1/traces?key=sesame".parse().unwrap();
    let destination = Destination::Http { endpoint, headers };
    let said = format!("{destination:?}");
    assert!(
        said.contains("https://host:4318/v1/traces") && said.contains("x-key") && !said.contains("sesame"),
        "{said}"
    );
}

#[tokio::test]
async fn without_time_nothing_is_sent_and_nothing_is_lost() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    exporter.queue.push(span(0, 1));
    exporter.flush(FlushReason::BetweenEvents, Instant::now()).await;
    assert_eq!((received(&daemon).len(), exporter.dropped()), (0, 0));
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!(received(&daemon), [1]);
}

#[tokio::test]
async fn a_span_that_is_not_sampled_is_not_sent() {
    let (daemon, config) = daemon();
    let exporter = exporter(&config);
    let enqueue = Enqueue(exporter.queue.clone());
    let unsampled =
        SpanContext::new(TraceId::from(7), SpanId::from(9), TraceFlags::default(), false, TraceState::default());
    enqueue.on_end(SpanData { span_context: unsampled, ..span(0, 1) });
    enqueue.on_end(span(1, 1));
    exporter.flush(FlushReason::BetweenEvents, soon()).await;
    assert_eq!(received(&daemon), [1]);
}

#[tokio::test]
async fn a_queue_that_holds_less_than_a_batch_is_sent_when_it_is_full() {
    let (daemon, config) = daemon();
    // Nobody waits for the delay.
    let exporter = exporter(&ExportConfig { queue_spans: 5, delay: Duration::from_secs(600), ..config });
    (0..5).for_each(|number| exporter.queue.push(span(number, 1)));
    let sent = async {
        while !exporter.queue.spans.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = exporter.run() => {}
        ended = tokio::time::timeout(Duration::from_secs(10), sent) => assert!(ended.is_ok(), "it waits for the delay"),
    }
    assert_eq!(received(&daemon), [5]);
}
