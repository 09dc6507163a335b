//! Several zstd frames one after the other, which any zstd tool unpacks as one.
//!
//! Each kind of bytes gets its own: zstd guesses the cost of symbols from the block before, and that
//! guess is poor where the kind changes.

use std::ops::Range;
use std::sync::LazyLock;

use wire::stream::Kind;
use zstd::bulk::Compressor;
use zstd::dict::EncoderDictionary;
use zstd::zstd_safe::{CParameter, Strategy};

/// The number of the dictionary that it is written with.
pub(crate) const DICTIONARY: u32 = 2;

static DIGESTED: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| {
    EncoderDictionary::copy(
        include_bytes!("../../../dictionaries/2.dictionary"),
        TEXT_LEVEL,
    )
});

/// Fewer bytes are not worth a frame of their own.
const MIN_FRAME: usize = 300;

/// Fewer bytes are not even worth a frame after noise.
const MIN_TAIL: usize = 16;

const TEXT_LEVEL: i32 = 19;
const TOKEN_LEVEL: i32 = 9;
/// Short matches among tokens are chance, and cost more than the tokens themselves.
const TOKEN_MATCH: u32 = 7;
const NOISE_LEVEL: i32 = 1;

/// Compresses in several frames; `kinds` says from where on the bytes are of which kind.
pub(crate) fn compress(raw: &[u8], kinds: &[(usize, Kind)]) -> Vec<u8> {
    try_compress(raw, kinds).expect("zstd compresses into memory unless that is exhausted")
}

fn try_compress(raw: &[u8], kinds: &[(usize, Kind)]) -> std::io::Result<Vec<u8>> {
    let mut text = Compressor::with_prepared_dictionary(&DIGESTED)?;
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
