//! Plain or compressed bytes -> blocks of whole lines.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;
use memchr::memchr_iter;

use crate::lines::wrapper::last_line_end;

/// The size from which a block is handed over, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// The longest line that is read as a whole, in bytes. An event of CloudWatch Logs has at most 1 MB, and its escapes can
/// double it.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// Some of the bytes of an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    /// Whole lines.
    Lines(Vec<u8>),
    /// A part of a line that is too long; `is_last` if the line ends with it.
    Part {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether the line ends here.
        is_last: bool,
    },
}

/// An input in blocks.
pub struct Input<'r> {
    reader: Box<dyn Read + 'r>,
    /// The start of a line whose end is not read yet.
    carry: Vec<u8>,
    is_in_long_line: bool,
    is_at_end: bool,
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

impl<'r> Input<'r> {
    /// Reads `reader`, and decompresses it if it starts as gzip does (RFC 1952 §2.3.1).
    ///
    /// # Errors
    /// If the first bytes cannot be read.
    pub fn new(mut reader: impl Read + 'r) -> io::Result<Self> {
        let mut start = Vec::with_capacity(2);
        reader.by_ref().take(2).read_to_end(&mut start)?;
        let is_gzip = start == [0x1f, 0x8b];
        let whole = Cursor::new(start).chain(reader);
        let reader: Box<dyn Read + 'r> = if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        Ok(Self { reader, carry: Vec::new(), is_in_long_line: false, is_at_end: false })
    }

    /// The next block, in `buffer`'s memory; `None` at the end.
    ///
    /// # Errors
    /// If reading fails, or the compressed data is damaged. The bytes before are not lost: the next call returns them.
    pub fn next(&mut self, mut buffer: Vec<u8>) -> io::Result<Option<Block>> {
        buffer.clear();
        buffer.append(&mut self.carry);
        loop {
            // The carry alone may contain the end of a long line.
            if self.is_in_long_line
                && let Some(block) = self.part(&mut buffer)
            {
                return Ok(Some(block));
            }
            if buffer.len() >= BLOCK_BYTES || self.is_at_end {
                if let Some(end) = last_line_end(&buffer) {
                    self.carry.extend_from_slice(&buffer[end..]);
                    buffer.truncate(end);
                    return Ok(Some(Block::Lines(buffer)));
                }
                if self.is_at_end {
                    return Ok((!buffer.is_empty()).then_some(Block::Lines(buffer)));
                }
                if buffer.len() >= LINE_BYTES_MAX {
                    self.is_in_long_line = true;
                    return Ok(Some(Block::Part { bytes: buffer, is_last: false }));
                }
            }
            let wanted = (BLOCK_BYTES / 4).max(BLOCK_BYTES.saturating_sub(buffer.len()));
            match self.reader.by_ref().take(wanted as u64).read_to_end(&mut buffer) {
                Ok(0) => self.is_at_end = true,
                Ok(_) => {}
                Err(error) => {
                    self.is_at_end = true;
                    self.carry = buffer;
                    return Err(error);
                }
            }
        }
    }

    /// The part of the long line that the buffer holds, if it holds the end of the line or enough.
    fn part(&mut self, buffer: &mut Vec<u8>) -> Option<Block> {
        let end = memchr::memchr(b'\n', buffer).map(|end| end + 1);
        let is_last = end.is_some() || self.is_at_end;
        if !is_last && buffer.len() < BLOCK_BYTES {
            return None;
        }
        if is_last {
            self.is_in_long_line = false;
        }
        self.carry = buffer.split_off(end.unwrap_or(buffer.len()));
        Some(Block::Part { bytes: std::mem::take(buffer), is_last })
    }
}

/// The number of line feeds.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
