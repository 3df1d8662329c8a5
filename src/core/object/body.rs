//! Object bodies, ready to send: as base64 text, or as bytes for doors that stream.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Memory that a body occupies of a budget. Released when the last clone is dropped.
#[derive(Clone, Default)]
pub struct Reservation(Option<Arc<dyn Any + Send + Sync>>);

impl Reservation {
    /// Releases `permit` with the last clone of the body.
    pub fn new(permit: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(permit)))
    }
}

/// All reservations are equal: they are no part of the content.
impl PartialEq for Reservation {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Reservation {}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "reserved" } else { "unreserved" })
    }
}

/// How a body is stored: as the usual response carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Base64 text (RFC 4648 §4), for responses in JSON.
    #[default]
    Base64,
    /// The bytes themselves, for streamed responses.
    Raw,
}

/// An object's bytes as the response carries them, encoded once.
///
/// Clones share the text or bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    stored: Bytes,
    encoding: Encoding,
    len: u64,
    reservation: Reservation,
}

impl Body {
    /// The base64 text. Encodes a raw body.
    pub fn base64(&self) -> Bytes {
        match self.encoding {
            Encoding::Base64 => self.stored.clone(),
            Encoding::Raw => base64_simd::STANDARD.encode_type::<Vec<u8>>(&self.stored).into(),
        }
    }

    /// The bytes. Decodes base64 text; `None` if the text is not base64.
    pub fn raw(&self) -> Option<Bytes> {
        match self.encoding {
            Encoding::Raw => Some(self.stored.clone()),
            Encoding::Base64 => base64_simd::STANDARD.decode_to_vec(&self.stored).ok().map(Bytes::from),
        }
    }

    /// How the body is stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The number of bytes in memory.
    pub fn stored_len(&self) -> usize {
        self.stored.len()
    }

    /// The number of decoded bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The same body, which holds its memory of a budget.
    #[must_use]
    pub fn with_reservation(self, reservation: Reservation) -> Self {
        Self { reservation, ..self }
    }

    /// The same body without a reservation, for a cache with a limit of its own.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        Self { reservation: Reservation::default(), ..self.clone() }
    }

    /// The reservation, for the holder of the text.
    pub fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The decoded bytes of `range`, which must lie within the body.
    ///
    /// Shares the text if both ends fall between groups of three bytes; otherwise encodes that part again.
    pub fn slice(&self, range: Range<u64>) -> Self {
        let len = range.end.saturating_sub(range.start);
        if self.encoding == Encoding::Raw {
            let position = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(self.stored.len());
            let stored = self.stored.slice(position(range.start)..position(range.end));
            return Self { stored, len, ..self.clone() };
        }
        let group = range.start / 3;
        let position = |byte: u64| usize::try_from(base64_len(byte)).unwrap_or(usize::MAX).min(self.stored.len());
        let text = self.stored.slice(position(group * 3)..position(range.end));
        let skipped = range.start % 3;
        if skipped == 0 && (range.end.is_multiple_of(3) || range.end == self.len) {
            return Self { stored: text, len, ..self.clone() };
        }
        // `BodyEncoder` wrote this text, so it decodes.
        let decoded = base64_simd::STANDARD.decode_to_vec(&text).unwrap_or_default();
        let wanted = decoded.into_iter().skip(usize::try_from(skipped).unwrap_or(0));
        let wanted: Vec<u8> = wanted.take(usize::try_from(len).unwrap_or(0)).collect();
        let mut encoder = BodyEncoder::with_capacity(wanted.len());
        encoder.push(wanted.as_slice());
        encoder.finish()
    }
}

/// The length of the base64 text of `len` bytes, padding included.
pub const fn base64_len(len: u64) -> u64 {
    len.div_ceil(3).saturating_mul(4)
}

/// Stores a body as its chunks arrive, in one buffer of its exact final size.
#[derive(Debug)]
pub struct BodyEncoder {
    stored: Vec<u8>,
    encoding: Encoding,
    /// One or two bytes that wait for the rest of their group of three.
    carry: [u8; 3],
    carried: usize,
    len: u64,
}

impl BodyEncoder {
    /// An encoder into base64 for a body of `len` bytes; a wrong length only costs a reallocation.
    pub fn with_capacity(len: usize) -> Self {
        Self::new(len, Encoding::Base64)
    }

    /// An encoder for a body of `len` bytes; a wrong length only costs a reallocation.
    pub fn new(len: usize, encoding: Encoding) -> Self {
        let capacity = match encoding {
            Encoding::Base64 => usize::try_from(base64_len(len as u64)).unwrap_or(0),
            Encoding::Raw => len,
        };
        Self { stored: Vec::with_capacity(capacity), encoding, carry: [0; 3], carried: 0, len: 0 }
    }

    /// The number of bytes pushed so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte has been pushed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Encodes the next bytes.
    pub fn push(&mut self, mut chunk: impl Buf) {
        while chunk.has_remaining() {
            let slice = chunk.chunk();
            let taken = slice.len();
            self.push_slice(slice);
            chunk.advance(taken);
        }
    }

    fn push_slice(&mut self, mut slice: &[u8]) {
        self.len += slice.len() as u64;
        if self.encoding == Encoding::Raw {
            return self.stored.extend_from_slice(slice);
        }
        while self.carried > 0 && self.carried < 3 {
            let Some((&first, rest)) = slice.split_first() else { return };
            self.carry[self.carried] = first;
            self.carried += 1;
            slice = rest;
        }
        if self.carried == 3 {
            append(&self.carry, &mut self.stored);
            self.carried = 0;
        }
        let (whole, rest) = slice.split_at(slice.len() - slice.len() % 3);
        append(whole, &mut self.stored);
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carried = rest.len();
    }

    /// The encoded body.
    pub fn finish(mut self) -> Body {
        append(&self.carry[..self.carried], &mut self.stored);
        // Does nothing if the capacity was right.
        self.stored.shrink_to_fit();
        Body { stored: self.stored.into(), encoding: self.encoding, len: self.len, reservation: Reservation::default() }
    }
}

fn append(bytes: &[u8], base64: &mut Vec<u8>) {
    base64_simd::STANDARD.encode_append(bytes, base64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_chunked_body_encodes_like_the_whole(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        ) {
            let whole = chunks.concat();
            for encoding in [Encoding::Base64, Encoding::Raw] {
                let mut encoder = BodyEncoder::new(whole.len(), encoding);
                let capacity = encoder.stored.capacity();
                for chunk in &chunks {
                    encoder.push(chunk.as_slice());
                }
                prop_assert_eq!(encoder.stored.capacity(), capacity, "the buffer never grows");
                let body = encoder.finish();
                prop_assert_eq!(body.len(), whole.len() as u64);
                prop_assert_eq!(body.base64().len() as u64, base64_len(whole.len() as u64));
                prop_assert_eq!(base64_simd::STANDARD.decode_to_vec(body.base64()).unwrap(), &whole[..]);
                prop_assert_eq!(body.raw().unwrap(), &whole[..]);
            }
        }

        #[test]
        fn a_slice_of_a_body_encodes_the_slice(
            whole in prop::collection::vec(any::<u8>(), 1..60),
            ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let (one, other) = (ends.0.index(whole.len()), ends.1.index(whole.len()));
            let range = one.min(other)..one.max(other) + 1;
            for encoding in [Encoding::Base64, Encoding::Raw] {
                let encode = |bytes: &[u8]| {
                    let mut encoder = BodyEncoder::new(bytes.len(), encoding);
                    encoder.push(bytes);
                    encoder.finish()
                };
                let slice = encode(&whole).slice(range.start as u64..range.end as u64);
                prop_assert_eq!(slice, encode(&whole[range.clone()]));
            }
        }
    }
}
