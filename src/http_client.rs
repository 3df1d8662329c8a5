//! The HTTP client of aws-sdk-s3 and of the span exporter: hyper, HTTP/1.1 over rustls, with linked-in trust anchors.
//!
//! aws-smithy-http-client would add HTTP/2, proxies and the system's certificates: half a megabyte that S3 does not
//! need, and most of a cold start for reading 140 certificates.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// How long an idle connection is kept. S3 closes connections sooner.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Upper bound of the header fields of a response. S3 accepts 2 kB of metadata, which hold fewer.
const HEADER_FIELDS_MAX: usize = 1024;

/// The default trust anchors: Mozilla's, linked in. They include the authorities of AWS and AWS China.
pub(crate) fn bundled_anchors() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Parses the trust anchors of a PEM file.
///
/// # Errors
/// With one line about the file.
pub(crate) fn read_anchors(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut anchors = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("the file is not PEM: {error}"))?;
        anchors.add(certificate).map_err(|error| format!("the file contains an unusable certificate: {error}"))?;
    }
    if anchors.is_empty() { Err("the file contains no certificate".to_owned()) } else { Ok(anchors) }
}

/// A hyper client over TCP or TLS.
pub(crate) type HyperClient = Client<HttpsConnector<connect::HttpConnector>, SdkBody>;

/// A client for the SDK. It trusts `anchors` and waits `connect_timeout` for a connection.
///
/// # Errors
/// If rustls rejects its configuration.
pub(crate) fn client(anchors: RootCertStore, connect_timeout: Duration) -> Result<impl HttpClient, rustls::Error> {
    Ok(SdkClient { client: hyper_client(anchors, connect_timeout)?, read_timeout: None })
}

/// The same client, without the SDK's interface.
///
/// # Errors
/// If rustls rejects its configuration.
pub(crate) fn hyper_client(anchors: RootCertStore, connect_timeout: Duration) -> Result<HyperClient, rustls::Error> {
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(anchors)
        .with_no_client_auth();
    let mut tcp = connect::HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        // The metadata of an object can be more than 100 fields, hyper's default, and odd ones.
        .http1_max_headers(HEADER_FIELDS_MAX)
        .http1_ignore_invalid_headers_in_responses(true)
        .build(connector))
}

/// Sends a request.
///
/// The only place that starts one: never inlined, so that the binary contains hyper's client once.
#[inline(never)]
pub(crate) fn send(client: &HyperClient, request: Request<SdkBody>) -> ResponseFuture {
    client.request(request)
}

#[derive(Debug, Clone)]
struct SdkClient {
    client: HyperClient,
    /// Timeout until the head of the response.
    read_timeout: Option<Duration>,
}

impl HttpClient for SdkClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self { read_timeout: settings.read_timeout(), ..self.clone() })
    }
}

impl HttpConnector for SdkClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, read_timeout } = self.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let captured = connect::capture_connection(&mut request);
            if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
                capture.set_connection_retriever(move || connection_metadata(&captured));
            }
            let response = send(&client, request);
            let response = match read_timeout {
                None => response.await,
                Some(limit) => tokio::time::timeout(limit, response).await.map_err(|_| {
                    ConnectorError::timeout(format!("no response within {} ms", limit.as_millis()).into())
                })?,
            };
            let response = response.map_err(|error| match is_timeout(&error) {
                true => ConnectorError::timeout(error.into()),
                // Every other error at this point is an error of the connection, which the SDK retries.
                false => ConnectorError::io(error.into()),
            })?;
            let mut response = response;
            remove_unreadable_fields(response.headers_mut());
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A field of our own with the names of fields that [`remove_unreadable_fields`] has removed.
pub(crate) const UNREADABLE_FIELDS: &str = "x-nearedge-unreadable-fields";

/// Removes header fields that are not UTF-8, such as a Latin-1 file name: the SDK would reject the whole response.
///
/// A Lambda response is JSON, so such a value could not be forwarded unchanged either.
fn remove_unreadable_fields(headers: &mut HeaderMap) {
    headers.remove(UNREADABLE_FIELDS);
    let is_unreadable = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_err();
    let unreadable = headers.iter().filter(|(_, value)| is_unreadable(value));
    let names: Vec<HeaderName> = unreadable.map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(&name);
        headers.append(UNREADABLE_FIELDS, name.into());
    }
}

/// Lets the SDK close the connection of a request. After a 500 or a 503 it does, so that the retry opens a connection,
/// which may lead to another host of S3.
fn connection_metadata(captured: &connect::CaptureConnection) -> Option<ConnectionMetadata> {
    captured.connection_metadata().as_ref()?;
    let captured = captured.clone();
    let close = move || {
        if let Some(connected) = captured.connection_metadata().as_ref() {
            connected.poison();
        }
    };
    Some(ConnectionMetadata::builder().proxied(false).poison_fn(close).build())
}

/// Whether opening the connection timed out.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Responds 503 to every request, and counts connections.
    async fn server(connections: Arc<AtomicUsize>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let response = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n";
                        connection.write_all(response).await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn every_connection_is_reused_unless_the_sdk_poisons_it() {
        let connections = Arc::new(AtomicUsize::new(0));
        let address = server(connections.clone()).await;
        let client =
            SdkClient { client: hyper_client(bundled_anchors(), Duration::from_secs(1)).unwrap(), read_timeout: None };
        for (poisoned, opened) in [(false, 1), (true, 1), (false, 2), (false, 2)] {
            let capture = CaptureSmithyConnection::new();
            let mut request = HttpRequest::get(&address).unwrap();
            request.add_extension(capture.clone());
            let response = client.call(request).await.unwrap();
            assert_eq!(response.status().as_u16(), 503);
            assert_eq!(connections.load(Ordering::Relaxed), opened);
            if poisoned {
                capture.get().unwrap().poison();
            }
        }
    }

    #[test]
    fn the_bundled_anchors_include_those_of_aws() {
        let anchors = bundled_anchors();
        // The common names, as encoded in the DER of the subjects (https://www.amazontrust.com/repository/).
        for name in ["Amazon Root CA 1", "Amazon Root CA 2", "Amazon Root CA 3", "Amazon Root CA 4"]
            .into_iter()
            .chain(["Starfield Services Root Certificate Authority - G2", "DigiCert Global Root G2", "GlobalSign"])
        {
            let contains_name = |subject: &[u8]| subject.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(anchors.roots.iter().any(|anchor| contains_name(anchor.subject.as_ref())), "{name}");
        }
    }

    #[test]
    fn a_pem_file_without_usable_certificates_is_rejected() {
        assert_eq!(read_anchors(b"").unwrap_err(), "the file contains no certificate");
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(read_anchors(broken).unwrap_err().starts_with("the file contains an unusable certificate"));
        let truncated = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(read_anchors(truncated).is_err());
    }
}
