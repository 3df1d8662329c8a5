//! Makes one copy in slices.

use std::io;

use nearedge_core::object::{Body, BodyEncoder, CopyKind};

use crate::storage::copies::encoder::Encoder;

/// The bytes of the text that a slice encodes: about 0.3 ms of CPU time with Brotli. A multiple of three, so that it decodes on its own.
const SLICE_BYTES: u64 = 12 * 1024;

/// A copy is kept if it has at most this many hundredths of its source's bytes.
const PERCENT_MAX: u64 = 90;

/// The work on one copy.
pub(in crate::storage) struct Job {
    source: Body,
    done: u64,
    encoder: Encoder,
}

/// The state of a job after a slice.
pub(in crate::storage) enum Progress {
    /// There is more to do.
    Continues(Box<Job>),
    /// The copy, and its bytes before base64.
    Done(Body, Vec<u8>),
    /// There is no copy: it would be too large, or the encoder fails.
    Useless,
}

impl Job {
    /// The work on a copy of `source`; `None` if the function cannot encode this kind.
    pub(in crate::storage) fn new(source: Body, kind: CopyKind) -> Option<Box<Self>> {
        Some(Box::new(Self { source, done: 0, encoder: Encoder::new(kind)? }))
    }

    /// The bytes of the text that are not encoded yet.
    pub(in crate::storage) fn remaining_bytes(&self) -> u64 {
        self.source.len() - self.done
    }

    /// Works on the next slice.
    pub(in crate::storage) fn step(mut self: Box<Self>) -> Progress {
        match self.encode_slice() {
            Ok(()) if self.is_useless() => Progress::Useless,
            Ok(()) if self.done < self.source.len() => Progress::Continues(self),
            Ok(()) => {
                let source_bytes = self.source.len();
                match self.encoder.finish() {
                    Ok(coded) if is_worthwhile(coded.len(), source_bytes) => {
                        let mut body = BodyEncoder::new(coded.len(), self.source.encoding());
                        body.push(coded.as_slice());
                        Progress::Done(body.finish(), coded)
                    }
                    Ok(_) | Err(_) => Progress::Useless,
                }
            }
            Err(_) => Progress::Useless,
        }
    }

    fn encode_slice(&mut self) -> io::Result<()> {
        let end = (self.done + SLICE_BYTES).min(self.source.len());
        let piece = self.source.slice(self.done..end).raw().ok_or(io::ErrorKind::InvalidData)?;
        self.done = end;
        self.encoder.push(&piece)
    }

    /// Whether the copy is already too large.
    fn is_useless(&self) -> bool {
        !is_worthwhile(self.encoder.len(), self.source.len())
    }
}

fn is_worthwhile(coded_bytes: usize, source_bytes: u64) -> bool {
    coded_bytes as u64 * 100 <= source_bytes * PERCENT_MAX
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use proptest::prelude::*;

    fn copy_of(text: &[u8], kind: CopyKind) -> Option<(Body, usize)> {
        let mut source = BodyEncoder::with_capacity(text.len());
        source.push(text);
        let mut job = Job::new(source.finish(), kind)?;
        let mut slices = 0;
        loop {
            slices += 1;
            job = match job.step() {
                Progress::Continues(job) => job,
                Progress::Done(body, coded) => {
                    assert_eq!(body.raw().unwrap(), coded);
                    return Some((body, slices));
                }
                Progress::Useless => return None,
            };
        }
    }

    fn decode(body: &Body, kind: CopyKind) -> Vec<u8> {
        let coded = body.raw().unwrap();
        let mut text = Vec::new();
        match kind {
            CopyKind::Br => brotli_decompressor::Decompressor::new(&*coded, 4096).read_to_end(&mut text),
            _ => flate2::read::GzDecoder::new(&*coded).read_to_end(&mut text),
        }
        .unwrap();
        text
    }

    /// Text that shrinks.
    fn text(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let words = ["<div class=\"", "row", "\">\n", "column ", "the ", "quick", " é ", "0123"];
        let mut text = Vec::new();
        while text.len() < len {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(words[(state >> 40) as usize % words.len()].as_bytes());
        }
        text.truncate(len);
        text
    }

    #[test]
    fn a_large_text_takes_many_slices() {
        for kind in [CopyKind::Br, CopyKind::Gzip] {
            let large = text(500_000, 7);
            let (body, slices) = copy_of(&large, kind).unwrap();
            assert_eq!(slices, 500_000_usize.div_ceil(12 * 1024), "{kind:?}");
            assert_eq!(decode(&body, kind), large);
        }
    }

    #[test]
    fn bytes_that_do_not_shrink_have_no_copy() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(60_000)
        .collect();
        assert!(copy_of(&noise, CopyKind::Gzip).is_none() && copy_of(&noise, CopyKind::Br).is_none());
        assert!(copy_of(b"x", CopyKind::Br).is_none(), "the frame alone is larger");
    }

    #[test]
    fn the_function_makes_no_zstd_and_no_images() {
        let kinds = [CopyKind::Zstd, CopyKind::Avif, CopyKind::Webp];
        assert!(kinds.into_iter().all(|kind| Job::new(Body::default(), kind).is_none()));
    }

    proptest! {
        #[test]
        fn every_copy_decodes_to_its_text(len in 0_usize..40_000, seed: u64, is_brotli: bool) {
            let kind = if is_brotli { CopyKind::Br } else { CopyKind::Gzip };
            let text = text(len, seed);
            if let Some((body, _)) = copy_of(&text, kind) {
                prop_assert!(body.len() * 10 <= text.len() as u64 * 9);
                prop_assert_eq!(decode(&body, kind), text);
            }
        }
    }
}
