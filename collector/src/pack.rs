//! zstd with the contexts of a thread: a new one for each of the many small blocks that a question
//! reads takes longer than the blocks do.

use std::cell::RefCell;
use std::io::Result;

use zstd::bulk::{Compressor, Decompressor};

thread_local! {
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses at a level.
///
/// # Errors
/// When there is no memory for it.
pub(crate) fn pack(bytes: &[u8], level: i32) -> Result<Vec<u8>> {
    PACKER.with_borrow_mut(|kept| {
        let packer = match kept {
            Some(packer) => packer,
            None => kept.insert(Compressor::new(level)?),
        };
        packer.set_compression_level(level)?;
        packer.compress(bytes)
    })
}

/// Decompresses into at most `most` bytes.
///
/// # Errors
/// When these are no compressed bytes, or those of more.
pub(crate) fn unpack(bytes: &[u8], most: usize) -> Result<Vec<u8>> {
    UNPACKER.with_borrow_mut(|kept| {
        let unpacker = match kept {
            Some(unpacker) => unpacker,
            None => kept.insert(Decompressor::new()?),
        };
        unpacker.decompress(bytes, most)
    })
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};

    #[test]
    fn levels_change_and_what_is_damaged_does_no_harm_to_what_comes_next() {
        let text = b"again and again and again and again".repeat(20);
        for level in [1, 9, 3] {
            let packed = pack(&text, level).unwrap();
            assert!(packed.len() < text.len());
            assert!(unpack(&packed[..packed.len() - 3], text.len()).is_err());
            assert!(unpack(&packed, text.len() - 1).is_err());
            assert_eq!(unpack(&packed, text.len()).unwrap(), text);
        }
    }
}
