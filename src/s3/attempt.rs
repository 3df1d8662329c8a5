//! What is done at each attempt of a call to S3: it is counted, traced, and its response made readable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use aws_sdk_s3::operation::get_object::GetObjectInput;
use aws_sdk_s3::operation::head_object::HeadObjectInput;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeSerializationInterceptorContextRef,
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use tracing::{Span, field};

use crate::trace::child_span;

/// The fields that are lists, so that several are one (RFC 9110 §5.3).
const LISTS: [&str; 3] = ["cache-control", "content-encoding", "content-language"];

/// How many requests have been made.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub(super) made: AtomicU64,
    pub(super) retries: AtomicU64,
    /// How many responses have begun.
    pub(super) heads: AtomicU64,
    /// For bodies that break off; the SDK has its own for what comes before them, and lends it to nobody.
    pub(super) budget: Budget,
}

/// What retries are paid with: so many in a row, then each needs successes.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicUsize::new(Self::MOST))
    }
}

impl Budget {
    const MOST: usize = super::RETRIES_IN_A_ROW * super::RETRY_COST;

    /// Pays for a retry; `false` when there is not enough for one.
    pub(super) fn pay(&self) -> bool {
        let paid = |tokens: usize| tokens.checked_sub(super::RETRY_COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).is_ok()
    }

    /// Something went well.
    pub(super) fn earn(&self) {
        let earned = |tokens: usize| (tokens < Self::MOST).then(|| tokens + 1);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }
}

/// Counts and traces attempts. Joins a response's repeated fields before the SDK reads them: it takes two of a name
/// for nonsense, and a proxy on the way to an S3 may well send two. And takes off the trace id that the SDK reads from
/// the environment: there it is that of the first invocation, for good.
#[derive(Debug)]
pub(super) struct EachAttempt(pub(super) Arc<Attempts>);

/// The span of something that may be given up half-way.
#[derive(Debug)]
pub(super) struct Unfinished {
    span: Span,
    finished: bool,
}

impl Unfinished {
    pub(super) fn new(span: Span) -> Self {
        Self { span, finished: false }
    }

    /// It ended, well or with this kind of error.
    pub(super) fn finish(&mut self, error_type: Option<&str>) {
        self.finished = true;
        if let Some(error_type) = error_type {
            self.span.record("error.type", error_type);
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

impl Storable for Unfinished {
    type Storer = StoreReplace<Self>;
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Nobody waits for it any more: its time was over.
        if !self.finished {
            self.finish(Some("timeout"));
        }
    }
}

/// Marks a call that is only signed: no request is made, and none is counted.
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

/// What is asked for, for the span.
#[derive(Debug)]
struct Target {
    bucket: Option<String>,
    key: Option<String>,
}

impl Storable for Target {
    type Storer = StoreReplace<Self>;
}

impl Intercept for EachAttempt {
    fn name(&self) -> &'static str {
        "EachAttempt"
    }

    // Later there is only the request that came of it.
    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if !Span::current().is_disabled() {
            let input = context.input();
            let target = match (input.downcast_ref::<GetObjectInput>(), input.downcast_ref::<HeadObjectInput>()) {
                (Some(input), _) => (input.bucket(), input.key()),
                (_, Some(input)) => (input.bucket(), input.key()),
                _ => (None, None),
            };
            let (bucket, key) = (target.0.map(str::to_owned), target.1.map(str::to_owned));
            bag.interceptor_state().store_put(Target { bucket, key });
        }
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
        self.0.made.fetch_add(1, Ordering::Relaxed);
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
        bag.interceptor_state().store_put(Unfinished::new(span));
        Ok(())
    }

    // After signing, which leaves this field out.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().remove("x-amzn-trace-id");
        if let Some(Unfinished { span, .. }) = bag.load::<Unfinished>()
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
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.heads.fetch_add(1, Ordering::Relaxed);
        let headers = context.response_mut().headers_mut();
        for name in LISTS {
            if headers.get_all(name).nth(1).is_some() {
                let joined = headers.get_all(name).collect::<Vec<_>>().join(", ");
                headers.try_insert(name, joined)?;
            }
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(attempt) = bag.get_mut_from_interceptor_state::<Unfinished>() else { return Ok(()) };
        describe(attempt, context.response());
        // It ends here, not with the next attempt.
        bag.interceptor_state().unset::<Unfinished>();
        Ok(())
    }
}

/// Says on the span what S3 answered, if it did.
fn describe(attempt: &mut Unfinished, response: Option<&HttpResponse>) {
    let Some(response) = response else { return attempt.finish(Some("no response")) };
    let (span, status) = (&attempt.span, response.status().as_u16());
    span.record("http.response.status_code", i64::from(status));
    span.record("aws.request_id", response.headers().get("x-amz-request-id"));
    span.record("aws.extended_request_id", response.headers().get("x-amz-id-2"));
    // 304 and 416 are answers, and 404 is what is asked for when a variant may lack an object.
    let failed = status >= 500 || matches!(status, 400 | 403);
    attempt.finish(failed.then(|| status.to_string()).as_deref());
}
