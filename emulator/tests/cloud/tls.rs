//! An S3 behind TLS, with a certificate that only `AWS_CA_BUNDLE` or `SSL_CERT_FILE` makes trustworthy.

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

use crate::support::{FREE, SECRET, TestCloud, options, start, with_env};

/// TLS in front of an S3.
struct Terminator {
    url: http::Uri,
    certificate: NamedTempFile,
    /// How many connections have been accepted.
    connections: Arc<AtomicUsize>,
    /// Breaks off those that are open.
    hang_up: Arc<Notify>,
}

/// TLS in front of the S3 of this cloud.
async fn terminate(behind: &TestCloud) -> Terminator {
    let plain: SocketAddr = behind.cloud.s3_endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(FREE).await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let (connections, hang_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counted, hung_up) = (connections.clone(), hang_up.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, hung_up) = (acceptor.clone(), hung_up.clone());
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                if let Ok(mut encrypted) = acceptor.accept(stream).await {
                    let mut onward = TcpStream::connect(plain).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut encrypted, &mut onward) => {}
                        () = hung_up.notified() => {}
                    }
                }
            });
        }
    });
    let mut certificate = NamedTempFile::new().unwrap();
    certificate.write_all(made.cert.pem().as_bytes()).unwrap();
    Terminator { url, certificate, connections, hang_up }
}

impl Terminator {
    fn storage(&self) -> Storage {
        let credentials = Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None);
        Storage::Endpoint { url: self.url.clone(), credentials }
    }
}

#[tokio::test]
async fn a_ca_bundle_makes_a_private_s3_trustworthy_and_without_it_there_is_no_answer() {
    let behind = start(options()).await;
    let tls = terminate(&behind).await;
    let bundle = tls.certificate.path().to_str().unwrap();
    for (env, status) in [
        (&[("AWS_CA_BUNDLE", bundle)][..], StatusCode::OK),
        (&[("SSL_CERT_FILE", bundle)], StatusCode::OK),
        (&[("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", "/nowhere")], StatusCode::OK),
        (&[], StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let cloud = start(Options { storage: tls.storage(), ..with_env(env) }).await;
        let answer = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
        assert_eq!(answer.status, status, "{env:?}: {}", answer.text());
        if status != StatusCode::OK {
            cloud.logged(|line| line.contains("certificate")).await;
        }
        cloud.end().await;
    }
    behind.end().await;
}

#[tokio::test]
async fn the_connection_is_opened_before_the_first_event_and_none_after_that() {
    let behind = start(options()).await;
    let tls = terminate(&behind).await;
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
        cloud.end().await;
    }
    behind.end().await;
}

#[tokio::test]
async fn a_connection_that_died_while_frozen_is_replaced_without_failing_a_request() {
    let behind = start(options()).await;
    let tls = terminate(&behind).await;
    let env = [("AWS_CA_BUNDLE", tls.certificate.path().to_str().unwrap()), ("prewarm", "true")];
    let cloud = start(Options { storage: tls.storage(), environments: 1, ..with_env(&env) }).await;
    for round in 1..=5 {
        assert_eq!(tls.connections.load(Ordering::SeqCst), round);
        tls.hang_up.notify_waiters();
        assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    }
    let journal = cloud.journal.clone();
    cloud.end().await;
    assert!(!journal.lines().iter().any(|line| line.contains("WARN")), "{:#?}", journal.lines());
    behind.end().await;
}
