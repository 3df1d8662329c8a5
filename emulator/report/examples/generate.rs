//! Writes the log lines of an experiment, for measurements and to try the report: exposures and conversions of visitors
//! among as many lines of requests.
//!
//! ```sh
//! cargo run --release -p nearedge-report --example generate -- [VISITORS [CONVERSIONS_PER_VISITOR [UPLIFT]]]
//! ```
//!
//! The first argument is the number of visitors (1,000,000), the second one the number of conversions per 1,000 visitors
//! of the control (1000: every visitor converts), and the third one the uplift of the treatment (0).

#![allow(missing_docs, reason = "a program")]

use std::io::{self, BufWriter, Write};

/// 2026-11-09T00:00:00Z.
const START: i64 = 1_794_182_400_000;

/// Two weeks.
const LENGTH: i64 = 14 * 86_400_000;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number from 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An id as the origin creates it: 128 bits in base64url.
    fn id(&mut self) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let digit = |place: u32| if place == 21 { self.next() & 48 } else { self.next() & 63 };
        (0..22).map(digit).map(|digit| char::from(alphabet[digit as usize])).collect()
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<f64>().map_err(io::Error::other));
    let visitors = arguments.next().transpose()?.unwrap_or(1e6) as u64;
    let rate = arguments.next().transpose()?.unwrap_or(1000.0) / 1000.0;
    let uplift = arguments.next().transpose()?.unwrap_or(0.0);
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut random = Random(1);
    for visitor in 0..visitors {
        let (id, is_treatment) = (random.id(), random.next() & 1 == 1);
        let (variation, variant) = if is_treatment { ("treatment", "v2") } else { ("control", "v1") };
        let country = ["CN", "HK", "US", "DE"][(random.next() & 3) as usize];
        // Visitors come in order, and their conversions some hours later, out of order.
        let at = START + (LENGTH as f64 * visitor as f64 / visitors as f64) as i64;
        count(&mut out, "Exposures", at, [variation, &id, country], &format!("\"variant\":\"{variant}\""))?;
        access(&mut out, &mut random, variant, at)?;
        let rate = if is_treatment { rate * (1.0 + uplift) } else { rate };
        if random.part() < rate {
            let at = at + (random.part() * 7.2e6) as i64;
            let value = 5.0 + (random.part() * 4500.0).floor() / 100.0;
            let members = format!("\"goal\":\"signup\",\"value\":{value}");
            // Some goals have values, some do not.
            let members = if rate < 0.9 { "\"goal\":\"signup\"" } else { &members };
            count(&mut out, "Conversions", at, [variation, &id, country], members)?;
        }
        access(&mut out, &mut random, variant, at)?;
    }
    out.flush()
}

/// Writes an exposure or a conversion as src/telemetry/count_line.rs does.
fn count(
    out: &mut impl Write,
    metric: &str,
    at: i64,
    [variation, id, country]: [&str; 3],
    members: &str,
) -> io::Result<()> {
    let (message, goal) = if metric == "Exposures" { ("exposure", "") } else { ("conversion", ",\"goal\"") };
    let time = nearedge_report::lines::timestamp::rfc3339(at);
    writeln!(
        out,
        "{{\"_aws\":{{\"Timestamp\":{at},\"CloudWatchMetrics\":[{{\"Namespace\":\"nearedge\",\"Dimensions\":[[\"service\",\
         \"experiment_id\",\"variation_id\"{goal}]],\"Metrics\":[{{\"Name\":\"{metric}\",\"Unit\":\"Count\"}}]}}]}},\
         \"{metric}\":1,\"service\":\"lambdaapi\",\"message\":\"{message}\",\"timestamp\":\"{time}\",\
         \"experiment_id\":\"new-checkout\",\"variation_id\":\"{variation}\",\"anonymous_id\":\"{id}\",\"phase\":\"0\",\
         {members},\"request_id\":\"8476a536-e9f4-11e8-9739-2dfe598c3fcd\",\"country\":\"{country}\"}}"
    )
}

/// Writes a request as src/telemetry/metrics_line.rs does.
fn access(out: &mut impl Write, random: &mut Random, variant: &str, at: i64) -> io::Result<()> {
    let duration = 0.05 + random.part().powi(8) * 40.0;
    let status = if random.next().is_multiple_of(500) { 503 } else { 200 };
    let class = status / 100;
    let metrics = r#""Metrics":[{"Name":"Duration","Unit":"Milliseconds"},{"Name":"BodyBytes","Unit":"Bytes"}"#;
    writeln!(
        out,
        "{{\"_aws\":{{\"CloudWatchMetrics\":[{{\"Namespace\":\"nearedge\",\"Dimensions\":[[\"service\"]],{metrics},{{\"Name\":\
         \"Status{class}xx\",\"Unit\":\"Count\"}},{{\"Name\":\"CacheHit\",\"Unit\":\"Count\"}}]}},{{\"Namespace\":\"nearedge\",\
         \"Dimensions\":[[\"service\",\"variant\",\"outcome\"]],{metrics}]}}],\"Timestamp\":{at}}},\"Duration\":{duration:.3},\
         \"BodyBytes\":{},\"Status{class}xx\":1,\"CacheHit\":1,\"service\":\"lambdaapi\",\"variant\":\"{variant}\",\
         \"outcome\":\"found\",\"message\":\"answered\",\"request_id\":\"8476a536-e9f4-11e8-9739-2dfe598c3fcd\",\"trace_id\":\
         \"1-65023f80-7e61c91f0b0d4f6c9a2c1d5e\",\"key\":\"{variant}/test.html\",\"cache\":\"hit\",\"secret\":\"current\",\
         \"status\":{status}}}",
        4000 + random.next() % 2000,
    )
}
