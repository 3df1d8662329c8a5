//! An S3 behind TLS, with a certificate that the function trusts only through `AWS_CA_BUNDLE` or `SSL_CERT_FILE`.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials;
use emulator::cloud::{ACCESS_KEY_ID, Options, SECRET_ACCESS_KEY, Storage};
use http::StatusCode;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{FREE_PORT, SECRET, TestCloud, options, start, with_env};

/// A TLS terminator in front of an S3.
struct Terminator {
    url: http::Uri,
    certificate: NamedTempFile,
    /// The number of accepted connections.
    connections: Arc<AtomicUsize>,
    /// Closes the open connections.
    close: Arc<Notify>,
}

/// Starts a TLS terminator in front of the S3 of a cloud.
async fn terminate(backend: &TestCloud) -> Terminator {
    let plain: SocketAddr = backend.cloud.s3_endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(FREE_PORT).await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let (connections, close) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (accepted, closed) = (connections.clone(), close.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, closed) = (acceptor.clone(), closed.clone());
            accepted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                if let Ok(mut encrypted) = acceptor.accept(stream).await {
                    let mut plaintext = TcpStream::connect(plain).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut encrypted, &mut plaintext) => {}
                        () = closed.notified() => {}
                    }
                }
            });
        }
    });
    let mut certificate = NamedTempFile::new().unwrap();
    certificate.write_all(made.cert.pem().as_bytes()).unwrap();
    Terminator { url, certificate, connections, close }
}

impl Terminator {
    fn storage(&self) -> Storage {
        let credentials = Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None);
        Storage::Endpoint { url: self.url.clone(), credentials }
    }
}

#[tokio::test]
async fn a_private_certificate_of_s3_needs_a_ca_bundle() {
    let backend = start(options()).await;
    let tls = terminate(&backend).await;
    let bundle = tls.certificate.path().to_str().unwrap();
    for (env, status) in [
        (&[("AWS_CA_BUNDLE", bundle)][..], StatusCode::OK),
        (&[("SSL_CERT_FILE", bundle)], StatusCode::OK),
        (&[("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", "/nowhere")], StatusCode::OK),
        (&[], StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let cloud = start(Options { storage: tls.storage(), ..with_env(env) }).await;
        let response = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
        assert_eq!(response.status, status, "{env:?}: {}", response.text());
        if status != StatusCode::OK {
            cloud.wait_for_log(|line| line.contains("certificate")).await;
        }
        cloud.shut_down().await;
    }
    backend.shut_down().await;
}

#[tokio::test]
async fn prewarm_opens_the_only_connection_before_the_first_event() {
    let backend = start(options()).await;
    let tls = terminate(&backend).await;
    let bundle = tls.certificate.path().to_str().unwrap();
    for (prewarm, before, after) in [("true", 1, 1), ("false", 0, 1)] {
        tls.connections.store(0, Ordering::SeqCst);
        let env = [("AWS_CA_BUNDLE", bundle), ("prewarm", prewarm)];
        let cloud = start(Options { storage: tls.storage(), environments: 1, ..with_env(&env) }).await;
        assert_eq!(tls.connections.load(Ordering::SeqCst), before, "prewarm={prewarm}");
        for path in ["/", "/v1/test.html", "/nowhere", "/v1/test.png"] {
            cloud.api(path, &[SECRET]).await;
        }
        assert_eq!(tls.connections.load(Ordering::SeqCst), after, "prewarm={prewarm}");
        cloud.shut_down().await;
    }
    backend.shut_down().await;
}

#[tokio::test]
async fn a_connection_closed_while_frozen_fails_no_request() {
    let backend = start(options()).await;
    let tls = terminate(&backend).await;
    let env = [("AWS_CA_BUNDLE", tls.certificate.path().to_str().unwrap()), ("prewarm", "true")];
    let cloud = start(Options { storage: tls.storage(), environments: 1, ..with_env(&env) }).await;
    for round in 1..=5 {
        assert_eq!(tls.connections.load(Ordering::SeqCst), round);
        tls.close.notify_waiters();
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    }
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    assert!(!journal.lines().iter().any(|line| line.contains("WARN")), "{:#?}", journal.lines());
    backend.shut_down().await;
}
