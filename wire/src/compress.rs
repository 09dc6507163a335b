//! zstd with the format's dictionaries, and a bound on what comes out.
//!
//! A batch of format 1 is several zstd frames one after the other, which any zstd tool unpacks as
//! one. Each kind of bytes gets its own: zstd guesses the cost of symbols from the block before, and
//! that guess is poor where the kind changes. A batch of format 2 is one frame.

use std::io::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::EncoderDictionary;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::{CParameter, Strategy};

use crate::error::DecodeError;

/// A dictionary that both ends hold.
#[derive(Debug)]
pub(crate) struct Dictionary {
    /// The number in a batch's head.
    pub(crate) id: u16,
    bytes: &'static [u8],
}

/// All dictionaries that were ever used, the one for new batches last. None is ever removed.
static DICTIONARIES: [Dictionary; 3] = [
    Dictionary {
        id: 1,
        bytes: include_bytes!("../dictionaries/1.dictionary"),
    },
    // With the schemas of 1.1.
    Dictionary {
        id: 2,
        bytes: include_bytes!("../dictionaries/2.dictionary"),
    },
    // Of format 2.
    Dictionary {
        id: 3,
        bytes: include_bytes!("../dictionaries/3.dictionary"),
    },
];

/// Those of format 1, digested once: that takes longer than compressing a batch.
static DIGESTED: [LazyLock<EncoderDictionary<'static>>; 2] = [
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARIES[0].bytes, TEXT_LEVEL)),
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARIES[1].bytes, TEXT_LEVEL)),
];

/// What bytes are like from some place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Schemas and texts: long matches among themselves and in the dictionary.
    Text,
    /// Tokens of a few kinds: small numbers without an order.
    Tokens,
    /// Bits that no compressor shortens.
    Noise,
}

/// Fewer bytes are not worth a frame of their own.
const MIN_FRAME: usize = 300;

/// Fewer bytes are not even worth a frame after noise.
const MIN_TAIL: usize = 16;

const TEXT_LEVEL: i32 = 19;
const TOKEN_LEVEL: i32 = 9;
/// Short matches among tokens are chance, and cost more than the tokens themselves.
const TOKEN_MATCH: u32 = 7;
const NOISE_LEVEL: i32 = 1;

impl Dictionary {
    /// The one with that number.
    pub(crate) fn find(id: u16) -> Result<&'static Self, DecodeError> {
        let found = DICTIONARIES.iter().find(|dictionary| dictionary.id == id);
        found.ok_or_else(|| DecodeError::Unsupported(format!("dictionary {id}")))
    }

    /// Exactly `raw` bytes, for which the caller has checked that they may be allocated.
    pub(crate) fn decompress(&self, compressed: &[u8], raw: usize) -> Result<Vec<u8>, DecodeError> {
        let malformed = |what: String| DecodeError::Malformed(format!("decompression: {what}"));
        let failed = |error: std::io::Error| malformed(error.to_string());
        let mut decoder = Decompressor::with_dictionary(self.bytes).map_err(failed)?;
        let mut out = Vec::with_capacity(raw);
        let length = decoder
            .decompress_to_buffer(compressed, &mut out)
            .map_err(failed)?;
        if length == raw {
            Ok(out)
        } else {
            Err(malformed(format!("{length} bytes, not {raw}")))
        }
    }
}

/// Bytes up to which the higher level takes some milliseconds at most.
const SMALL: usize = 96 << 10;

const SMALL_LEVEL: i32 = 15;
const LARGE_LEVEL: i32 = 9;

/// The dictionary of format 2, digested for both levels.
static WHOLE: [LazyLock<EncoderDictionary<'static>>; 2] = [
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARIES[2].bytes, SMALL_LEVEL)),
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARIES[2].bytes, LARGE_LEVEL)),
];

/// Compresses in one frame with the dictionary of format 2; `kinds` says from where on the bytes are
/// of which kind. Noise that is long enough has blocks of its own: among other bytes it would spoil
/// their table of symbols.
pub(crate) fn compress_whole(raw: &[u8], kinds: &[(usize, Kind)]) -> Vec<u8> {
    let compress = || {
        let digested = &WHOLE[usize::from(raw.len() > SMALL)];
        let mut encoder = Encoder::with_prepared_dictionary(Vec::new(), digested)?;
        encoder.set_pledged_src_size(Some(raw.len() as u64))?;
        // The head of the batch says both.
        encoder.include_contentsize(false)?;
        encoder.include_dictid(false)?;
        let mut from = 0;
        for pair in kinds.windows(2) {
            let noise = pair[0].0..pair[1].0;
            if pair[0].1 == Kind::Noise && noise.len() >= MIN_FRAME {
                for end in [noise.start, noise.end] {
                    encoder.write_all(&raw[from..end])?;
                    encoder.flush()?;
                    from = end;
                }
            }
        }
        encoder.write_all(&raw[from..])?;
        encoder.finish()
    };
    let compressed: std::io::Result<_> = compress();
    compressed.expect("zstd compresses into memory unless that is exhausted")
}

/// Compresses in several frames; `kinds` says from where on the bytes are of which kind.
pub(crate) fn compress(dictionary: &Dictionary, raw: &[u8], kinds: &[(usize, Kind)]) -> Vec<u8> {
    try_compress(dictionary, raw, kinds)
        .expect("zstd compresses into memory unless that is exhausted")
}

fn try_compress(
    dictionary: &Dictionary,
    raw: &[u8],
    kinds: &[(usize, Kind)],
) -> std::io::Result<Vec<u8>> {
    let digested = &DIGESTED[usize::from(dictionary.id - 1)];
    let mut text = Compressor::with_prepared_dictionary(digested)?;
    let mut tokens = Compressor::new(TOKEN_LEVEL)?;
    tokens.set_parameter(CParameter::Strategy(Strategy::ZSTD_btopt))?;
    tokens.set_parameter(CParameter::MinMatch(TOKEN_MATCH))?;
    tokens.set_parameter(CParameter::TargetLength(999))?;
    let mut noise = Compressor::new(NOISE_LEVEL)?;
    for compressor in [&mut text, &mut tokens, &mut noise] {
        // The head of the batch says both.
        compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
        compressor.set_parameter(CParameter::DictIdFlag(false))?;
    }
    let mut out = Vec::new();
    for (range, kind) in frames(raw.len(), kinds) {
        let compressor = match kind {
            Kind::Text => &mut text,
            Kind::Tokens => &mut tokens,
            Kind::Noise => &mut noise,
        };
        out.extend(compressor.compress(&raw[range])?);
    }
    Ok(out)
}

/// One range per frame: texts with what is between them, and everything else that is long enough.
fn frames(length: usize, kinds: &[(usize, Kind)]) -> Vec<(Range<usize>, Kind)> {
    let mut frames: Vec<(Range<usize>, Kind)> = Vec::new();
    let ends = kinds
        .iter()
        .skip(1)
        .map(|(start, _)| *start)
        .chain([length]);
    for ((start, kind), end) in kinds.iter().zip(ends) {
        match frames.last_mut() {
            Some((range, last))
                if end - start < MIN_TAIL
                    || *last != Kind::Noise
                        && (end - start < MIN_FRAME
                            || (*kind, *last) == (Kind::Text, Kind::Text)) =>
            {
                range.end = end;
            }
            _ => frames.push((*start..end, *kind)),
        }
    }
    frames
}
