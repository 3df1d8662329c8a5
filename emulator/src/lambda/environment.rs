//! An execution environment: a process with a Runtime API of its own, the events that it is at, and what Lambda sets for it.
//!
//! [The execution environment](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::cloudwatch::CloudWatch;
use crate::fault::{Faults, LambdaFault};
use crate::identity;
use crate::xray::XRay;

/// How long an environment may take until it asks for its first event
/// ([Init phase](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib)).
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// A function and how it is run.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The program that is its `bootstrap`, and its arguments.
    pub program: PathBuf,
    /// Arguments of the program; Lambda gives none.
    pub arguments: Vec<String>,
    /// What the user sets in its environment, and the region and credentials of its role.
    pub env: Vec<(String, String)>,
    /// Its region.
    pub region: String,
    /// Its memory, in MB. It is told to the handler, not enforced.
    pub memory_mb: u32,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// How many environments there may be.
    pub environments: usize,
    /// How many invocations an environment takes at once: more than 1 as on Lambda Managed Instances.
    pub concurrency: usize,
    /// Whether environments are frozen between invocations.
    pub freeze: bool,
    /// Whether an invocation that finds every environment busy is refused, instead of waiting for one.
    pub throttle: bool,
    /// How many of the invocations X-Ray samples, from 0 to 1.
    pub sampled: f64,
    /// Where the metrics go, and the lines that Lambda writes itself.
    pub cloudwatch: CloudWatch,
    /// Where Lambda's own spans go.
    pub xray: XRay,
    /// What goes wrong.
    pub faults: Faults,
}

/// The function's error, as Lambda tells it to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError(pub String);

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event on its way to a handler.
#[derive(Debug)]
pub struct Event {
    /// The invocation's id.
    pub request_id: String,
    /// When it has to be done, in milliseconds since 1970.
    pub deadline_ms: u64,
    /// The function's ARN.
    pub arn: String,
    /// The trace header.
    pub trace_id: String,
    /// The event itself.
    pub payload: Bytes,
}

/// What a handler made of an event: its answer, or its error.
pub type Completion = Result<Bytes, FunctionError>;

/// One execution environment.
pub struct Environment {
    /// Its number, from 1.
    pub id: u64,
    /// Of which configuration it is.
    pub(crate) version: u64,
    pub(crate) started: Instant,
    /// How long it took from the start to the first `/next`.
    pub(crate) init: OnceLock<Duration>,
    pub(crate) invocations: AtomicU64,
    pub(crate) process_group: OnceLock<Pid>,
    /// `None` once it is gone.
    pub(crate) in_flight: Mutex<Option<HashMap<String, oneshot::Sender<Completion>>>>,
    /// What the handler reported to `/init/error`.
    pub(crate) init_error: OnceLock<String>,
    /// Whether the process dies while it posts its next answer.
    pub(crate) doomed: AtomicBool,
}

impl Environment {
    /// An environment that has no process yet.
    pub(crate) fn new(id: u64, version: u64) -> Self {
        Self {
            id,
            version,
            started: Instant::now(),
            init: OnceLock::new(),
            invocations: AtomicU64::new(0),
            process_group: OnceLock::new(),
            in_flight: Mutex::new(Some(HashMap::new())),
            init_error: OnceLock::new(),
            doomed: AtomicBool::new(false),
        }
    }

    /// Starts its process, in which `variables` are set beside what Lambda sets.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub(crate) fn spawn(
        &self,
        function: &Function,
        runtime_api: SocketAddr,
        variables: &HashMap<String, String>,
    ) -> io::Result<Child> {
        let child = Command::new(&function.program)
            .args(&function.arguments)
            .env_clear()
            .envs(lambda_env(function, &runtime_api.to_string()))
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: signals reach its children too, and Ctrl-C does not reach it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = self.process_group.set(Pid::from_raw(id));
        }
        Ok(child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = self.process_group.get() {
            // A process that is gone already needs no signal.
            let _ = killpg(*group, signal);
        }
    }

    /// Ends an invocation with what the handler made of it; `false` when there is none of that id.
    pub fn complete(&self, request_id: &str, completion: Completion) -> bool {
        match self.in_flight.lock().as_mut().and_then(|all| all.remove(request_id)) {
            Some(waiting) => {
                // Whoever has stopped waiting needs no answer.
                let _ = waiting.send(completion);
                true
            }
            None => false,
        }
    }

    /// The most memory that its process has had (`VmHWM`), or has (`VmRSS`), in MB, where the system says so.
    pub(crate) fn memory_mb(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process_group.get()?)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        value.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes.div_ceil(1024))
    }

    /// Kills its process if a fault wants that, now that the answer has begun to come; says whether it did.
    pub fn dies_answering(&self, faults: &Faults) -> bool {
        let too_large = match faults.lambda() {
            Some(LambdaFault::Memory(limit)) => self.memory_mb("VmRSS").is_some_and(|held| held > limit),
            _ => false,
        };
        let dies = too_large || self.doomed.load(Ordering::Relaxed);
        if dies {
            self.signal(Signal::SIGKILL);
        }
        dies
    }

    /// Takes note of why the handler cannot start.
    pub fn fail_init(&self, error: String) {
        let _ = self.init_error.set(error);
    }

    /// Waits for the end of the process, and says how it came.
    pub(crate) async fn watch(&self, mut child: Child) -> String {
        let status = tokio::select! {
            status = child.wait() => status,
            () = self.init_overdue() => {
                self.signal(Signal::SIGKILL);
                let _ = child.wait().await;
                return format!("did not ask for an event within {} seconds: killed", INIT_LIMIT.as_secs());
            }
        };
        match status {
            Ok(status) => format!("exited: {status}"),
            Err(error) => format!("was lost: {error}"),
        }
    }

    /// Returns when the environment has taken too long to start, and never otherwise.
    async fn init_overdue(&self) {
        tokio::time::sleep(INIT_LIMIT).await;
        if self.init.get().is_some() {
            std::future::pending().await
        }
    }
}

/// What Lambda sets
/// ([defined runtime environment variables](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)).
fn lambda_env(function: &Function, runtime_api: &str) -> Vec<(&'static str, String)> {
    let today = OffsetDateTime::now_utc().format(format_description!("[year]/[month]/[day]")).unwrap_or_default();
    let mut env = vec![
        ("_HANDLER", "bootstrap".to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{today}/[$LATEST]{}", identity::hex(32))),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_REGION", function.region.clone()),
        ("AWS_DEFAULT_REGION", function.region.clone()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
    ];
    if let Some(folder) = function.program.parent() {
        env.push(("LAMBDA_TASK_ROOT", folder.display().to_string()));
    }
    if function.concurrency > 1 {
        env.push(("AWS_LAMBDA_MAX_CONCURRENCY", function.concurrency.to_string()));
    }
    // Not Lambda's: where this machine has its programs and libraries.
    for name in ["PATH", "LD_LIBRARY_PATH"] {
        env.extend(std::env::var(name).ok().map(|value| (name, value)));
    }
    env
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("id", &self.id).finish_non_exhaustive()
    }
}
