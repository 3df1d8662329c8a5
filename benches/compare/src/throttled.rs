//! A handler with a fourteenth of a core, as Lambda gives it at 128 MB, by a quota of a control group.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::handler::{Handler, Program};
use crate::{Bench, check, coded, event, is_coded, micros};

/// The period of the quota, and the part of it that a function of 128 MB has: 128 of 1,769 MB
/// ([memory and computing power](https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)).
const PERIOD_MICROS: u32 = 20_000;
const QUOTA_MICROS: u32 = 1_429;

/// The wait between two visits. It is part of the load, not a wait for a result.
const PAUSE: Duration = Duration::from_millis(200);

/// The results of one handler, in µs.
pub struct Row {
    pub name: &'static str,
    /// The first request.
    pub first: f64,
    /// p50, p90 and p99 of warm requests, for 10 kB and 100 kB.
    pub warm: [[f64; 3]; 2],
}

/// The times of first visits with many files, in ms: without and with copies, p50 and p99.
pub struct Visits {
    pub without: [f64; 2],
    pub with: [f64; 2],
    /// The responses that were copies.
    pub copies: usize,
}

/// The folder of a control group with the quota. Dropping it removes the group, whose processes must have ended.
pub struct Quota(PathBuf);

impl Quota {
    /// A group with the quota; `None` if this process may not create one.
    pub fn create() -> Option<Self> {
        let (v1, v2) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let name = format!("nearedge-{}", std::process::id());
        let write = |folder: &Path, file: &str, text: String| std::fs::write(folder.join(file), text).ok();
        if v1.is_dir() {
            let folder = v1.join(name);
            std::fs::create_dir(&folder).ok()?;
            write(&folder, "cpu.cfs_period_us", PERIOD_MICROS.to_string())?;
            write(&folder, "cpu.cfs_quota_us", QUOTA_MICROS.to_string())?;
            return Some(Self(folder));
        }
        let folder = v2.join(name);
        std::fs::create_dir(&folder).ok()?;
        write(&folder, "cpu.max", format!("{QUOTA_MICROS} {PERIOD_MICROS}"))?;
        Some(Self(folder))
    }

    /// Moves a handler into the group: after its start, as INIT runs with more CPU.
    fn add(&self, handler: &Handler) {
        std::fs::write(self.0.join("cgroup.procs"), handler.pid().to_string()).expect("the control group");
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

impl Bench {
    /// Measures what a visitor sees: the first request, with S3 over TLS, and warm ones.
    pub fn throttled(&self, quota: &Quota, programs: &[Program]) -> Vec<Row> {
        let ca = self.ca_path();
        let of = |program: &Program| {
            let program = program.env("AWS_CA_BUNDLE", &ca).env("SSL_CERT_FILE", &ca);
            let first = (0..self.rounds.min(5)).map(|_| {
                let handler = Handler::start(&program, &self.tls_url(), &[1]);
                quota.add(&handler);
                let response = handler.api.invoke(event("/10000"));
                check(program.name, &response, "/10000");
                micros(response.latency)
            });
            let first = percentile(&sorted(first.collect()), 0.5);
            let warm = ["/10000", "/100000"].map(|path| {
                let handler = Handler::start(&program, &self.tls_url(), &[1]);
                quota.add(&handler);
                check(program.name, &handler.api.invoke(event(path)), path);
                let latencies = (0..self.rounds * 200).map(|_| micros(handler.api.invoke(event(path)).latency));
                let latencies = sorted(latencies.collect());
                [0.5, 0.9, 0.99].map(|share| percentile(&latencies, share))
            });
            Row { name: program.name, first, warm }
        };
        programs.iter().map(of).collect()
    }

    /// Measures first visits: 50 files that the function has never seen, one after the other, without and with copies in turn. The
    /// function makes copies meanwhile, of these files and of those of the visit before.
    pub fn visits(&self, quota: &Quota, ours: &Program) -> Visits {
        const FILES: usize = 50;
        let ca = self.ca_path();
        let ours = ours.env("AWS_CA_BUNDLE", &ca).env("cache_ttl_secs", "3600");
        let handlers = [ours.env("compress", "off"), ours].map(|program| {
            let handler = Handler::start(&program, &self.tls_url(), &[1]);
            quota.add(&handler);
            handler
        });
        let mut times = [Vec::new(), Vec::new()];
        let mut copies = 0;
        for visit in 0..self.rounds * 12 {
            for (index, handler) in handlers.iter().enumerate() {
                let path = |visit: usize, file: usize| format!("/text/{visit}-{file}/{}", 4_000 + file * 1_000);
                let started = Instant::now();
                for file in 0..FILES {
                    let response = handler.api.invoke(coded(&path(visit, file)));
                    assert!(response.payload.starts_with(b"{\"statusCode\":200"), "expected a file");
                }
                times[index].push(micros(started.elapsed()) / 1e3);
                std::thread::sleep(PAUSE);
                // A later visitor gets copies of what the visit before was about.
                for file in (0..FILES).filter(|_| visit > 0) {
                    let response = handler.api.invoke(coded(&path(visit - 1, file)));
                    copies += usize::from(is_coded(&response));
                }
                std::thread::sleep(PAUSE);
            }
        }
        let [without, with] = times.map(sorted);
        let both = |times: &[f64]| [0.5, 0.99].map(|share| percentile(times, share));
        Visits { without: both(&without), with: both(&with), copies }
    }
}
