//! What the regression gate counts: one scenario so many times over, or the allocations of each.
//!
//! `.ci/instructions.py` runs it under callgrind, which counts the same each time, unlike a clock.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking"
)]

mod fixture;

use std::hint::black_box;
use std::time::{Duration, Instant};

use fixture::{HOUR, event, origin, policy};
use nearedge_core::access::secret::Secrets;
use nearedge_core::object::BodyEncoder;
use nearedge_core::request::event::parse;
use nearedge_core::rules::decision::decide;
use serde_json::{Value, json};

/// What makes something ready that is then done over and over.
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
                    assert!(decide(black_box(&request), &policy).secret.is_some());
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
            let answered = (0..2).map(|_| runtime.block_on(fixture::respond(&origin, &event, deadline)));
            let record = answered.last().unwrap().record;
            Box::new(move || lines.write(black_box(&fixture::line(&record)), std::io::sink()).unwrap())
        }),
    ));
    let hour = HOUR;
    for (name, bytes, ttl, event, status) in [
        ("answer/hit/240B", 240, hour, usual(), 200),
        ("answer/hit/10kB", 10_000, hour, usual(), 200),
        ("answer/hit/1MiB", 1 << 20, hour, usual(), 200),
        ("answer/revalidated/10kB", 10_000, Duration::ZERO, usual(), 200),
        ("answer/not_modified", 10_000, hour, with(&[("if-none-match", "\"0123456789abcdef0123456789abcdef\"")]), 304),
        ("answer/partial/100B of 10kB", 10_000, hour, with(&[("range", "bytes=1000-1099")]), 206),
        ("answer/redirected", 240, hour, with(&[("redirect", "true")]), 302),
        ("answer/forbidden", 240, hour, with(&[("lambda_auth", "guess")]), 403),
    ] {
        let ready = move || -> Box<dyn Fn()> {
            let origin = origin(bytes, ttl);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let deadline = Instant::now() + HOUR;
            let once = move || {
                let answer = runtime.block_on(fixture::respond(&origin, black_box(&event), deadline));
                assert_eq!(answer.record.status, status);
            };
            // From the third time on what is asked for is in the cache: of a part the first learns its size.
            (0..3).for_each(|_| once());
            Box::new(once)
        };
        scenarios.push((name, Box::new(ready)));
    }
    scenarios
}

fn main() {
    // cargo bench adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            for (name, ready) in scenarios() {
                let once = ready();
                once();
                let allocated = allocation_counter::measure(&once);
                println!("{name}\t{}\t{}", allocated.count_total, allocated.bytes_total);
            }
        }
        [wanted, times] => {
            let (_, ready) = scenarios().into_iter().find(|(name, _)| name == wanted).unwrap();
            let once = ready();
            (0..times.parse::<u32>().unwrap()).for_each(|_| once());
        }
        _ => panic!("usage: instructions [SCENARIO TIMES]"),
    }
}
