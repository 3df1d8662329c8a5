//! Encodes a text in a content coding, piece by piece.

use std::io::{self, Write};

use compu::encoder::{BrotliC, BrotliOptions, BrotliQuality, Encoder as _};
use compu::{EncodeOp, EncodeStatus};
use flate2::Compression;
use flate2::write::GzEncoder;
use nearedge_core::object::CopyKind;

/// Brotli's quality: the next one needs half as much CPU time again, and gains a hundredth of the bytes (docs/encoding.md).
const BROTLI_QUALITY: BrotliQuality = BrotliQuality::Q5;

/// Gzip's level, as nginx and CloudFront use it.
const GZIP_LEVEL: u32 = 6;

/// The least space for the encoder's output, in bytes.
const OUTPUT_BYTES_MIN: usize = 4096;

/// An encoder and its output so far.
pub(super) enum Encoder {
    Brotli(BrotliC, Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    /// An encoder for this coding; `None` if there is none, or no memory for it.
    pub(super) fn new(kind: CopyKind) -> Option<Self> {
        match kind {
            CopyKind::Br => {
                let options = BrotliOptions::new().quality(BROTLI_QUALITY);
                Some(Self::Brotli(BrotliC::new(options)?, Vec::new()))
            }
            CopyKind::Gzip => Some(Self::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))))),
            CopyKind::Zstd | CopyKind::Avif | CopyKind::Webp => None,
        }
    }

    /// Encodes the next piece of the text.
    ///
    /// Brotli otherwise collects 64 kB and encodes them at once, which takes longer than a slice may. To flush after pieces of
    /// 12 kB makes its output 1 % larger.
    pub(super) fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Brotli(encoder, output) => encode(encoder, piece, output, EncodeOp::Flush),
            Self::Gzip(encoder) => encoder.write_all(piece),
        }
    }

    /// The length of the output so far, in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Brotli(_, output) => output.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
        }
    }

    /// The whole output.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Brotli(mut encoder, mut output) => {
                encode(&mut encoder, &[], &mut output, EncodeOp::Finish)?;
                Ok(output)
            }
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

fn encode(encoder: &mut BrotliC, mut input: &[u8], output: &mut Vec<u8>, op: EncodeOp) -> io::Result<()> {
    loop {
        output.reserve(OUTPUT_BYTES_MIN);
        let encoded = encoder.encode_vec(input, output, op);
        input = &input[input.len().saturating_sub(encoded.input_remain)..];
        match encoded.status {
            EncodeStatus::Finished => return Ok(()),
            EncodeStatus::Continue if input.is_empty() && op != EncodeOp::Finish => return Ok(()),
            EncodeStatus::Continue | EncodeStatus::NeedOutput => {}
            EncodeStatus::Error => return Err(io::Error::other("the encoder failed")),
        }
    }
}
