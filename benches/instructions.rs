//! Scenarios for the regression check of instructions and allocations.
//!
//! Without arguments, prints the allocations of each scenario; with a scenario and a number, runs it so many times.
//! Futures are pinned before they run, because a move into the runtime costs hundreds of instructions that no invocation has.
//! `.ci/instructions.py` runs that under callgrind, whose counts, unlike times, are the same in each run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking"
)]

mod fixture;

use std::hint::black_box;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use fixture::experiment::{RETURNING, assigning_origin, definition, respond_to_visit};
use fixture::rules::ruled_origin;
use fixture::{HOUR, event, origin, policy, visit};
use nearedge::telemetry::count_line::{self, CountMetrics};
use nearedge_core::access::secret::Secrets;
use nearedge_core::object::{BodyEncoder, Head, Metadata};
use nearedge_core::request::event::parse;
use nearedge_core::rules::{Active, decide};
use serde_json::{Value, json};

/// A name, and a function that prepares the scenario and returns one repetition of it.
type Scenario = (&'static str, Box<dyn FnOnce() -> Box<dyn Fn()>>);

fn scenarios() -> Vec<Scenario> {
    let usual = || event("/docs/test.html");
    let with = |changes: &[(&str, &str)]| {
        let mut event: Value = serde_json::from_slice(&usual()).unwrap();
        for (name, value) in changes {
            event["headers"][*name] = json!(value);
        }
        serde_json::to_vec(&event).unwrap()
    };
    let mut scenarios: Vec<Scenario> = vec![
        (
            "event/parse",
            Box::new(move || {
                let event = usual();
                Box::new(move || assert!(parse(black_box(&event)).is_ok()))
            }),
        ),
        (
            "secret/equal",
            Box::new(|| {
                let secrets = Secrets::new(fixture::SECRET).unwrap();
                Box::new(move || assert!(secrets.matches(black_box(fixture::SECRET)).is_some()))
            }),
        ),
        (
            "decision/fetch",
            Box::new(move || {
                let (event, policy) = (usual(), policy());
                Box::new(move || {
                    let request = parse(&event).unwrap();
                    assert!(decide(black_box(&request), &policy, Active::default()).secret.is_some());
                })
            }),
        ),
        (
            "body/encode/100kB",
            Box::new(|| {
                let raw = fixture::raw(100_000);
                Box::new(move || {
                    let mut encoder = BodyEncoder::with_capacity(raw.len());
                    encoder.push(black_box(raw.as_slice()));
                    assert_eq!(encoder.finish().len(), 100_000);
                })
            }),
        ),
    ];
    scenarios.push((
        "line/hit",
        Box::new(|| {
            let (lines, origin) = (fixture::lines(), origin(10_000, HOUR));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (event, deadline) = (event("/docs/test.html"), Instant::now() + HOUR);
            let responses = (0..2).map(|_| runtime.block_on(pin!(fixture::respond(&origin, &event, deadline))));
            let record = responses.last().unwrap().record;
            Box::new(move || lines.write(black_box(&fixture::line(&record)), std::io::sink()).unwrap())
        }),
    ));
    for (name, bytes, ttl, event, status) in [
        ("response/hit/240B", 240, HOUR, usual(), 200),
        ("response/hit/10kB", 10_000, HOUR, usual(), 200),
        ("response/hit/1MiB", 1 << 20, HOUR, usual(), 200),
        ("response/revalidated/10kB", 10_000, Duration::ZERO, usual(), 200),
        (
            "response/not_modified",
            10_000,
            HOUR,
            with(&[("if-none-match", "\"0123456789abcdef0123456789abcdef\"")]),
            304,
        ),
        ("response/partial/100B of 10kB", 10_000, HOUR, with(&[("range", "bytes=1000-1099")]), 206),
        ("response/redirected", 240, HOUR, with(&[("redirect", "true")]), 302),
        ("response/forbidden", 240, HOUR, with(&[("lambda_auth", "guess")]), 403),
    ] {
        let prepare = move || -> Box<dyn Fn()> {
            let origin = origin(bytes, ttl);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let deadline = Instant::now() + HOUR;
            let once = move || {
                let response = runtime.block_on(pin!(fixture::respond(&origin, black_box(&event), deadline)));
                assert_eq!(response.record.status, status);
            };
            // Fills the cache. A range needs two requests: the first caches only the head.
            (0..3).for_each(|_| once());
            Box::new(once)
        };
        scenarios.push((name, Box::new(prepare)));
    }
    scenarios.extend(copies());
    scenarios.extend(visits());
    scenarios.extend(rules());
    scenarios
}

/// Hits of a browser that accepts codings: of a text with a copy, and of an image, which has none.
fn copies() -> Vec<Scenario> {
    let mut with_codings: Value = serde_json::from_slice(&event("/docs/test.html")).unwrap();
    with_codings["headers"]["accept-encoding"] = json!("br,gzip");
    let event = serde_json::to_vec(&with_codings).unwrap();
    [("copy/hit/10kB", "text/html; charset=utf-8", true), ("copy/hit/an image", "image/webp", false)]
        .map(|(name, content_type, has_copy)| -> Scenario {
            let event = event.clone();
            let prepare = move || -> Box<dyn Fn()> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let mut object = fixture::object(10_000);
                let metadata = Metadata { content_type: Some(content_type.into()), ..(*object.head).clone() };
                object.head = Head::new(metadata);
                let origin = fixture::copying_origin(object);
                let deadline = Instant::now() + HOUR;
                let respond = || runtime.block_on(pin!(fixture::respond(&origin, black_box(&event), deadline)));
                // The budget grows with time.
                while has_copy && respond().record.copy.is_none() {
                    runtime.block_on(origin.refresh(deadline));
                }
                let once = move || {
                    let response = runtime.block_on(pin!(fixture::respond(&origin, black_box(&event), deadline)));
                    assert_eq!((response.record.status, response.record.copy.is_some()), (200, has_copy));
                };
                (0..3).for_each(|_| once());
                Box::new(once)
            };
            (name, Box::new(prepare))
        })
        .into()
}

/// A hit of an origin with lists of redirects and headers, and of one with a rule of access and a token that it knows.
fn rules() -> Vec<Scenario> {
    let event = || event("/docs/test.html");
    let lists: Scenario = (
        "rules/hit/1,000 redirects, 100 headers",
        Box::new(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (redirects, headers) = (fixture::rules::redirects(), fixture::rules::headers());
            let files = [("_redirects", &*redirects), ("_headers", &*headers)];
            let origin = runtime.block_on(ruled_origin(10_000, &files));
            assert!(origin.visit_detail().is_none());
            let (event, deadline) = (event(), Instant::now() + HOUR);
            let once = move || {
                let response = runtime.block_on(pin!(fixture::respond(&origin, black_box(&event), deadline)));
                assert_eq!(response.record.status, 200);
                response
            };
            let head = (0..3).map(|_| String::from_utf8_lossy(&once().payload.parts()[0]).into_owned()).last();
            assert!(head.unwrap().contains("\"x-frame-options\":\"DENY\""), "expected the fields of a rule");
            Box::new(move || drop(once()))
        }),
    );
    let mut with_token: Value = serde_json::from_slice(&event()).unwrap();
    let access: Scenario = (
        "rules/hit/a known token",
        Box::new(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (rules, token) = fixture::rules::access();
            let origin = runtime.block_on(ruled_origin(10_000, &[("access.json", &rules)]));
            with_token["headers"]["authorization"] = json!(format!("Bearer {token}"));
            let (event, deadline) = (serde_json::to_vec(&with_token).unwrap(), Instant::now() + HOUR);
            let once = move || {
                let record = runtime.block_on(pin!(respond_to_visit(&origin, black_box(&event), deadline))).record;
                assert_eq!((record.status, record.rule.as_deref()), (200, Some("access:/docs/*")));
            };
            (0..3).for_each(|_| once());
            Box::new(once)
        }),
    );
    vec![lists, access]
}

/// A browser's navigation without experiments, and with definitions of some rules.
fn visits() -> Vec<Scenario> {
    let returning = || visit("/docs/test.html", &RETURNING);
    // The same request, whose caller states the version: the least that a visitor's request can cost.
    let mut by_header: Value = serde_json::from_slice(&returning()).unwrap();
    by_header["headers"]["test_version"] = json!("v2");
    // A visitor whose assignment is known, but not counted yet.
    let uncounted = visit("/docs/test.html", &[&*RETURNING[0].replace(".4XpL", "."), RETURNING[1]]);
    [
        ("visit/by header/disabled", None, serde_json::to_vec(&by_header).unwrap(), 0),
        ("visit/returning/1 rule", Some(definition(1, &[])), returning(), 0),
        ("visit/returning/20 rules", Some(definition(20, &[])), returning(), 0),
        ("visit/returning/3 goals", Some(definition(1, &["/a", "/b/*", "/c"])), returning(), 0),
        ("visit/first/1 rule", Some(definition(1, &[])), visit("/docs/test.html", &[]), 1),
        ("visit/exposure/1 rule", Some(definition(1, &[])), uncounted, 1),
        ("visit/conversion/1 goal", Some(definition(1, &["/docs/test.html"])), returning(), 1),
    ]
    .map(|(name, definition, event, counts)| -> Scenario {
        let prepare = move || -> Box<dyn Fn()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let deadline = Instant::now() + HOUR;
            let origin = match &definition {
                None => origin(10_000, HOUR),
                Some(definition) => runtime.block_on(assigning_origin(10_000, definition)),
            };
            let metrics = CountMetrics::new("nearedge", "lambdaapi");
            let once = move || {
                let event = black_box(&event);
                let record = match definition {
                    None => runtime.block_on(pin!(fixture::respond(&origin, event, deadline))).record,
                    Some(_) => runtime.block_on(pin!(respond_to_visit(&origin, event, deadline))).record,
                };
                let counted = record.counts.as_ref().map_or(0, |counts| {
                    let lines = count_line::write(counts, Some(&metrics), "8476a536", SystemTime::UNIX_EPOCH);
                    assert!(black_box(&lines).ends_with(b"}\n"));
                    counts.counted.len()
                });
                assert_eq!((record.status, record.variant().is_some(), counted), (200, true, counts));
            };
            (0..3).for_each(|_| once());
            Box::new(once)
        };
        (name, Box::new(prepare))
    })
    .into()
}

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            for (name, prepare) in scenarios() {
                let once = prepare();
                once();
                let allocated = allocation_counter::measure(&once);
                println!("{name}\t{}\t{}", allocated.count_total, allocated.bytes_total);
            }
        }
        [scenario, times] => {
            let (_, prepare) = scenarios().into_iter().find(|(name, _)| name == scenario).unwrap();
            let once = prepare();
            (0..times.parse::<u32>().unwrap()).for_each(|_| once());
        }
        _ => panic!("usage: instructions [SCENARIO TIMES]"),
    }
}
