//! The client against a scripted server.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;

use super::*;

/// The API's response to a POST.
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

async fn api() -> (TcpListener, RuntimeApi) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    (listener, RuntimeApi::new(&authority))
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut received = Vec::new();
    while !received.windows(end.len()).any(|window| window == end.as_bytes()) {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "{}", String::from_utf8_lossy(&received));
    }
    String::from_utf8(received).unwrap()
}

fn payload(text: &'static str) -> [Bytes; 3] {
    ["{", text, "}"].map(|part| Bytes::from_static(part.as_bytes()))
}

#[tokio::test]
async fn a_response_is_posted_and_its_connection_reused() {
    let (listener, api) = api().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            let request = read_until(&mut stream, "{1}").await;
            assert!(request.starts_with("POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nhost: 127."));
            assert!(request.contains("\r\nlambda-runtime-invocation-id: echo\r\n"), "{request}");
            assert!(request.ends_with("\r\ncontent-length: 3\r\n\r\n{1}"), "{request}");
            // In pieces, as a socket may deliver it.
            for piece in ACCEPTED.as_bytes().chunks(7) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    };
    let client = async {
        for _ in 0..3 {
            let status = api.post_response("id", Some(b"echo"), &payload("1")).await.unwrap();
            assert_eq!(status, StatusCode::ACCEPTED);
        }
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let (listener, api) = api().await;
    let server = async {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "{1}").await;
            stream.write_all(ACCEPTED.as_bytes()).await.unwrap();
        }
    };
    let client = async {
        for _ in 0..3 {
            assert_eq!(api.post_response("id", None, &payload("1")).await.unwrap(), StatusCode::ACCEPTED);
        }
    };
    tokio::join!(server, client);
}

/// The response parsed from `written`, which arrives in pieces of `size` bytes.
async fn response(written: &[u8], size: usize) -> io::Result<Response> {
    let (listener, api) = api().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        for piece in written.chunks(size) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let no_body = [const { Bytes::new() }; 3];
    let client = api.exchange(Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), &no_body);
    tokio::join!(server, client).1
}

#[tokio::test]
async fn rfc9112_6_3_the_head_determines_where_a_response_ends() {
    for (written, body, reusable) in [
        ("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", "{}", true),
        ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", "{}", true),
        ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nA: b\r\n\r\n", "{}", true),
        ("HTTP/1.1 202 A\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", false),
        ("HTTP/1.1 202 Accepted\r\n\r\n", "", false),
    ] {
        for size in [1, 7, 1000] {
            let response = response(written.as_bytes(), size).await.unwrap();
            assert_eq!(response.status, StatusCode::ACCEPTED, "{written}");
            assert_eq!((response.body.as_slice(), response.reusable), (body.as_bytes(), reusable), "{written}");
        }
    }
}

#[tokio::test]
async fn malformed_http_is_an_error_and_no_panic() {
    for written in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 202 Accepted\r\nContent-Length: many\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 202 Accepted\r\nContent-Length: 18446744073709551615\r\n\r\nlong",
        "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n",
        "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
    ] {
        assert!(response(written.as_bytes(), 1000).await.is_err(), "{written}");
    }
}

#[tokio::test]
async fn an_event_is_parsed_with_its_header_fields() {
    let event = "{\"version\":\"2.0\"}".repeat(5_000);
    let fields = "Lambda-Runtime-Aws-Request-Id: id\r\nLambda-Runtime-Deadline-Ms: 17\r\nLambda-Runtime-Invocation-Id: echo\r\nLambda-Runtime-Trace-Id: Root=1";
    let whole = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n{event}", event.len());
    // As a Go server sends a body that is larger than its buffer.
    let chunks: String = event
        .as_bytes()
        .chunks(4096)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), str::from_utf8(chunk).unwrap()))
        .collect();
    let chunked = format!("HTTP/1.1 200 OK\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    // More fields than Lambda sends: an event whose head is rejected would be lost.
    let many: String = (0..500).map(|number| format!("X-{number}: x\r\n")).collect();
    let many = whole.replace("\r\nContent-Length", &format!("\r\n{many}Content-Length"));
    for written in [whole, chunked, many] {
        let invocation = response(written.as_bytes(), 1500).await.unwrap().into_invocation(true).unwrap();
        assert_eq!((invocation.request_id.as_str(), invocation.deadline_ms), ("id", 17));
        assert_eq!(invocation.invocation_id.as_deref(), Some(&b"echo"[..]));
        assert_eq!((invocation.trace.as_deref(), &invocation.event), (Some("Root=1"), &Bytes::from(event.clone())));
    }
    for written in ["HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
        assert!(response(written.as_bytes(), 1500).await.unwrap().into_invocation(true).is_err());
    }
}

#[tokio::test]
async fn a_request_rejected_midway_returns_its_status() {
    let (listener, api) = api().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        // Reads at most 8 MiB. Closing a connection with unread data resets it.
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..8 {
            let _ = stream.read(&mut buffer).await;
        }
    };
    let client = async {
        // More than the socket buffers hold, so that the write fails.
        let large = [vec![b'x'; 32 << 20].into(), Bytes::new(), Bytes::new()];
        let status = api.post_response("id", None, &large).await.unwrap();
        drop(api);
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    };
    tokio::join!(server, client);
}

#[test]
fn an_address_is_host_and_port_or_a_url_with_a_path() {
    for (address, authority, base) in [
        ("127.0.0.1:9001", "127.0.0.1:9001", "/2018-06-01/runtime"),
        ("http://127.0.0.1:9000/.rt", "127.0.0.1:9000", "/.rt/2018-06-01/runtime"),
        ("http://[::1]:9000/", "[::1]:9000", "/2018-06-01/runtime"),
        ("sandbox", "sandbox:80", "/2018-06-01/runtime"),
    ] {
        let api = RuntimeApi::new(address);
        assert_eq!((api.authority.as_str(), api.runtime_base.as_str()), (authority, base), "{address}");
    }
}

#[tokio::test]
async fn an_extension_registers_for_no_events_and_waits_with_its_id() {
    let (listener, api) = api().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let registered = read_until(&mut stream, "{\"events\":[]}").await;
        assert!(registered.starts_with("POST /2020-01-01/extension/register HTTP/1.1\r\n"), "{registered}");
        assert!(registered.contains("\r\nlambda-extension-name: nearedge\r\n"), "{registered}");
        let response = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-7\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(response.as_bytes()).await.unwrap();
        let waiting = read_until(&mut stream, "\r\n\r\n").await;
        assert!(waiting.starts_with("GET /2020-01-01/extension/event/next HTTP/1.1\r\n"), "{waiting}");
        assert!(waiting.contains("\r\nlambda-extension-identifier: id-7\r\n"), "{waiting}");
    };
    let extension = async {
        let id = api.register_extension("nearedge").await.unwrap();
        api.wait_as_extension(&id).await
    };
    tokio::select! {
        () = server => {}
        ended = extension => panic!("the extension did not wait: {ended:?}"),
    }
}

#[tokio::test]
async fn a_rejected_extension_is_an_error() {
    let (listener, api) = api().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "{\"events\":[]}").await;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    let ((), registered) = tokio::join!(server, api.register_extension("nearedge"));
    assert!(registered.unwrap_err().to_string().contains("403"));
}

#[tokio::test]
async fn an_unreachable_api_is_an_error() {
    let (listener, api) = api().await;
    drop(listener);
    assert!(api.post_init_error("Origin.Init", "no").await.is_err());
}
