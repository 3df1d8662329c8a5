//! The HTTP client under aws-sdk-s3 and the exporter of spans: hyper's own, HTTP/1.1 over rustls, with the trust anchors linked in.
//!
//! aws-smithy-http-client would do the same with HTTP/2, proxies and the system's certificates: half a megabyte that
//! S3 has no use for, and most of a cold start spent on reading 140 certificates.

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
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// How long a connection is kept that nothing goes over; S3 closes them sooner.
const IDLE: Duration = Duration::from_secs(60);

/// The authorities that are trusted unless others are given: Mozilla's, as they are linked in. Whoever signs for AWS
/// and for AWS China is among them.
pub(crate) fn bundled_anchors() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Reads the authorities of a PEM file.
///
/// # Errors
/// With what is wrong, as the end of a sentence about the file.
pub(crate) fn read_anchors(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut anchors = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        anchors.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    if anchors.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(anchors) }
}

/// hyper's client, over TCP or TLS.
pub(crate) type Hyper = Client<HttpsConnector<connect::HttpConnector>, SdkBody>;

/// A client for the SDK: it trusts `anchors` and gives up a connection that is not open after `connect_timeout`.
///
/// # Errors
/// When rustls cannot be set up.
pub(crate) fn client(anchors: RootCertStore, connect_timeout: Duration) -> Result<impl HttpClient, rustls::Error> {
    Ok(SdkClient { client: hyper(anchors, connect_timeout)?, read_timeout: None })
}

/// The same, as it is.
///
/// # Errors
/// When rustls cannot be set up.
pub(crate) fn hyper(anchors: RootCertStore, connect_timeout: Duration) -> Result<Hyper, rustls::Error> {
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
    Ok(Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector))
}

#[derive(Debug, Clone)]
struct SdkClient {
    client: Hyper,
    /// How long an answer may take until it begins.
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
                capture.set_connection_retriever(move || metadata(&captured));
            }
            let answered = client.request(request);
            let answered = match read_timeout {
                None => answered.await,
                Some(limit) => tokio::time::timeout(limit, answered).await.map_err(|_| {
                    ConnectorError::timeout(format!("its answer had not begun after {} ms", limit.as_millis()).into())
                })?,
            };
            let response = answered.map_err(|error| match is_timeout(&error) {
                true => ConnectorError::timeout(error.into()),
                // Whatever else goes wrong here goes wrong on the way, and is worth another try.
                false => ConnectorError::io(error.into()),
            })?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A way to close the connection that a request went over: after a 500 or a 503 the SDK asks another of S3's hosts, by a
/// connection of its own.
fn metadata(captured: &connect::CaptureConnection) -> Option<ConnectionMetadata> {
    captured.connection_metadata().as_ref()?;
    let captured = captured.clone();
    let close = move || {
        if let Some(connected) = captured.connection_metadata().as_ref() {
            connected.poison();
        }
    };
    Some(ConnectionMetadata::builder().proxied(false).poison_fn(close).build())
}

/// Whether a connection took too long to open.
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

    /// Answers whatever is asked, and counts the connections.
    async fn server(connections: Arc<AtomicUsize>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut asked = [0; 4096];
                    while connection.read(&mut asked).await.is_ok_and(|read| read > 0) {
                        let answer = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n";
                        connection.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_connection_that_the_sdk_condemns_is_not_used_again_and_any_other_is() {
        let connections = Arc::new(AtomicUsize::new(0));
        let address = server(connections.clone()).await;
        let client =
            SdkClient { client: hyper(bundled_anchors(), Duration::from_secs(1)).unwrap(), read_timeout: None };
        for (condemned, opened) in [(false, 1), (true, 1), (false, 2), (false, 2)] {
            let capture = CaptureSmithyConnection::new();
            let mut request = HttpRequest::get(&address).unwrap();
            request.add_extension(capture.clone());
            let answer = client.call(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), 503);
            assert_eq!(connections.load(Ordering::Relaxed), opened);
            if condemned {
                capture.get().unwrap().poison();
            }
        }
    }

    #[test]
    fn the_bundled_anchors_hold_those_that_aws_names() {
        let anchors = bundled_anchors();
        // The common names, as they stand in the DER of the subjects (https://www.amazontrust.com/repository/).
        for name in ["Amazon Root CA 1", "Amazon Root CA 2", "Amazon Root CA 3", "Amazon Root CA 4"]
            .into_iter()
            .chain(["Starfield Services Root Certificate Authority - G2", "DigiCert Global Root G2", "GlobalSign"])
        {
            let held = |subject: &[u8]| subject.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(anchors.roots.iter().any(|anchor| held(anchor.subject.as_ref())), "{name}");
        }
    }

    #[test]
    fn a_pem_file_has_anchors_or_a_clear_fault() {
        assert_eq!(read_anchors(b"").unwrap_err(), "holds no certificate");
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(read_anchors(broken).unwrap_err().starts_with("holds a certificate that cannot be used"));
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(read_anchors(cut).is_err());
    }
}
