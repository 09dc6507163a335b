//! Golden batches: every later version opens them, and today's writes the same bytes.
//!
//! A change of the bytes is a change of the format: `cargo run --release -p wire-bench -- bless`
//! writes new files, and the schema version in `wire/src/header.rs` says that it was meant.

#![forbid(unsafe_code)]

use wire::{Batch, Limits, decode, encode};

const GOLDEN: [(&str, &[u8], &str); 5] = [
    (
        "empty",
        include_bytes!("../golden/empty.bin"),
        include_str!("../golden/empty.txt"),
    ),
    (
        "edges",
        include_bytes!("../golden/edges.bin"),
        include_str!("../golden/edges.txt"),
    ),
    (
        "host",
        include_bytes!("../golden/host.bin"),
        include_str!("../golden/host.txt"),
    ),
    (
        "interval",
        include_bytes!("../golden/interval.bin"),
        include_str!("../golden/interval.txt"),
    ),
    (
        "observed",
        include_bytes!("../golden/observed.bin"),
        include_str!("../golden/observed.txt"),
    ),
];

/// Batches of older minor versions; what they lack is zero and empty.
const OLDER: [(&str, &[u8], &str); 3] = [
    (
        "interval-1.0",
        include_bytes!("../golden/interval-1.0.bin"),
        include_str!("../golden/interval-1.0.txt"),
    ),
    (
        "interval-1.1",
        include_bytes!("../golden/interval-1.1.bin"),
        include_str!("../golden/interval-1.1.txt"),
    ),
    (
        "observed-1.1",
        include_bytes!("../golden/observed-1.1.bin"),
        include_str!("../golden/observed-1.1.txt"),
    ),
];

fn opened(name: &str, bytes: &[u8]) -> Batch {
    decode(bytes, &Limits::default()).expect(name)
}

#[test]
fn golden_batches_hold_the_rows_that_were_sealed() {
    for (name, bytes, rows) in GOLDEN.into_iter().chain(OLDER) {
        assert!(
            format!("{:#?}\n", opened(name, bytes)) == rows,
            "{name} opens to other rows"
        );
    }
}

#[test]
fn the_same_rows_seal_to_the_same_bytes() {
    for (name, bytes, _) in GOLDEN {
        assert!(
            encode(&opened(name, bytes)) == bytes,
            "{name} seals to other bytes"
        );
    }
}
