//! An S3 behind TLS, with a certificate that only `AWS_CA_BUNDLE` or `SSL_CERT_FILE` makes trustworthy.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_credential_types::Credentials;
use emulator::cloud::{ACCESS_KEY_ID, Options, SECRET_ACCESS_KEY, Storage};
use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{FREE, SECRET, options, start, with_env};

/// TLS in front of `plain`: its address, and its certificate as PEM.
async fn terminate(plain: SocketAddr) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(FREE).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                if let Ok(mut encrypted) = acceptor.accept(stream).await {
                    let mut onward = TcpStream::connect(plain).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut encrypted, &mut onward).await;
                }
            });
        }
    });
    (address, made.cert.pem())
}

#[tokio::test]
async fn a_ca_bundle_makes_a_private_s3_trustworthy_and_without_it_there_is_no_answer() {
    let behind = start(options()).await;
    let plain = behind.cloud.s3_endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let (address, certificate) = terminate(plain).await;
    let mut bundle = tempfile::NamedTempFile::new().unwrap();
    bundle.write_all(certificate.as_bytes()).unwrap();
    let bundle = bundle.path().to_str().unwrap();
    let url: http::Uri = format!("https://localhost:{}", address.port()).parse().unwrap();
    for (env, status) in [
        (&[("AWS_CA_BUNDLE", bundle)][..], StatusCode::OK),
        (&[("SSL_CERT_FILE", bundle)], StatusCode::OK),
        (&[("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", "/nowhere")], StatusCode::OK),
        (&[], StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let credentials = Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None);
        let storage = Storage::Endpoint { url: url.clone(), credentials };
        let cloud = start(Options { storage, ..with_env(env) }).await;
        let answer = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
        assert_eq!(answer.status, status, "{env:?}: {}", answer.text());
        if status != StatusCode::OK {
            cloud.logged(|line| line.contains("certificate")).await;
        }
        cloud.end().await;
    }
    behind.end().await;
}
