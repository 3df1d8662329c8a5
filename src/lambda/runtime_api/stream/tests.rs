use std::time::Duration;

use nearedge_core::object::Reservation;
use nearedge_core::store::{BodyStream, FetchError, NextBytes};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

/// The chunks that a script sends; an error after them, or the end, or nothing.
struct Script(Vec<&'static [u8]>, End);

enum End {
    Whole,
    Error,
    Stalled,
}

impl BodyStream for Script {
    fn next(&mut self) -> NextBytes<'_> {
        Box::pin(async move {
            if !self.0.is_empty() {
                return Some(Ok(Bytes::from_static(self.0.remove(0))));
            }
            match self.1 {
                End::Whole => None,
                End::Error => Some(Err(FetchError::Unavailable(io::Error::other("S3 broke off").into()))),
                End::Stalled => std::future::pending().await,
            }
        })
    }

    fn hold(&mut self, _: Reservation) {}
}

/// Posts a stream to a server that acknowledges it after `last` and an empty line. Returns the result and what the server has received.
async fn post(script: Script, last: &str, timeout: Duration) -> (io::Result<Posted>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = RuntimeApi::new(&listener.local_addr().unwrap().to_string());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        let has_ended = |received: &[u8]| {
            let received = String::from_utf8_lossy(received);
            received.rsplit_once(last).is_some_and(|(_, rest)| rest.ends_with("\r\n\r\n"))
        };
        // A client without time resets the connection.
        while !has_ended(&received) && stream.read_buf(&mut received).await.is_ok_and(|read| read > 0) {}
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
        String::from_utf8(received).unwrap()
    };
    let client = async {
        let (mut body, prelude) = (OpenBody(Box::new(script)), Bytes::from_static(b"{}\0\0\0\0\0\0\0\0"));
        let limit = (Instant::now() + timeout, &mut 0);
        let posted = api.post_stream("id", Some(b"echo"), &prelude, &mut body, limit).await;
        // Closes the connection, if the stream has not ended.
        drop(api);
        posted
    };
    let (received, posted) = tokio::join!(server, client);
    (posted, received)
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_stream_is_the_prelude_and_a_chunk_for_each_part() {
    let script = Script(vec![b"hello", b"", b"0123456789abcdef"], End::Whole);
    let (posted, received) = post(script, "\r\n0", LONG).await;
    assert!(matches!(posted, Ok(Posted::Whole(StatusCode::ACCEPTED))), "{posted:?}");
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\n"), "{head}");
    for field in [
        "lambda-runtime-invocation-id: echo",
        "lambda-runtime-function-response-mode: streaming",
        "content-type: application/vnd.awslambda.http-integration-response",
        "transfer-encoding: chunked",
        "trailer: lambda-runtime-function-error-type, lambda-runtime-function-error-body",
    ] {
        assert!(head.lines().any(|line| line == field), "{field}: {head}");
    }
    assert_eq!(body, "a\r\n{}\0\0\0\0\0\0\0\0\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_error_within_a_stream_is_a_trailer() {
    let (posted, received) = post(Script(vec![b"half"], End::Error), "error-body: ", LONG).await;
    assert!(matches!(&posted, Ok(Posted::Interrupted(error)) if error.cause().unwrap().to_string() == "S3 broke off"));
    let (_, trailers) = received.split_once("\r\n4\r\nhalf\r\n0\r\n").unwrap();
    let (name, body) = trailers.trim_end().split_once("\r\n").unwrap();
    assert_eq!(name, "lambda-runtime-function-error-type: Origin.BodyInterrupted");
    let report = base64_simd::STANDARD.decode_to_vec(body.split_once(": ").unwrap().1).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["errorMessage"], "S3 broke off");
}

#[tokio::test]
async fn a_response_that_is_not_acknowledged_ends_at_the_deadline() {
    // The server waits for more than the client sends.
    let (posted, received) = post(Script(vec![b"all"], End::Whole), "never", Duration::from_millis(50)).await;
    assert!(matches!(posted, Ok(Posted::OutOfTime)), "{posted:?}");
    assert!(received.ends_with("\r\n0\r\n\r\n"), "{received}");
}

#[tokio::test]
async fn a_stream_without_an_end_closes_its_connection_at_the_deadline() {
    let script = Script(vec![b"half"], End::Stalled);
    let (posted, received) = post(script, "never", Duration::from_millis(50)).await;
    assert!(matches!(posted, Ok(Posted::OutOfTime)), "{posted:?}");
    assert!(received.ends_with("\r\n4\r\nhalf"), "an end: {received}");
}
