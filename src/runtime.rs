//! The Lambda loop: lambda_runtime asks for events, a service of our own answers them.
//!
//! lambda_runtime's own response service is left out: it writes the whole event, with the secret in it,
//! to the log at TRACE, validates the JSON of every event before we do, and copies every answer. Its
//! loop, its contexts and its way of asking for events are used as they are; answers go out by [`RuntimeApi`].

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use http::{HeaderValue, StatusCode};
use lambda_http::lambda_runtime::tower::Layer;
use lambda_http::lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime};
use lambda_http::{Context as LambdaContext, Service, service_fn};
use serde::de::IgnoredAny;
use tracing::{debug, error, info, warn};

use crate::event::EventError;
use crate::origin::{Answer, Origin, Record};
use crate::runtime_api::{INVOCATION_ID, RuntimeApi};
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
    let invoke = Invoke {
        origin: Arc::new(origin),
        api: Arc::new(runtime_api()),
        deadline_margin: pace.deadline_margin,
    };
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
    RuntimeApi::new(std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default())
}

struct InPlaceOf<T>(T);

impl<S, T: Clone> Layer<S> for InPlaceOf<T> {
    type Service = T;

    fn layer(&self, _: S) -> T {
        self.0.clone()
    }
}

/// Answers one invocation: event in, answer posted, line logged.
struct Invoke<S> {
    origin: Arc<Origin<S>>,
    api: Arc<RuntimeApi>,
    deadline_margin: Duration,
}

impl<S> Clone for Invoke<S> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), api: self.api.clone(), deadline_margin: self.deadline_margin }
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
    async fn invoke(self, invocation: LambdaInvocation) -> Result<(), Error> {
        let LambdaInvocation { parts, body, context } = invocation;
        let started = Instant::now();
        let budget = budget(&context, self.deadline_margin);
        debug!(request_id = context.request_id, budget_ms = budget.as_millis(), event_bytes = body.len(), "invoked");
        let deadline = started + budget;
        let answered = AssertUnwindSafe(self.origin.answer(&body, deadline)).catch_unwind().await;
        let answered = answered.map_err(Failure::from_panic).and_then(|answer| answer.map_err(Failure::Event));
        let (id, invocation_id) = (&context.request_id, parts.headers.get(INVOCATION_ID).map(HeaderValue::as_bytes));
        let (posted, record) = match answered {
            Ok(Answer { payload, record }) => {
                (self.api.post_response(id, invocation_id, payload.parts()).await, Ok(record))
            }
            Err(failure) => {
                let message = failure.to_string();
                (self.api.post_error(id, invocation_id, failure.error_type(), &message).await, Err(message))
            }
        };
        // An answer that does not arrive is lost; the loop goes on and finds out itself whether the API is gone.
        match posted {
            Ok(status) if status.is_success() => {}
            Ok(status) => explain_refusal(id, status),
            Err(error) => error!(request_id = id, %error, "the answer did not reach the Runtime API"),
        }
        match record {
            Ok(record) => log(&context.request_id, &record, self.origin.holdings(), started.elapsed()),
            Err(message) => error!(request_id = context.request_id, "{message}"),
        }
        // Before the next event is asked for: the environment may be frozen then.
        if let Err(panic) = AssertUnwindSafe(self.origin.settle(deadline)).catch_unwind().await {
            error!(request_id = context.request_id, "after the answer: {}", Failure::from_panic(panic));
        }
        Ok(())
    }
}

/// The time that S3 has: up to the invocation's own deadline, less the margin to answer in.
fn budget(context: &LambdaContext, margin: Duration) -> Duration {
    let left = if context.deadline < EARLIEST_DEADLINE_MS {
        UNKNOWN_DEADLINE
    } else {
        context.deadline().duration_since(SystemTime::now()).unwrap_or_default()
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

    fn context(deadline: SystemTime) -> LambdaContext {
        let since = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut context = LambdaContext::default();
        context.deadline = since.as_millis().try_into().unwrap();
        context
    }

    #[test]
    fn s3_has_the_time_to_the_deadline_less_the_margin() {
        let context = context(SystemTime::now() + Duration::from_secs(10));
        let left = budget(&context, Duration::from_secs(1));
        assert!(left <= Duration::from_secs(9) && left > Duration::from_secs(8), "{left:?}");
        assert_eq!(budget(&context, Duration::from_secs(11)), Duration::ZERO);
    }

    #[test]
    fn a_deadline_that_is_past_leaves_no_time() {
        let context = context(SystemTime::now() - Duration::from_secs(1));
        assert_eq!(budget(&context, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_deadline_that_is_no_time_of_day_is_taken_for_unknown() {
        let cargo_lambdas = context(SystemTime::UNIX_EPOCH + Duration::from_millis(600_000));
        assert_eq!(budget(&cargo_lambdas, Duration::from_secs(1)), Duration::from_secs(19));
    }
}
