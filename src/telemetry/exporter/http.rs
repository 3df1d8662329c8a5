//! OTLP over HTTP: posts batches to a collector, and signs them for X-Ray's own endpoint.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_types::body::SdkBody;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use nearedge_core::error_chain::error_chain;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rustls::RootCertStore;

use crate::http_client::{self, HyperClient};
use crate::telemetry::exporter::config::redacted;

/// Posts batches to a collector.
pub(super) struct HttpSender {
    client: HyperClient,
    endpoint: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    signer: Option<Signer>,
}

impl HttpSender {
    /// A sender to `endpoint`. It trusts `anchors`, and signs with `credentials` if the endpoint is X-Ray's.
    ///
    /// # Errors
    /// If TLS cannot be set up: one line.
    pub(super) fn new(
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
            signer: match (endpoint.host().and_then(xray_region), credentials) {
                (Some(region), Some(credentials)) => {
                    Some(Signer { region: region.to_owned(), credentials: credentials.clone() })
                }
                _ => None,
            },
        })
    }

    /// Posts one batch, and retries once after an error on an established connection.
    ///
    /// # Errors
    /// If the collector cannot be reached or does not accept the batch: one line.
    pub(super) async fn send(&self, batch: ExportTraceServiceRequest) -> Result<(), String> {
        let Self { client, endpoint, headers, signer } = self;
        let body = batch.encode_to_vec();
        drop(batch);
        let mut request = post(endpoint, headers, body.clone())?;
        if let Some(signer) = signer {
            signer.sign(&mut request, &body).await?;
        }
        let retry = request.clone();
        let response = match http_client::send(client, request.map(SdkBody::from)).await {
            // The collector may have closed an idle connection while the environment was frozen.
            Err(error) if !error.is_connect() => http_client::send(client, retry.map(SdkBody::from)).await,
            response => response,
        };
        let status = response.map_err(|error| error_chain(&error))?.status();
        // The response body is not read: it only counts spans that the collector rejects, which the collector can log.
        if status.is_success() { Ok(()) } else { Err(format!("{} responded {status}", redacted(endpoint))) }
    }
}

/// Signs requests to X-Ray's own OTLP endpoint, `xray.<region>.amazonaws.com`
/// ([X-Ray OTLP endpoint](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html)).
pub(super) struct Signer {
    pub(super) region: String,
    pub(super) credentials: SharedCredentialsProvider,
}

impl Signer {
    /// Adds the signature's header fields to `request`.
    pub(super) async fn sign(&self, request: &mut Request<Vec<u8>>, body: &[u8]) -> Result<(), String> {
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

/// The region in the host name of X-Ray's own OTLP endpoint; `None` for other hosts.
pub(super) fn xray_region(host: &str) -> Option<&str> {
    let region = host.strip_prefix("xray.")?;
    region.strip_suffix(".amazonaws.com").or_else(|| region.strip_suffix(".amazonaws.com.cn"))
}
