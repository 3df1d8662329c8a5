//! The invocation loop: event in, response posted, line logged, spans and metrics exported.
//!
//! lambda_runtime starts the loop of an environment with one invocation at a time, and supports SnapStart. Its own response service is not used: at TRACE it
//! logs the whole event, which contains the secret; it parses every event before we do, and copies every response. A
//! service of ours takes its place: it posts responses with `runtime_api`, and fetches every event but the first, both of
//! which cost more than a cache hit with lambda_runtime's client.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join;
use http::StatusCode;
use lambda_http::lambda_runtime::tower::Layer;
use lambda_http::lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime};
use lambda_http::{Service, service_fn};
use nearedge_core::record::Record;
use nearedge_core::request::Request;
use nearedge_core::request::door::Transfer;
use nearedge_core::request::event::{self, EventError};
use nearedge_core::request::header_names::HeaderNames;
use nearedge_core::request::visit::Visit;
use nearedge_core::response::payload::Payload;
use nearedge_core::store::{FetchError, OpenBody, Store};
use serde::de::IgnoredAny;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{Instrument, Span, debug, error, warn};

use crate::lambda::drain::Drain;
pub use crate::lambda::report::Metrics;
use crate::lambda::report::Reporter;
use crate::lambda::runtime_api::{INVOCATION_ID, Invocation, Posted, RuntimeApi};
use crate::origin::{Origin, OriginResponse};
use crate::telemetry::exporter::{Exporter, FlushReason};
use crate::telemetry::trace::{self, Incoming, TracePolicy, child_span};

/// The time left if the Runtime API does not state a deadline: the timeout of the walk-through's function.
const DEFAULT_TIME_LEFT: Duration = Duration::from_secs(20);

/// Values below this (the year 2001) are durations, not epoch milliseconds; cargo-lambda sends 600000.
const EARLIEST_DEADLINE_MS: u64 = 1_000_000_000_000;

/// The part of an invocation's time that remains after the last export: the time to request the next event.
const FLUSH_MARGIN: Duration = Duration::from_millis(50);

/// The least part of an invocation's time that S3 may not use, whatever the settings: timers are late by up to a few
/// milliseconds, and the response has to be posted.
const DEADLINE_MARGIN_MIN: Duration = Duration::from_millis(20);

/// Timeout for the invocations in flight after SIGTERM. Lambda kills the process half a second after it, and the last
/// spans have to be exported too
/// ([Shutdown phase](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown)).
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// The waits between attempts to fetch an event, once the Runtime API fails. After the last one the process exits.
const NEXT_BACKOFF: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];

/// Timeout for registering as an extension.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(1);

/// The response to a warm-up event, which its sender ignores.
static WARM_UP_RESPONSE: [Bytes; 3] = [Bytes::from_static(b"{\"warmedUp\":true}"), Bytes::new(), Bytes::new()];

/// The settings of the loop.
#[derive(Debug, Clone)]
pub struct LoopConfig {
    /// How many invocations run at once.
    pub concurrency: u32,
    /// The part of an invocation's time that S3 may not use: the time to respond.
    pub deadline_margin: Duration,
    /// Other names of the headers with the secret and the variant.
    pub header_names: Option<HeaderNames>,
}

/// The reports of invocations.
#[derive(Debug)]
pub struct Telemetry {
    /// Metrics; without them, the loop writes plain log lines.
    pub metrics: Option<Metrics>,
    /// Spans.
    pub traces: Option<Tracing>,
    /// When the process started.
    pub started: Instant,
}

/// The sampling and the exporter of spans.
#[derive(Debug)]
pub struct Tracing {
    /// Which invocations are sampled.
    pub policy: TracePolicy,
    /// The exporter.
    pub exporter: Arc<Exporter>,
}

/// Handles invocations until the Runtime API closes.
///
/// # Errors
/// If the Runtime API returns no event.
pub async fn run<S: Store>(origin: Origin<S>, config: LoopConfig, telemetry: Telemetry) -> Result<(), Error> {
    let concurrent = config.concurrency > 1;
    let Telemetry { metrics, traces, started } = telemetry;
    let has_batches = matches!(metrics, Some(Metrics::Batches(..) | Metrics::Exported(..)));
    let exporter = traces.as_ref().filter(|_| concurrent).map(|traces| traces.exporter.clone());
    if exporter.is_some() || has_batches {
        register_for_sigterm().await;
    }
    if let Some(exporter) = exporter {
        tokio::spawn(async move { exporter.run().await });
    }
    let shared = Arc::new(Shared {
        api: runtime_api(),
        deadline_margin: config.deadline_margin.max(DEADLINE_MARGIN_MIN),
        header_names: config.header_names,
        concurrent,
        origin,
        reporter: Reporter::new(metrics, started.elapsed()),
        traces,
        arn: OnceLock::new(),
        drain: Drain::default(),
    });
    let running = async {
        if concurrent {
            return run_workers(&shared, config.concurrency).await;
        }
        // The runtime requires a handler of its own; the layer replaces it with ours.
        let unused = service_fn(async |_: LambdaEvent<IgnoredAny>| Ok::<(), Error>(()));
        Runtime::new(unused).layer(ReplaceWith(Handler(shared.clone()))).run().await
    };
    if concurrent && let Some(metrics) = shared.reporter.exporter().cloned() {
        tokio::spawn(async move { metrics.run().await });
    }
    if concurrent && has_batches {
        // The process is not frozen between events, so that a timer works.
        let shared = shared.clone();
        tokio::spawn(async move { shared.flush_every_minute().await });
    }
    let result = until_sigterm(running, &shared.drain).await;
    shared.reporter.flush();
    result
}

/// Runs `running`, and after SIGTERM at most until the invocations in flight have ended.
async fn until_sigterm(running: impl Future<Output = Result<(), Error>>, drain: &Drain) -> Result<(), Error> {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return running.await };
    let mut running = pin!(running);
    tokio::select! {
        result = &mut running => return result,
        _ = terminated.recv() => {}
    }
    // The invocations still run meanwhile.
    tokio::select! {
        result = &mut running => return result,
        left = drain.finish(DRAIN_TIMEOUT) => {
            if left > 0 {
                warn!(invocations = left, "SIGTERM: invocations did not end in time");
            }
        }
    }
    Ok(())
}

/// Runs the workers of an environment with several invocations at once.
///
/// lambda_runtime's own workers repeat a failed request for an event at once and for ever, and keep a connection each that
/// only their first event uses.
///
/// # Errors
/// If the Runtime API returns no event any more.
async fn run_workers<S: Store>(shared: &Arc<Shared<S>>, concurrency: u32) -> Result<(), Error> {
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let shared = shared.clone();
        workers.spawn(async move { shared.work().await });
    }
    // The first worker that ends ends them all: the API is the same for each.
    match workers.join_next().await {
        None => Ok(()),
        // Invocations of the other workers may be about to end.
        Some(ended) => {
            shared.drain.finish(DRAIN_TIMEOUT).await;
            Err(match ended {
                Ok(error) => format!("the Runtime API returns no events: {error}").into(),
                Err(panic) => panic.into(),
            })
        }
    }
}

/// Registers an extension: Lambda sends SIGTERM only to environments that have one.
async fn register_for_sigterm() {
    let api = runtime_api();
    let registered = tokio::time::timeout(REGISTER_TIMEOUT, api.register_extension("nearedge")).await;
    match registered.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(id) => drop(tokio::spawn(async move { api.wait_as_extension(&id).await })),
        Err(error) => {
            warn!(%error, "cannot register an extension: metrics and spans of the last seconds may be lost at shutdown");
        }
    }
}

/// Reports to the Runtime API that the function cannot start.
pub async fn report_init_error(problem: &str) {
    match runtime_api().post_init_error("Origin.Init", problem).await {
        Ok(status) if status.is_success() => {}
        Ok(status) => error!(%status, "the Runtime API rejected the init error"),
        Err(error) => error!(%error, "the init error did not reach the Runtime API"),
    }
}

/// A client of the API that lambda_runtime uses too; lambda_runtime does not expose its own.
fn runtime_api() -> RuntimeApi {
    RuntimeApi::new(&std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default())
}

/// A tower layer that replaces the inner service.
struct ReplaceWith<T>(T);

impl<S, T: Clone> Layer<S> for ReplaceWith<T> {
    type Service = T;

    fn layer(&self, _: S) -> T {
        self.0.clone()
    }
}

/// The service that handles invocations.
struct Handler<S>(Arc<Shared<S>>);

struct Shared<S> {
    origin: Origin<S>,
    api: RuntimeApi,
    deadline_margin: Duration,
    header_names: Option<HeaderNames>,
    /// Whether several invocations run at once.
    concurrent: bool,
    reporter: Reporter,
    traces: Option<Tracing>,
    /// The ARN of the first invocation.
    arn: OnceLock<String>,
    drain: Drain,
}

impl<S> Clone for Handler<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> Service<LambdaInvocation> for Handler<S> {
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { shared.handle_all(invocation).await })
    }
}

impl<S: Store> Shared<S> {
    /// Writes the metrics that wait, at the end of each minute.
    async fn flush_every_minute(&self) {
        let mut minutes = tokio::time::interval(Duration::from_secs(60));
        loop {
            minutes.tick().await;
            self.reporter.flush();
        }
    }

    /// Fetches and handles events. Returns the error once the Runtime API has failed repeatedly.
    async fn work(&self) -> std::io::Error {
        let mut waits = NEXT_BACKOFF.iter();
        loop {
            self.stop_if_draining().await;
            match self.api.next(self.arn.get().is_none()).await {
                Ok(invocation) => {
                    waits = NEXT_BACKOFF.iter();
                    if let Some(arn) = &invocation.arn {
                        self.arn.get_or_init(|| arn.clone());
                    }
                    self.handle(&invocation).await;
                }
                Err(error) => match waits.next() {
                    Some(wait) => {
                        debug!(%error, "no event received: trying again");
                        tokio::time::sleep(*wait).await;
                    }
                    None => return error,
                },
            }
        }
    }

    /// Handles the event from lambda_runtime, and then fetches and handles events until fetching fails. Then lambda_runtime
    /// fetches again, and handles the error.
    async fn handle_all(&self, invocation: LambdaInvocation) -> Result<(), Error> {
        let LambdaInvocation { parts, body, context } = invocation;
        self.arn.get_or_init(|| context.invoked_function_arn);
        let mut invocation = Invocation {
            request_id: context.request_id,
            invocation_id: parts.headers.get(INVOCATION_ID).map(|id| id.as_bytes().to_vec()),
            deadline_ms: context.deadline,
            trace: context.xray_trace_id,
            arn: None,
            event: body,
        };
        loop {
            self.handle(&invocation).await;
            self.stop_if_draining().await;
            invocation = match self.api.next(false).await {
                Ok(next) => next,
                Err(error) => {
                    debug!(%error, "no event received: lambda_runtime tries again");
                    return Ok(());
                }
            };
        }
    }

    /// Requests no more events after SIGTERM: waits until the process ends.
    async fn stop_if_draining(&self) {
        if self.drain.is_draining() {
            std::future::pending::<()>().await;
        }
    }

    /// Handles one invocation, until the next event may be requested.
    async fn handle(&self, invocation: &Invocation) {
        // After SIGTERM: the event that was on its way stays without a response.
        let Some(_in_flight) = self.drain.begin() else { return };
        let started = Instant::now();
        let left = time_left(invocation.deadline_ms);
        let budget = left.saturating_sub(self.deadline_margin);
        let request_id = invocation.request_id.as_str();
        debug!(request_id, budget_ms = budget.as_millis(), event_bytes = invocation.event.len(), "invoked");
        let deadline = started + budget;
        let header = invocation.trace.as_deref();
        let mut span = Span::none();
        let mut visit = self.origin.visit_detail().map(Visit::with_detail);
        let converted;
        let parsed = match self.parse(&invocation.event, visit.as_mut()) {
            Ok(request) => Ok(request),
            // The other doors' events: an error is rare enough for a second look.
            Err(error) => match event::convert(&invocation.event) {
                Some((event, door)) => {
                    converted = event;
                    self.parse(&converted, visit.as_mut()).map(|request| Request { door, ..request })
                }
                None => Err(error),
            },
        };
        let handled = match parsed {
            Ok(request) => {
                if let Some(traces) = &self.traces {
                    let arn = self.arn.get().map_or("", String::as_str);
                    let trusted = request.traceparent.is_some() && self.origin.trusts(&request);
                    let cold = self.reporter.is_first();
                    span = traces.policy.begin(&Incoming { request_id, header, request: &request, trusted, arn, cold });
                }
                let visit = (&request, visit.as_ref());
                // The span ends when Lambda has the response. Each branch builds its future in place: it is large.
                match span.is_disabled() {
                    true => self.respond(invocation, visit, &span, deadline).await,
                    false => Box::pin(self.respond(invocation, visit, &span, deadline)).instrument(span.clone()).await,
                }
            }
            Err(_) if event::is_warm_up(&invocation.event) => {
                let invocation_id = invocation.invocation_id.as_deref();
                log_post_result(request_id, self.api.post_response(request_id, invocation_id, &WARM_UP_RESPONSE).await);
                Ok(Record::warm_up())
            }
            Err(error) => {
                let failure = Failure::Event(error);
                self.post_failure(invocation, &failure).await;
                Err(failure)
            }
        };
        match handled {
            Ok(record) => {
                let spans_dropped = self.traces.as_ref().map_or(0, |traces| traces.exporter.dropped());
                let trace_id = || trace::trace_id(&span, header);
                self.reporter.report(request_id, trace_id, &record, started.elapsed(), &self.origin, spans_dropped);
            }
            Err(failure) => error!(request_id, trace_id = trace::trace_id(&span, header).as_deref(), "{failure}"),
        }
        // Ends the span, so that the flush below exports it.
        drop(span);
        // Before the next event is requested, because the environment may be frozen then.
        if let Err(panic) = AssertUnwindSafe(self.origin.refresh(deadline)).catch_unwind().await {
            error!(request_id, "the work between events failed: {}", Failure::from_panic(panic));
        }
        if self.concurrent {
            return;
        }
        let latest = started + left.saturating_sub(FLUSH_MARGIN);
        // Boxed, because few invocations need it.
        let metrics = self.reporter.exporter().filter(|metrics| metrics.has_queued());
        let metrics = metrics.map(|metrics| Box::pin(metrics.flush(FlushReason::BetweenEvents, latest)));
        match (&self.traces, metrics) {
            (None, None) => {}
            (Some(traces), None) => traces.exporter.flush(FlushReason::BetweenEvents, latest).await,
            (None, Some(metrics)) => metrics.await,
            // At the same time, so that the next event waits for one timeout only.
            (Some(traces), Some(metrics)) => {
                Box::pin(join(traces.exporter.flush(FlushReason::BetweenEvents, latest), metrics)).await;
            }
        }
    }

    /// Parses an event of payload format 2.0, and fills `visit`.
    fn parse<'e>(&self, event: &'e [u8], visit: Option<&mut Visit<'e>>) -> Result<Request<'e>, EventError> {
        let mut request = match visit {
            Some(visit) => event::parse_visit(event, visit)?,
            None => event::parse(event)?,
        };
        if let Some(names) = &self.header_names {
            names.apply(event, &mut request);
        }
        Ok(request)
    }

    /// Responds to a request, and posts the response.
    async fn respond(
        &self,
        invocation: &Invocation,
        (request, visit): (&Request<'_>, Option<&Visit<'_>>),
        span: &Span,
        deadline: Instant,
    ) -> Result<Record, Failure> {
        let responded = AssertUnwindSafe(self.origin.respond(request, visit, deadline)).catch_unwind().await;
        let OriginResponse { payload, stream, mut record } = match responded {
            Ok(response) => response,
            Err(panic) => {
                let failure = Failure::from_panic(panic);
                trace::fail(span, failure.error_type(), &failure.to_string());
                self.post_failure(invocation, &failure).await;
                return Err(failure);
            }
        };
        let invocation_id = invocation.invocation_id.as_deref();
        let posting = child_span!("post");
        let request_id = invocation.request_id.as_str();
        let posted = match (stream, payload.transfer()) {
            (None, Transfer::Buffered) => self.api.post_response(request_id, invocation_id, payload.parts()).await,
            (None, Transfer::Streamed) => self.api.post_chunk(request_id, invocation_id, payload.parts()).await,
            // Boxed, because few responses need it.
            (Some(body), _) => Box::pin(self.stream(invocation, &payload, body, deadline, &mut record)).await,
        };
        drop(posting);
        log_post_result(request_id, posted);
        trace::finish(span, &record);
        Ok(record)
    }

    /// Posts a response whose body is read while it is sent. Notes in the record if the body ends early.
    async fn stream(
        &self,
        invocation: &Invocation,
        payload: &Payload,
        mut body: OpenBody,
        deadline: Instant,
        record: &mut Record,
    ) -> std::io::Result<StatusCode> {
        let Invocation { request_id, invocation_id, .. } = invocation;
        let (prelude, mut sent) = (&payload.parts()[0], 0);
        let limit = (deadline, &mut sent);
        let error = match self.api.post_stream(request_id, invocation_id.as_deref(), prelude, &mut body, limit).await? {
            Posted::Whole(status) => return Ok(status),
            Posted::Interrupted(error) => Some(error),
            Posted::OutOfTime => Some(FetchError::TimedOut(OutOfTime.into())),
            Posted::Disconnected(error) => {
                debug!(request_id, %error, "the client has gone");
                None
            }
        };
        record.interrupt(error, sent);
        Ok(StatusCode::OK)
    }

    async fn post_failure(&self, invocation: &Invocation, failure: &Failure) {
        let Invocation { request_id, invocation_id, .. } = invocation;
        let invocation_id = invocation_id.as_deref();
        let posted = self.api.post_error(request_id, invocation_id, failure.error_type(), &failure.to_string()).await;
        log_post_result(request_id, posted);
    }
}

/// Logs a response that Lambda did not accept. The loop continues; its next request shows whether the API still responds.
fn log_post_result(request_id: &str, posted: std::io::Result<StatusCode>) {
    match posted {
        Ok(status) if status.is_success() => {}
        Ok(status) => {
            let reason = match status {
                StatusCode::GONE => "the invocation had timed out",
                StatusCode::PAYLOAD_TOO_LARGE => "the response was too large",
                _ => "see the status",
            };
            error!(request_id, %status, "the Runtime API rejected the response: {reason}");
        }
        Err(error) => error!(request_id, %error, "the response did not reach the Runtime API"),
    }
}

/// The invocation's time was over before the object.
#[derive(Debug, thiserror::Error)]
#[error("the function's timeout ended the response: raise the timeout, or make the object smaller")]
struct OutOfTime;

/// The time until the invocation's deadline.
fn time_left(deadline_ms: u64) -> Duration {
    if deadline_ms < EARLIEST_DEADLINE_MS {
        return DEFAULT_TIME_LEFT;
    }
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(deadline_ms);
    deadline.duration_since(SystemTime::now()).unwrap_or_default()
}

/// Why an invocation has no response.
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
    fn the_time_left_ends_at_the_deadline() {
        let left = time_left(milliseconds(SystemTime::now() + Duration::from_secs(10)));
        assert!(left <= Duration::from_secs(10) && left > Duration::from_secs(9), "{left:?}");
    }

    #[test]
    fn a_past_deadline_leaves_no_time() {
        assert_eq!(time_left(milliseconds(SystemTime::now() - Duration::from_secs(1))), Duration::ZERO);
    }

    #[test]
    fn a_deadline_before_2001_counts_as_unknown() {
        let duration = milliseconds(SystemTime::UNIX_EPOCH + Duration::from_millis(600_000));
        assert_eq!(time_left(duration), Duration::from_secs(20));
    }
}
