//! Interceptors of the SDK: each attempt is counted and traced, and its response made readable for the SDK.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::user_agent::UserAgentInterceptor;
use aws_sdk_s3::operation::get_object::GetObjectInput;
use aws_sdk_s3::operation::head_object::HeadObjectInput;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeSerializationInterceptorContextRef,
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, disable_interceptor, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use tracing::{Span, field, warn};

use crate::storage::s3::limits::{RETRY_BURST, RETRY_COST};
use crate::storage::s3::response_fields;
use crate::telemetry::throttle::LogThrottle;
use crate::telemetry::trace::child_span;

/// The interval of warnings about header fields.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Counters of the requests to S3.
#[derive(Debug)]
pub(super) struct Attempts {
    /// Requests sent, retries included.
    pub(super) sent: AtomicU64,
    pub(super) retries: AtomicU64,
    /// Responses whose headers have arrived.
    pub(super) responses: AtomicU64,
    /// The budget for repeating a request whose body ended early. The SDK's own token bucket covers the time before the
    /// body, and cannot be shared.
    pub(super) budget: RetryBudget,
    warnings: LogThrottle,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            responses: AtomicU64::new(0),
            budget: RetryBudget::default(),
            warnings: LogThrottle::new(WARNING_INTERVAL),
        }
    }
}

/// A token bucket for retries: a burst of them, then each must be earned by successes.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicUsize);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicUsize::new(Self::CAPACITY))
    }
}

impl RetryBudget {
    const CAPACITY: usize = RETRY_BURST * RETRY_COST;

    /// Takes the tokens of one retry; `false` if there are too few.
    pub(super) fn spend(&self) -> bool {
        let spent = |tokens: usize| tokens.checked_sub(RETRY_COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }

    /// Returns one token after a success.
    pub(super) fn earn(&self) {
        let earned = |tokens: usize| (tokens < Self::CAPACITY).then(|| tokens + 1);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }
}

/// Counts and traces every attempt, and corrects its request and response:
///
/// - It repairs the header fields of a response, of which the SDK rejects odd ones ([`response_fields`]).
/// - It removes the trace header that the SDK takes from the environment: there it names the first invocation for ever.
/// - It names nearedge in User-Agent, for S3's access logs, instead of the SDK's ids and its description of the platform, which S3
///   does not read and which take a twentieth of the instructions of a miss.
#[derive(Debug)]
pub(super) struct EachAttempt(pub(super) Arc<Attempts>);

/// A span that records a timeout if it is dropped before [`finish`](Self::finish).
#[derive(Debug)]
pub(super) struct SpanGuard {
    span: Span,
    finished: bool,
}

impl SpanGuard {
    pub(super) fn new(span: Span) -> Self {
        Self { span, finished: false }
    }

    /// Records success, or this type of error.
    pub(super) fn finish(&mut self, error_type: Option<&str>) {
        self.finished = true;
        if let Some(error_type) = error_type {
            self.span.record("error.type", error_type);
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

impl Storable for SpanGuard {
    type Storer = StoreReplace<Self>;
}

impl Drop for SpanGuard {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(Some("timeout"));
        }
    }
}

/// Marks a call that is only signed: nothing is sent, so nothing is counted.
#[derive(Debug)]
pub(super) struct OnlySigned;

impl Storable for OnlySigned {
    type Storer = StoreReplace<Self>;
}

impl Intercept for OnlySigned {
    fn name(&self) -> &'static str {
        "OnlySigned"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(Self);
        Ok(())
    }
}

/// The requested object, for spans and warnings.
#[derive(Debug)]
struct Target {
    bucket: Option<String>,
    key: Option<String>,
}

impl Storable for Target {
    type Storer = StoreReplace<Self>;
}

/// User-Agent of the requests to S3.
pub(super) const USER_AGENT: &str = concat!("nearedge/", env!("CARGO_PKG_VERSION"));

#[dyn_dispatch_hint]
impl Intercept for EachAttempt {
    fn name(&self) -> &'static str {
        "EachAttempt"
    }

    // Later hooks see only the HTTP request.
    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input();
        let target = match (input.downcast_ref::<GetObjectInput>(), input.downcast_ref::<HeadObjectInput>()) {
            (Some(input), _) => (input.bucket(), input.key()),
            (_, Some(input)) => (input.bucket(), input.key()),
            _ => (None, None),
        };
        let (bucket, key) = (target.0.map(str::to_owned), target.1.map(str::to_owned));
        const CAUSE: &str = "S3 does not read their fields";
        let state = bag.interceptor_state();
        state.store_put(Target { bucket, key });
        state.store_put(disable_interceptor::<UserAgentInterceptor>(CAUSE));
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(CAUSE));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(CAUSE));
        Ok(())
    }

    fn read_before_attempt(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if bag.load::<OnlySigned>().is_some() {
            return Ok(());
        }
        let resends = bag.load::<RequestAttempts>().map_or(0, |attempts| attempts.attempts().saturating_sub(1));
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        self.0.retries.fetch_add(u64::from(resends > 0), Ordering::Relaxed);
        let span = child_span!(
            "S3",
            otel.name = field::Empty,
            otel.kind = "client",
            otel.status_code = field::Empty,
            rpc.system = "aws-api",
            rpc.service = "S3",
            rpc.method = field::Empty,
            aws.s3.bucket = field::Empty,
            aws.s3.key = field::Empty,
            aws.request_id = field::Empty,
            aws.extended_request_id = field::Empty,
            server.address = field::Empty,
            server.port = field::Empty,
            http.request.method = context.request().method(),
            http.request.resend_count = i64::from(resends),
            http.response.status_code = field::Empty,
            "error.type" = field::Empty,
        );
        if span.is_disabled() {
            return Ok(());
        }
        if let Some(operation) = bag.load::<Metadata>() {
            span.record("otel.name", format!("{}.{}", operation.service(), operation.name()));
            span.record("rpc.method", operation.name());
        }
        if let Some(Target { bucket, key }) = bag.load::<Target>() {
            span.record("aws.s3.bucket", bucket.as_deref());
            span.record("aws.s3.key", key.as_deref());
        }
        bag.interceptor_state().store_put(SpanGuard::new(span));
        Ok(())
    }

    // After signing, which does not cover this field.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let fields = context.request_mut().headers_mut();
        fields.remove("x-amzn-trace-id");
        fields.insert("user-agent", USER_AGENT);
        if let Some(SpanGuard { span, .. }) = bag.load::<SpanGuard>()
            && let Ok(uri) = context.request().uri().parse::<http::Uri>()
        {
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
            span.record("server.address", uri.host());
            span.record("server.port", i64::from(port));
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.responses.fetch_add(1, Ordering::Relaxed);
        let response = context.response_mut();
        let status = response.status().as_u16();
        let omitted = response_fields::repair(status, response.headers_mut());
        if !omitted.is_empty()
            && (200..300).contains(&status)
            && let Some(suppressed) = self.0.warnings.admit(Instant::now())
        {
            let key = bag.load::<Target>().and_then(|target| target.key.as_deref());
            let fields = omitted.join(", ");
            warn!(
                key,
                fields,
                suppressed,
                "S3 sent unusable header fields, which the response leaves out: upload the object again"
            );
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(attempt) = bag.get_mut_from_interceptor_state::<SpanGuard>() else { return Ok(()) };
        describe(attempt, context.response());
        // Ends the span now instead of with the next attempt.
        bag.interceptor_state().unset::<SpanGuard>();
        Ok(())
    }
}

/// Records S3's response on the span.
fn describe(attempt: &mut SpanGuard, response: Option<&HttpResponse>) {
    let Some(response) = response else { return attempt.finish(Some("no response")) };
    let (span, status) = (&attempt.span, response.status().as_u16());
    span.record("http.response.status_code", i64::from(status));
    span.record("aws.request_id", response.headers().get("x-amz-request-id"));
    span.record("aws.extended_request_id", response.headers().get("x-amz-id-2"));
    // 304 and 416 are results, and 404 is expected if a variant may lack an object.
    let failed = status >= 500 || matches!(status, 400 | 403);
    attempt.finish(failed.then(|| status.to_string()).as_deref());
}
