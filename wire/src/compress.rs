//! zstd with the format's dictionaries, and a bound on what comes out.
//!
//! A batch of format 1 is several zstd frames one after the other, which any zstd tool unpacks as
//! one; a batch of format 2 is one.

use std::io::Write as _;
use std::sync::LazyLock;

use zstd::bulk::Decompressor;
use zstd::dict::EncoderDictionary;
use zstd::stream::write::Encoder;

use crate::error::DecodeError;
use crate::stream::Kind;

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

/// Fewer bytes are not worth blocks of their own.
const MIN_NOISE: usize = 300;

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
pub(crate) fn compress(raw: &[u8], kinds: &[(usize, Kind)]) -> Vec<u8> {
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
            if pair[0].1 == Kind::Noise && noise.len() >= MIN_NOISE {
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
