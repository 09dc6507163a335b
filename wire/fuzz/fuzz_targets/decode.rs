//! Any bytes are a batch or an error; what is a batch can be sealed and opened again.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use wire::{Limits, decode, encode};

/// Small bounds, so that a reader which allocates before it checks is found quickly.
const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_raw_bytes: 4 << 20, max_rows: 20_000 };

fuzz_target!(|bytes: &[u8]| {
    if let Ok(batch) = decode(bytes, &LIMITS) {
        let again = decode(&encode(&batch), &Limits::default()).expect("what was read is valid");
        // Sealing sorts the rows, which a foreign writer need not have done.
        assert_eq!(encode(&batch), encode(&again));
    }
});
