//! The families of rows, one file each, and the registry of their tables.

pub mod connection;
pub mod host;
pub mod listener;
pub mod nat;
pub mod process;

/// Bytes that a pair takes beside its text.
const PAIR_BYTES: usize = 16;

fn pairs_bytes(list: &[(String, String)]) -> usize {
    let bytes = |(key, value): &(String, String)| key.len() + value.len() + PAIR_BYTES;
    list.iter().map(bytes).sum()
}
