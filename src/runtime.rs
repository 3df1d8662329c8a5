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
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use http::StatusCode;
use lambda_http::lambda_runtime::tower::Layer;
use lambda_http::lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime};
use lambda_http::{Service, service_fn};
use serde::de::IgnoredAny;
use tracing::{debug, error, info, warn};

use crate::event::EventError;
use crate::origin::{Answer, Origin, Record};
use crate::runtime_api::{INVOCATION_ID, Invocation, RuntimeApi};
use crate::store::{Holdings, Source, Store};

/// What is taken for the time left where the Runtime API does not say it: the walk-through's timeout.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(20);

/// In 2001: a deadline before it is no time of day but a duration. cargo-lambda sends 600000.
const EARLIEST_DEADLINE_MS: u64 = 1_000_000_000_000;

/// How the loop is run.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many invocations run at once.
    pub concurrency: u32,
    /// What is left of an invocation's time when S3's budget ends.
    pub deadline_margin: Duration,
}

/// Answers invocations until the Runtime API goes away.
///
/// # Errors
/// When the Runtime API cannot be asked for the next event.
pub async fn run<S: Store>(origin: Origin<S>, pace: Pace) -> Result<(), Error> {
    let invoke =
        Invoke { origin: Arc::new(origin), api: Arc::new(runtime_api()), deadline_margin: pace.deadline_margin };
    // The runtime cannot be made without a handler of its own; the layer puts ours in its place.
    let unused = service_fn(async |_: LambdaEvent<IgnoredAny>| Ok::<(), Error>(()));
    let runtime = Runtime::new(unused).layer(InPlaceOf(invoke));
    if pace.concurrency > 1 { runtime.run_concurrent().await } else { runtime.run().await }
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

/// Answers invocations: event in, answer posted, line logged.
struct Invoke<S> {
    origin: Arc<Origin<S>>,
    api: Arc<RuntimeApi>,
    deadline_margin: Duration,
}

impl<S> Clone for Invoke<S> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), api: self.api.clone(), ..*self }
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
        Box::pin(self.clone().invoke(invocation))
    }
}

impl<S: Store> Invoke<S> {
    /// Answers the event that lambda_runtime brings, and takes those after it, until that fails: then lambda_runtime
    /// asks again, and finds out why.
    async fn invoke(self, invocation: LambdaInvocation) -> Result<(), Error> {
        let LambdaInvocation { parts, body, context } = invocation;
        let mut invocation = Invocation {
            request_id: context.request_id,
            invocation_id: parts.headers.get(INVOCATION_ID).map(|id| id.as_bytes().to_vec()),
            deadline_ms: context.deadline,
            event: body,
        };
        loop {
            self.answer(&invocation).await;
            invocation = match self.api.next().await {
                Ok(next) => next,
                Err(error) => {
                    debug!(%error, "no event came: lambda_runtime asks again");
                    return Ok(());
                }
            };
        }
    }

    async fn answer(&self, invocation: &Invocation) {
        let Invocation { request_id, invocation_id, event, .. } = invocation;
        let started = Instant::now();
        let budget = budget(invocation.deadline_ms, self.deadline_margin);
        debug!(request_id, budget_ms = budget.as_millis(), event_bytes = event.len(), "invoked");
        let deadline = started + budget;
        let answered = AssertUnwindSafe(self.origin.answer(event, deadline)).catch_unwind().await;
        let answered = answered.map_err(Failure::from_panic).and_then(|answer| answer.map_err(Failure::Event));
        let invocation_id = invocation_id.as_deref();
        let (posted, record) = match answered {
            Ok(Answer { payload, record }) => {
                (self.api.post_response(request_id, invocation_id, payload.parts()).await, Ok(record))
            }
            Err(failure) => {
                let message = failure.to_string();
                (self.api.post_error(request_id, invocation_id, failure.error_type(), &message).await, Err(message))
            }
        };
        // An answer that does not arrive is lost; the loop goes on and finds out itself whether the API is gone.
        match posted {
            Ok(status) if status.is_success() => {}
            Ok(status) => explain_refusal(request_id, status),
            Err(error) => error!(request_id, %error, "the answer did not reach the Runtime API"),
        }
        match record {
            Ok(record) => log(request_id, &record, self.origin.holdings(), started.elapsed()),
            Err(message) => error!(request_id, "{message}"),
        }
        // Before the next event is asked for: the environment may be frozen then.
        if let Err(panic) = AssertUnwindSafe(self.origin.settle(deadline)).catch_unwind().await {
            error!(request_id, "after the answer: {}", Failure::from_panic(panic));
        }
    }
}

/// The time that S3 has: up to the invocation's own deadline, less the margin to answer in.
fn budget(deadline_ms: u64, margin: Duration) -> Duration {
    let left = if deadline_ms < EARLIEST_DEADLINE_MS {
        UNKNOWN_DEADLINE
    } else {
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(deadline_ms);
        deadline.duration_since(SystemTime::now()).unwrap_or_default()
    };
    left.saturating_sub(margin)
}

fn explain_refusal(request_id: &str, status: StatusCode) {
    let why = match status {
        StatusCode::GONE => "the invocation had timed out",
        StatusCode::PAYLOAD_TOO_LARGE => "the answer was too large",
        _ => "see the status",
    };
    error!(request_id, %status, "the Runtime API did not take the answer: {why}");
}

fn log(request_id: &str, record: &Record, holdings: Holdings, duration: Duration) {
    let key = record.key.as_ref().map(|key| key.as_str());
    let variant = record.variant.as_deref();
    let duration_ms = duration.as_secs_f64() * 1e3;
    if let Some(trouble) = &record.trouble {
        warn!(request_id, key, variant, "{trouble}");
    }
    info!(
        request_id,
        key,
        variant,
        status = record.status,
        outcome = record.outcome,
        missing = record.missing.map(|missing| missing.name()),
        secret = record.secret.map(|secret| secret.name()),
        body_bytes = record.body_bytes,
        cache = record.source.map(Source::name),
        cache_bytes = holdings.bytes,
        cache_evictions = holdings.evictions,
        duration_ms,
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
    fn s3_has_the_time_to_the_deadline_less_the_margin() {
        let deadline = milliseconds(SystemTime::now() + Duration::from_secs(10));
        let left = budget(deadline, Duration::from_secs(1));
        assert!(left <= Duration::from_secs(9) && left > Duration::from_secs(8), "{left:?}");
        assert_eq!(budget(deadline, Duration::from_secs(11)), Duration::ZERO);
    }

    #[test]
    fn a_deadline_that_is_past_leaves_no_time() {
        let deadline = milliseconds(SystemTime::now() - Duration::from_secs(1));
        assert_eq!(budget(deadline, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_deadline_that_is_no_time_of_day_is_taken_for_unknown() {
        let cargo_lambdas = milliseconds(SystemTime::UNIX_EPOCH + Duration::from_millis(600_000));
        assert_eq!(budget(cargo_lambdas, Duration::from_secs(1)), Duration::from_secs(19));
    }
}
