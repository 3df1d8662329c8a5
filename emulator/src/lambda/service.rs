//! Lambda: one function, in execution environments that are started on demand, take one invocation at a
//! time, are frozen between them, and are replaced when they die or take too long.
//!
//! [The execution environment](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use bytes::Bytes;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::cloudwatch::MetricName;
use crate::fault::{Fault, Faults, LambdaFault, happens};
use crate::identity;
use crate::journal::Journal;
use crate::lambda::environment::{Environment, Event, Function, FunctionError};
use crate::lambda::runtime_api::{self, EventSource};
use crate::serve::BoxError;
use crate::xray::Span;

/// How long a process may take to go after SIGTERM, before SIGKILL
/// ([Shutdown phase](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown)).
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(500);

/// The largest event that Lambda accepts, in bytes.
pub const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// What an invocation came to.
#[derive(Debug)]
pub struct Invocation {
    /// The function's answer, or its error.
    pub result: Result<Bytes, FunctionError>,
    /// How long the environment took to start, when this was its first invocation.
    pub cold_start: Option<Duration>,
}

/// Why there was no invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokeError {
    /// Every environment is busy, and none may be added.
    Throttled,
    /// The cloud is shutting down.
    ShuttingDown,
}

/// A `/next` that waits for its event.
struct Poll {
    environment: Arc<Environment>,
    deliver: oneshot::Sender<Event>,
}

#[derive(Default)]
struct State {
    /// What is set over the function's own environment, and how often that has changed.
    settings: Vec<(String, String)>,
    version: u64,
    environments: HashMap<u64, Arc<Environment>>,
    idle: Vec<Poll>,
    /// Those of environments that take no more invocations.
    retired: Vec<Poll>,
    waiting: VecDeque<oneshot::Sender<Result<Poll, FunctionError>>>,
    started: u64,
    closed: bool,
}

impl State {
    /// Its environment takes no more invocations, and goes when the last has ended.
    fn retire(&mut self, poll: Poll) {
        if poll.environment.in_flight.lock().as_ref().is_none_or(HashMap::is_empty) {
            poll.environment.signal(Signal::SIGTERM);
            poll.environment.signal(Signal::SIGCONT);
        }
        self.retired.push(poll);
    }

    /// Whether every invocation of an environment has ended, down to its asking for the next.
    fn is_idle(&self, environment: &Environment, concurrency: usize) -> bool {
        let polls = self.idle.iter().filter(|poll| poll.environment.id == environment.id).count();
        environment.init.get().is_none() || polls >= concurrency
    }
}

struct Shared {
    function: Function,
    journal: Journal,
    state: Mutex<State>,
    /// An environment has gone, or has become idle.
    changed: Notify,
    /// When a fault last told every environment to go.
    recycled: Mutex<Option<Instant>>,
}

/// The Lambda service with its one function.
#[derive(Clone)]
pub struct Lambda(Arc<Shared>);

impl Lambda {
    /// A service that starts environments when they are needed.
    pub fn new(function: Function, journal: Journal) -> Self {
        let (state, changed, recycled) = (Mutex::default(), Notify::new(), Mutex::default());
        Self(Arc::new(Shared { function, journal, state, changed, recycled }))
    }

    /// Starts one environment ahead of the first request, as Lambda's proactive initialisation does, and
    /// waits until it is ready.
    ///
    /// # Errors
    /// With one line that says why the handler does not start.
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

    /// Invokes the function.
    ///
    /// # Errors
    /// When no environment takes the invocation.
    pub async fn invoke(&self, payload: Bytes, trace_id: String) -> Result<Invocation, InvokeError> {
        let function = &self.0.function;
        let mut payload = Some(payload);
        let request_id = identity::uuid();
        let (parent, sampled) = (identity::hex(16), fastrand::f64() < function.sampled);
        let fault = function.faults.lambda();
        match fault {
            Some(LambdaFault::Throttle(percent)) if happens(percent) => {
                self.count("Throttles", 1.0);
                return Err(InvokeError::Throttled);
            }
            Some(LambdaFault::Sigterm) => self.recycle_each_second(),
            _ => {}
        }
        loop {
            let acquired = self.acquire().await;
            if acquired.is_err() {
                self.count("Throttles", 1.0);
            }
            let poll = match acquired? {
                Ok(poll) => poll,
                Err(error) => return Ok(Invocation { result: Err(error), cold_start: None }),
            };
            let environment = poll.environment;
            let (done, completion) = oneshot::channel();
            match environment.in_flight.lock().as_mut() {
                Some(all) => drop(all.insert(request_id.clone(), done)),
                None => continue,
            }
            match fault {
                Some(LambdaFault::Hang(percent)) if happens(percent) => environment.signal(Signal::SIGSTOP),
                Some(LambdaFault::Crash(percent)) if happens(percent) => {
                    environment.doomed.store(true, Ordering::Relaxed);
                    environment.signal(Signal::SIGCONT);
                }
                _ => environment.signal(Signal::SIGCONT),
            }
            let timeout_ms = u64::try_from(function.timeout.as_millis()).unwrap_or(u64::MAX);
            let event = Event {
                request_id: request_id.clone(),
                deadline_ms: identity::now_ms().saturating_add(timeout_ms),
                arn: format!("arn:aws:lambda:{}:123456789012:function:{}", function.region, function.name),
                trace_id: format!("{trace_id};Parent={parent};Sampled={}", u8::from(sampled)),
                payload: payload.take().unwrap_or_default(),
            };
            let (began, began_ns) = (Instant::now(), identity::now_ns());
            if let Err(event) = poll.deliver.send(event) {
                // It died while it was idle: the event goes to another.
                environment.complete(&request_id, Err(FunctionError(String::new())));
                payload = Some(event.payload);
                continue;
            }
            if let Some(LambdaFault::Freeze(time)) = fault {
                tokio::spawn(self.clone().freeze_in_the_middle(environment.clone(), request_id.clone(), time));
            }
            let first = environment.invocations.fetch_add(1, Ordering::Relaxed) == 0;
            let cold_start = environment.init.get().copied().filter(|_| first);
            let result = match tokio::time::timeout(function.timeout, completion).await {
                Ok(Ok(completion)) => completion,
                // The environment is gone, and what it was told to wait for with it.
                Ok(Err(_)) => Err(FunctionError(format!("RequestId: {request_id} Error: Runtime exited"))),
                Err(_) => {
                    // Not when it is gone already: its number may be another's by now.
                    if environment.in_flight.lock().is_some() {
                        environment.signal(Signal::SIGKILL);
                    }
                    let seconds = function.timeout.as_secs_f64();
                    Err(FunctionError(format!("{request_id} Task timed out after {seconds:.2} seconds")))
                }
            };
            let duration = began.elapsed();
            self.tell(&environment, &request_id, duration, cold_start, result.is_err());
            if sampled {
                function.xray.take(Span {
                    trace_id: trace_id.trim_start_matches("Root=1-").replace('-', ""),
                    id: parent,
                    parent: String::new(),
                    name: function.name.clone(),
                    kind: "internal",
                    start_ns: began_ns,
                    end_ns: identity::now_ns(),
                    error: result.is_err(),
                    attributes: [("aws.origin".to_owned(), "AWS::Lambda".into())].into_iter().collect(),
                    service: function.name.clone(),
                });
            }
            return Ok(Invocation { result, cold_start });
        }
    }

    /// The function's metrics, and the line that Lambda writes of each invocation
    /// ([metrics](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html),
    /// [JSON log format](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html)).
    fn tell(
        &self,
        environment: &Environment,
        request_id: &str,
        duration: Duration,
        cold_start: Option<Duration>,
        failed: bool,
    ) {
        let function = &self.0.function;
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        self.count("Invocations", 1.0);
        self.count("Errors", f64::from(u8::from(failed)));
        self.count("Duration", ms(duration));
        self.count("ConcurrentExecutions", (self.in_flight() + 1) as f64);
        let mut metrics = json!({
            "durationMs": ms(duration),
            "billedDurationMs": ms(duration + cold_start.unwrap_or_default()).ceil(),
            "memorySizeMB": function.memory_mb,
            "maxMemoryUsedMB": environment.memory_mb("VmHWM"),
        });
        if let Some(cold_start) = cold_start {
            metrics["initDurationMs"] = ms(cold_start).into();
        }
        let status = if failed { "error" } else { "success" };
        let record = json!({"requestId": request_id, "status": status, "metrics": metrics});
        function.cloudwatch.report(json!({"type": "platform.report", "record": record}));
    }

    fn count(&self, name: &str, value: f64) {
        let function = &self.0.function;
        function.cloudwatch.put(MetricName::new("AWS/Lambda", name, &[("FunctionName", &function.name)]), value);
    }

    /// Tells every environment to go, once a second.
    fn recycle_each_second(&self) {
        let now = Instant::now();
        let due = {
            let mut last = self.0.recycled.lock();
            let due = last.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1));
            if due {
                *last = Some(now);
            }
            due
        };
        if due {
            self.configure(&[]);
        }
    }

    /// How many environments run, and how many are frozen.
    pub fn running_and_frozen(&self) -> (usize, usize) {
        let state = self.0.state.lock();
        let function = &self.0.function;
        let idle = |environment: &&Arc<Environment>| {
            environment.init.get().is_some() && state.is_idle(environment, function.concurrency)
        };
        let frozen = if function.freeze && function.concurrency == 1 {
            state.environments.values().filter(idle).count()
        } else {
            0
        };
        (state.environments.len() - frozen, frozen)
    }

    /// How many environments there may be.
    pub fn most(&self) -> usize {
        self.0.function.environments
    }

    /// How many environments have been started.
    pub fn started(&self) -> u64 {
        self.0.state.lock().started
    }

    /// Sets variables in the function's environment, over those that it has; an empty value takes one away. New
    /// environments have them; those that run end what they are at and go, as when an alias moves to a new version
    /// ([versions](https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html)).
    pub fn configure(&self, settings: &[(&str, &str)]) {
        let mut state = self.0.state.lock();
        for (name, value) in settings {
            state.settings.retain(|(known, _)| known != name);
            state.settings.push(((*name).to_owned(), (*value).to_owned()));
        }
        state.version += 1;
        for poll in std::mem::take(&mut state.idle) {
            state.retire(poll);
        }
    }

    /// Takes an idle environment, or starts one, or waits for one.
    async fn acquire(&self) -> Result<Result<Poll, FunctionError>, InvokeError> {
        let arrived = {
            let mut state = self.0.state.lock();
            if state.closed {
                return Err(InvokeError::ShuttingDown);
            }
            // The oldest has the most in its memory. Which one Lambda takes is not documented.
            state.idle.retain(|poll| !poll.deliver.is_closed());
            let oldest = (0..state.idle.len()).min_by_key(|at| state.idle[*at].environment.id);
            if let Some(oldest) = oldest {
                return Ok(Ok(state.idle.swap_remove(oldest)));
            }
            let may_start = state.environments.len() < self.0.function.environments;
            if !may_start && self.0.function.throttle {
                return Err(InvokeError::Throttled);
            }
            let (arrive, arrived) = oneshot::channel();
            state.waiting.push_back(arrive);
            if may_start {
                self.start(&mut state);
            }
            arrived
        };
        arrived.await.map_err(|_| InvokeError::ShuttingDown)
    }

    fn park(&self, mut poll: Poll) {
        let mut state = self.0.state.lock();
        if poll.environment.version != state.version {
            state.retire(poll);
            return;
        }
        while let Some(waiting) = state.waiting.pop_front() {
            match waiting.send(Ok(poll)) {
                Ok(()) => return,
                Err(Ok(unwanted)) => poll = unwanted,
                Err(Err(_)) => return,
            }
        }
        let environment = poll.environment.clone();
        state.idle.push(poll);
        // Under the lock, so that it is not thawed before it is frozen.
        if self.0.function.freeze && self.0.function.concurrency == 1 {
            environment.signal(Signal::SIGSTOP);
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    fn start(&self, state: &mut State) {
        state.started += 1;
        let environment = Arc::new(Environment::new(state.started, state.version));
        state.environments.insert(environment.id, environment.clone());
        tokio::spawn(self.clone().run(environment));
    }

    /// The life of an environment.
    async fn run(self, environment: Arc<Environment>) {
        let ended = match self.launch(&environment).await {
            Ok((mut child, _server)) => {
                let stdout = self.relay(environment.id, child.stdout.take());
                let stderr = self.relay(environment.id, child.stderr.take());
                let ended = environment.watch(child).await;
                // What it started and left behind goes with it, and then its pipes have an end.
                environment.signal(Signal::SIGKILL);
                let _ = tokio::time::timeout(SHUTDOWN_LIMIT, async { tokio::join!(stdout, stderr) }).await;
                ended
            }
            Err(error) => format!("{} cannot be started: {error}", self.0.function.program.display()),
        };
        let failed_init = environment.init.get().is_none();
        let reason = match environment.init_error.get() {
            Some(error) => error.clone(),
            None => ended,
        };
        let mut state = self.0.state.lock();
        state.environments.remove(&environment.id);
        state.idle.retain(|poll| poll.environment.id != environment.id);
        state.retired.retain(|poll| poll.environment.id != environment.id);
        *environment.in_flight.lock() = None;
        if !state.closed {
            self.0.journal.line(format_args!("env {}  {reason}", environment.id));
            if failed_init && let Some(waiting) = state.waiting.pop_front() {
                let _ = waiting.send(Err(FunctionError(reason)));
            }
            if !state.waiting.is_empty() {
                self.start(&mut state);
            }
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    async fn launch(&self, environment: &Arc<Environment>) -> Result<(Child, crate::serve::Server), BoxError> {
        let (server, address) = runtime_api::serve(self.clone(), environment.clone()).await?;
        let variables = self.environment_variables();
        let child = environment.spawn(&self.0.function, address, &variables)?;
        // Cancelled before it could be told to stop.
        if self.0.state.lock().closed {
            environment.signal(Signal::SIGKILL);
        }
        Ok((child, server))
    }

    fn environment_variables(&self) -> HashMap<String, String> {
        let mut variables: HashMap<_, _> = self.0.function.env.iter().cloned().collect();
        for (name, value) in &self.0.state.lock().settings {
            if value.is_empty() {
                variables.remove(name);
            } else {
                variables.insert(name.clone(), value.clone());
            }
        }
        variables
    }

    /// Hands on what a process writes, line by line, to its end.
    fn relay(&self, id: u64, stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> JoinHandle<()> {
        let journal = self.0.journal.clone();
        let (cloudwatch, faults) = (self.0.function.cloudwatch.clone(), self.0.function.faults.clone());
        tokio::spawn(async move {
            let Some(stream) = stream else { return };
            let mut lines = BufReader::new(stream).split(b'\n');
            loop {
                faults.until(|faults| !faults.contains(&Fault::StdoutFull)).await;
                let Ok(Some(line)) = lines.next_segment().await else { break };
                if let Ok(line) = serde_json::from_slice(&line) {
                    cloudwatch.put_line(&line);
                }
                journal.handler(id, &String::from_utf8_lossy(&line));
            }
        })
    }

    /// How many environments there are.
    pub fn environments(&self) -> usize {
        self.0.state.lock().environments.len()
    }

    /// How many invocations are under way.
    pub fn in_flight(&self) -> usize {
        let under_way = |environment: &Arc<Environment>| environment.in_flight.lock().as_ref().map_or(0, HashMap::len);
        self.0.state.lock().environments.values().map(under_way).sum()
    }

    /// Ends every environment, as Lambda does: what is under way may end, then SIGTERM, a moment, SIGKILL.
    /// No process is left when this returns.
    pub async fn shut_down(&self) {
        {
            let mut state = self.0.state.lock();
            state.closed = true;
            state.waiting.clear();
        }
        let concurrency = self.0.function.concurrency;
        let idle =
            |state: &State| state.environments.values().all(|environment| state.is_idle(environment, concurrency));
        let _ = tokio::time::timeout(SHUTDOWN_LIMIT, self.until(idle)).await;
        self.signal_all(Signal::SIGTERM);
        self.signal_all(Signal::SIGCONT);
        let gone = |state: &State| state.environments.is_empty();
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.until(gone)).await.is_err() {
            self.signal_all(Signal::SIGKILL);
            self.until(gone).await;
        }
    }

    fn signal_all(&self, signal: Signal) {
        for environment in self.0.state.lock().environments.values() {
            environment.signal(signal);
        }
    }

    /// Freezes an environment in the middle of an invocation, unless that has ended before.
    async fn freeze_in_the_middle(self, environment: Arc<Environment>, request_id: String, time: Duration) {
        // The time of a request to S3, or less.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..2))).await;
        let under_way = environment.in_flight.lock().as_ref().is_some_and(|all| all.contains_key(&request_id));
        if under_way {
            environment.signal(Signal::SIGSTOP);
            tokio::time::sleep(time).await;
            // One that has asked for its next event by now is frozen as it should be. One that was caught between its answer
            // and that is not.
            let state = self.0.state.lock();
            if !state.is_idle(&environment, self.0.function.concurrency) {
                environment.signal(Signal::SIGCONT);
            }
        }
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if reached(&self.0.state.lock()) {
                return;
            }
            changed.await;
        }
    }
}

impl EventSource for Lambda {
    fn next_event(&self, environment: &Arc<Environment>) -> oneshot::Receiver<Event> {
        let (deliver, delivered) = oneshot::channel();
        if environment.init.set(environment.started.elapsed()).is_ok() {
            let ms = environment.started.elapsed().as_secs_f64() * 1e3;
            self.0.journal.line(format_args!("env {}  started in {ms:.1} ms", environment.id));
        }
        self.park(Poll { environment: environment.clone(), deliver });
        delivered
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
