//! Memory that rows lead to, in bytes: the most that is held of each at one time.
//!
//! They follow from the sizes of the structures below and what an allocator adds to each block;
//! vectors that grow and trees that are not full are counted as one and a half of what they hold.
//! `tests/suite/memory.rs` compares them with what a process takes.

use std::mem::size_of;

use super::input::{Flow, Nat, Process, Sighting};
use super::rows::{Row, RowKey};
use crate::packed::NUMBERS;

/// What an allocator adds to a block, and to its size for alignment.
const BLOCK: usize = 24;

/// A sighting: itself, its part of a joined connection (twice while they are merged), and in the set
/// of tokens that were read. While it is read there is room for twice as many, and no connection.
pub const SIGHTING: usize = size_of::<Sighting>() + 48 + JOINED + 16;

/// What stays of a sighting once it is joined: its part of the connection, and where that is looked
/// for by its end.
pub(super) const JOINED: usize = 56;

/// A flow: itself, and how it is found. What it costs as a row and as an edge is taken when there are
/// any: what was read is smaller by then.
pub const FLOW: usize = size_of::<Flow>() * 3 / 2 + 48 + 16;

/// A row without counters: itself, and how it is found by its flow, and while it is made and joined by
/// its addresses.
pub(super) const ROW: usize = size_of::<Row>() + size_of::<RowKey>() + 32;

/// The counters of a flow, which are moved and not copied: most often a quarter of all numbers.
pub const COUNTERS: usize = NUMBERS / 4 * 8 + BLOCK;

/// A translation: itself, and how it is found by what it takes in and what it lets out.
pub const NAT: usize = size_of::<Nat>() * 3 / 2 + 900;

/// A process without its texts, and the node it describes.
pub const PROCESS: usize = 2 * size_of::<Process>() + 200;

/// A host without its name.
pub const HOST: usize = 200;

/// Two rows that evidence joins.
pub const LINK: usize = 640;

/// Two rows that may belong together.
pub const CANDIDATE: usize = 320;

/// An address on the way of a link.
pub const VIA: usize = 120;

/// What a text of so many bytes takes: once where it was read, once where it is shown.
#[must_use]
pub const fn text(bytes: usize) -> usize {
    2 * (bytes + BLOCK)
}
