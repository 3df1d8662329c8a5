//! The cost of each step of a request, next to a plain implementation of the same.
//!
//! Each benchmark checks its result before it is timed. Compare the figures only as ratios on one machine. Run
//! `cargo bench -p nearedge`, pinned to a core (`taskset -c 1`).
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

mod fixture;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fixture::{HOUR, PRESENTATION, SECRET, SIZES, event, object, origin, policy, raw};
use nearedge::origin::Origin;
use nearedge_core::access::secret::{SecretMatch, Secrets};
use nearedge_core::http::accept::Accepts;
use nearedge_core::object::{BodyEncoder, CopyKind, Copyable};
use nearedge_core::request::Request;
use nearedge_core::request::door::{Door, Transfer};
use nearedge_core::request::event::parse;
use nearedge_core::response::payload::Payload;
use nearedge_core::response::{Context, Outcome, Response};
use nearedge_core::rules::{Action, Active, decide};
use nearedge_core::store::{Source, Store};
use serde_json::{Value, json};

fn event_parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event/parse");
    for (name, path) in [("usual", "/docs/test.html".to_owned()), ("hostile/1kB of escapes", "/\u{1}".repeat(512))] {
        let event = event(&path);
        assert_eq!(parse(&event).unwrap().path, path);
        group.throughput(Throughput::Bytes(event.len() as u64));
        group.bench_function(BenchmarkId::new("borrowed", name), |bencher| bencher.iter(|| parse(black_box(&event))));
        group.bench_function(BenchmarkId::new("plain", name), |bencher| {
            bencher.iter(|| serde_json::from_slice::<Value>(black_box(&event)));
        });
    }
    group.finish();
}

fn secret(criterion: &mut Criterion) {
    let secrets = Secrets::new(SECRET).unwrap();
    let mut group = criterion.benchmark_group("secret");
    let near = |at: usize| {
        let mut near = SECRET.as_bytes().to_vec();
        near[at] ^= 1;
        String::from_utf8(near).unwrap()
    };
    for (name, presented, expected) in [
        ("equal", SECRET.to_owned(), Some(SecretMatch::Current)),
        ("near miss at the start", near(0), None),
        ("near miss at the end", near(SECRET.len() - 1), None),
        ("shorter", "a".to_owned(), None),
        ("longest", "a".repeat(256), None),
        ("hostile/10kB", "a".repeat(10_000), None),
    ] {
        assert_eq!(secrets.matches(&presented), expected, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| secrets.matches(black_box(&presented))));
    }
    group.finish();
}

fn decision(criterion: &mut Criterion) {
    let policy = policy();
    let request = |path: &str| Request {
        path: path.to_owned().into(),
        lambda_auth: Some(SECRET.into()),
        test_version: Some("v2".into()),
        ..Request::default()
    };
    let redirected = Request { redirect: Some("true".into()), ..request("/docs/test.html") };
    let forbidden = Request { lambda_auth: Some("guess".into()), ..request("/docs/test.html") };
    let mut group = criterion.benchmark_group("decision");
    for (name, request) in [
        ("fetch", request("/docs/test.html")),
        ("redirect", redirected),
        ("forbid", forbidden),
        ("hostile/5kB path", request(&"/%".repeat(2_500))),
    ] {
        let action = decide(&request, &policy, Active::default()).action;
        assert!(match name {
            "fetch" => matches!(action, Action::Fetch { .. }),
            "redirect" => matches!(action, Action::Redirect { .. }),
            "forbid" => matches!(action, Action::Respond(Outcome::Forbidden)),
            _ => matches!(action, Action::Missing { .. }),
        });
        group.bench_function(name, |bencher| bencher.iter(|| decide(black_box(&request), &policy, Active::default())));
    }
    group.finish();
}

fn payload_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload/encode");
    for (name, bytes) in SIZES {
        let (object, raw) = (object(bytes), raw(bytes));
        let response =
            Response::of(Outcome::Found(object), &Context { variant: Some("v2"), ..Context::new(&PRESENTATION) });
        let headers: serde_json::Map<String, Value> =
            response.fields().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let plain = || {
            let body = base64_simd::STANDARD.encode_to_string(black_box(&raw));
            let payload = json!({"statusCode": 200, "headers": headers, "isBase64Encoded": true, "body": body});
            serde_json::to_vec(&payload).unwrap()
        };
        assert_eq!(Payload::encode(&response, Door::HttpApi, Transfer::Buffered).size_bytes(), plain().len() as u64);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("encoded body", name), |bencher| {
            bencher.iter(|| Payload::encode(black_box(&response), Door::HttpApi, Transfer::Buffered));
        });
        group.bench_function(BenchmarkId::new("plain", name), |bencher| bencher.iter(plain));
    }
    group.finish();
}

fn body_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body/encode");
    for (name, bytes) in SIZES {
        let raw = raw(bytes);
        let chunked = || {
            let mut encoder = BodyEncoder::with_capacity(raw.len());
            // About the size of one read from a socket.
            for chunk in black_box(&raw).chunks(16 * 1024) {
                encoder.push(chunk);
            }
            encoder.finish()
        };
        assert_eq!(chunked().base64(), base64_simd::STANDARD.encode_to_string(&raw).as_bytes());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("in chunks", name), |bencher| bencher.iter(chunked));
        group.bench_function(BenchmarkId::new("whole", name), |bencher| {
            bencher.iter(|| base64_simd::STANDARD.encode_to_string(black_box(&raw)));
        });
    }
    group.finish();
}

/// Event in, payload out, through the cache.
fn responses(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let usual = event("/docs/test.html");
    let deadline = Instant::now() + HOUR;
    let response = |origin: &Origin<_>, event: &[u8]| summary(&runtime, origin, event, deadline);
    let mut group = criterion.benchmark_group("response");
    for (name, bytes) in SIZES {
        let fresh = origin(bytes, HOUR);
        assert_eq!(response(&fresh, &usual), (200, bytes as u64, Source::Miss));
        assert_eq!(response(&fresh, &usual), (200, bytes as u64, Source::Hit));
        group.bench_function(BenchmarkId::new("hit", name), |bencher| {
            bencher.iter(|| runtime.block_on(fixture::respond(&fresh, black_box(&usual), deadline)));
        });
    }
    let expired = origin(10_000, Duration::ZERO);
    response(&expired, &usual);
    assert_eq!(response(&expired, &usual), (200, 10_000, Source::Revalidated));
    group.bench_function("revalidated/10kB", |bencher| {
        bencher.iter(|| runtime.block_on(fixture::respond(&expired, black_box(&usual), deadline)));
    });
    let fresh = origin(10_000, HOUR);
    let mut number = 0;
    let mut unseen = || {
        number += 1;
        event(&format!("/docs/{number}.html"))
    };
    assert_eq!(response(&fresh, &unseen()), (200, 10_000, Source::Miss));
    group.bench_function("miss/10kB", |bencher| {
        bencher.iter_batched(
            &mut unseen,
            |event| runtime.block_on(fixture::respond(&fresh, black_box(&event), deadline)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Negotiation, and hits of clients that accept codings, next to the same hit without a coding.
fn copies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy");
    let text = Copyable::Text { may_transform: true };
    for (name, field) in
        [("CloudFront", "br,gzip"), ("browser", "gzip, deflate, br, zstd"), ("hostile/8kB", &"gzip;q=0.5,".repeat(745))]
    {
        let accepts = Accepts { encoding: Some(field), media: None };
        assert!(accepts.weights(text, None).prefers(CopyKind::Gzip));
        group.bench_function(BenchmarkId::new("weights", name), |bencher| {
            bencher.iter(|| black_box(&accepts).weights(text, None));
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let deadline = Instant::now() + HOUR;
    let plain = event("/docs/test.html");
    let mut accepting: Value = serde_json::from_slice(&plain).unwrap();
    accepting["headers"]["accept-encoding"] = json!("br,gzip");
    let accepting = serde_json::to_vec(&accepting).unwrap();
    for (name, bytes) in [("10kB", 10_000), ("100kB", 100_000)] {
        let origin = fixture::copying_origin(object(bytes));
        let respond = |event: &[u8]| runtime.block_on(fixture::respond(&origin, black_box(event), deadline));
        // The budget grows with time.
        while respond(&accepting).record.copy.is_none() {
            runtime.block_on(origin.refresh(deadline));
        }
        assert!(respond(&plain).record.copy.is_none());
        group.bench_function(BenchmarkId::new("hit, stored", name), |bencher| bencher.iter(|| respond(&plain)));
        group.bench_function(BenchmarkId::new("hit, br", name), |bencher| bencher.iter(|| respond(&accepting)));
    }
    group.finish();
}

/// The status, body size and source of a response.
fn summary<S: Store>(
    runtime: &tokio::runtime::Runtime,
    origin: &Origin<S>,
    event: &[u8],
    deadline: Instant,
) -> (u16, u64, Source) {
    let record = runtime.block_on(fixture::respond(origin, event, deadline)).record;
    (record.status, record.body_bytes, record.source.unwrap())
}

criterion_group!(benches, event_parse, secret, decision, payload_encode, body_encode, responses, copies);
criterion_main!(benches);
