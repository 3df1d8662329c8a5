//! Traces: the parent of an invocation's span, the sampling decision, and the attributes.
//!
//! Spans are created with `tracing`; `tracing-opentelemetry` converts them. An unsampled invocation creates no span.
//! Attribute names follow the semantic conventions for [HTTP], [FaaS] and [the AWS SDK]; those without a convention
//! start with `nearedge.`.
//!
//! [HTTP]: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
//! [FaaS]: https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/
//! [the AWS SDK]: https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/

use std::borrow::Cow;

use nearedge_core::record::Record;
use nearedge_core::request::{Method, Request};
use nearedge_core::store::{FetchError, Source};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// A child of the current span; a disabled span if the invocation is not sampled.
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

/// The value of `http.request.method` for a method that is not known; `http.request.method_original` has its name
/// ([HTTP attributes](https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/)).
const UNKNOWN_METHOD: &str = "_OTHER";

/// The methods of RFC 9110 §9.3 and RFC 5789 that are answered with 405, as the semantic conventions name them.
fn known_method(name: &str) -> Option<&'static str> {
    ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE"].into_iter().find(|known| *known == name)
}

/// How the parent and the sampling of an invocation are decided.
#[derive(Debug, Clone)]
pub struct TracePolicy {
    /// The sampler that `OTEL_TRACES_SAMPLER` names.
    pub sampler: Sampler,
    /// Sampling ratio for invocations that Lambda does not sample, from 0 to 1.
    pub ratio: f64,
    /// Whether Lambda's trace header can name the parent.
    pub lambda: bool,
    /// Whether `traceparent` can name the parent if Lambda does not sample the invocation.
    pub traceparent: bool,
}

/// The value of `Root` in Lambda's header, unvalidated.
fn root_of(header: &str) -> Option<&str> {
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
    /// Parses the header; `None` without a valid trace or parent.
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
        // 1-<8 hexadecimal digits>-<24 hexadecimal digits>
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

/// Parses `traceparent` ([W3C Trace Context §3.2](https://www.w3.org/TR/trace-context/#traceparent-header)).
fn traceparent(field: &str) -> Option<SpanContext> {
    let mut parts = field.trim_ascii().split('-');
    let (version, trace_id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Version 00 has exactly four parts; later versions may have more (§4.3).
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

/// Whether `text` contains only lower-case hexadecimal digits.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(text: &str) -> Option<u64> {
    if is_hex(text) { u64::from_str_radix(text, 16).ok() } else { None }
}

/// An invocation before its response.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The id of the invocation.
    pub request_id: &'a str,
    /// Lambda's trace header.
    pub header: Option<&'a str>,
    /// The viewer's request.
    pub request: &'a Request<'a>,
    /// Whether the request carries the secret. Without it, its `traceparent` is ignored.
    pub trusted: bool,
    /// The invoked ARN.
    pub arn: &'a str,
    /// Whether this is the first invocation of the environment.
    pub cold: bool,
}

impl TracePolicy {
    /// Whether the sampler follows the decision of a parent.
    fn follows_parent(&self) -> bool {
        matches!(self.sampler, Sampler::ParentBased(_))
    }

    /// Whether `ratio` samples a trace that Lambda does not sample.
    fn samples(&self, trace_id: TraceId) -> bool {
        let sampler = Sampler::TraceIdRatioBased(self.ratio);
        let sampled = sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]).decision;
        sampled == SamplingDecision::RecordAndSample
    }

    /// The parent of the invocation's span: Lambda's if Lambda samples it, or else the first sampled one of
    /// `traceparent` and Lambda's, or else an unsampled one.
    fn parent(&self, incoming: &Incoming<'_>) -> Option<SpanContext> {
        let header = incoming.header.filter(|_| self.lambda).and_then(LambdaHeader::parse);
        if let Some(header) = header.filter(|header| header.sampled) {
            return Some(header.context(true));
        }
        let field = incoming.request.traceparent.as_deref().filter(|_| self.traceparent && incoming.trusted);
        let from_request = field.and_then(traceparent);
        let from_lambda = header.map(|header| header.context(self.samples(header.trace_id)));
        let sampled = [&from_request, &from_lambda].into_iter().flatten().find(|context| context.is_sampled()).cloned();
        sampled.or(from_request).or(from_lambda)
    }

    /// Whether Lambda's header contains `Sampled=0`, even if the rest of it is invalid.
    fn is_unsampled_by_lambda(&self, header: Option<&str>) -> bool {
        self.lambda && header.is_some_and(|header| header.contains("Sampled=0"))
    }

    /// Whether Lambda's header alone decides against sampling. Most invocations take this path, which parses nothing.
    fn is_unsampled_without_parsing(&self, incoming: &Incoming<'_>) -> bool {
        let only_lambda_decides = incoming.request.traceparent.is_none() && self.ratio == 0.0;
        only_lambda_decides && self.follows_parent() && self.is_unsampled_by_lambda(incoming.header)
    }

    /// The server span of an invocation; a disabled span if it is not sampled.
    pub fn begin(&self, incoming: &Incoming<'_>) -> Span {
        if self.is_unsampled_without_parsing(incoming) {
            return Span::none();
        }
        let parent = self.parent(incoming);
        let is_sampled = match &parent {
            Some(parent) => parent.is_sampled(),
            None => !self.is_unsampled_by_lambda(incoming.header),
        };
        if self.follows_parent() && !is_sampled {
            return Span::none();
        }
        let method = match incoming.request.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Other => known_method(&incoming.request.other_method).unwrap_or(UNKNOWN_METHOD),
        };
        let span = tracing::info_span!(
            parent: None,
            "invocation",
            otel.name = if method == UNKNOWN_METHOD { "HTTP" } else { method },
            otel.kind = "server",
            http.request.method = method,
            http.request.method_original = field::Empty,
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
            nearedge.experiments = field::Empty,
            nearedge.outcome = field::Empty,
            nearedge.cache = field::Empty,
            nearedge.secret = field::Empty,
            nearedge.body_bytes = field::Empty,
            otel.status_code = field::Empty,
            otel.status_description = field::Empty,
        );
        if method == UNKNOWN_METHOD {
            span.record("http.request.method_original", &*incoming.request.other_method);
        }
        if let Some(parent) = parent {
            // Fails if no layer collects spans, which is harmless.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        span
    }
}

/// The trace id for the log line of an invocation: in the format of Lambda's header if its span belongs to that trace.
pub(crate) fn trace_id<'a>(span: &Span, header: Option<&'a str>) -> Option<Cow<'a, str>> {
    let root = header.and_then(root_of);
    if span.is_disabled() {
        return root.map(Cow::Borrowed);
    }
    let id = span.context().span().span_context().trace_id().to_string();
    let is_same = root.is_some_and(|root| {
        root.strip_prefix("1-")
            .and_then(|root| root.split_once('-'))
            .is_some_and(|(seconds, rest)| id.strip_prefix(seconds) == Some(rest))
    });
    root.filter(|_| is_same).map(Cow::Borrowed).or(Some(Cow::Owned(id)))
}

/// Records the result of the invocation on its server span.
pub(crate) fn finish(span: &Span, record: &Record) {
    if span.is_disabled() {
        return;
    }
    // Only for failures: a stale response hides the error from the viewer, and the log line contains it.
    let error = record.error.as_ref().filter(|_| record.status >= 500).and_then(FetchError::cause);
    let error = error.map(ToString::to_string);
    span.record("http.response.status_code", i64::from(record.status));
    span.record("nearedge.outcome", record.outcome);
    span.record("nearedge.body_bytes", i64::try_from(record.body_bytes).unwrap_or(i64::MAX));
    for (name, value) in [
        ("nearedge.key", record.key.as_ref().map(|key| key.as_str())),
        ("nearedge.variant", record.variant()),
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

/// Records on the server span why the invocation has no response.
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
    fn lambdas_header_names_trace_parent_and_sampling() {
        let parsed =
            LambdaHeader::parse("Root=1-5759e988-bd862e3fe1be46a994272793; Parent=53995c3f42cd8ad8; Sampled=1")
                .unwrap();
        assert_eq!(root_of(&header(1)), Some(ROOT));
        assert_eq!(parsed.trace_id.to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!((parsed.parent.to_string().as_str(), parsed.sampled), ("53995c3f42cd8ad8", true));
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
    fn w3c_3_2_traceparent_is_parsed_and_an_invalid_one_ignored() {
        let parse = |field: &str| traceparent(field).map(|context| (context.is_sampled(), context.is_remote()));
        let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        assert_eq!(parse(&format!("00-{ids}-01")), Some((true, true)));
        assert_eq!(parse(&format!("00-{ids}-00")), Some((false, true)));
        assert_eq!(parse(&format!("cc-{ids}-01-of-the-future")), Some((true, true)));
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
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn lambdas_sampled_parent_comes_first_then_traceparent() {
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
        assert_eq!(parent(&all, &header(0), Some(unsampled)), of_lambda(true), "trace_ratio samples Lambda's trace");
        let neither = TracePolicy { lambda: false, traceparent: false, ..policy };
        assert_eq!(parent(&neither, &header(1), Some(viewer)), None);
    }

    #[test]
    fn an_untrusted_traceparent_never_becomes_the_parent() {
        let request = Request {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            ..Request::default()
        };
        let headers = [Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"), None];
        for (header, unsampled) in [(headers[0], true), (headers[1], false)] {
            let incoming = Incoming { request_id: "", header, request: &request, trusted: false, arn: "", cold: false };
            assert!(policy(0.0).parent(&incoming).is_none());
            assert_eq!(policy(0.0).is_unsampled_by_lambda(header), unsampled, "{header:?}");
        }
    }

    #[test]
    fn trace_ratio_samples_its_share_of_what_lambda_does_not() {
        let sampled = |ratio: f64| {
            let policy = policy(ratio);
            let traces = (0..2_000_u64).map(|number| {
                let low = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                format!("Root=1-5759e988-bd862e3f{low:016x};Parent=53995c3f42cd8ad8;Sampled=0")
            });
            traces.filter(|header| parent(&policy, header, None).unwrap().2).count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 2_000));
        assert!((150..250).contains(&sampled(0.1)), "{}", sampled(0.1));
    }

    proptest! {
        #[test]
        fn no_trace_header_causes_a_panic(header in "(Root=1-)?[0-9a-f;=A-Zé-]{0,60}(;Parent=[0-9a-fé]{0,17})?", field in "[0-9a-fé-]{0,60}") {
            let _ = LambdaHeader::parse(&header);
            let _ = traceparent(&field);
        }
    }
}
