//! A connection to the Runtime API, and reading responses from it.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::lambda::runtime_api::response::{ChunkDecoder, Framing, Head, Response, invalid};

/// The size of one read: a typical event with its head.
const READ_BYTES: usize = 8 << 10;

/// The largest accepted response. An event has at most 6 MB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A connection to the Runtime API.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// Received bytes that are not parsed yet.
    received: Vec<u8>,
}

impl Connection {
    /// Opens a connection to `authority`, which is `host:port`.
    pub(super) async fn open(authority: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(READ_BYTES) })
    }

    /// Reads one response (RFC 9112 §4) and skips informational ones.
    pub(super) async fn read_response(&mut self) -> io::Result<Response> {
        self.received.clear();
        loop {
            let Some(Head { status, len, reusable, framing }) = Head::parse(&self.received)? else {
                self.read_more().await?;
                continue;
            };
            let mut body = self.received.split_off(len);
            let head = std::mem::replace(&mut self.received, Vec::with_capacity(READ_BYTES));
            if status.is_informational() {
                self.received = body;
                continue;
            }
            let reusable = match framing {
                Framing::Length(length) => {
                    check_size(length)?;
                    body.reserve_exact(length.saturating_sub(body.len()));
                    while body.len() < length {
                        self.read_more().await?;
                        body.append(&mut self.received);
                    }
                    reusable && body.len() == length
                }
                Framing::Chunked => {
                    let mut chunked = std::mem::take(&mut body);
                    let mut decoder = ChunkDecoder::default();
                    while !decoder.decode(&chunked, &mut body)? {
                        self.read_more().await?;
                        chunked.append(&mut self.received);
                        check_size(chunked.len())?;
                    }
                    reusable && decoder.position == chunked.len()
                }
                // The body ends with the connection (RFC 9112 §6.3). It is not read: no event is framed this way, and
                // the body of an acknowledgement is not used.
                Framing::Unknown => false,
            };
            return Ok(Response { status, reusable, head, body });
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        self.received.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => check_size(self.received.len()),
        }
    }
}

fn check_size(bytes: usize) -> io::Result<()> {
    if bytes <= MESSAGE_BYTES_MAX {
        Ok(())
    } else {
        Err(invalid(format!("expected at most {MESSAGE_BYTES_MAX} bytes, found a response of {bytes}")))
    }
}
