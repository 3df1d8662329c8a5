//! The exporter with collectors that accept, refuse and hang; the sums and the histograms of its messages.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};

use nearedge_core::experiment::count::{Count, CountKind, Counts};
use nearedge_core::metric::{Measurement, Variants};
use nearedge_core::object::CopyKind;
use nearedge_core::record::Record;
use nearedge_core::store::{Source, StoreStats};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, Metric};
use proptest::prelude::*;

use super::histogram::{histogram, index};
use super::*;
use crate::http_client::bundled_anchors;
use crate::telemetry::metrics_batch::tests::record;

/// The start of a minute.
const MINUTE_MS: u64 = 1_795_438_440_000;

fn exporter(endpoint: &str, timeout: Duration) -> MetricsExporter {
    let variants = Variants(vec!["v1".to_owned(), "v2".to_owned()]);
    let config = MetricsConfig { namespace: "shop".to_owned(), service: "lambdaapi".to_owned(), variants };
    let export = MetricsExport {
        endpoint: endpoint.parse().unwrap(),
        headers: vec![("x-key".parse().unwrap(), "sesame".parse().unwrap())],
        timeout,
        certificate: None,
        resource: vec![("service.name".to_owned(), "lambdaapi".to_owned())],
    };
    MetricsExporter::new(config, &export, bundled_anchors(), None).unwrap()
}

/// An environment whose exporter is not connected.
struct Environment {
    exporter: MetricsExporter,
    start: Instant,
    cache_bytes: u64,
}

impl Environment {
    fn new() -> Self {
        Self::of(exporter("http://127.0.0.1:1", Duration::from_secs(1)))
    }

    fn of(exporter: MetricsExporter) -> Self {
        Self { exporter, start: Instant::now(), cache_bytes: 0 }
    }

    /// Adds an invocation of so many microseconds, `ms` after the start of a minute.
    fn add(&self, record: &Record, micros: u64, ms: u64) {
        let measured = Measurement {
            record,
            duration: Duration::from_micros(micros),
            stats: StoreStats { cached_bytes: self.cache_bytes, ..StoreStats::default() },
            spans_dropped: 0,
            definition_errors: 0,
            init: None,
            rotating: false,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(MINUTE_MS + ms);
        let line = LogLine { request_id: "id", trace_id: None, measured, at };
        self.exporter.add(&line, self.start + Duration::from_millis(ms));
    }

    /// The messages of everything that waits, as a collector decodes them.
    fn messages(&self) -> Vec<ExportMetricsServiceRequest> {
        self.exporter.collect();
        let taken = std::iter::repeat_with(|| self.exporter.take_request()).take_while(|batches| !batches.is_empty());
        taken.map(|batches| decoded(&message(&batches, "shop", &self.exporter.resource).encode_to_vec())).collect()
    }

    fn queued(&self) -> usize {
        self.exporter.state.lock().queue.len()
    }

    fn dropped(&self) -> u64 {
        self.exporter.dropped.load(Ordering::Relaxed)
    }
}

fn decoded(body: &[u8]) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(body).unwrap()
}

fn metrics(messages: &[ExportMetricsServiceRequest]) -> impl Iterator<Item = &Metric> {
    let scopes = messages.iter().flat_map(|message| &message.resource_metrics).flat_map(|of| &of.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics)
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(OtlpValue::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// The attributes as `name=value,…`.
fn labels(attributes: &[KeyValue]) -> String {
    let labels: Vec<_> = attributes.iter().map(|of| format!("{}={}", of.key, text(of.value.as_ref()))).collect();
    labels.join(",")
}

/// The sums of a metric by its attributes.
fn sums(messages: &[ExportMetricsServiceRequest], name: &str) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for metric in metrics(messages).filter(|metric| metric.name == name) {
        let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 1, "{sum:?}");
        assert_eq!(metric.unit, "1");
        for point in &sum.data_points {
            let Some(Number::AsInt(number)) = point.value else { panic!("{point:?}") };
            *sums.entry(labels(&point.attributes)).or_default() += number;
        }
    }
    sums
}

/// The histograms of a metric.
fn histograms(messages: &[ExportMetricsServiceRequest], name: &str) -> Vec<ExponentialHistogramDataPoint> {
    let of_name = metrics(messages).filter(|metric| metric.name == name);
    let points = of_name.flat_map(|metric| match &metric.data {
        Some(Data::ExponentialHistogram(data)) if data.aggregation_temporality == 1 => data.data_points.clone(),
        other => panic!("{other:?}"),
    });
    points.collect()
}

/// The smallest value of which this share of the values is not above, as the upper bound of its bucket.
fn percentile(point: &ExponentialHistogramDataPoint, share: f64) -> f64 {
    let rank = (point.count as f64 * share).ceil().max(1.0) as u64;
    let mut seen = point.zero_count;
    if seen >= rank {
        return 0.0;
    }
    let buckets = point.positive.as_ref().unwrap();
    for (position, count) in buckets.bucket_counts.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return (f64::from(buckets.offset + position as i32 + 1) * (-f64::from(point.scale)).exp2()).exp2();
        }
    }
    panic!("rank {rank} of {point:?}")
}

#[test]
fn a_message_has_resource_scope_units_and_attributes() {
    let environment = Environment::new();
    let mut copied = record("v1", "found", 200, 5_120);
    copied.copy = Some((CopyKind::Br, 20_000));
    environment.add(&copied, 93, 0);
    let messages = environment.messages();
    let resource = &messages[0].resource_metrics[0];
    let of_resource = &resource.resource.as_ref().unwrap().attributes;
    assert!(labels(of_resource).contains("service.name=lambdaapi"), "{of_resource:?}");
    assert_eq!(resource.scope_metrics[0].scope.as_ref().unwrap().name, "shop");
    let units: BTreeMap<_, _> = metrics(&messages).map(|metric| (&*metric.name, &*metric.unit)).collect();
    let expected = [("BodyBytes", "By"), ("CacheHit", "1"), ("CopyBytes", "By"), ("Duration", "ms")];
    assert_eq!(units, BTreeMap::from_iter(expected.into_iter().chain([("SourceBytes", "By"), ("Status2xx", "1")])));
    assert_eq!(labels(&histograms(&messages, "Duration")[0].attributes), "variant=v1,outcome=found");
    assert_eq!(labels(&histograms(&messages, "SourceBytes")[0].attributes), "coding=br");
    assert_eq!(sums(&messages, "CacheHit"), BTreeMap::from([(String::new(), 1)]));
}

#[test]
fn exposures_and_conversions_are_sums_by_variation() {
    let count = |in_metrics, variation: &str, kind| Count {
        experiment: "new-checkout".into(),
        variation: variation.into(),
        phase: "1".into(),
        in_metrics,
        kind,
    };
    let exposure = || CountKind::Exposure { version: None };
    let mut counting = record("v1", "found", 200, 1);
    counting.counts = Some(Box::new(Counts {
        visitor: "AAECAwQFBgcICQoLDA0ODw".into(),
        attributes: Vec::new(),
        counted: vec![
            count(true, "treatment", exposure()),
            count(true, "control", exposure()),
            count(true, "treatment", CountKind::Conversion { goal: "signup".into(), value: None }),
            count(false, "hidden", exposure()),
        ],
    }));
    let environment = Environment::new();
    (0..3).for_each(|ms| environment.add(&counting, 1, ms));
    let messages = environment.messages();
    let of = |variation: &str| format!("experiment_id=new-checkout,variation_id={variation}");
    assert_eq!(sums(&messages, "Exposures"), BTreeMap::from([(of("treatment"), 3), (of("control"), 3)]));
    assert_eq!(sums(&messages, "Conversions"), BTreeMap::from([(of("treatment") + ",goal=signup", 3)]));
    assert!(!format!("{messages:?}").contains("AAECAw"), "a visitor's id");
}

#[test]
fn the_size_of_the_cache_is_a_gauge_of_the_newest_value() {
    let mut environment = Environment::new();
    environment.add(&record("v1", "found", 200, 1), 1, 0);
    let miss = Record { source: Some(Source::Miss), ..record("v1", "found", 200, 1) };
    for bytes in [700, 300] {
        environment.cache_bytes = bytes;
        environment.add(&miss, 1, 1_000);
        environment.add(&record("v2", "found", 200, 1), 1, 1_001);
    }
    let messages = environment.messages();
    let gauge = metrics(&messages).find(|metric| metric.name == "CacheBytes").unwrap();
    let Some(Data::Gauge(gauge)) = &gauge.data else { panic!("{gauge:?}") };
    let values: Vec<_> = gauge.data_points.iter().map(|point| point.value).collect();
    assert_eq!(values, [Some(Number::AsInt(300))]);
}

#[test]
fn intervals_follow_each_other_without_overlap() {
    let environment = Environment::new();
    environment.add(&record("v1", "found", 200, 1), 1_000, 0);
    for ms in [5_000, 8_000, 61_000, 62_000] {
        // An interval starts with its first invocation, but not before the end of the last interval.
        environment.add(&record("v1", "found", 200, 1), 20_000_000, ms);
    }
    let since = |nanos: u64| nanos as f64 / 1e6 - MINUTE_MS as f64;
    let points = histograms(&environment.messages(), "Duration");
    let intervals: Vec<_> =
        points.iter().map(|point| (since(point.start_time_unix_nano), since(point.time_unix_nano))).collect();
    assert_eq!(intervals, [(-1.0, 0.0), (0.0, 8_000.0), (41_000.0, 61_000.0), (61_000.0, 62_000.0)]);
}

#[test]
fn a_hundred_invocations_are_one_batch_with_all_groups() {
    let environment = Environment::new();
    environment.add(&record("v1", "found", 200, 1), 1, 0);
    environment.messages();
    (0..50).for_each(|ms| environment.add(&record("v2", "found", 200, 1), 1, ms));
    (0..99).for_each(|ms| environment.add(&record("v1", "found", 200, 1), 1, ms));
    assert_eq!(environment.queued(), 0);
    environment.add(&record("v1", "found", 200, 1), 1, 100);
    assert_eq!(environment.queued(), 1);
    assert_eq!(sums(&environment.messages(), "Status2xx")[""], 150);
}

#[test]
fn a_hundred_hits_of_a_test_cost_at_most_60_bytes_each() {
    let environment = Environment::new();
    let added = 4_800;
    let mut bytes = 0;
    for index in 0..added {
        let (outcome, status, size) =
            [("found", 200, 10_000), ("found", 200, 51_234), ("not_modified", 304, 0)][index as usize % 3];
        environment.add(&record(["v1", "v2"][index as usize % 2], outcome, status, size), 80 + index, 10);
        if environment.exporter.has_queued() {
            bytes += environment.messages().iter().map(Message::encoded_len).sum::<usize>();
        }
    }
    bytes += environment.messages().iter().map(Message::encoded_len).sum::<usize>();
    assert!(bytes <= 60 * added as usize, "{} bytes for each", bytes as f64 / added as f64);
}

#[test]
fn a_queue_that_is_too_long_loses_its_oldest_batches() {
    let environment = Environment::new();
    // Four data points each.
    (0..600).for_each(|number| environment.add(&record("v1", "found", 200, 1), 1, number * 20_000));
    assert_eq!((environment.queued(), environment.dropped()), (500, 100));
    let messages = environment.messages();
    assert_eq!(messages.len(), 2);
    for message in &messages {
        let points = |metric: &Metric| match &metric.data {
            Some(Data::Sum(sum)) => sum.data_points.len(),
            Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(metrics(std::slice::from_ref(message)).map(points).sum::<usize>(), 1_000);
    }
}

/// A collector that responds with these statuses, one for each request; after them it hangs. Receives the bodies.
fn collector(statuses: &'static [u16]) -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    let statuses = Arc::new(Mutex::new(statuses.iter()));
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let (sender, statuses) = (sender.clone(), statuses.clone());
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                loop {
                    let (mut head, mut length) = (String::new(), 0);
                    while !head.ends_with("\r\n\r\n") {
                        let start = head.len();
                        if stream.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                        if let Some(value) = head[start..].to_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).unwrap();
                    let _ = sender.send((head, body));
                    let Some(status) = statuses.lock().next() else {
                        std::thread::park();
                        return;
                    };
                    let response = format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.get_mut().write_all(response.as_bytes());
                }
            });
        }
    });
    (format!("http://me:sesame@{address}/v1/metrics?key=sesame"), receiver)
}

/// A deadline after every timeout of these tests.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// An environment with a collector and one invocation in the queue.
fn environment(endpoint: &str, timeout: Duration) -> Environment {
    let environment = Environment::of(exporter(endpoint, timeout));
    environment.add(&record("v1", "found", 200, 1), 1, 0);
    assert_eq!(environment.queued(), 1);
    environment
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_collector_receives_a_message_of_protobuf() {
    let (endpoint, received) = collector(&[200]);
    let environment = environment(&endpoint, LONG);
    environment.exporter.flush(FlushReason::BetweenEvents, later()).await;
    let (head, body) = received.try_recv().unwrap();
    assert!(head.starts_with("POST /v1/metrics?key=sesame HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n") && head.contains("x-key: sesame\r\n"), "{head}");
    assert_eq!(sums(&[decoded(&body)], "Status2xx")[""], 1);
    assert_eq!((environment.queued(), environment.dropped()), (0, 0));
    // Nothing waits, so that nothing is sent.
    environment.exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn metrics_wait_for_a_collector_that_asks_to_try_again() {
    let (endpoint, received) = collector(&[503, 200]);
    let environment = environment(&endpoint, LONG);
    environment.exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!((environment.queued(), environment.dropped()), (1, 0));
    // The backoff has begun.
    environment.exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!((received.iter().take(1).count(), environment.queued()), (1, 1));
    environment.add(&record("v2", "found", 200, 1), 1, 20_000);
    *environment.exporter.backoff.lock().await = None;
    environment.exporter.flush(FlushReason::BetweenEvents, later()).await;
    let (_, body) = received.try_recv().unwrap();
    assert_eq!(sums(&[decoded(&body)], "Status2xx")[""], 2, "both batches in one message");
    assert_eq!((environment.queued(), environment.dropped()), (0, 0));
}

#[tokio::test]
async fn metrics_that_a_collector_rejects_are_dropped_and_counted() {
    let (endpoint, _received) = collector(&[400]);
    let environment = environment(&endpoint, LONG);
    let problem = environment.exporter.export(FlushReason::BetweenEvents, later()).await.unwrap();
    assert!(problem.ends_with("/v1/metrics responded 400 Bad Request") && !problem.contains("sesame"), "{problem}");
    assert_eq!((environment.queued(), environment.dropped()), (0, 1));
    assert!(environment.exporter.backoff.lock().await.is_some());
}

#[tokio::test]
async fn metrics_wait_for_a_collector_that_is_unreachable() {
    let environment = environment("http://me:sesame@127.0.0.1:1/?key=sesame", LONG);
    let problem = environment.exporter.export(FlushReason::BetweenEvents, later()).await.unwrap();
    assert!(!problem.contains("sesame"), "{problem}");
    assert_eq!((environment.queued(), environment.dropped()), (1, 0));
    // At shutdown nothing waits any longer.
    environment.exporter.flush(FlushReason::Shutdown, later()).await;
    assert_eq!((environment.queued(), environment.dropped()), (0, 1));
}

#[tokio::test]
async fn a_hanging_collector_costs_one_timeout_and_one_batch() {
    let (endpoint, received) = collector(&[]);
    let environment = environment(&endpoint, Duration::from_millis(200));
    let started = Instant::now();
    environment.exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!((environment.queued(), environment.dropped()), (0, 1), "it may have been accepted");
    environment.add(&record("v1", "found", 200, 1), 1, 20_000);
    environment.exporter.flush(FlushReason::BetweenEvents, later()).await;
    assert_eq!((received.iter().take(1).count(), environment.queued()), (1, 1));
}

#[tokio::test]
async fn metrics_wait_if_the_invocation_is_about_to_end() {
    let (endpoint, received) = collector(&[200, 200]);
    let environment = environment(&endpoint, LONG);
    let soon = Instant::now() + LONG / 4;
    environment.exporter.flush(FlushReason::BetweenEvents, soon).await;
    assert!(received.try_recv().is_err() && environment.queued() == 1);
    environment.exporter.flush(FlushReason::Shutdown, soon).await;
    assert_eq!((environment.queued(), environment.dropped()), (0, 0));
}

#[tokio::test]
async fn the_background_exports_what_is_queued() {
    let (endpoint, received) = collector(&[200, 200]);
    let environment = environment(&endpoint, LONG);
    let arrived = async {
        loop {
            if let Ok((_, body)) = received.try_recv() {
                return decoded(&body);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = environment.exporter.run() => unreachable!("it runs forever"),
        message = tokio::time::timeout(LONG, arrived) => assert_eq!(sums(&[message.unwrap()], "Status2xx")[""], 1),
    }
}

proptest! {
    // The sums of a dashboard are those of the invocations.
    #[test]
    fn no_value_is_lost_or_counted_twice(
        invocations in prop::collection::vec((0..3_usize, 0..3_usize, 0..400_000_u64, 0..4_u64), 1..400),
    ) {
        let environment = Environment::new();
        let mut expected: BTreeMap<String, (u64, f64, f64, f64)> = BTreeMap::new();
        let (mut hits, mut ms) = (0, 0);
        for (variant, outcome, micros, pause) in invocations {
            ms += pause * 1_500;
            let variant = ["v1", "v2", "made-up"][variant];
            let (outcome, status, bytes) = [("found", 200, 7), ("not_modified", 304, 0), ("missing", 404, 9)][outcome];
            environment.add(&record(variant, outcome, status, bytes), micros, ms);
            hits += 1;
            let variant = if variant == "made-up" { "other" } else { variant };
            for (metric, value) in [("Duration", micros as f64 / 1e3), ("BodyBytes", bytes as f64)] {
                let key = format!("{metric} variant={variant},outcome={outcome}");
                let (count, sum, min, max) = expected.entry(key).or_insert((0, 0.0, value, value));
                (*count, *sum) = (*count + 1, *sum + value);
                (*min, *max) = (min.min(value), max.max(value));
            }
        }
        let messages = environment.messages();
        prop_assert_eq!(sums(&messages, "CacheHit"), BTreeMap::from([(String::new(), hits)]));
        let mut found: BTreeMap<String, (u64, f64, f64, f64)> = BTreeMap::new();
        for metric in ["Duration", "BodyBytes"] {
            for point in histograms(&messages, metric) {
                let in_buckets = point.positive.as_ref().map_or(0, |buckets| buckets.bucket_counts.iter().sum());
                prop_assert_eq!(point.zero_count + in_buckets, point.count);
                prop_assert!(point.start_time_unix_nano < point.time_unix_nano);
                let (least, greatest) = (point.min.unwrap(), point.max.unwrap());
                let key = format!("{metric} {}", labels(&point.attributes));
                let (count, sum, min, max) = found.entry(key).or_insert((0, 0.0, least, greatest));
                (*count, *sum) = (*count + point.count, *sum + point.sum.unwrap());
                (*min, *max) = (min.min(least), max.max(greatest));
            }
        }
        prop_assert_eq!(found.len(), expected.len());
        for (key, (count, sum, min, max)) in expected {
            let (found_count, found_sum, found_min, found_max) = found[&key];
            prop_assert_eq!((found_count, found_min, found_max), (count, min, max), "{}", key);
            prop_assert!((found_sum - sum).abs() <= 1e-9 * sum, "{}: {} and {}", key, found_sum, sum);
        }
    }

    #[test]
    fn a_percentile_is_within_the_error_of_the_scale(
        exponents in prop::collection::vec(-7.0..21.0_f64, 1..200),
        zeros in 0..20_u64,
        share in 0.0..1.0_f64,
    ) {
        let mut values: Vec<(f64, u64)> = exponents.iter().map(|exponent| (exponent.exp2(), 1)).collect();
        values.push((0.0, zeros));
        let point = histogram(&values);
        let mut sorted: Vec<f64> = exponents.iter().map(|exponent| exponent.exp2()).collect();
        sorted.extend((0..zeros).map(|_| 0.0));
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
        let (exact, estimate) = (sorted[rank - 1], percentile(&point, share));
        let base = (-f64::from(point.scale)).exp2().exp2();
        // 28 powers of two need at most 160 buckets at scale 2: 19 %.
        prop_assert!(point.scale >= 2 && point.positive.as_ref().unwrap().bucket_counts.len() <= 160);
        prop_assert!(exact <= estimate * (1.0 + 1e-9) && estimate <= exact * base * (1.0 + 1e-9), "{exact} {estimate}");
    }

    #[test]
    fn a_bucket_contains_its_values(exponent in -40.0..40.0_f64, scale in -10..=8_i32) {
        let value = exponent.exp2();
        let index = f64::from(index(value, scale));
        let width = (-f64::from(scale)).exp2();
        prop_assert!((index * width).exp2() < value * (1.0 + 1e-12) && value <= ((index + 1.0) * width).exp2() * (1.0 + 1e-12));
    }
}

#[test]
fn a_power_of_two_is_the_upper_bound_of_its_bucket() {
    for (value, scale, expected) in
        [(1.0, 0, -1), (2.0, 0, 0), (4.0, 0, 1), (3.0, 0, 1), (0.5, 0, -2), (4.0, 3, 15), (4.1, 3, 16), (16.0, -1, 1)]
    {
        assert_eq!(index(value, scale), expected, "{value} at scale {scale}");
    }
}

#[test]
fn equal_values_and_zeros_are_one_bucket() {
    let point = histogram(&[(5.0, 3), (5.0, 4)]);
    assert_eq!((point.count, point.sum, point.scale), (7, Some(35.0), 20));
    assert_eq!(point.positive.unwrap().bucket_counts, [7]);
    let zeros = histogram(&[(0.0, 2)]);
    assert_eq!((zeros.count, zeros.zero_count, zeros.min, zeros.max), (2, 2, Some(0.0), Some(0.0)));
    assert_eq!(zeros.positive, None);
    assert_eq!(histogram(&[]).min, None);
}
