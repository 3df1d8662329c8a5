//! Drives Lambda handlers over the Runtime API and compares their CPU time, latency, start and memory.
//!
//! `cargo build --release --features peers && target/release/compare ../../target/release/bootstrap
//! [--python PYTHON] [--rounds N] [--out FOLDER] [--only PART] [--gate]`. Without the feature `peers` it compares fewer handlers.
//!
//! The driver and S3 run on core 0, the handlers on core 1. Each round measures all handlers in turn; a result is the
//! median of the rounds. CPU time is the scheduler's count for all threads of the handler.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]

mod chunked;
#[path = "../../fixture/event.rs"]
#[allow(dead_code, reason = "benches use it")]
mod event;
mod handler;
mod report;
mod runtime_api;
mod s3;
mod streams;
mod throttled;

use std::io::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use compare::object;
use handler::{Handler, Program, pin};
use report::{Report, Row};
use runtime_api::Response;
use s3::{FIRST_BYTE_LATENCY, S3};
use serde_json::Value;
use throttled::Quota;

/// Object sizes and their paths.
const OBJECTS: [(&str, &str); 5] = [
    ("240 B", "/240"),
    ("10 kB", "/10000"),
    ("100 kB", "/100000"),
    ("1 MiB", "/1048576"),
    ("100 kB of text", "/text/100000"),
];
const OURS: &str = "nearedge";
const MINIMAL: &str = "minimal handler";
const MOKA: &str = "lambda_http + moka";
const PLAIN: &str = "lambda_http, no cache";
const PYTHON: &str = "Python (boto3)";
const ALONE: &str = "lambda_http alone";

const USAGE: &str = "\
usage: compare BOOTSTRAP [--python PYTHON] [--rounds N] [--out FOLDER] [--only PART] [--gate]

  BOOTSTRAP          nearedge's binary, from deploy/build.sh
  --python PYTHON    also measure the reference, with an interpreter that has awslambdaric and boto3
  --rounds N         rounds of each measurement (9)
  --out FOLDER       write compare.md and compare.svg to this folder
  --only PART        measure this part only: throttled (a fourteenth of a core), starts, definition (of experiments,
                     at the start), hits, misses, memory, telemetry or streams
  --gate             fail if a target, other than P2 and P16, is missed by more than 40 %";

struct Arguments {
    bootstrap: PathBuf,
    python: Option<PathBuf>,
    rounds: usize,
    out: Option<PathBuf>,
    only: Option<String>,
    gate: bool,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut parsed =
            Self { bootstrap: PathBuf::new(), python: None, rounds: 9, out: None, only: None, gate: false };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                "--python" => parsed.python = Some(value().into()),
                "--rounds" => parsed.rounds = value().parse().expect("--rounds is a number"),
                "--out" => parsed.out = Some(value().into()),
                "--only" => parsed.only = Some(value()),
                "--gate" => parsed.gate = true,
                _ => parsed.bootstrap = argument.into(),
            }
        }
        assert!(parsed.bootstrap.is_file(), "{USAGE}");
        parsed
    }
}

/// The event of a request for `path`.
fn event(path: &str) -> Arc<[u8]> {
    event::event(path).into()
}

/// The event of a browser that accepts codings.
fn coded(path: &str) -> Arc<[u8]> {
    let mut json: Value = serde_json::from_slice(&event(path)).expect("an event");
    json["headers"]["accept-encoding"] = "br,gzip".into();
    serde_json::to_vec(&json).expect("JSON").into()
}

/// Whether a response is a copy in a content coding.
fn is_coded(response: &Response) -> bool {
    let head = String::from_utf8_lossy(&response.payload[..response.payload.len().min(1_000)]);
    head.contains("\"content-encoding\":\"br\"")
}

/// Checks that a response contains the whole object, byte for byte.
fn check(name: &str, response: &Response, path: &str) {
    let json: Value = serde_json::from_slice(&response.payload).expect("JSON");
    assert_eq!(json["statusCode"], 200, "{name}: {json}");
    let body = json["body"].as_str().expect("a body");
    let body = match json["isBase64Encoded"] == true {
        true => base64_simd::STANDARD.decode_to_vec(body).expect("base64"),
        // lambda_http sends text without base64, and replaces bytes that are not UTF-8.
        false => body.as_bytes().to_vec(),
    };
    assert!(Some(body) == object(path).map(|(_, body)| body), "{name}: the body is not the object's");
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).expect("no NaN"));
    values[values.len() / 2]
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Summarises one handler and size: the median CPU of the rounds, and percentiles of all latencies.
fn row(name: &'static str, size: &'static str, rounds: Vec<f64>, mut latencies: Vec<Duration>) -> Row {
    latencies.sort_unstable();
    let at = |share: f64| micros(latencies[((latencies.len() - 1) as f64 * share) as usize]);
    Row { name, size, cpu: median(rounds), p50: at(0.5), p99: at(0.99) }
}

/// Sends `count` events, at most `window` concurrently. Returns the handler's CPU per invocation in µs, and the latencies.
fn batch(handler: &Handler, path: &str, count: usize, window: usize) -> (f64, Vec<Duration>) {
    let (event, mut latencies) = (event(path), Vec::with_capacity(count));
    let before = handler.cpu();
    handler.api.send(std::iter::repeat_n(event, count), window, |response| latencies.push(response.latency));
    (micros(handler.cpu() - before) / count as f64, latencies)
}

/// The S3 servers and the number of rounds.
struct Bench {
    plain: S3,
    tls: S3,
    /// Over TLS too, with the latency of the real one.
    slow: S3,
    ca: tempfile::NamedTempFile,
    rounds: usize,
}

impl Bench {
    fn plain_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain.port)
    }

    fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.tls.port)
    }

    fn ca_path(&self) -> String {
        self.ca.path().display().to_string()
    }

    fn start(&self, program: &Program) -> Handler {
        Handler::start(program, &self.plain_url(), &[1])
    }

    /// Measures hits: CPU per invocation and latency for each size.
    fn hits(&self, programs: &[Program], report: &mut Report) {
        for (label, path) in OBJECTS {
            let bytes = path.rsplit('/').next().expect("a size");
            let handlers: Vec<_> = programs
                .iter()
                .map(|program| (program.name, self.start(&program.env("RESPONSE_BYTES", bytes))))
                .collect();
            let mut rounds = vec![Vec::new(); handlers.len()];
            let mut latencies = vec![Vec::new(); handlers.len()];
            for (name, handler) in &handlers {
                let response = handler.api.invoke(event(path));
                // The minimal handler always sends a picture.
                if *name != MINIMAL || !path.contains("text") {
                    check(name, &response, path);
                }
                batch(handler, path, 200, 1);
            }
            for _ in 0..self.rounds {
                for (index, (name, handler)) in handlers.iter().enumerate() {
                    let count = if *name == PYTHON {
                        40
                    } else if label == "1 MiB" {
                        150
                    } else {
                        1_000
                    };
                    let (cpu, round) = batch(handler, path, count, 1);
                    rounds[index].push(cpu);
                    latencies[index].extend(round);
                }
            }
            for ((index, (name, _)), latencies) in handlers.iter().enumerate().zip(latencies) {
                report.hits.push(row(name, label, rounds[index].clone(), latencies));
            }
        }
    }

    /// Measures misses: every key is new.
    fn misses(&self, programs: &[Program], report: &mut Report) {
        for (label, bytes) in [("10 kB", 10_000), ("100 kB", 100_000)] {
            let handlers: Vec<_> = programs.iter().map(|program| (program.name, self.start(program))).collect();
            let mut rounds = vec![Vec::new(); handlers.len()];
            let mut latencies = vec![Vec::new(); handlers.len()];
            for round in 0..=self.rounds {
                for (index, (name, handler)) in handlers.iter().enumerate() {
                    let count = if *name == PYTHON { 40 } else { 300 };
                    let before = (handler.cpu(), self.plain.requests.load(Ordering::Relaxed));
                    let events = (0..count).map(|number| event(&format!("/miss-{round}-{number}/{bytes}")));
                    let mut first = None;
                    handler.api.send(events, 1, |response| {
                        latencies[index].push(response.latency);
                        first.get_or_insert(response);
                    });
                    check(name, &first.expect("a response"), &format!("/{bytes}"));
                    assert_eq!(
                        self.plain.requests.load(Ordering::Relaxed) - before.1,
                        count,
                        "{name}: every invocation sends one request to S3"
                    );
                    // The first round is the warm-up.
                    if round > 0 {
                        rounds[index].push(micros(handler.cpu() - before.0) / count as f64);
                    }
                }
            }
            for ((index, (name, _)), latencies) in handlers.iter().enumerate().zip(latencies) {
                report.misses.push(row(name, label, rounds[index].clone(), latencies));
            }
        }
    }

    /// Measures the start: from spawning the process until its first request for an event.
    fn starts(&self, programs: &[Program], report: &mut Report) {
        let mut starts = vec![Vec::new(); programs.len()];
        for _ in 0..self.rounds * 3 {
            for (index, program) in programs.iter().enumerate() {
                starts[index].push(micros(self.start(program).start) / 1e3);
            }
        }
        report.starts = programs.iter().zip(starts).map(|(program, starts)| (program.name, median(starts))).collect();
    }

    /// Measures a cold start without and with a definition of experiments, in turn, until the first response, with an S3 over TLS that
    /// responds at once, and with one that has S3's latency.
    fn definition(&self, warm: &Program, report: &mut Report) {
        let without = warm.env("AWS_CA_BUNDLE", self.ca_path());
        let with = without.env("experiments", compare::DEFINITION);
        report.definition = [(&self.tls, 9), (&self.slow, 1)].map(|(s3, repeats)| {
            let url = format!("https://localhost:{}", s3.port);
            let (mut starts, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
            for _ in 0..self.rounds * repeats {
                let pair = [&without, &with].map(|program| {
                    let handler = Handler::start(program, &url, &[1]);
                    let response = handler.api.invoke(event("/10000"));
                    check(program.name, &response, "/10000");
                    micros(handler.start + response.latency) / 1e3
                });
                starts.iter_mut().zip(pair).for_each(|(starts, start)| starts.push(start));
                ratios.push(pair[1] / pair[0]);
            }
            (starts.map(median).into(), median(ratios))
        });
    }

    /// Measures the first invocation over plain HTTP and over TLS, and counts TLS handshakes after the start.
    fn firsts(&self, programs: &[Program], report: &mut Report) {
        let ca = self.ca.path().display().to_string();
        for program in programs {
            let program = program.env("AWS_CA_BUNDLE", &ca).env("SSL_CERT_FILE", &ca);
            let (mut plain, mut tls, mut handshakes) = (Vec::new(), Vec::new(), 0);
            for _ in 0..self.rounds {
                let first = |url: &str| {
                    let handler = Handler::start(&program, url, &[1]);
                    let before = self.tls.connections.load(Ordering::Relaxed);
                    let response = handler.api.invoke(event("/10000"));
                    check(program.name, &response, "/10000");
                    (micros(response.latency) / 1e3, self.tls.connections.load(Ordering::Relaxed) - before)
                };
                plain.push(first(&self.plain_url()).0);
                let (latency, connections) = first(&self.tls_url());
                tls.push(latency);
                handshakes = handshakes.max(connections);
            }
            report.firsts.push((program.name, median(plain), median(tls), handshakes));
        }
    }

    /// Measures resident memory: before the first event, and its peak under many keys of different sizes.
    fn memory(&self, ours: &Program, report: &mut Report) {
        let cache: u64 = 16 << 20;
        let largest = 4_500_000;
        let rss_at_rest = self.start(ours).memory("VmRSS");
        let bounded = ours.env("cache_max_bytes", cache.to_string()).env("cache_ttl_secs", "3600");
        let peak_and_limit = |events: &mut dyn Iterator<Item = String>, largest: u64| {
            let handler = self.start(&bounded);
            handler.api.send(events.map(|path| event(&path)), 1, |_| {});
            (handler.memory("VmHWM"), rss_at_rest + cache * 5 / 4 + 3 * largest)
        };
        let sizes = [240, 3_000, 10_000, 47_000, 100_000, 333_333, 1 << 20, largest];
        let mixed = (0..6_000_usize).map(|number| {
            let number = number.wrapping_mul(2_654_435_761) >> 7;
            // Large objects are rare, as in real traffic.
            format!("/{}/{}", number % 4_000, sizes[(number % 37).min(number % 8)])
        });
        // Many small entries show the overhead of an entry beyond its key and body.
        let tiny = (0..60_000).map(|number| format!("/{number}/240"));
        // Texts and their copies, with a whole core, so that most copies are made.
        // Small keys are popular, so that their texts stay in the cache until they are copied.
        let texts = (0..6_000_usize).map(|number| {
            let key = (number.wrapping_mul(2_654_435_761) >> 7) % 240;
            let key = key.min(number.wrapping_mul(40_503) % 240).min(number % 120);
            coded(&format!("/text/{key}/{}", 3_000 + key * 997))
        });
        let copying = bounded.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769");
        let handler = self.start(&copying);
        let mut copies = 0;
        handler.api.send(texts, 1, |response| copies += usize::from(is_coded(&response)));
        assert!(copies > 300, "expected copies, found {copies} among 6,000 responses");
        let limit = rss_at_rest + cache * 5 / 4 + 3 * 122_000;
        report.peak_rss.push(("texts of 3 to 122 kB and their copies", (handler.memory("VmHWM"), limit)));
        report.peak_rss.extend([
            ("objects of 240 B to 4.5 MB", peak_and_limit(&mut { mixed }, largest as u64)),
            ("objects of 240 B", peak_and_limit(&mut { tiny }, 240)),
        ]);
        report.rss_at_rest = rss_at_rest;
    }

    /// Measures invocations per second on two cores, one at a time and eight concurrently; and the S3 requests of a thousand
    /// concurrent misses of one key.
    fn concurrency(&self, ours: &Program, report: &mut Report) {
        pin(&[0, 1]);
        let fast = ours.env("cache_ttl_secs", "3600");
        let (one, eight) = (fast.clone(), fast.env("AWS_LAMBDA_MAX_CONCURRENCY", "8"));
        let start = |program: &Program| Handler::start(program, &self.plain_url(), &[0, 1]);
        let (one, eight) = (start(&one), start(&eight));
        let throughput = |handler: &Handler, window: usize| {
            batch(handler, "/100000", 100, window);
            let rounds = (0..self.rounds).map(|_| {
                let started = Instant::now();
                batch(handler, "/100000", 2_000, window);
                2_000.0 / started.elapsed().as_secs_f64()
            });
            median(rounds.collect())
        };
        report.throughput = (throughput(&one, 1), throughput(&eight, 8));
        let many = start(&fast.env("AWS_LAMBDA_MAX_CONCURRENCY", "1000"));
        let before = self.plain.requests.load(Ordering::Relaxed);
        many.api.send(std::iter::repeat_n(event("/coalesced/10000"), 1_000), 1_000, |response| {
            check(OURS, &response, "/10000");
        });
        report.coalesced_requests = self.plain.requests.load(Ordering::Relaxed) - before;
        pin(&[0]);
    }

    /// Measures what the metrics line and the spans add to a hit of 10 kB: CPU, and latency until the response is posted.
    fn telemetry(&self, ours: &Program, report: &mut Report) {
        let daemon = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = daemon.local_addr().expect("an address").to_string();
        let packets = Arc::new(AtomicU64::new(0));
        let received = packets.clone();
        std::thread::spawn(move || {
            let mut packet = vec![0; 1 << 16];
            while daemon.recv(&mut packet).is_ok() {
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
        let off = ours.env("cache_ttl_secs", "3600");
        // Lambda sets the daemon's address whether or not an invocation is sampled.
        let line = off.env("metrics", "true").env("AWS_XRAY_DAEMON_ADDRESS", address);
        let sampled = Program { sampled: true, ..line.clone() };
        let batches = off.env("metrics", "batch").env("log_ratio", "0");
        let programs =
            [("off", off), ("metrics line", line), ("metrics line, spans over UDP", sampled), ("batches", batches)];
        let handlers = programs.map(|(name, program)| (name, self.start(&program)));
        let mut rounds = vec![Vec::new(); handlers.len()];
        let mut latencies = vec![Vec::new(); handlers.len()];
        for (_, handler) in &handlers {
            check(OURS, &handler.api.invoke(event("/10000")), "/10000");
            batch(handler, "/10000", 200, 1);
        }
        for _ in 0..self.rounds * 2 {
            for (index, (_, handler)) in handlers.iter().enumerate() {
                let (cpu, round) = batch(handler, "/10000", 1_000, 1);
                rounds[index].push(cpu);
                latencies[index].extend(round);
            }
        }
        assert!(
            packets.load(Ordering::Relaxed) >= self.rounds as u64 * 2_000,
            "every sampled invocation sends its spans"
        );
        for ((index, (name, _)), latencies) in handlers.iter().enumerate().zip(latencies) {
            report.telemetry.push(row(name, "10 kB", rounds[index].clone(), latencies));
        }
    }

    /// Measures the CPU of a hit of 240 bytes with 10 cache entries and with 100,000.
    fn growth(&self, ours: &Program, report: &mut Report) {
        let ours = ours.env("cache_ttl_secs", "3600").env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024");
        let handlers = [10_usize, 100_000].map(|entries| {
            let handler = self.start(&ours);
            handler.api.send((0..entries).map(|number| event(&format!("/{number}/240"))), 1, |_| {});
            (entries, handler)
        });
        let mut rounds = [Vec::new(), Vec::new()];
        for round in 0..self.rounds {
            for (index, (entries, handler)) in handlers.iter().enumerate() {
                let keys = (0..2_000_usize).map(|number| (number + round * 2_000).wrapping_mul(7_919) % entries);
                let events: Vec<_> = keys.map(|number| event(&format!("/{number}/240"))).collect();
                let before = (handler.cpu(), self.plain.requests.load(Ordering::Relaxed));
                handler.api.send(events.into_iter(), 1, |_| {});
                rounds[index].push(micros(handler.cpu() - before.0) / 2_000.0);
                assert_eq!(
                    self.plain.requests.load(Ordering::Relaxed),
                    before.1,
                    "with {entries} entries every invocation is a hit"
                );
            }
        }
        let [few, many] = rounds.map(median);
        report.growth = (few, many);
    }
}

fn main() {
    let arguments = Arguments::parse();
    pin(&[0]);
    let (config, certificate) = s3::tls();
    let mut ca = tempfile::NamedTempFile::new().expect("a file");
    ca.write_all(certificate.as_bytes()).expect("a certificate");
    let bench = Bench {
        plain: S3::start(None, Duration::ZERO),
        tls: S3::start(Some(config.clone()), Duration::ZERO),
        slow: S3::start(Some(config), FIRST_BYTE_LATENCY),
        ca,
        rounds: arguments.rounds,
    };

    let program = std::env::current_exe().expect("the path of this program");
    // Copies, as Lambda unpacks a zip: how the linker wrote a file changes the cost of its page faults by a tenth.
    let folder = tempfile::tempdir().expect("a folder");
    let unpacked = |path: &Path| {
        let copy = folder.path().join(path.file_name().expect("the path of a file"));
        // A missing peer is left out below.
        if path.exists() {
            std::fs::copy(path, &copy).expect("a copy");
        }
        copy
    };
    let beside = |name: &str| unpacked(&program.with_file_name(name));
    let bootstrap = unpacked(&arguments.bootstrap);
    let ours = Program::new(OURS, &bootstrap).env("prewarm", "false");
    let minimal = Program::new(MINIMAL, &beside("least"));
    let moka = Program::new(MOKA, &beside("moka"));
    let plain = Program::new(PLAIN, &beside("plain"));
    let alone = Program::new(ALONE, &beside("alone"));
    let python = arguments.python.as_deref().map(|python: &Path| Program {
        arguments: ["-m", "awslambdaric", "handler.handler"].iter().map(ToString::to_string).collect::<Vec<_>>(),
        ..Program::new(PYTHON, python)
    });
    let python = python.map(|mut program| {
        program.arguments.insert(0, arguments.python.as_ref().expect("a path").display().to_string());
        program
    });
    // Only first invocations are measured with pre-warming. The peers cannot open the connection early, and elsewhere the
    // results must not depend on when it was opened.
    let warm = Program::new(OURS, &bootstrap);

    let mut report = Report::new(&arguments.bootstrap);
    let with_python = |mut programs: Vec<Program>| {
        programs.retain(|program| Path::new(&program.arguments[0]).exists());
        programs.extend(python.clone());
        programs
    };
    let step = |what: &str| eprintln!("{what} …");
    if arguments.only.as_deref() == Some("memory") {
        bench.memory(&ours, &mut report);
        return println!("{:#?}", report.peak_rss);
    }
    if arguments.only.as_deref() == Some("starts") {
        bench.starts(&[ours, alone], &mut report);
        return println!("start until the first request for an event, ms: {:.3?}", report.starts);
    }
    if arguments.only.as_deref() == Some("hits") {
        bench.hits(&[minimal, ours.env("cache_ttl_secs", "3600")], &mut report);
        return println!("{}", report.rows_section());
    }
    if arguments.only.as_deref() == Some("definition") {
        bench.definition(&warm, &mut report);
        return println!(
            "start without and with a definition of 10 kB, ms, and the ratio; S3 at once, then with latency: {:.3?}",
            report.definition
        );
    }
    if arguments.only.as_deref() == Some("telemetry") {
        bench.telemetry(&ours, &mut report);
        return println!("{}", report.rows_section());
    }
    if arguments.only.as_deref() == Some("streams") {
        return println!("{}", bench.streams(&ours).section());
    }
    if arguments.only.as_deref() == Some("misses") {
        bench.misses(&with_python(vec![ours, plain]), &mut report);
        return println!("{}", report.rows_section());
    }
    if arguments.only.as_deref() == Some("throttled") {
        let quota = Quota::create().expect("the right to create a control group");
        let long = warm.env("cache_ttl_secs", "3600");
        report.throttled = bench.throttled(&quota, &with_python(vec![long.clone(), moka, plain]));
        report.visits = Some(bench.visits(&quota, &long));
        return println!("{}", report.throttled_section());
    }
    step("starts");
    bench.starts(
        &with_python(vec![minimal.env("RESPONSE_BYTES", "240"), ours.clone(), alone, plain.clone(), moka.clone()]),
        &mut report,
    );
    step("starts with a definition of experiments");
    bench.definition(&warm, &mut report);
    step("first invocations");
    bench.firsts(&with_python(vec![warm.clone(), plain.clone()]), &mut report);
    match Quota::create() {
        None => step("a fourteenth of a core: skipped, because this process may not create a control group"),
        Some(quota) => {
            step("a fourteenth of a core");
            let long = warm.env("cache_ttl_secs", "3600");
            report.throttled = bench.throttled(&quota, &with_python(vec![long.clone(), moka.clone(), plain.clone()]));
            step("first visits at a fourteenth of a core");
            report.visits = Some(bench.visits(&quota, &long));
        }
    }
    step("hits");
    let long_ttl = ours.env("cache_ttl_secs", "3600");
    bench.hits(&with_python(vec![minimal, long_ttl, moka.clone(), plain.clone()]), &mut report);
    step("misses");
    bench.misses(&with_python(vec![ours.clone(), plain.clone()]), &mut report);
    step("memory");
    bench.memory(&ours, &mut report);
    step("concurrency");
    bench.concurrency(&ours, &mut report);
    step("telemetry");
    bench.telemetry(&ours, &mut report);
    step("cache growth");
    bench.growth(&ours, &mut report);

    println!("{}", report.markdown());
    if let Some(folder) = &arguments.out {
        std::fs::write(folder.join("compare.md"), report.markdown()).expect("compare.md");
        report.plot(&folder.join("compare.svg"));
    }
    if arguments.gate {
        let failed = report.failed();
        assert!(failed.is_empty(), "targets missed by more than 40 %: {failed:?}");
    }
}
