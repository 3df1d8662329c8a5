//! What every request pays, and the plain way of doing the same beside it.
//!
//! Each benchmark confirms its answer before it is timed. The figures mean something as ratios on one machine:
//! `cargo bench -p nearedge`, pinned to a core (`taskset -c 1`).
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearedge::auth::{SecretMatch, Secrets};
use nearedge::decision::{Action, Policy, decide};
use nearedge::event::parse;
use nearedge::object::{Body, BodyEncoder, FetchError, Fetched, Metadata, Object, ObjectKey};
use nearedge::origin::{Exceptions, Origin, Oversize};
use nearedge::payload::Payload;
use nearedge::request::Request;
use nearedge::response::{Outcome, Presentation, Response};
use nearedge::store::{Ask, Part, Store};
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-thirty-two-characters";
const SIZES: [(&str, usize); 4] = [("240B", 240), ("10kB", 10_000), ("100kB", 100_000), ("1MiB", 1 << 20)];
const PRESENTATION: Presentation =
    Presentation { missing_status: 404, variant_header: true, vary: "test_version, redirect" };

fn policy() -> Policy {
    Policy {
        secrets: Secrets::new(SECRET).unwrap(),
        redirect_path: "https://dxxxx.cloudfront.net".to_owned(),
        redirect_query: false,
        test_versions: None,
        variant_fallback: false,
        index_document: "index.html".to_owned(),
        spa_fallback: None,
    }
}

/// An event as API Gateway sends it for a request that came through CloudFront.
fn event(path: &str) -> Vec<u8> {
    let event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "utm_source=newsletter&utm_medium=email",
        "cookies": ["session=0123456789abcdef0123456789abcdef", "consent=yes", "_ga=GA1.2.123456789.1700000000"],
        "headers": {
            "content-length": "0",
            "host": "abcdefghij.execute-api.cn-north-1.amazonaws.com.cn",
            "lambda_auth": SECRET,
            "test_version": "v2",
            "user-agent": "Amazon CloudFront",
            "via": "2.0 0123456789abcdef0123456789abcdef.cloudfront.net (CloudFront)",
            "x-amz-cf-id": "0123456789abcdef0123456789abcdef0123456789abcdef0123456==",
            "x-amzn-trace-id": "Root=1-65000000-0123456789abcdef01234567",
            "x-forwarded-for": "192.0.2.1, 198.51.100.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": {"utm_source": "newsletter", "utm_medium": "email"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.cn-north-1.amazonaws.com.cn",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "198.51.100.1",
                "userAgent": "Amazon CloudFront",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "10/Mar/2026:05:16:23 +0000",
            "timeEpoch": 1_773_119_783_636_u64,
        },
        "pathParameters": {"proxy": path.trim_start_matches('/')},
        "isBase64Encoded": false,
    });
    serde_json::to_vec(&event).unwrap()
}

fn body(bytes: usize) -> Body {
    let mut encoder = BodyEncoder::with_capacity(bytes);
    encoder.push(raw(bytes).as_slice());
    encoder.finish()
}

fn raw(bytes: usize) -> Vec<u8> {
    (0..=255).cycle().take(bytes).collect()
}

fn object(bytes: usize) -> Object {
    let metadata = Metadata {
        content_type: Some("text/html; charset=utf-8".into()),
        etag: Some("\"0123456789abcdef0123456789abcdef\"".into()),
        last_modified: Some("Tue, 10 Mar 2026 05:16:23 GMT".into()),
        cache_control: Some("public, max-age=60".into()),
        bytes: bytes as u64,
        ..Metadata::default()
    };
    Object { metadata, range: None, body: body(bytes) }
}

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
    for (name, presented, wanted) in [
        ("equal", SECRET.to_owned(), Some(SecretMatch::Current)),
        ("near miss at the start", near(0), None),
        ("near miss at the end", near(SECRET.len() - 1), None),
        ("shorter", "a".to_owned(), None),
        ("longest", "a".repeat(256), None),
        ("hostile/10kB", "a".repeat(10_000), None),
    ] {
        assert_eq!(secrets.matches(&presented), wanted, "{name}");
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
        let action = decide(&request, &policy).action;
        assert!(match name {
            "fetch" => matches!(action, Action::Fetch { .. }),
            "redirect" => matches!(action, Action::Redirect { .. }),
            "forbid" => matches!(action, Action::Forbid),
            _ => matches!(action, Action::Missing { .. }),
        });
        group.bench_function(name, |bencher| bencher.iter(|| decide(black_box(&request), &policy)));
    }
    group.finish();
}

fn payload_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload/encode");
    for (name, bytes) in SIZES {
        let (object, raw) = (object(bytes), raw(bytes));
        let response = Response::of(Outcome::Found(object), Some("v2"), &PRESENTATION);
        let headers: serde_json::Map<String, Value> =
            response.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let plain = || {
            let body = base64_simd::STANDARD.encode_to_string(black_box(&raw));
            let answer = json!({"statusCode": 200, "headers": headers, "isBase64Encoded": true, "body": body});
            serde_json::to_vec(&answer).unwrap()
        };
        assert_eq!(Payload::encode(&response).bytes(), plain().len() as u64);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("ready", name), |bencher| {
            bencher.iter(|| Payload::encode(black_box(&response)));
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
            // About what a socket gives at once.
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

/// A store that has everything in memory, ready to send.
struct Ready(Object);

impl Store for Ready {
    async fn fetch(&self, ask: &Ask<'_>, _: Instant) -> Result<Fetched, FetchError> {
        let whole: Option<&Range<u64>> = None;
        Ok(ask.judge(&self.0.metadata, whole).unwrap_or_else(|| Fetched::Object(self.0.clone())))
    }

    async fn presign(&self, _: &ObjectKey, _: Part, _: Duration, _: Instant) -> Result<String, FetchError> {
        Err(FetchError::Failed("nothing here is large".to_owned()))
    }
}

fn origin_answer(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let event = event("/docs/test.html");
    let deadline = Instant::now() + Duration::from_secs(3_600);
    let mut group = criterion.benchmark_group("origin/answer");
    for (name, bytes) in SIZES {
        let exceptions =
            Exceptions { error_document: None, oversize: Oversize::Reject, presign_ttl: Duration::from_secs(300) };
        let origin = Origin::new(Ready(object(bytes)), policy(), PRESENTATION, exceptions);
        let answer = || runtime.block_on(origin.answer(black_box(&event), deadline)).unwrap();
        assert_eq!((answer().record.status, answer().record.body_bytes), (200, bytes as u64));
        group.bench_function(name, |bencher| bencher.iter(answer));
    }
    group.finish();
}

criterion_group!(benches, event_parse, secret, decision, payload_encode, body_encode, origin_answer);
criterion_main!(benches);
