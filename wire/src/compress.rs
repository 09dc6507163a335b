//! zstd with the format's dictionaries, and a bound on what comes out.

use std::io::Write;

use zstd::stream::write::Encoder;

use crate::DecodeError;

/// A dictionary that both ends hold.
#[derive(Debug)]
pub(crate) struct Dictionary {
    /// The number in a batch's head.
    pub(crate) id: u16,
    bytes: &'static [u8],
}

/// All dictionaries that were ever used, the one for new batches last. None is ever removed.
static DICTIONARIES: [Dictionary; 1] =
    [Dictionary { id: 1, bytes: include_bytes!("../dictionaries/1.dictionary") }];

/// Bytes that are worth a block of their own.
const MIN_BLOCK: usize = 200;

/// The highest level before zstd's "ultra" ones, which want much more memory.
const LEVEL: i32 = 19;

impl Dictionary {
    /// The one for new batches.
    pub(crate) fn newest() -> &'static Self {
        DICTIONARIES.last().expect("the list is not empty")
    }

    /// The one with that number.
    pub(crate) fn find(id: u16) -> Result<&'static Self, DecodeError> {
        let found = DICTIONARIES.iter().find(|dictionary| dictionary.id == id);
        found.ok_or_else(|| DecodeError::Unsupported(format!("dictionary {id}")))
    }

    /// One frame, with a new block at each of `turns`, so that bytes of different kinds do not
    /// share one statistic.
    pub(crate) fn compress(&self, raw: &[u8], turns: &[usize]) -> Vec<u8> {
        self.try_compress(raw, turns)
            .expect("zstd compresses into memory unless that is exhausted")
    }

    fn try_compress(&self, raw: &[u8], turns: &[usize]) -> std::io::Result<Vec<u8>> {
        let mut encoder = Encoder::with_dictionary(Vec::new(), LEVEL, self.bytes)?;
        encoder.set_pledged_src_size(Some(raw.len() as u64))?;
        encoder.include_contentsize(true)?;
        // The head has both.
        encoder.include_checksum(false)?;
        encoder.include_dictid(false)?;
        let mut done = 0;
        for turn in turns.iter().filter(|turn| **turn < raw.len()) {
            if turn - done >= MIN_BLOCK {
                encoder.write_all(&raw[done..*turn])?;
                encoder.flush()?;
                done = *turn;
            }
        }
        encoder.write_all(&raw[done..])?;
        encoder.finish()
    }

    /// Exactly `raw` bytes, for which the caller has checked that they may be allocated.
    pub(crate) fn decompress(&self, compressed: &[u8], raw: usize) -> Result<Vec<u8>, DecodeError> {
        let malformed = |what: String| DecodeError::Malformed(format!("decompression: {what}"));
        let mut decoder = zstd::bulk::Decompressor::with_dictionary(self.bytes)
            .map_err(|error| malformed(error.to_string()))?;
        let mut out = Vec::with_capacity(raw);
        let length = decoder
            .decompress_to_buffer(compressed, &mut out)
            .map_err(|error| malformed(error.to_string()))?;
        if length == raw {
            Ok(out)
        } else {
            Err(malformed(format!("{length} bytes, not {raw}")))
        }
    }
}
