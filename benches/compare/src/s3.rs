//! A minimal S3 over plain HTTP and TLS that generates its objects.
//!
//! A key that ends in `/<bytes>` is an object of that size; each key has its own ETag.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use compare::header;

use crate::runtime_api::read_message;

/// A time that S3 takes until the first byte, at the least: a fifth of the 100 to 200 ms that AWS states
/// ([guidelines](https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html)). Large objects always have it.
pub const FIRST_BYTE_LATENCY: Duration = Duration::from_millis(20);

/// An object of 100 MiB, made once.
static LARGE: OnceLock<Vec<u8>> = OnceLock::new();

/// A running server, with the number of connections and requests so far.
pub struct S3 {
    pub port: u16,
    pub connections: Arc<AtomicU64>,
    pub requests: Arc<AtomicU64>,
}

/// The TLS configuration of the server, and the PEM of its self-signed certificate for localhost, which clients must trust.
pub fn tls() -> (Arc<rustls::ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate and its key");
    (Arc::new(config), made.cert.pem())
}

impl S3 {
    /// A server that waits for `latency` before each response.
    pub fn start(tls: Option<Arc<rustls::ServerConfig>>, latency: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (connections, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (connection_count, request_count) = (connections.clone(), requests.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nodelay(true).expect("nodelay");
                connection_count.fetch_add(1, Ordering::Relaxed);
                let (tls, request_count) = (tls.clone(), request_count.clone());
                std::thread::spawn(move || {
                    // An error means that the client has closed the connection.
                    let _ = match tls {
                        None => serve(stream, &request_count, latency),
                        Some(config) => {
                            let connection = rustls::ServerConnection::new(config).expect("a connection");
                            serve(rustls::StreamOwned::new(connection, stream), &request_count, latency)
                        }
                    };
                });
            }
        });
        Self { port, connections, requests }
    }
}

fn serve(mut stream: impl Read + Write, request_count: &AtomicU64, latency: Duration) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_message(&mut stream, &mut buffer)? {
        if !latency.is_zero() {
            std::thread::sleep(latency);
        }
        request_count.fetch_add(1, Ordering::Relaxed);
        let line = String::from_utf8_lossy(&request[..request.iter().position(|byte| *byte == b'\r').unwrap_or(0)]);
        let path = line.split([' ', '?']).nth(1).unwrap_or("");
        let large = path.ends_with("/104857600");
        let (content_type, body) =
            if large { ("image/png", Vec::new()) } else { compare::object(path).unwrap_or_default() };
        let body = if large { LARGE.get_or_init(|| compare::object(path).unwrap_or_default().1) } else { &body };
        let etag =
            format!("\"{:x}\"", path.bytes().fold(5381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte)));
        let status = match content_type {
            "" => "404 Not Found",
            _ if header(&request, "if-none-match") == Some(&etag) => "304 Not Modified",
            _ => "200 OK",
        };
        let mut response = format!(
            "HTTP/1.1 {status}\r\nx-amz-id-2: 0123456789abcdef\r\nx-amz-request-id: 0123456789ABCDEF\r\n\
             date: Tue, 10 Mar 2026 05:16:23 GMT\r\nlast-modified: Tue, 10 Mar 2026 05:16:23 GMT\r\netag: {etag}\r\n\
             accept-ranges: bytes\r\ncontent-type: {content_type}\r\nserver: AmazonS3\r\n"
        )
        .into_bytes();
        if !status.starts_with("304") {
            response.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        response.extend_from_slice(b"\r\n");
        if status.starts_with("200") && !line.starts_with("HEAD") {
            if large {
                std::thread::sleep(FIRST_BYTE_LATENCY);
                // Not copied: the time to the first byte is the server's. After a first part, the driver on the same core gets
                // its turn: otherwise its scheduling would be measured.
                let (first, rest) = body.split_at(64 << 10);
                response.extend_from_slice(first);
                stream.write_all(&response)?;
                std::thread::sleep(Duration::from_millis(2));
                response.clear();
                stream.write_all(rest)?;
            } else {
                response.extend_from_slice(body);
            }
        }
        stream.write_all(&response)?;
        stream.flush()?;
    }
    Ok(())
}
