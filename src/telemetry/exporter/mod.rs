//! Ended spans → a collector: OTLP over HTTP, or over UDP to X-Ray's daemon as the AWS Distro for OpenTelemetry does it.
//!
//! Spans wait in a queue until the answer is posted; then they are sent, and only then is the next event asked for, so
//! that no freeze loses them. A collector that is slow, dead or absent costs no more than the timeout, once in `PAUSE`,
//! and never an answer. Nothing is sent twice but over an idle connection that turns out to be closed.
//!
//! opentelemetry-otlp would send them too, but it retries, reads the environment by itself, and brings a second HTTP
//! client or none.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_types::body::SdkBody;
use base64_simd::STANDARD;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use prost::Message;
use rustls::RootCertStore;
use tracing::warn;

use crate::http_client::{self, Hyper};
use crate::moment::Moment;
use nearedge_core::error_chain::error_chain;

/// How long a collector that failed is left alone; what ends meanwhile waits in the queue.
const PAUSE: Duration = Duration::from_secs(5);

/// What stands before the spans in a packet
/// ([ADOT's exporter](https://github.com/aws-observability/aws-otel-python-instrumentation): `otlp_udp_exporter.py`):
/// the daemon's header, `T1` for spans of OpenTelemetry, and `S` for sampled ones.
const PACKET_PREFIX: &[u8] = b"{\"format\":\"json\",\"version\":1}\nT1S";

/// The most that a packet holds: what UDP over IPv4 can carry.
const PACKET_BYTES_MAX: usize = 65_507;

/// Where spans go, and at what cost.
#[derive(Debug, Clone)]
pub struct ExportConfig {
    /// Where to.
    pub destination: Destination,
    /// How long all that is sent after an answer may take.
    pub timeout: Duration,
    /// How many spans may wait.
    pub queue_spans: usize,
    /// How many are sent at once.
    pub batch_spans: usize,
    /// How long spans may wait for others, where several invocations run at once.
    pub delay: Duration,
    /// PEM certificates to trust instead of the bundled ones.
    pub certificate: Option<Vec<u8>>,
}

/// Where spans go. `Debug` shows neither the values of header fields nor the query of an address.
#[derive(Clone)]
pub enum Destination {
    /// OTLP over HTTP, in protobuf ([OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp)).
    Http {
        /// The address that spans are posted to.
        endpoint: Uri,
        /// Header fields of each request.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// X-Ray's daemon: `host:port`.
    Udp(String),
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { endpoint, headers } => {
                let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
                f.debug_struct("Http").field("endpoint", &shown(endpoint)).field("headers", &names).finish()
            }
            Self::Udp(address) => f.debug_tuple("Udp").field(address).finish(),
        }
    }
}

/// An address without what may be a key in it: the user, the query.
fn shown(endpoint: &Uri) -> String {
    let (scheme, host) = (endpoint.scheme_str().unwrap_or_default(), endpoint.host().unwrap_or_default());
    let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{}", endpoint.path())
}

/// Ended spans, until they are sent.
#[derive(Debug)]
pub struct SpanQueue {
    spans: Mutex<Vec<SpanData>>,
    most: usize,
    dropped: AtomicU64,
    /// Called when there are enough for a batch.
    enough: tokio::sync::Notify,
    batch: usize,
}

impl SpanQueue {
    /// An empty queue.
    pub fn new(config: &ExportConfig) -> Self {
        Self {
            spans: Mutex::default(),
            most: config.queue_spans,
            dropped: AtomicU64::new(0),
            enough: tokio::sync::Notify::new(),
            // What never comes together is not waited for.
            batch: config.batch_spans.min(config.queue_spans),
        }
    }

    /// How many spans have been dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, span: SpanData) {
        let mut spans = self.spans.lock();
        if spans.len() < self.most {
            spans.push(span);
            if spans.len() == self.batch {
                self.enough.notify_one();
            }
        } else {
            self.drop_spans(1);
        }
    }

    /// The oldest spans, as many as are sent at once.
    fn take(&self) -> Vec<SpanData> {
        let mut spans = self.spans.lock();
        if spans.len() <= self.batch {
            return std::mem::take(&mut *spans);
        }
        let rest = spans.split_off(self.batch);
        std::mem::replace(&mut *spans, rest)
    }

    /// Puts spans back that could not be sent for want of time.
    fn put_back(&self, mut spans: Vec<SpanData>) {
        let mut queue = self.spans.lock();
        spans.append(&mut queue);
        let over = spans.len().saturating_sub(self.most);
        spans.truncate(self.most);
        *queue = spans;
        drop(queue);
        self.drop_spans(over);
    }

    fn drop_spans(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Puts spans into the queue as they end.
#[derive(Debug)]
pub(crate) struct Enqueue(pub(crate) Arc<SpanQueue>);

impl SpanProcessor for Enqueue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans.
pub struct Exporter {
    queue: Arc<SpanQueue>,
    resource: ResourceAttributesWithSchema,
    to: Link,
    timeout: Duration,
    delay: Duration,
    /// Since when the collector is left alone, if it is. Held while something is sent: one batch at a time.
    resting: tokio::sync::Mutex<Option<Moment>>,
}

/// When spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushReason {
    /// Between an answer and the next event, which waits.
    BetweenEvents,
    /// Beside the invocations; nobody waits.
    Background,
    /// At the end: a collector that is left alone is asked all the same.
    Shutdown,
}

enum Link {
    Http(Box<Post>),
    Udp(UdpSocket),
}

struct Post {
    client: Hyper,
    endpoint: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    signer: Option<Signer>,
}

/// Signs requests for X-Ray's own OTLP endpoint, `xray.<region>.amazonaws.com`
/// ([X-Ray OTLP endpoint](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html)).
struct Signer {
    region: String,
    credentials: SharedCredentialsProvider,
}

impl Exporter {
    /// An exporter of what is in the queue. `credentials` sign what goes to AWS; of `anchors` one has to stand behind
    /// the collector's certificate.
    ///
    /// # Errors
    /// When no socket can be had, or TLS cannot be set up: one line.
    pub fn new(
        config: &ExportConfig,
        queue: Arc<SpanQueue>,
        resource: &Resource,
        anchors: RootCertStore,
        credentials: Option<&SharedCredentialsProvider>,
    ) -> Result<Self, String> {
        let to = match &config.destination {
            Destination::Udp(daemon) => {
                Link::Udp(socket(daemon).map_err(|error| format!("no socket to {daemon}: {error}"))?)
            }
            Destination::Http { endpoint, headers } => Link::Http(Box::new(Post {
                client: http_client::hyper(anchors, config.timeout).map_err(|error| error.to_string())?,
                endpoint: endpoint.clone(),
                headers: headers.clone(),
                signer: match (endpoint.host().and_then(xray_region), credentials) {
                    (Some(region), Some(credentials)) => {
                        Some(Signer { region: region.to_owned(), credentials: credentials.clone() })
                    }
                    _ => None,
                },
            })),
        };
        let resource = resource.into();
        Ok(Self {
            queue,
            resource,
            to,
            timeout: config.timeout,
            delay: config.delay,
            resting: tokio::sync::Mutex::default(),
        })
    }

    /// How many spans have been dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Sends what has ended by now, within the timeout and before `latest`. What there is no time for waits; what the
    /// collector does not take is dropped and counted.
    pub async fn flush(&self, reason: FlushReason, latest: Instant) {
        let mut left = self.queue.spans.lock().len();
        let began = tokio::time::Instant::now();
        let deadline = (began + self.timeout).min(latest.into());
        if left == 0 || deadline <= began {
            return;
        }
        let Ok(mut resting) = tokio::time::timeout_at(deadline, self.resting.lock()).await else { return };
        let is_resting = resting.is_some_and(|since| Moment::now().is_within(PAUSE, since));
        if is_resting && reason != FlushReason::Shutdown {
            return;
        }
        *resting = None;
        // Whether the time is our own bound, and not the end of an invocation.
        let is_own_bound = deadline >= began + self.timeout;
        let mut is_first = true;
        while left > 0 {
            let spans = self.queue.take();
            let count = spans.len();
            left = left.saturating_sub(count);
            // Who has less than the whole time to answer in has done nothing wrong by not answering.
            let spare = (!(is_first && is_own_bound)).then(|| spans.clone());
            is_first = false;
            let problem = match (tokio::time::timeout_at(deadline, self.send(spans)).await, spare) {
                (Ok(Ok(())), _) => continue,
                (Ok(Err(problem)), _) => problem,
                (Err(_), None) => format!("no answer within {} ms", self.timeout.as_millis()),
                (Err(_), Some(spare)) => {
                    self.queue.put_back(spare);
                    break;
                }
            };
            self.queue.drop_spans(count);
            *resting = Some(Moment::now());
            warn!(
                spans = count,
                "spans were not taken: {problem}; trying again in {} s. Check OTEL_EXPORTER_OTLP_ENDPOINT and the \
                 collector; OTEL_TRACES_EXPORTER=none turns traces off",
                PAUSE.as_secs()
            );
            return;
        }
        // Or every event would wait for a collector that is merely slow.
        if reason == FlushReason::BetweenEvents && is_own_bound && began.elapsed() > self.timeout / 2 {
            *resting = Some(Moment::now());
        }
    }

    /// Sends by batch, for ever: for an environment that several invocations share, and that is never frozen.
    pub(crate) async fn run(&self) {
        loop {
            let _ = tokio::time::timeout(self.delay, self.queue.enough.notified()).await;
            // Nothing ends before the timeout does.
            self.flush(FlushReason::Background, Instant::now() + 2 * self.timeout).await;
        }
    }

    async fn send(&self, spans: Vec<SpanData>) -> Result<(), String> {
        match &self.to {
            Link::Http(post) => {
                let Post { client, endpoint, headers, signer } = &**post;
                let body = self.request(spans).encode_to_vec();
                let request = || request(endpoint, headers, body.clone());
                let mut first = request()?;
                if let Some(signer) = signer {
                    signer.sign(&mut first, &body).await?;
                }
                let again = first.clone();
                let answered = match client.request(first.map(SdkBody::from)).await {
                    // The collector may have closed the connection while we were frozen.
                    Err(error) if !error.is_connect() => client.request(again.map(SdkBody::from)).await,
                    answered => answered,
                };
                let status = answered.map_err(|error| error_chain(&error))?.status();
                // The rest of the answer is of no interest; what it counts as rejected is the collector's to log.
                if status.is_success() { Ok(()) } else { Err(format!("{} answered {status}", shown(endpoint))) }
            }
            Link::Udp(socket) => self.send_packets(socket, self.request(spans)),
        }
    }

    /// Sends spans in as few packets as hold them; what no packet holds, and what there is no room for, is lost, as UDP's
    /// are, and counted.
    ///
    /// # Errors
    /// When nobody listens. Then what is left of this request counts as not sent.
    fn send_packets(&self, socket: &UdpSocket, mut request: ExportTraceServiceRequest) -> Result<(), String> {
        let packet = packet(&request.encode_to_vec());
        if packet.len() <= PACKET_BYTES_MAX {
            return match socket.send(&packet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.queue.drop_spans(span_count(&request));
                    Ok(())
                }
                // It may be of a packet before this one: another try tells.
                Err(_) => socket.send(&packet).map(drop).map_err(|error| error.to_string()),
                Ok(_) => Ok(()),
            };
        }
        match split_off(&mut request) {
            None => {
                self.queue.drop_spans(1);
                Ok(())
            }
            Some(rest) => {
                self.send_packets(socket, request)?;
                self.send_packets(socket, rest)
            }
        }
    }

    fn request(&self, spans: Vec<SpanData>) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(spans, &self.resource) }
    }
}

fn span_count(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

/// Takes the second half of a request's spans off, with all that is said of them; none if there is only one.
fn split_off(request: &mut ExportTraceServiceRequest) -> Option<ExportTraceServiceRequest> {
    // All our spans are of one resource and one scope.
    let scope_spans = request.resource_spans.first_mut()?.scope_spans.first_mut()?;
    if scope_spans.spans.len() < 2 {
        return None;
    }
    let second = scope_spans.spans.split_off(scope_spans.spans.len() / 2);
    let first = std::mem::replace(&mut scope_spans.spans, second);
    let rest = request.clone();
    request.resource_spans.first_mut()?.scope_spans.first_mut()?.spans = first;
    Some(rest)
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn packet(spans: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(PACKET_PREFIX.len() + STANDARD.encoded_length(spans.len()));
    packet.extend_from_slice(PACKET_PREFIX);
    STANDARD.encode_append(spans, &mut packet);
    packet
}

fn socket(daemon: &str) -> io::Result<UdpSocket> {
    let daemon = daemon.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let any: IpAddr = if daemon.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(daemon)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn request(endpoint: &Uri, headers: &[(HeaderName, HeaderValue)], body: Vec<u8>) -> Result<Request<Vec<u8>>, String> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(body)
        .map_err(|error| error.to_string())?;
    for (name, value) in headers {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

/// The region of X-Ray's own OTLP endpoint.
fn xray_region(host: &str) -> Option<&str> {
    let region = host.strip_prefix("xray.")?;
    region.strip_suffix(".amazonaws.com").or_else(|| region.strip_suffix(".amazonaws.com.cn"))
}

impl Signer {
    async fn sign(&self, request: &mut Request<Vec<u8>>, body: &[u8]) -> Result<(), String> {
        let credentials = self.credentials.provide_credentials().await.map_err(|error| error_chain(&error))?;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("xray")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error_chain(&error))?;
        let fields = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new("POST", uri, fields, SignableBody::Bytes(body));
        let signed =
            signable.and_then(|signable| sign(signable, &parameters.into())).map_err(|error| error_chain(&error))?;
        signed.into_parts().0.apply_to_request_http1x(request);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
