//! Streams of 100 MB against S3 itself, a plain proxy loop and the buffered path.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::handler::{Handler, Program, pin};
use crate::{Bench, event, median, micros};

const BYTES: u64 = 100 << 20;

/// The largest object that a buffered response holds, about.
const BUFFERED_BYTES: u64 = 4_500_000;

/// The results, as medians of the rounds.
pub struct Streams {
    /// Memory before the first event, and its peak, in bytes.
    pub memory: (u64, u64),
    /// Time to the first byte of the object, in ms: from S3 itself; of a first response; of a later one.
    pub first_byte: (f64, f64, f64),
    /// Bytes per second: of a plain loop, and of the function.
    pub throughput: (f64, f64),
    /// CPU time of the handler per MB, in µs: of the buffered path, and of the stream.
    pub cpu_per_mb: (f64, f64),
    /// CPU time of the plain loop per MB, in µs.
    pub loop_cpu_per_mb: f64,
}

/// The event of a function URL.
fn url_event(path: &str) -> Arc<[u8]> {
    let mut json: Value = serde_json::from_slice(&event(path)).expect("an event");
    json["requestContext"]["domainName"] = "abc.lambda-url.us-east-1.on.aws".into();
    serde_json::to_vec(&json).expect("JSON").into()
}

/// Sends a GET to the local S3. Returns the connection, the number of body bytes in `buffer`, and the time to the first of them.
fn get(port: u16, path: &str, buffer: &mut [u8]) -> (TcpStream, usize, Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("S3");
    stream.set_nodelay(true).expect("nodelay");
    let started = Instant::now();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: s3\r\n\r\n").expect("a request");
    let mut received = 0;
    loop {
        received += stream.read(&mut buffer[received..]).expect("a response");
        if let Some(head) = compare::head_bytes(&buffer[..received])
            && received > head
        {
            return (stream, received - head, started.elapsed());
        }
    }
}

/// Copies an object of S3 to a connection whose other end discards it, on core 1. Returns the time and the CPU time.
fn plain_loop(port: u16, path: String) -> (Duration, Duration) {
    let sink = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = sink.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = sink.accept().expect("a connection");
        let mut buffer = vec![0; 256 << 10];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let copying = std::thread::spawn(move || {
        pin(&[1]);
        let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock"));
        let mut out = TcpStream::connect(address).expect("the sink");
        out.set_nodelay(true).expect("nodelay");
        let mut buffer = vec![0; 64 << 10];
        let (started, before) = (Instant::now(), cpu());
        let (mut stream, first, _) = get(port, &path, &mut buffer);
        let mut copied = first as u64;
        while copied < BYTES {
            let read = stream.read(&mut buffer).expect("the object");
            write!(out, "{read:x}\r\n").expect("the sink");
            out.write_all(&buffer[..read]).expect("the sink");
            out.write_all(b"\r\n").expect("the sink");
            copied += read as u64;
        }
        (started.elapsed(), cpu() - before)
    });
    copying.join().expect("the loop")
}

impl Bench {
    /// Measures streams in turn with their baselines.
    pub fn streams(&self, ours: &Program) -> Streams {
        let streaming = ours.env("streaming", "true").env("cache_ttl_secs", "3600");
        let buffered = ours.env("cache_max_bytes", "0");
        let at_rest = self.start(&streaming).memory("VmRSS");
        let path = format!("/film/{BYTES}");
        let (mut s3_first, mut first, mut later) = (Vec::new(), Vec::new(), Vec::new());
        let (mut loops, mut loop_cpu, mut speeds, mut cpu, mut buffered_cpu, mut peaks) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mb = |bytes: u64| bytes as f64 / 1e6;
        for _ in 0..self.rounds {
            let mut buffer = vec![0; 64 << 10];
            s3_first.push(micros(get(self.plain.port, &path, &mut buffer).2) / 1e3);
            let (time, cpu_time) = plain_loop(self.plain.port, path.clone());
            loops.push(BYTES as f64 / time.as_secs_f64());
            loop_cpu.push(micros(cpu_time) / mb(BYTES));

            let handler: Handler = self.start(&streaming);
            // Opens the connection to S3.
            handler.api.invoke(url_event("/240"));
            for (index, times) in [&mut first, &mut later].into_iter().enumerate() {
                let before = handler.cpu();
                let response = handler.api.invoke(url_event(&path));
                let stream = response.stream.expect("a stream");
                assert!(
                    stream.is_intact && stream.bytes == BYTES,
                    "{} bytes, intact: {}",
                    stream.bytes,
                    stream.is_intact
                );
                times.push(micros(stream.first_byte) / 1e3);
                if index == 1 {
                    speeds.push(BYTES as f64 / response.latency.as_secs_f64());
                    cpu.push(micros(handler.cpu() - before) / mb(BYTES));
                }
            }
            peaks.push(handler.memory("VmHWM"));

            let handler = self.start(&buffered);
            handler.api.invoke(event(&format!("/first/{BUFFERED_BYTES}")));
            let before = handler.cpu();
            for _ in 0..5 {
                let response = handler.api.invoke(event(&format!("/film/{BUFFERED_BYTES}")));
                assert!(response.payload.len() as u64 > BUFFERED_BYTES, "a buffered response");
            }
            buffered_cpu.push(micros(handler.cpu() - before) / mb(5 * BUFFERED_BYTES));
        }
        Streams {
            memory: (at_rest, peaks.into_iter().max().unwrap_or(0)),
            first_byte: (median(s3_first), median(first), median(later)),
            throughput: (median(loops), median(speeds)),
            cpu_per_mb: (median(buffered_cpu), median(cpu)),
            loop_cpu_per_mb: median(loop_cpu),
        }
    }
}

impl Streams {
    /// The results as a table, with their targets.
    pub fn section(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (s3, first, later) = self.first_byte;
        let (looped, streamed) = self.throughput;
        let (buffered, cpu) = self.cpu_per_mb;
        format!(
            "| a stream of 100 MiB | measured | target |\n|---|---|---|\n\
             | peak memory, MiB (at rest {:.1}) | {:.1} | ≤ {:.1} |\n\
             | first byte, first response, ms (S3 itself {s3:.2}) | {first:.2} ({:.2} ×) | |\n\
             | first byte, later response, ms | {later:.2} ({:.2} ×) | ≤ 1.2 × |\n\
             | throughput, MB/s (a plain loop {:.0}) | {:.0} ({:.2} ×) | ≥ 0.9 × |\n\
             | CPU per MB, µs (buffered path {buffered:.0}, plain loop {:.0}) | {cpu:.0} ({:.2} × buffered) | ≤ 0.5 × |\n",
            mib(self.memory.0),
            mib(self.memory.1),
            mib(self.memory.0) + 8.0,
            first / s3,
            later / s3,
            looped / 1e6,
            streamed / 1e6,
            streamed / looped,
            self.loop_cpu_per_mb,
            cpu / buffered,
        )
    }
}
