//! An execution environment: a process, and its invocations in progress.
//!
//! [The execution environment](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::fault::{Faults, LambdaFault};
use crate::lambda::function::Function;
use crate::lambda::invocation::{Completion, Delivery, FunctionError, InvokeMode};
use crate::lambda::stream::ResponseStream;

/// Timeout from the start of the process to its first `/next`
/// ([Init phase](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib)).
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// One execution environment.
pub struct Environment {
    /// The number of the environment, from 1.
    pub id: u64,
    /// The version of the configuration that it runs.
    pub(crate) version: u64,
    started: Instant,
    /// Time from the start to the first `/next`.
    init: OnceLock<Duration>,
    invocations: AtomicU64,
    process_group: OnceLock<Pid>,
    /// Invocations in progress, by request id. `None` after the process has exited.
    in_flight: Mutex<Option<HashMap<String, InFlight>>>,
    /// The error that the handler reported to `/init/error`.
    init_error: OnceLock<String>,
    /// Whether the injected fault `lambda-crash` kills the process when it posts its next response.
    pub(crate) crash_on_response: AtomicBool,
}

/// The channel to the task of an invocation.
pub(crate) type Caller = oneshot::Sender<Result<Delivery, FunctionError>>;

/// An invocation in progress.
struct InFlight {
    mode: InvokeMode,
    /// `None` once the response streams.
    caller: Option<Caller>,
}

/// A response that streams. Dropping it ends the invocation, as failed unless [`OpenStream::finish`] was called.
#[derive(Debug)]
pub struct OpenStream {
    environment: Arc<Environment>,
    request_id: String,
    ended: Option<oneshot::Sender<()>>,
}

impl OpenStream {
    /// Ends the invocation successfully.
    pub fn finish(mut self) {
        self.end(true);
    }

    fn end(&mut self, succeeded: bool) {
        let Some(ended) = self.ended.take() else { return };
        if let Some(invocations) = self.environment.in_flight.lock().as_mut() {
            invocations.remove(&self.request_id);
        }
        if succeeded {
            // It fails if the invocation has timed out.
            let _ = ended.send(());
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.end(false);
    }
}

impl Environment {
    /// An environment without a process.
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
            crash_on_response: AtomicBool::new(false),
        }
    }

    /// Starts the process with Lambda's environment variables and `variables`.
    ///
    /// # Errors
    /// If the program cannot be executed.
    pub(crate) fn spawn(
        &self,
        function: &Function,
        runtime_api: SocketAddr,
        variables: &HashMap<String, String>,
    ) -> io::Result<Child> {
        let child = Command::new(&function.program)
            .args(&function.arguments)
            .env_clear()
            .envs(function.reserved_variables(&runtime_api.to_string()))
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A separate process group: signals reach the children of the process too, and Ctrl-C does not reach it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = self.process_group.set(Pid::from_raw(id));
        }
        Ok(child)
    }

    /// Sends a signal to the process and its children.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = self.process_group.get() {
            // It fails if the process has exited.
            let _ = killpg(*group, signal);
        }
    }

    /// Records the first `/next`. Returns the startup time if this was the first one.
    pub(crate) fn finish_init(&self) -> Option<Duration> {
        let elapsed = self.started.elapsed();
        self.init.set(elapsed).is_ok().then_some(elapsed)
    }

    /// Whether the process has sent its first `/next`.
    pub(crate) fn is_initialized(&self) -> bool {
        self.init.get().is_some()
    }

    /// Records the error that the handler reported to `/init/error`.
    pub fn fail_init(&self, error: String) {
        let _ = self.init_error.set(error);
    }

    /// The error that the handler reported to `/init/error`.
    pub(crate) fn init_error(&self) -> Option<&str> {
        self.init_error.get().map(String::as_str)
    }

    /// Registers an invocation in progress. Returns false if the process has exited.
    pub(crate) fn begin(&self, request_id: &str, mode: InvokeMode, caller: Caller) -> bool {
        match self.in_flight.lock().as_mut() {
            Some(invocations) => {
                invocations.insert(request_id.to_owned(), InFlight { mode, caller: Some(caller) });
                true
            }
            None => false,
        }
    }

    /// How the response of an invocation is returned; `None` if the request id is unknown, or its response streams.
    pub(crate) fn invoke_mode(&self, request_id: &str) -> Option<InvokeMode> {
        let in_flight = self.in_flight.lock();
        let invocation = in_flight.as_ref()?.get(request_id)?;
        invocation.caller.is_some().then_some(invocation.mode)
    }

    /// Counts a delivered event. Returns the startup time if it was the first one.
    pub(crate) fn count_invocation(&self) -> Option<Duration> {
        let first = self.invocations.fetch_add(1, Ordering::Relaxed) == 0;
        self.init.get().copied().filter(|_| first)
    }

    /// Ends an invocation with the handler's response or error. Returns false if the request id is unknown, or its response
    /// streams.
    pub fn complete(&self, request_id: &str, completion: Completion) -> bool {
        let caller = {
            let mut in_flight = self.in_flight.lock();
            let Some(invocations) = in_flight.as_mut() else { return false };
            if invocations.get(request_id).is_none_or(|invocation| invocation.caller.is_none()) {
                return false;
            }
            invocations.remove(request_id).and_then(|invocation| invocation.caller)
        };
        if let Some(caller) = caller {
            // It fails if the caller has timed out.
            let _ = caller.send(completion.map(Delivery::Buffered));
        }
        true
    }

    /// Delivers a stream as the response of an invocation, which remains in progress until the stream ends. `None` if the
    /// request id is unknown, its response streams already, or the invocation has timed out.
    pub(crate) fn open_stream(self: &Arc<Self>, request_id: &str, stream: ResponseStream) -> Option<OpenStream> {
        let caller = self.in_flight.lock().as_mut()?.get_mut(request_id)?.caller.take()?;
        let (ended, end) = oneshot::channel();
        let open = OpenStream { environment: self.clone(), request_id: request_id.to_owned(), ended: Some(ended) };
        caller.send(Ok(Delivery::Stream(stream, end))).ok()?;
        Some(open)
    }

    /// Fails all invocations in progress, because the process has exited.
    pub(crate) fn close(&self) {
        *self.in_flight.lock() = None;
    }

    /// Whether the process has exited.
    pub(crate) fn has_exited(&self) -> bool {
        self.in_flight.lock().is_none()
    }

    /// The number of invocations in progress.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.lock().as_ref().map_or(0, HashMap::len)
    }

    /// Whether this invocation is in progress.
    pub(crate) fn is_in_flight(&self, request_id: &str) -> bool {
        self.in_flight.lock().as_ref().is_some_and(|invocations| invocations.contains_key(request_id))
    }

    /// Memory of the process in MB: the peak (`VmHWM`) or the current value (`VmRSS`). `None` without `/proc`.
    pub(crate) fn memory_mb(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process_group.get()?)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        value.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes.div_ceil(1024))
    }

    /// Kills the process if an injected fault demands it while the process posts a response. Returns whether it did.
    pub fn inject_crash(&self, faults: &Faults) -> bool {
        let exceeds_memory = match faults.lambda() {
            Some(LambdaFault::Memory(limit_mb)) => self.memory_mb("VmRSS").is_some_and(|used_mb| used_mb > limit_mb),
            _ => false,
        };
        let crashes = exceeds_memory || self.crash_on_response.load(Ordering::Relaxed);
        if crashes {
            self.signal(Signal::SIGKILL);
        }
        crashes
    }

    /// Waits until the process exits, and returns the reason. Kills the process at the init timeout.
    pub(crate) async fn wait(&self, mut child: Child) -> String {
        let status = tokio::select! {
            status = child.wait() => status,
            () = self.init_timeout() => {
                self.signal(Signal::SIGKILL);
                let _ = child.wait().await;
                return format!("init timeout: no request for an event within {} s; killed", INIT_TIMEOUT.as_secs());
            }
        };
        match status {
            Ok(status) => format!("exited: {status}"),
            Err(error) => format!("exit status unknown: {error}"),
        }
    }

    /// Completes at the init timeout, unless the environment is initialized by then.
    async fn init_timeout(&self) {
        tokio::time::sleep(INIT_TIMEOUT).await;
        if self.is_initialized() {
            std::future::pending().await
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("id", &self.id).finish_non_exhaustive()
    }
}
