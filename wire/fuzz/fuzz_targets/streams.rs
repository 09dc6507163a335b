//! Changed Arrow streams are other rows or an error, behind a head and compression that are right.
//!
//! The input is a list of changes to the streams of a golden batch, because random bytes would hardly
//! ever be an Arrow stream. Each change is four bytes: where (three bytes) and what.
#![no_main]
#![forbid(unsafe_code)]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wire::format2::arrow_streams;
use wire::{Limits, decode, encode};

/// Small bounds, so that a reader which allocates before it checks is found quickly.
const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_raw_bytes: 4 << 20, max_rows: 20_000 };

const GOLDEN: &[u8] = include_bytes!("../../golden/2/interval.bin");

/// Bytes of the head before its row counts, and of each of these.
const FIXED: usize = 72;
const COUNT: usize = 5;

static STREAMS: LazyLock<Vec<u8>> =
    LazyLock::new(|| arrow_streams(&decode(GOLDEN, &LIMITS).expect("a golden batch")));

fuzz_target!(|changes: &[u8]| {
    let mut raw = STREAMS.clone();
    for change in changes.as_chunks::<4>().0 {
        let [low, middle, high, value] = *change;
        let position = u32::from_le_bytes([low, middle, high, 0]) as usize % raw.len();
        raw[position] = value;
    }
    let compressed = zstd::bulk::compress(&raw, 1).expect("compresses");
    let mut bytes = GOLDEN[..FIXED + COUNT * usize::from(GOLDEN[6])].to_vec();
    bytes[12..16].copy_from_slice(&u32::try_from(compressed.len()).expect("small").to_le_bytes());
    bytes.extend_from_slice(&compressed);
    // The checksum is not looked at under `cfg(fuzzing)`.
    bytes.extend_from_slice(&[0; 4]);
    if let Ok(batch) = decode(&bytes, &LIMITS) {
        let again = decode(&encode(&batch), &Limits::default()).expect("what was read is valid");
        // Sealing sorts the rows, which a foreign writer need not have done.
        assert_eq!(encode(&batch), encode(&again));
    }
});
