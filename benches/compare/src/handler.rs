//! A handler process, pinned to cores, with its CPU time and memory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::runtime_api::RuntimeApi;

/// A running handler. Dropping it kills the process.
pub struct Handler {
    child: Child,
    pub api: RuntimeApi,
    /// Time from spawning the process until its first request for an event.
    pub start: Duration,
}

/// A handler's command line and environment.
#[derive(Clone)]
pub struct Program {
    pub name: &'static str,
    pub arguments: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Whether Lambda's trace header marks the invocations as sampled.
    pub sampled: bool,
}

impl Program {
    pub fn new(name: &'static str, path: &Path) -> Self {
        Self { name, arguments: vec![path.display().to_string()], env: Vec::new(), sampled: false }
    }

    pub fn env(&self, name: &str, value: impl Into<String>) -> Self {
        let mut program = self.clone();
        program.env.push((name.to_owned(), value.into()));
        program
    }
}

impl Handler {
    /// Starts a handler on `cores`. Its environment contains only Lambda's variables and the settings.
    pub fn start(program: &Program, s3: &str, cores: &[usize]) -> Self {
        let api = RuntimeApi::start(program.sampled);
        let mut command = Command::new(&program.arguments[0]);
        command
            .args(&program.arguments[1..])
            .env_clear()
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // A pipe, as in Lambda.
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", api.address.to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "lambdaapi"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_LEVEL", "ERROR"),
            ("metrics", "false"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret-key"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_ENDPOINT_URL_S3", s3),
            ("bucket", compare::BUCKET),
            ("lambda_auth", crate::event::SECRET),
            ("redirect_path", "https://dxxxx.cloudfront.net"),
            ("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/python")),
        ] {
            command.env(name, value);
        }
        command.envs(program.env.iter().map(|(name, value)| (name, value)));
        // A child inherits the CPU affinity of its parent.
        let ours = sched_getaffinity(Pid::from_raw(0)).expect("CPU affinity");
        pin(cores);
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.arguments[0]));
        sched_setaffinity(Pid::from_raw(0), &ours).expect("CPU affinity");
        let mut lines = child.stdout.take().expect("standard output");
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        api.wait_until_ready();
        Self { child, start: started.elapsed(), api }
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all threads of the process, from the scheduler's statistics.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("threads of the handler");
        let nanoseconds = tasks.flatten().filter_map(|task| {
            let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            times.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// A value of `/proc/PID/status` in bytes: `VmRSS` (now) or `VmHWM` (peak).
    pub fn memory(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status of the handler");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .expect("the value in the status");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pins this thread and its future children to `cores`, which index the cores that this process may use.
pub fn pin(cores: &[usize]) {
    static AVAILABLE: OnceLock<Vec<usize>> = OnceLock::new();
    let available = AVAILABLE.get_or_init(|| {
        let set = sched_getaffinity(Pid::from_raw(0)).expect("CPU affinity");
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
    });
    let mut set = CpuSet::new();
    for core in cores {
        set.set(available[core % available.len()]).expect("a core");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("CPU affinity");
}
