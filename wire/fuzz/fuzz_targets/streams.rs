//! Changed Arrow streams are other rows or an error, behind a head and compression that are right.
//!
//! The input is a list of changes to the streams of a golden batch of either format, because random
//! bytes would hardly ever be an Arrow stream. Each change is four bytes: where (three bytes) and what.
#![no_main]
#![forbid(unsafe_code)]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wire::{Batch, Limits, decode, encode};

/// Small bounds, so that a reader which allocates before it checks is found quickly.
const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_raw_bytes: 4 << 20, max_rows: 20_000 };

/// A golden batch, and where its head says what.
struct Golden {
    sealed: &'static [u8],
    streams: Vec<u8>,
    /// Where the number of row counts stands, that of compressed bytes, and the row counts begin.
    tables: usize,
    length: usize,
    counts: usize,
}

static GOLDEN: LazyLock<[Golden; 2]> = LazyLock::new(|| {
    let golden = |sealed, streams: fn(&Batch) -> Vec<u8>, [tables, length, counts]: [usize; 3]| {
        let streams = streams(&decode(sealed, &LIMITS).expect("a golden batch"));
        Golden { sealed, streams, tables, length, counts }
    };
    [
        golden(include_bytes!("../../golden/1/interval.bin"), format1::arrow_streams, [7, 16, 76]),
        golden(
            include_bytes!("../../golden/2/interval.bin"),
            wire::format2::arrow_streams,
            [6, 12, 72],
        ),
    ]
});

fuzz_target!(|changes: &[u8]| {
    for golden in &*GOLDEN {
        let mut raw = golden.streams.clone();
        for change in changes.as_chunks::<4>().0 {
            let [low, middle, high, value] = *change;
            let position = u32::from_le_bytes([low, middle, high, 0]) as usize % raw.len();
            raw[position] = value;
        }
        let compressed = zstd::bulk::compress(&raw, 1).expect("compresses");
        let tables = usize::from(golden.sealed[golden.tables]);
        let mut bytes = golden.sealed[..golden.counts + 5 * tables].to_vec();
        let length = u32::try_from(compressed.len()).expect("small").to_le_bytes();
        bytes[golden.length..golden.length + 4].copy_from_slice(&length);
        bytes.extend_from_slice(&compressed);
        // The checksum is not looked at under `cfg(fuzzing)`.
        bytes.extend_from_slice(&[0; 4]);
        if let Ok(batch) = decode(&bytes, &LIMITS) {
            let again = decode(&encode(&batch), &Limits::default()).expect("what was read is valid");
            // Sealing sorts the rows, which a foreign writer need not have done.
            assert_eq!(encode(&batch), encode(&again));
        }
    }
});
