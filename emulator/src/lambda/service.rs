//! The Lambda service: invokes one function in environments that it starts, freezes, replaces and shuts down.
//!
//! [The execution environment](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::fault::{Fault, Faults, LambdaFault, chance};
use crate::identity;
use crate::journal::Journal;
use crate::lambda::environment::Environment;
use crate::lambda::function::Function;
use crate::lambda::invocation::{
    Delivery, Event, FunctionError, Invocation, InvokeError, InvokeMode, StreamedResponse, StreamingInvocation,
};
use crate::lambda::pool::{Acquired, Poll, Polled, Pool};
use crate::lambda::report::{Report, Trace, metric};
use crate::lambda::runtime_api::{self, EventSource};
use crate::lambda::stream::Transmission;
use crate::serve::{BoxError, Server};

/// Time from SIGTERM to SIGKILL
/// ([Shutdown phase](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown)).
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Interval of the injected fault `lambda-sigterm`.
const RECYCLE_INTERVAL: Duration = Duration::from_secs(1);

struct Shared {
    function: Function,
    journal: Journal,
    pool: Mutex<Pool>,
    /// Notified when an environment exits or becomes idle.
    changed: Notify,
    /// When the injected fault `lambda-sigterm` last retired all environments.
    last_recycle: Mutex<Option<Instant>>,
}

/// The Lambda service with one function.
#[derive(Clone)]
pub struct Lambda(Arc<Shared>);

impl Lambda {
    /// A service without environments; it starts them on demand.
    pub fn new(function: Function, journal: Journal) -> Self {
        let pool = Mutex::new(Pool::new(&function));
        Self(Arc::new(Shared { function, journal, pool, changed: Notify::new(), last_recycle: Mutex::default() }))
    }

    /// Starts one environment before the first request, as Lambda's proactive initialisation does.
    ///
    /// # Errors
    /// If the environment does not start: the reason, in one line.
    pub async fn warm_up(&self) -> Result<(), String> {
        match self.acquire().await {
            Ok(Ok(poll)) => {
                self.park(poll);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the cloud is shutting down".to_owned()),
        }
    }

    /// Invokes the function. `trace_root` has the form `Root=1-…`.
    ///
    /// # Errors
    /// If no environment takes the invocation. A function error is in [`Invocation::result`].
    pub async fn invoke(&self, payload: Bytes, trace_root: String) -> Result<Invocation, InvokeError> {
        let StreamingInvocation { result, cold_start } =
            self.invoke_in(InvokeMode::Buffered, payload, trace_root).await?;
        let result = result.and_then(|response| match response {
            StreamedResponse::Buffered(payload) => Ok(payload),
            // The Runtime API streams nothing in this mode.
            StreamedResponse::Stream(_) => Err(FunctionError("unexpected stream".to_owned())),
        });
        Ok(Invocation { result, cold_start })
    }

    /// Invokes the function, whose response can stream. Returns with the start of the stream; the invocation ends with it.
    ///
    /// # Errors
    /// If no environment takes the invocation. A function error is in [`StreamingInvocation::result`].
    pub async fn invoke_with_response_stream(
        &self,
        payload: Bytes,
        trace_root: String,
        transmission: Transmission,
    ) -> Result<StreamingInvocation, InvokeError> {
        self.invoke_in(InvokeMode::ResponseStream(transmission), payload, trace_root).await
    }

    async fn invoke_in(
        &self,
        mode: InvokeMode,
        mut payload: Bytes,
        trace_root: String,
    ) -> Result<StreamingInvocation, InvokeError> {
        let function = &self.0.function;
        let request_id = identity::uuid();
        let trace = Trace::new(trace_root, function);
        let fault = function.faults.lambda();
        match fault {
            Some(LambdaFault::Throttle(percent)) if chance(percent) => {
                metric(function, "Throttles", 1.0);
                return Err(InvokeError::Throttled);
            }
            Some(LambdaFault::Sigterm) => self.recycle(),
            _ => {}
        }
        loop {
            let poll = match self.acquire().await {
                Ok(Ok(poll)) => poll,
                Ok(Err(error)) => return Ok(StreamingInvocation { result: Err(error), cold_start: None }),
                Err(error) => {
                    metric(function, "Throttles", 1.0);
                    return Err(error);
                }
            };
            let environment = poll.environment;
            let (caller, delivered) = oneshot::channel();
            if !environment.begin(&request_id, mode, caller) {
                continue;
            }
            match fault {
                Some(LambdaFault::Hang(percent)) if chance(percent) => environment.signal(Signal::SIGSTOP),
                Some(LambdaFault::Crash(percent)) if chance(percent) => {
                    environment.crash_on_response.store(true, Ordering::Relaxed);
                    environment.signal(Signal::SIGCONT);
                }
                _ => environment.signal(Signal::SIGCONT),
            }
            let timeout_ms = u64::try_from(function.timeout.as_millis()).unwrap_or(u64::MAX);
            let event = Event {
                request_id: request_id.clone(),
                deadline_ms: identity::now_ms().saturating_add(timeout_ms),
                arn: function.arn(),
                trace_id: trace.header(),
                payload,
            };
            let (start, start_ns) = (Instant::now(), identity::now_ns());
            if let Err(event) = poll.deliver.send(event) {
                // The environment exited while it was idle. Another one gets the event.
                environment.complete(&request_id, Err(FunctionError(String::new())));
                payload = event.payload;
                continue;
            }
            if let Some(LambdaFault::Freeze(time)) = fault {
                tokio::spawn(self.clone().freeze_during(environment.clone(), request_id.clone(), time));
            }
            let cold_start = environment.count_invocation();
            let delivery = self.wait(&environment, &request_id, start, delivered).await.and_then(|delivery| delivery);
            let streams = matches!(delivery, Ok(Delivery::Stream(..)));
            let report = Report {
                request_id: request_id.clone(),
                trace,
                start_ns,
                duration: start.elapsed(),
                cold_start,
                failed: delivery.is_err(),
                concurrency: self.in_flight() + usize::from(!streams),
            };
            let result = match delivery {
                Ok(Delivery::Stream(stream, end)) => {
                    tokio::spawn(self.clone().follow_stream(environment, request_id, start, end, report));
                    Ok(StreamedResponse::Stream(stream))
                }
                Ok(Delivery::Buffered(payload)) => {
                    report.emit(function, &environment);
                    Ok(StreamedResponse::Buffered(payload))
                }
                Err(error) => {
                    report.emit(function, &environment);
                    Err(error)
                }
            };
            return Ok(StreamingInvocation { result, cold_start });
        }
    }

    /// Waits for the end of a streamed response, with the timeout of its invocation, and emits the report.
    async fn follow_stream(
        self,
        environment: Arc<Environment>,
        request_id: String,
        start: Instant,
        end: oneshot::Receiver<()>,
        mut report: Report,
    ) {
        report.failed = self.wait(&environment, &request_id, start, end).await.is_err();
        report.duration = start.elapsed();
        report.emit(&self.0.function, &environment);
    }

    /// Waits for a step of an invocation, and kills the environment at the timeout, which counts from `start`.
    async fn wait<T>(
        &self,
        environment: &Environment,
        request_id: &str,
        start: Instant,
        step: oneshot::Receiver<T>,
    ) -> Result<T, FunctionError> {
        let timeout = self.0.function.timeout;
        match tokio::time::timeout_at((start + timeout).into(), step).await {
            Ok(Ok(step)) => Ok(step),
            // The channel fails when the process exits, or when its stream breaks.
            Ok(Err(_)) => Err(FunctionError(format!("RequestId: {request_id} Error: Runtime exited"))),
            Err(_) => {
                // If the process has exited, another process may have its id. If it waits for its next event, it has ended the
                // invocation: only the caller still reads the response.
                if !environment.has_exited() && !self.0.pool.lock().is_idle(environment) {
                    environment.signal(Signal::SIGKILL);
                }
                let seconds = timeout.as_secs_f64();
                Err(FunctionError(format!("{request_id} Task timed out after {seconds:.2} seconds")))
            }
        }
    }

    /// Retires all environments, at most once per [`RECYCLE_INTERVAL`].
    fn recycle(&self) {
        let now = Instant::now();
        let due = {
            let mut last = self.0.last_recycle.lock();
            let due = last.is_none_or(|last| now.duration_since(last) >= RECYCLE_INTERVAL);
            if due {
                *last = Some(now);
            }
            due
        };
        if due {
            self.configure(&[]);
        }
    }

    /// The number of running environments, and the number of frozen ones.
    pub fn running_and_frozen(&self) -> (usize, usize) {
        let pool = self.0.pool.lock();
        let frozen = pool.frozen();
        (pool.len() - frozen, frozen)
    }

    /// The maximum number of environments.
    pub fn max_environments(&self) -> usize {
        self.0.function.environments
    }

    /// The number of environments started so far.
    pub fn started(&self) -> u64 {
        self.0.pool.lock().started()
    }

    /// The current number of environments.
    pub fn environments(&self) -> usize {
        self.0.pool.lock().len()
    }

    /// The number of invocations in progress.
    pub fn in_flight(&self) -> usize {
        self.0.pool.lock().in_flight()
    }

    /// Overrides environment variables of the function; an empty value removes a variable.
    ///
    /// The change applies to new environments. Existing ones complete their invocations and exit, as when an alias
    /// moves to a new version
    /// ([versions](https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html)).
    pub fn configure(&self, variables: &[(&str, &str)]) {
        self.0.pool.lock().configure(variables);
    }

    /// Takes an idle environment, or waits for one; starts a new one below the limit.
    async fn acquire(&self) -> Result<Polled, InvokeError> {
        let acquired = self.0.pool.lock().acquire()?;
        match acquired {
            Acquired::Idle(poll) => Ok(Ok(poll)),
            Acquired::Pending { start, next } => {
                if let Some(environment) = start {
                    self.start(environment);
                }
                next.await.map_err(|_| InvokeError::ShuttingDown)
            }
        }
    }

    fn park(&self, poll: Poll) {
        self.0.pool.lock().park(poll);
        self.0.changed.notify_waiters();
    }

    fn start(&self, environment: Arc<Environment>) {
        tokio::spawn(self.clone().run(environment));
    }

    /// Runs an environment until its process exits, and replaces it if invocations are waiting.
    async fn run(self, environment: Arc<Environment>) {
        let exit = match self.launch(&environment).await {
            Ok((mut child, _server)) => {
                let stdout = self.forward_output(environment.id, child.stdout.take());
                let stderr = self.forward_output(environment.id, child.stderr.take());
                let exit = environment.wait(child).await;
                // Kill the whole process group: orphaned children would keep stdout and stderr open.
                environment.signal(Signal::SIGKILL);
                let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, async { tokio::join!(stdout, stderr) }).await;
                self.0.function.experiments.end(environment.id);
                exit
            }
            Err(error) => format!("cannot start {}: {error}", self.0.function.program.display()),
        };
        let init_failed = !environment.is_initialized();
        let reason = environment.init_error().map_or(exit, str::to_owned);
        let mut pool = self.0.pool.lock();
        pool.remove(&environment);
        if !pool.is_closed() {
            self.0.journal.environment(environment.id, &reason);
            if init_failed {
                pool.fail_first_waiting(FunctionError(reason));
            }
            if let Some(replacement) = pool.replace() {
                self.start(replacement);
            }
        }
        drop(pool);
        self.0.changed.notify_waiters();
    }

    /// Starts the Runtime API and the process of an environment.
    async fn launch(&self, environment: &Arc<Environment>) -> Result<(Child, Server), BoxError> {
        let (server, address) = runtime_api::serve(self.clone(), environment.clone()).await?;
        let variables = self.0.pool.lock().variables(&self.0.function);
        let child = environment.spawn(&self.0.function, address, &variables)?;
        // A shutdown that began before the process existed could not signal it.
        if self.0.pool.lock().is_closed() {
            environment.signal(Signal::SIGKILL);
        }
        Ok((child, server))
    }

    /// Forwards the output of a process to the journal and to CloudWatch, line by line, until the end of the stream.
    fn forward_output(&self, id: u64, stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> JoinHandle<()> {
        let journal = self.0.journal.clone();
        let (cloudwatch, faults) = (self.0.function.cloudwatch.clone(), self.0.function.faults.clone());
        let (experiments, xray) = (self.0.function.experiments.clone(), self.0.function.xray.clone());
        tokio::spawn(async move {
            let Some(stream) = stream else { return };
            let mut lines = BufReader::new(stream).split(b'\n');
            loop {
                faults.wait_until(|faults| !faults.contains(&Fault::StdoutFull)).await;
                let Ok(Some(line)) = lines.next_segment().await else { break };
                let value = serde_json::from_slice(&line).ok();
                experiments.put_line(id, &line, value.as_ref());
                if let Some(value) = value {
                    xray.record_rule(&value);
                    cloudwatch.put_line(&value);
                }
                journal.handler(id, &String::from_utf8_lossy(&line));
            }
        })
    }

    /// Shuts down all environments as Lambda does. No process is left when it returns.
    ///
    /// Waits up to 500 ms for the invocations in progress, sends SIGTERM, waits up to 500 ms again, and sends SIGKILL.
    pub async fn shut_down(&self) {
        self.0.pool.lock().close();
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.wait_until(Pool::all_idle)).await;
        self.0.pool.lock().signal_all(Signal::SIGTERM);
        self.0.pool.lock().signal_all(Signal::SIGCONT);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.wait_until(Pool::is_empty)).await.is_err() {
            self.0.pool.lock().signal_all(Signal::SIGKILL);
            self.wait_until(Pool::is_empty).await;
        }
    }

    /// Freezes an environment for `time` during an invocation, unless the invocation has ended before.
    async fn freeze_during(self, environment: Arc<Environment>, request_id: String, time: Duration) {
        // 0 or 1 ms, at most the duration of a request to S3.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..2))).await;
        if environment.is_in_flight(&request_id) {
            environment.signal(Signal::SIGSTOP);
            tokio::time::sleep(time).await;
            // An environment that has requested its next event by now must stay frozen. One that was frozen between its
            // response and that request must continue.
            let pool = self.0.pool.lock();
            if !pool.is_idle(&environment) {
                environment.signal(Signal::SIGCONT);
            }
        }
    }

    /// Waits until `condition` is true for the pool.
    async fn wait_until(&self, condition: impl Fn(&Pool) -> bool) {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if condition(&self.0.pool.lock()) {
                return;
            }
            changed.await;
        }
    }
}

impl EventSource for Lambda {
    fn next_event(&self, environment: &Arc<Environment>) -> oneshot::Receiver<Event> {
        let (deliver, event) = oneshot::channel();
        if let Some(init) = environment.finish_init() {
            let ms = init.as_secs_f64() * 1e3;
            self.0.journal.environment(environment.id, &format!("started in {ms:.1} ms"));
        }
        self.park(Poll { environment: environment.clone(), deliver });
        event
    }

    fn faults(&self) -> &Faults {
        &self.0.function.faults
    }
}

impl fmt::Debug for Lambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lambda").field("function", &self.0.function.name).finish_non_exhaustive()
    }
}
