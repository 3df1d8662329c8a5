//! Reads the chunked body of a streamed response, without keeping it.

use std::io::{Error, ErrorKind, Read};
use std::sync::OnceLock;
use std::time::Instant;

/// The rest of a body, after its first chunk.
pub struct Rest {
    pub first_byte: Option<Instant>,
    pub bytes: u64,
    /// Whether the bytes are those of a picture of [`compare::object`], whatever its size.
    pub is_intact: bool,
}

/// How a picture of any size begins, and goes on.
static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();

/// Reads a body (RFC 9112 §7.1), of which `buffer` has the start. Returns its first chunk, and a description of the others.
pub fn read(stream: &mut impl Read, buffer: &mut Vec<u8>) -> std::io::Result<(Vec<u8>, Rest)> {
    let pattern = PATTERN.get_or_init(|| compare::object("/1048576").expect("an object").1);
    let mut first = None;
    let mut rest = Rest { first_byte: None, bytes: 0, is_intact: true };
    let mut input = Input { stream, buffer, at: 0 };
    loop {
        let line = input.line()?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| Error::from(ErrorKind::InvalidData))?;
        if size == 0 {
            // Trailers mean that the handler reports an error.
            rest.is_intact &= input.line()?.is_empty();
            input.end();
            return Ok((first.unwrap_or_default(), rest));
        }
        let mut left = size;
        let mut chunk = Vec::new();
        while left > 0 {
            let part = input.part(left)?;
            left -= part.len();
            if first.is_none() {
                chunk.extend_from_slice(part);
                continue;
            }
            rest.first_byte.get_or_insert_with(Instant::now);
            let mut part = part;
            while !part.is_empty() {
                let at = (rest.bytes % pattern.len() as u64) as usize;
                let (compared, others) = part.split_at(part.len().min(pattern.len() - at));
                rest.is_intact &= *compared == pattern[at..at + compared.len()];
                rest.bytes += compared.len() as u64;
                part = others;
            }
        }
        first.get_or_insert(chunk);
        input.line()?;
    }
}

struct Input<'a, S> {
    stream: &'a mut S,
    buffer: &'a mut Vec<u8>,
    /// How much of the buffer has been used.
    at: usize,
}

impl<S: Read> Input<'_, S> {
    fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let start = self.buffer.len();
        self.buffer.resize(start + (256 << 10), 0);
        let read = self.stream.read(&mut self.buffer[start..])?;
        self.buffer.truncate(start + read);
        if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// The text of the next line, without its end.
    fn line(&mut self) -> std::io::Result<String> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.at += end + 2;
                return Ok(line);
            }
            self.fill()?;
        }
    }

    /// At most `limit` of the next bytes.
    fn part(&mut self, limit: usize) -> std::io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.fill()?;
        }
        let start = self.at;
        self.at = self.buffer.len().min(start + limit);
        Ok(&self.buffer[start..self.at])
    }

    fn end(&mut self) {
        self.buffer.drain(..self.at);
    }
}
