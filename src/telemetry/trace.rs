//! Traces: whose child an invocation is, whether it is sampled, and the spans that it is made of.
//!
//! Spans are `tracing`'s; `tracing-opentelemetry` makes OpenTelemetry's of them. An invocation that is not sampled makes
//! none at all. Names follow the semantic conventions for [HTTP], [FaaS] and [the AWS SDK]; what they have no name for
//! begins with `nearedge.`.
//!
//! [HTTP]: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
//! [FaaS]: https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/
//! [the AWS SDK]: https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/

use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use nearedge_core::record::Record;
use nearedge_core::request::{Method, Request};
use nearedge_core::store::{FetchError, Source};

/// A span of the current one; none where the invocation is not sampled.
macro_rules! child_span {
    ($name:literal $(, $($field:tt)*)?) => {
        if tracing::Span::current().is_disabled() {
            tracing::Span::none()
        } else {
            tracing::info_span!($name $(, $($field)*)?)
        }
    };
}
pub(crate) use child_span;

/// How the sampling and the parent of an invocation are decided.
#[derive(Debug, Clone)]
pub struct TracePolicy {
    /// `OTEL_TRACES_SAMPLER`.
    pub sampler: Sampler,
    /// How many of the invocations are sampled that Lambda's header says no to: from 0 to 1.
    pub ratio: f64,
    /// Whether Lambda's trace header names the parent.
    pub lambda: bool,
    /// Whether `traceparent` names it, where Lambda's header does not say that it is sampled.
    pub traceparent: bool,
}

/// The trace that Lambda's header names, as it is written there, unchecked.
pub(crate) fn root_of(header: &str) -> Option<&str> {
    let root = header.split_once("Root=")?.1;
    Some(root.split_once(';').map_or(root, |(root, _)| root))
}

/// Lambda's trace header
/// ([tracing header](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LambdaHeader {
    trace_id: TraceId,
    parent: SpanId,
    sampled: bool,
}

impl LambdaHeader {
    /// Reads the header; `None` if it names no trace or no parent.
    fn parse(header: &str) -> Option<Self> {
        let (mut root, mut parent, mut sampled) = (None, None, false);
        for field in header.split(';') {
            match field.trim_ascii().split_once('=') {
                Some(("Root", value)) => root = Some(value),
                Some(("Parent", value)) => parent = span_id(value),
                Some(("Sampled", value)) => sampled = value == "1",
                _ => {}
            }
        }
        let root = root?;
        // 1-<8 hexadecimal digits>-<24>.
        let (seconds, rest) = root.strip_prefix("1-")?.split_once('-')?;
        if (seconds.len(), rest.len()) != (8, 24) {
            return None;
        }
        let (high, low) = (hex(seconds)?, hex(rest.get(..8)?)?);
        let trace_id = u128::from(high) << 96 | u128::from(low) << 64 | u128::from(hex(rest.get(8..)?)?);
        (trace_id != 0).then_some(Self { trace_id: trace_id.into(), parent: parent?, sampled })
    }

    fn context(self, sampled: bool) -> SpanContext {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        SpanContext::new(self.trace_id, self.parent, flags, true, TraceState::default())
    }
}

/// Reads `traceparent` ([W3C Trace Context §3.2](https://www.w3.org/TR/trace-context/#traceparent-header)).
fn traceparent(field: &str) -> Option<SpanContext> {
    let mut parts = field.trim_ascii().split('-');
    let (version, trace_id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may have more to say; this one may not (§4.3).
    let known = version.len() == 2 && is_hex(version) && version != "ff" && (version != "00" || parts.next().is_none());
    if !known || trace_id.len() != 32 || flags.len() != 2 || !is_hex(flags) {
        return None;
    }
    let trace_id = u128::from(hex(trace_id.get(..16)?)?) << 64 | u128::from(hex(trace_id.get(16..)?)?);
    let flags = TraceFlags::new(u8::try_from(hex(flags)?).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace_id.into(), span_id(parent)?, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

fn span_id(text: &str) -> Option<SpanId> {
    let id = hex(text).filter(|id| text.len() == 16 && *id != 0)?;
    Some(id.into())
}

/// Lower-case hexadecimal digits and nothing else.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(text: &str) -> Option<u64> {
    if is_hex(text) { u64::from_str_radix(text, 16).ok() } else { None }
}

/// What is known of an invocation before it is answered.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its id.
    pub request_id: &'a str,
    /// Lambda's trace header.
    pub header: Option<&'a str>,
    /// What was asked.
    pub request: &'a Request<'a>,
    /// Whether the request has the secret: nobody else may say that it is to be traced.
    pub trusted: bool,
    /// The ARN that was invoked.
    pub arn: &'a str,
    /// Whether it is the environment's first.
    pub cold: bool,
}

impl TracePolicy {
    /// Whether the sampler leaves it to the parent, if there is one.
    fn follows_parent(&self) -> bool {
        matches!(self.sampler, Sampler::ParentBased(_))
    }

    /// Whether our own ratio picks a trace that Lambda does not sample.
    fn picks(&self, trace_id: TraceId) -> bool {
        let sampler = Sampler::TraceIdRatioBased(self.ratio);
        let sampled = sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]).decision;
        sampled == SamplingDecision::RecordAndSample
    }

    /// Whose child the invocation is.
    fn parent(&self, incoming: &Incoming<'_>) -> Option<SpanContext> {
        let header = incoming.header.filter(|_| self.lambda).and_then(LambdaHeader::parse);
        if let Some(header) = header.filter(|header| header.sampled) {
            return Some(header.context(true));
        }
        let field = incoming.request.traceparent.as_deref().filter(|_| self.traceparent && incoming.trusted);
        let viewers = field.and_then(traceparent);
        let ours = header.map(|header| header.context(self.picks(header.trace_id)));
        let sampled = [&viewers, &ours].into_iter().flatten().find(|context| context.is_sampled()).cloned();
        sampled.or(viewers).or(ours)
    }

    /// Whether Lambda says no to an invocation, whatever else its header says.
    fn is_refused(&self, header: Option<&str>) -> bool {
        self.lambda && header.is_some_and(|header| header.contains("Sampled=0"))
    }

    /// Whether it takes one look to know that an invocation is not sampled: most are not, and each would pay for the rest.
    fn is_refused_at_once(&self, incoming: &Incoming<'_>) -> bool {
        let nobody_else = incoming.request.traceparent.is_none() && self.ratio == 0.0;
        nobody_else && self.follows_parent() && self.is_refused(incoming.header)
    }

    /// The server span of an invocation; none where it is not sampled.
    pub fn begin(&self, incoming: &Incoming<'_>) -> Span {
        if self.is_refused_at_once(incoming) {
            return Span::none();
        }
        let parent = self.parent(incoming);
        let is_sampled = match &parent {
            Some(parent) => parent.is_sampled(),
            None => !self.is_refused(incoming.header),
        };
        if self.follows_parent() && !is_sampled {
            return Span::none();
        }
        let method = match incoming.request.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Other => "_OTHER",
        };
        let span = tracing::info_span!(
            parent: None,
            "invocation",
            otel.name = if method == "_OTHER" { "HTTP" } else { method },
            otel.kind = "server",
            http.request.method = method,
            http.response.status_code = field::Empty,
            url.scheme = "https",
            url.path = &*incoming.request.path,
            faas.trigger = "http",
            faas.invocation_id = incoming.request_id,
            faas.coldstart = incoming.cold,
            cloud.resource_id = incoming.arn,
            "error.type" = field::Empty,
            nearedge.key = field::Empty,
            nearedge.variant = field::Empty,
            nearedge.outcome = field::Empty,
            nearedge.cache = field::Empty,
            nearedge.secret = field::Empty,
            nearedge.body_bytes = field::Empty,
            otel.status_code = field::Empty,
            otel.status_description = field::Empty,
        );
        if let Some(parent) = parent {
            // It fails where nobody collects spans, which is as well.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        span
    }
}

/// The trace of an invocation, for its log line: as Lambda's header has it, if its span is part of that.
pub(crate) fn trace_id<'a>(span: &Span, header: Option<&'a str>) -> Option<Cow<'a, str>> {
    let of_lambda = header.and_then(root_of);
    if span.is_disabled() {
        return of_lambda.map(Cow::Borrowed);
    }
    let id = span.context().span().span_context().trace_id().to_string();
    let same = of_lambda.is_some_and(|root| {
        root.strip_prefix("1-")
            .and_then(|root| root.split_once('-'))
            .is_some_and(|(seconds, rest)| id.strip_prefix(seconds) == Some(rest))
    });
    of_lambda.filter(|_| same).map(Cow::Borrowed).or(Some(Cow::Owned(id)))
}

/// Says on the server span what became of the invocation.
pub(crate) fn finish(span: &Span, record: &Record) {
    if span.is_disabled() {
        return;
    }
    // Formatted for failures only: a stale response hides its error from the viewer, and the log line has it.
    let error = record.error.as_ref().filter(|_| record.status >= 500).and_then(FetchError::cause);
    let error = error.map(ToString::to_string);
    span.record("http.response.status_code", i64::from(record.status));
    span.record("nearedge.outcome", record.outcome);
    span.record("nearedge.body_bytes", i64::try_from(record.body_bytes).unwrap_or(i64::MAX));
    for (name, value) in [
        ("nearedge.key", record.key.as_ref().map(|key| key.as_str())),
        ("nearedge.variant", record.variant.as_deref()),
        ("nearedge.cache", record.source.map(Source::name)),
        ("nearedge.secret", record.secret.map(|secret| secret.name())),
        ("otel.status_description", error.as_deref()),
    ] {
        if let Some(value) = value {
            span.record(name, value);
        }
    }
    if record.status >= 500 {
        span.record("error.type", record.outcome);
        span.record("otel.status_code", "ERROR");
    }
}

/// Says on the server span that there is no answer, and why.
pub(crate) fn fail(span: &Span, error_type: &str, message: &str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

    fn policy(ratio: f64) -> TracePolicy {
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        TracePolicy { sampler, ratio, lambda: true, traceparent: true }
    }

    fn parent(policy: &TracePolicy, header: &str, traceparent: Option<&str>) -> Option<(String, String, bool)> {
        let request = Request { traceparent: traceparent.map(Into::into), ..Request::default() };
        let incoming =
            Incoming { request_id: "", header: Some(header), request: &request, trusted: true, arn: "", cold: false };
        let context = policy.parent(&incoming)?;
        Some((context.trace_id().to_string(), context.span_id().to_string(), context.is_sampled()))
    }

    fn header(sampled: u8) -> String {
        format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled={sampled};Lineage=1:a1b2:0")
    }

    #[test]
    fn lambdas_header_names_the_trace_the_parent_and_whether_it_is_sampled() {
        let read = LambdaHeader::parse("Root=1-5759e988-bd862e3fe1be46a994272793; Parent=53995c3f42cd8ad8; Sampled=1")
            .unwrap();
        assert_eq!(root_of(&header(1)), Some(ROOT));
        assert_eq!(read.trace_id.to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!((read.parent.to_string().as_str(), read.sampled), ("53995c3f42cd8ad8", true));
        for bad in [
            "",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a99427279;Parent=53995c3f42cd8ad8",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000000",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=+3995c3f42cd8ad8",
        ] {
            assert_eq!(LambdaHeader::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn w3c_3_2_a_traceparent_is_read_and_what_is_none_is_ignored() {
        let read = |field: &str| traceparent(field).map(|context| (context.is_sampled(), context.is_remote()));
        let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        assert_eq!(read(&format!("00-{ids}-01")), Some((true, true)));
        assert_eq!(read(&format!("00-{ids}-00")), Some((false, true)));
        assert_eq!(read(&format!("cc-{ids}-01-of-the-future")), Some((true, true)));
        for bad in [
            String::new(),
            format!("00-{ids}"),
            format!("00-{ids}-01-more"),
            format!("ff-{ids}-01"),
            format!("0-{ids}-01"),
            format!("00-{}-01", ids.to_uppercase()),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(),
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_parent_is_lambdas_where_it_samples_then_traceparents_then_lambdas() {
        let policy = policy(0.0);
        let viewer = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of_lambda =
            |sampled| Some(("5759e988bd862e3fe1be46a994272793".to_owned(), "53995c3f42cd8ad8".to_owned(), sampled));
        let of_viewer = Some(("0af7651916cd43dd8448eb211c80319c".to_owned(), "b7ad6b7169203331".to_owned(), true));
        assert_eq!(parent(&policy, &header(1), Some(viewer)), of_lambda(true));
        assert_eq!(parent(&policy, &header(0), Some(viewer)), of_viewer);
        assert_eq!(parent(&policy, &header(0), Some("nonsense")), of_lambda(false));
        assert_eq!(parent(&policy, "", Some(viewer)), of_viewer);
        assert_eq!(parent(&policy, "", None), None);
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert!(!parent(&policy, &header(0), Some(unsampled)).unwrap().2);
        let all = TracePolicy { ratio: 1.0, ..policy.clone() };
        assert_eq!(parent(&all, &header(0), Some(unsampled)), of_lambda(true), "our own share is ours");
        let neither = TracePolicy { lambda: false, traceparent: false, ..policy };
        assert_eq!(parent(&neither, &header(1), Some(viewer)), None);
    }

    #[test]
    fn what_lambda_refuses_without_a_parent_is_no_root_of_ours_and_strangers_sample_nothing() {
        let request = Request {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            ..Request::default()
        };
        let headers = [Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"), None];
        for (header, trusted, refused) in [(headers[0], false, true), (headers[1], false, false)] {
            let incoming = Incoming { request_id: "", header, request: &request, trusted, arn: "", cold: false };
            assert!(policy(0.0).parent(&incoming).is_none());
            assert_eq!(policy(0.0).is_refused(header), refused, "{header:?}");
        }
    }

    #[test]
    fn of_those_that_lambda_does_not_sample_our_own_ratio_takes_its_share_by_the_trace() {
        let picked = |ratio: f64| {
            let policy = policy(ratio);
            let traces = (0..2_000_u64).map(|number| {
                let low = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                format!("Root=1-5759e988-bd862e3f{low:016x};Parent=53995c3f42cd8ad8;Sampled=0")
            });
            traces.filter(|header| parent(&policy, header, None).unwrap().2).count()
        };
        assert_eq!((picked(0.0), picked(1.0)), (0, 2_000));
        assert!((150..250).contains(&picked(0.1)), "{}", picked(0.1));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "(Root=1-)?[0-9a-f;=A-Zé-]{0,60}(;Parent=[0-9a-fé]{0,17})?", field in "[0-9a-fé-]{0,60}") {
            let _ = LambdaHeader::parse(&header);
            let _ = traceparent(&field);
        }
    }
}
