//! The Lambda loop: lambda_runtime starts it, a service of our own answers, and takes the events that follow.
//!
//! lambda_runtime's own response service is left out: it writes the whole event, with the secret in it,
//! to the log at TRACE, validates the JSON of every event before we do, and copies every answer. Its
//! loop, its workers and its SnapStart are used as they are. Answers go out by `runtime_api`, and so do
//! a worker's requests for all events but its first, which cost more than a hit does by lambda_runtime's client.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use http::StatusCode;
use lambda_http::lambda_runtime::tower::Layer;
use lambda_http::lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime};
use lambda_http::{Service, service_fn};
use serde::de::IgnoredAny;
use tracing::{Instrument, Span, debug, error, info, warn};

use crate::event::{self, EventError};
use crate::exporter::{Exporter, Occasion};
use crate::log_line::{LineWriter, LogLine};
use crate::metric::Measured;
use crate::origin::{Answer, Origin, Record};
use crate::request::Request;
use crate::runtime_api::{INVOCATION_ID, Invocation, RuntimeApi};
use crate::stdout::{STDOUT, Stdout};
use crate::store::{Source, Store, Tally};
use crate::telemetry::Once;
use crate::trace::{self, Incoming, TracePolicy, child_span};

/// What is taken for the time left where the Runtime API does not say it: the walk-through's timeout.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(20);

/// In 2001: a deadline before it is no time of day but a duration. cargo-lambda sends 600000.
const EARLIEST_DEADLINE_MS: u64 = 1_000_000_000_000;

/// What is left of an invocation's time when the last span has to be sent: the time to ask for the next event in.
const FLUSH_MARGIN: Duration = Duration::from_millis(50);

/// How the loop is run.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many invocations run at once.
    pub concurrency: u32,
    /// What is left of an invocation's time when S3's budget ends.
    pub deadline_margin: Duration,
}

/// How invocations are told of.
#[derive(Debug)]
pub struct Telemetry {
    /// The metrics line; a plain log line without it.
    pub lines: Option<LineWriter>,
    /// Spans.
    pub traces: Option<Tracing>,
    /// When the process started.
    pub started: Instant,
}

/// Whose spans are made, and what sends them.
#[derive(Debug)]
pub struct Tracing {
    /// Which invocations are sampled.
    pub policy: TracePolicy,
    /// What sends the spans.
    pub exporter: Arc<Exporter>,
}

/// How often S3's troubles are warned of: each line of an invocation tells them too.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Answers invocations until the Runtime API goes away.
///
/// # Errors
/// When the Runtime API cannot be asked for the next event.
pub async fn run<S: Store>(origin: Origin<S>, pace: Pace, telemetry: Telemetry) -> Result<(), Error> {
    let shared = pace.concurrency > 1;
    if let Some(traces) = telemetry.traces.as_ref().filter(|_| shared) {
        let exporter = traces.exporter.clone();
        tokio::spawn(async move { exporter.run().await });
        stay_informed().await;
    }
    let invoke = Invoke(Arc::new(Shared {
        api: runtime_api(),
        deadline_margin: pace.deadline_margin,
        shared,
        counted: Mutex::default(),
        origin,
        init: telemetry.started.elapsed(),
        telemetry,
        answered: AtomicBool::new(false),
        arn: OnceLock::new(),
        warnings: Once::every(WARN_EVERY),
    }));
    // The runtime cannot be made without a handler of its own; the layer puts ours in its place.
    let unused = service_fn(async |_: LambdaEvent<IgnoredAny>| Ok::<(), Error>(()));
    let runtime = Runtime::new(unused).layer(InPlaceOf(invoke));
    if pace.concurrency > 1 { runtime.run_concurrent().await } else { runtime.run().await }
}

/// Lambda tells an environment that is to go only if something in it has registered an extension.
async fn stay_informed() {
    let api = runtime_api();
    let registered = tokio::time::timeout(Duration::from_secs(1), api.register_extension("nearedge")).await;
    match registered.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(id) => drop(tokio::spawn(async move { api.wait_as(&id).await })),
        Err(error) => {
            warn!(%error, "no extension could be registered: spans of the last seconds may be lost at the end");
        }
    }
}

/// Tells the Runtime API that the function cannot start.
pub async fn report_init_error(problem: &str) {
    match runtime_api().post_init_error("Origin.Init", problem).await {
        Ok(status) if status.is_success() => {}
        Ok(status) => error!(%status, "the Runtime API did not take the init error"),
        Err(error) => error!(%error, "the init error did not reach the Runtime API"),
    }
}

/// The API that lambda_runtime takes events from, which it does not show.
fn runtime_api() -> RuntimeApi {
    RuntimeApi::new(&std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default())
}

struct InPlaceOf<T>(T);

impl<S, T: Clone> Layer<S> for InPlaceOf<T> {
    type Service = T;

    fn layer(&self, _: S) -> T {
        self.0.clone()
    }
}

/// Answers invocations: event in, answer posted, line logged, spans sent.
struct Invoke<S>(Arc<Shared<S>>);

struct Shared<S> {
    origin: Origin<S>,
    api: RuntimeApi,
    deadline_margin: Duration,
    /// Whether several invocations run at once.
    shared: bool,
    telemetry: Telemetry,
    /// How long the start took.
    init: Duration,
    /// Whether there has been an invocation.
    answered: AtomicBool,
    /// The ARN that was invoked first.
    arn: OnceLock<String>,
    /// What the lines so far have told of, and how many spans were dropped by then.
    counted: Mutex<(Tally, u64)>,
    warnings: Once,
}

impl<S> Clone for Invoke<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Service<LambdaInvocation> for Invoke<S> {
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { shared.invoke(invocation).await })
    }
}

impl<S: Store> Shared<S> {
    /// Answers the event that lambda_runtime brings, and takes those after it, until that fails: then lambda_runtime
    /// asks again, and finds out why.
    async fn invoke(&self, invocation: LambdaInvocation) -> Result<(), Error> {
        let LambdaInvocation { parts, body, context } = invocation;
        self.arn.get_or_init(|| context.invoked_function_arn);
        let mut invocation = Invocation {
            request_id: context.request_id,
            invocation_id: parts.headers.get(INVOCATION_ID).map(|id| id.as_bytes().to_vec()),
            deadline_ms: context.deadline,
            trace: context.xray_trace_id,
            event: body,
        };
        loop {
            self.handle(&invocation).await;
            invocation = match self.api.next().await {
                Ok(next) => next,
                Err(error) => {
                    debug!(%error, "no event came: lambda_runtime asks again");
                    return Ok(());
                }
            };
        }
    }

    /// An invocation from its event to the moment when the next may come.
    async fn handle(&self, invocation: &Invocation) {
        let started = Instant::now();
        let left = time_left(invocation.deadline_ms);
        let budget = left.saturating_sub(self.deadline_margin);
        let request_id = invocation.request_id.as_str();
        debug!(request_id, budget_ms = budget.as_millis(), event_bytes = invocation.event.len(), "invoked");
        let deadline = started + budget;
        let cold = !self.answered.load(Ordering::Relaxed);
        let header = invocation.trace.as_deref();
        let mut span = Span::none();
        let answered = match event::parse(&invocation.event) {
            Ok(request) => {
                if let Some(traces) = &self.telemetry.traces {
                    let arn = self.arn.get().map_or("", String::as_str);
                    let trusted = request.traceparent.is_some() && self.origin.trusts(&request);
                    span = traces.policy.begin(&Incoming { request_id, header, request: &request, trusted, arn, cold });
                }
                let answered = self.answer(invocation, &request, &span, deadline);
                // The span lasts until Lambda has the answer.
                if span.is_disabled() { answered.await } else { answered.instrument(span.clone()).await }
            }
            Err(error) => {
                let failure = Failure::Event(error);
                self.report(invocation, &failure).await;
                Err(failure)
            }
        };
        match answered {
            Ok(record) => self.log(request_id, &span, header, &record, started.elapsed()),
            Err(failure) => error!(request_id, trace_id = trace::trace_id(&span, header).as_deref(), "{failure}"),
        }
        // It ends here, and is sent with the others.
        drop(span);
        // Before the next event is asked for: the environment may be frozen then.
        if let Err(panic) = AssertUnwindSafe(self.origin.settle(deadline)).catch_unwind().await {
            error!(request_id, "after the answer: {}", Failure::from_panic(panic));
        }
        if let Some(traces) = self.telemetry.traces.as_ref().filter(|_| !self.shared) {
            traces.exporter.flush(Occasion::BetweenEvents, started + left.saturating_sub(FLUSH_MARGIN)).await;
        }
    }

    /// Answers a request, and posts the answer.
    async fn answer(
        &self,
        invocation: &Invocation,
        request: &Request<'_>,
        span: &Span,
        deadline: Instant,
    ) -> Result<Record, Failure> {
        let answered = AssertUnwindSafe(self.origin.answer(request, deadline)).catch_unwind().await;
        let Answer { payload, record } = match answered {
            Ok(answer) => answer,
            Err(panic) => {
                let failure = Failure::from_panic(panic);
                trace::fail(span, failure.error_type(), &failure.to_string());
                self.report(invocation, &failure).await;
                return Err(failure);
            }
        };
        let invocation_id = invocation.invocation_id.as_deref();
        let posting = child_span!("post");
        let posted = self.api.post_response(&invocation.request_id, invocation_id, payload.parts()).await;
        drop(posting);
        told(&invocation.request_id, posted);
        trace::finish(span, &record);
        Ok(record)
    }

    async fn report(&self, invocation: &Invocation, failure: &Failure) {
        let Invocation { request_id, invocation_id, .. } = invocation;
        let invocation_id = invocation_id.as_deref();
        let posted = self.api.post_error(request_id, invocation_id, failure.error_type(), &failure.to_string()).await;
        told(request_id, posted);
    }

    /// Writes the line of an invocation.
    fn log(&self, request_id: &str, span: &Span, header: Option<&str>, record: &Record, duration: Duration) {
        let lost = STDOUT.lost_by_now();
        if lost > 0 {
            warn!(lost, "log lines were lost: nobody read standard output for a while");
            STDOUT.told(lost);
        }
        if self.telemetry.lines.is_none() && record.trouble.is_none() && !tracing::event_enabled!(tracing::Level::INFO)
        {
            return;
        }
        let trace_id = trace::trace_id(span, header);
        let trace_id = trace_id.as_deref();
        if let Some(trouble) = &record.trouble
            && let Some(unsaid) = self.warnings.may(Instant::now())
        {
            let key = record.key.as_ref().map(|key| key.as_str());
            warn!(request_id, trace_id, key, variant = record.variant, unsaid, "{trouble}");
        }
        let Some(lines) = &self.telemetry.lines else {
            return log_plainly(request_id, trace_id, record, self.origin.tally(), duration);
        };
        let (tally, spans_dropped) = self.since_last_line();
        let rotating = self.origin.is_rotating();
        let init = (!self.answered.swap(true, Ordering::Relaxed)).then_some(self.init);
        let measured = Measured { record, duration, tally, spans_dropped, init, rotating };
        let line = LogLine { request_id, trace_id, measured, at: SystemTime::now() };
        if let Err(error) = lines.write(&line, Stdout) {
            // Where standard output is the trouble this is not read either; it is all that can be done.
            warn!(request_id, %error, "the line of an invocation could not be written");
        }
    }

    /// What has been counted since the last line.
    fn since_last_line(&self) -> (Tally, u64) {
        let dropped = self.telemetry.traces.as_ref().map_or(0, |traces| traces.exporter.dropped());
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nothing is counted twice.
        let tally = self.origin.tally();
        let (last, dropped_by_then) = std::mem::replace(&mut *counted, (tally, dropped));
        (tally.since(&last), dropped.saturating_sub(dropped_by_then))
    }
}

/// An answer that does not arrive is lost; the loop goes on and finds out itself whether the API is gone.
fn told(request_id: &str, posted: std::io::Result<StatusCode>) {
    match posted {
        Ok(status) if status.is_success() => {}
        Ok(status) => explain_refusal(request_id, status),
        Err(error) => error!(request_id, %error, "the answer did not reach the Runtime API"),
    }
}

/// The time until the invocation's own deadline. S3 has that, less the margin to answer in.
fn time_left(deadline_ms: u64) -> Duration {
    if deadline_ms < EARLIEST_DEADLINE_MS {
        return UNKNOWN_DEADLINE;
    }
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(deadline_ms);
    deadline.duration_since(SystemTime::now()).unwrap_or_default()
}

fn explain_refusal(request_id: &str, status: StatusCode) {
    let why = match status {
        StatusCode::GONE => "the invocation had timed out",
        StatusCode::PAYLOAD_TOO_LARGE => "the answer was too large",
        _ => "see the status",
    };
    error!(request_id, %status, "the Runtime API did not take the answer: {why}");
}

fn log_plainly(request_id: &str, trace_id: Option<&str>, record: &Record, tally: Tally, duration: Duration) {
    info!(
        request_id,
        trace_id,
        key = record.key.as_ref().map(|key| key.as_str()),
        variant = record.variant.as_deref(),
        status = record.status,
        outcome = record.outcome,
        missing = record.missing.map(|missing| missing.name()),
        secret = record.secret.map(|secret| secret.name()),
        body_bytes = record.body_bytes,
        cache = record.source.map(Source::name),
        cache_bytes = tally.held_bytes,
        cache_evictions = tally.evictions,
        duration_ms = duration.as_secs_f64() * 1e3,
        trouble = record.trouble.as_deref(),
        "answered"
    );
}

/// Why an invocation has no answer.
enum Failure {
    Event(EventError),
    Panic(String),
}

impl Failure {
    fn from_panic(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Self::Panic(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned()))
    }

    fn error_type(&self) -> &'static str {
        match self {
            Self::Event(_) => "Origin.UnexpectedEvent",
            Self::Panic(_) => "Origin.Panic",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(error) => error.fmt(f),
            Self::Panic(message) => write!(f, "this invocation panicked, please report it: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(deadline: SystemTime) -> u64 {
        deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
    }

    #[test]
    fn the_time_left_is_that_to_the_deadline() {
        let left = time_left(milliseconds(SystemTime::now() + Duration::from_secs(10)));
        assert!(left <= Duration::from_secs(10) && left > Duration::from_secs(9), "{left:?}");
    }

    #[test]
    fn a_deadline_that_is_past_leaves_no_time() {
        assert_eq!(time_left(milliseconds(SystemTime::now() - Duration::from_secs(1))), Duration::ZERO);
    }

    #[test]
    fn a_deadline_that_is_no_time_of_day_is_taken_for_unknown() {
        let cargo_lambdas = milliseconds(SystemTime::UNIX_EPOCH + Duration::from_millis(600_000));
        assert_eq!(time_left(cargo_lambdas), Duration::from_secs(20));
    }
}
