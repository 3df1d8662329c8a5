//! The Lambda loop: lambda_runtime asks for events, a service of our own answers them.
//!
//! lambda_runtime's own response service is left out: it writes the whole event, with the secret in it,
//! to the log at TRACE, validates the JSON of every event before we do, and copies every answer. Its
//! loop, its contexts and its client are used as they are.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use lambda_http::lambda_runtime::tower::Layer;
use lambda_http::lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime};
use lambda_http::{Context as LambdaContext, Service, service_fn};
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{PooledClient, build_request};
use serde::Serialize;
use serde::de::IgnoredAny;
use tracing::{debug, error, info, warn};

use crate::event::EventError;
use crate::origin::{Answer, Origin, Record};
use crate::store::{Holdings, Source, Store};

/// Lambda's protection against an answer that reaches another invocation: echoed as it came.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// Names the kind of an error to the Runtime API
/// ([Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html)).
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

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
        client: Arc::new(runtime_api(pace.concurrency)),
        deadline_margin: pace.deadline_margin,
    };
    // The runtime cannot be made without a handler of its own; the layer puts ours in its place.
    let unused = service_fn(async |_: LambdaEvent<IgnoredAny>| Ok::<(), Error>(()));
    let runtime = Runtime::new(unused).layer(InPlaceOf(invoke));
    if pace.concurrency > 1 { runtime.run_concurrent().await } else { runtime.run().await }
}

/// Tells the Runtime API that the function cannot start.
pub async fn report_init_error(problem: &str) {
    let report = ErrorReport { error_type: "Origin.Init", error_message: problem, stack_trace: [] };
    let sent = match report.request("/2018-06-01/runtime/init/error", None) {
        Ok(request) => runtime_api(1).call(request).await.map(|response| response.status()),
        Err(error) => Err(error),
    };
    match sent {
        Ok(status) if status.is_success() => {}
        Ok(status) => error!(%status, "the Runtime API did not take the init error"),
        Err(error) => error!(%error, "the init error did not reach the Runtime API"),
    }
}

fn runtime_api(connections: u32) -> PooledClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    PooledClient::builder().with_connector(connector).with_pool_size(connections as usize).build()
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
    client: Arc<PooledClient>,
    deadline_margin: Duration,
}

impl<S> Clone for Invoke<S> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), client: self.client.clone(), deadline_margin: self.deadline_margin }
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
        let invocation_id = parts.headers.get(INVOCATION_ID);
        let answered = answered.map_err(Failure::from_panic).and_then(|answer| answer.map_err(Failure::Event));
        let (request, record) = match answered {
            Ok(Answer { payload, record }) => {
                let path = format!("/2018-06-01/runtime/invocation/{}/response", context.request_id);
                (post(&path, invocation_id, Body::new(payload))?, Ok(record))
            }
            Err(failure) => {
                let path = format!("/2018-06-01/runtime/invocation/{}/error", context.request_id);
                let message = failure.to_string();
                let report = ErrorReport { error_type: failure.error_type(), error_message: &message, stack_trace: [] };
                (report.request(&path, invocation_id)?, Err(message))
            }
        };
        // An answer that does not arrive is lost; the loop goes on and finds out itself whether the API is gone.
        match self.client.call(request).await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => explain_refusal(&context.request_id, response.status()),
            Err(error) => error!(request_id = context.request_id, %error, "the answer did not reach the Runtime API"),
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

/// An error as the Runtime API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorReport<'a> {
    error_type: &'static str,
    error_message: &'a str,
    stack_trace: [(); 0],
}

impl ErrorReport<'_> {
    fn request(&self, path: &str, invocation_id: Option<&HeaderValue>) -> Result<http::Request<Body>, Error> {
        let mut request = post(path, invocation_id, Body::from(serde_json::to_vec(self)?))?;
        request.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(self.error_type));
        Ok(request)
    }
}

fn post(path: &str, invocation_id: Option<&HeaderValue>, body: Body) -> Result<http::Request<Body>, Error> {
    let mut request = build_request().method(Method::POST).uri(path).body(body)?;
    request.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(id) = invocation_id {
        request.headers_mut().insert(INVOCATION_ID, id.clone());
    }
    Ok(request)
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
