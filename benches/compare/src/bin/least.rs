//! A minimal handler, the lower bound of every comparison: one blocking socket and a prepared response.
//!
//! It reads each event without parsing it. The response contains the object of `RESPONSE_BYTES` bytes.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;

fn main() {
    let host = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap();
    let bytes: usize = std::env::var("RESPONSE_BYTES").unwrap().parse().unwrap();
    let mut socket = TcpStream::connect(&host).unwrap();
    socket.set_nodelay(true).unwrap();
    let body = base64_simd::STANDARD.encode_to_string(compare::object(&format!("/{bytes}")).unwrap().1);
    let before =
        "{\"statusCode\":200,\"headers\":{\"content-type\":\"image/png\"},\"isBase64Encoded\":true,\"body\":\"";
    let length = before.len() + body.len() + 2;
    let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let mut buffer = vec![0; 64 << 10];
    socket.write_all(next.as_bytes()).unwrap();
    loop {
        let event = read(&mut socket, &mut buffer);
        let Some(id) = compare::header(event, "lambda-runtime-aws-request-id") else { return };
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n"
        );
        write_all(&mut socket, [head.as_bytes(), before.as_bytes(), body.as_bytes(), b"\"}"]);
        read(&mut socket, &mut buffer);
        socket.write_all(next.as_bytes()).unwrap();
    }
}

/// Reads one response, head and body; empty when the server has closed the connection.
fn read<'a>(socket: &mut TcpStream, buffer: &'a mut [u8]) -> &'a [u8] {
    let mut filled = 0;
    loop {
        let more = socket.read(&mut buffer[filled..]).unwrap();
        if more == 0 {
            return &[];
        }
        filled += more;
        if let Some(length) = compare::message_bytes(&buffer[..filled])
            && filled >= length
        {
            return &buffer[..filled];
        }
    }
}

fn write_all(socket: &mut TcpStream, parts: [&[u8]; 4]) {
    let mut slices = parts.map(IoSlice::new);
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = socket.write_vectored(left).unwrap();
        IoSlice::advance_slices(&mut left, written);
    }
}
