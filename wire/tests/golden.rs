//! Golden batches: every later version opens them, and today's writes the same bytes.
//!
//! A change of the bytes is a change of the format: `cargo run --release -p wire-bench -- bless`
//! writes new files, and the version of a table in `wire/src/family/` says that it was meant.

#![forbid(unsafe_code)]

use wire::{Batch, Limits, decode, encode};

/// Name, batch and rows.
type Golden = (&'static str, &'static [u8], &'static str);

macro_rules! golden {
    ($($name:literal),+ $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../golden/", $name, ".bin")).as_slice(),
            include_str!(concat!("../golden/", $name, ".txt")),
        )),+]
    };
}

const FORMAT1: [Golden; 5] = golden!["1/empty", "1/edges", "1/host", "1/interval", "1/observed"];

/// Batches of older minor versions; what they lack is zero and empty.
const OLDER: [Golden; 3] = golden!["1/interval-1.0", "1/interval-1.1", "1/observed-1.1"];

const FORMAT2: [Golden; 7] = golden![
    "2/empty",
    "2/edges",
    "2/host",
    "2/interval",
    "2/observed",
    "2/totals",
    "2/others",
];

fn opened(name: &str, bytes: &[u8]) -> Batch {
    decode(bytes, &Limits::default()).expect(name)
}

#[test]
fn golden_batches_hold_the_rows_that_were_sealed() {
    for (name, bytes, rows) in FORMAT1.into_iter().chain(OLDER).chain(FORMAT2) {
        assert!(
            format!("{:#?}\n", opened(name, bytes)) == rows,
            "{name} opens to other rows"
        );
    }
}

#[test]
fn the_same_rows_seal_to_the_same_bytes() {
    for (name, bytes, _) in FORMAT1 {
        let sealed = format1::encode(&opened(name, bytes));
        assert!(sealed == bytes, "{name} seals to other bytes");
    }
    for (name, bytes, _) in FORMAT2 {
        let sealed = encode(&opened(name, bytes));
        assert!(sealed == bytes, "{name} seals to other bytes");
    }
}

#[test]
fn what_format_1_counted_is_a_total() {
    for (name, bytes, _) in FORMAT1.into_iter().chain(OLDER) {
        let batch = opened(name, bytes);
        assert!(batch.edges.iter().all(|row| row.total), "{name}");
        assert!(batch.nats.iter().all(|row| row.total), "{name}");
    }
}
