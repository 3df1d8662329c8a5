//! OTLP over HTTP: posts batches to a collector, and signs them for AWS's own endpoints.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_types::body::SdkBody;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use nearedge_core::error_chain::error_chain;
use rustls::RootCertStore;

use crate::http_client::{self, HyperClient};
use crate::telemetry::exporter::config::redacted;

/// Posts batches to a collector.
pub(in crate::telemetry) struct HttpSender {
    client: HyperClient,
    endpoint: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    signer: Option<Signer>,
}

impl HttpSender {
    /// A sender to `endpoint`. It trusts `anchors`, and signs with `credentials` if the endpoint is AWS's and `headers` do
    /// not authorize requests already.
    ///
    /// # Errors
    /// If TLS cannot be set up: one line.
    pub(in crate::telemetry) fn new(
        endpoint: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        anchors: RootCertStore,
        connect_timeout: Duration,
        credentials: Option<&SharedCredentialsProvider>,
    ) -> Result<Self, String> {
        Ok(Self {
            client: http_client::hyper_client(anchors, connect_timeout).map_err(|error| error.to_string())?,
            endpoint: endpoint.clone(),
            headers: headers.to_vec(),
            signer: Signer::of(endpoint, headers, credentials),
        })
    }

    /// Posts one message, and retries once after an error on an established connection.
    ///
    /// # Errors
    /// If the collector cannot be reached or does not accept the message.
    pub(in crate::telemetry) async fn post(&self, body: Vec<u8>) -> Result<(), SendError> {
        let Self { client, endpoint, headers, signer } = self;
        let lasting = |problem| SendError { problem, is_temporary: false };
        let mut request = post(endpoint, headers, body.clone()).map_err(lasting)?;
        if let Some(signer) = signer {
            // The next attempt may find credentials again.
            let temporary = |problem| SendError { problem, is_temporary: true };
            signer.sign(&mut request, &body).await.map_err(temporary)?;
        }
        drop(body);
        let retry = request.clone();
        let response = match http_client::send(client, request.map(SdkBody::from)).await {
            // The collector may have closed an idle connection while the environment was frozen.
            Err(error) if !error.is_connect() => http_client::send(client, retry.map(SdkBody::from)).await,
            response => response,
        };
        let response =
            response.map_err(|error| SendError { problem: error_chain(&error), is_temporary: error.is_connect() })?;
        // The response body is not read: it only counts what the collector rejects, which the collector can log.
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let problem = format!("{} responded {status}", redacted(endpoint));
        Err(SendError { problem, is_temporary: is_temporary(status) })
    }
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::telemetry) struct SendError {
    /// One line without a secret.
    pub(in crate::telemetry) problem: String,
    /// Whether it was not accepted, and may be accepted later. After a timeout this is not known.
    pub(in crate::telemetry) is_temporary: bool,
}

/// Whether the same request may succeed later
/// ([OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes)).
fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Signs requests to AWS's own OTLP endpoints, such as `xray.<region>.amazonaws.com`
/// ([OTLP endpoints](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html)).
pub(super) struct Signer {
    pub(super) service: &'static str,
    pub(super) region: String,
    pub(super) credentials: SharedCredentialsProvider,
}

impl Signer {
    /// The signer for an endpoint; `None` for a collector, and for header fields with an authorization of their own, such as
    /// CloudWatch's API keys.
    pub(super) fn of(
        endpoint: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        credentials: Option<&SharedCredentialsProvider>,
    ) -> Option<Self> {
        let (service, region) = service_and_region(endpoint.host()?)?;
        let is_authorized = headers.iter().any(|(name, _)| name == AUTHORIZATION);
        let credentials = credentials.filter(|_| !is_authorized)?.clone();
        Some(Self { service, region: region.to_owned(), credentials })
    }

    /// Adds the signature's header fields to `request`.
    pub(super) async fn sign(&self, request: &mut Request<Vec<u8>>, body: &[u8]) -> Result<(), String> {
        let credentials = self.credentials.provide_credentials().await.map_err(|error| error_chain(&error))?;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
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

/// A request that posts `body`.
pub(super) fn post(
    endpoint: &Uri,
    headers: &[(HeaderName, HeaderValue)],
    body: Vec<u8>,
) -> Result<Request<Vec<u8>>, String> {
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

/// The service and the region in the host name of one of AWS's own OTLP endpoints; `None` for other hosts.
pub(super) fn service_and_region(host: &str) -> Option<(&'static str, &str)> {
    let (service, rest) = host.split_once('.')?;
    let service = ["xray", "monitoring"].into_iter().find(|known| *known == service)?;
    let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    Some((service, region))
}
