//! What can happen to a spool, and how often.

use proptest::prelude::*;

use super::MAX_BYTES;
use crate::spool::Fault;

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Payload bytes.
    Put(usize),
    Lease(usize),
    /// Of the n-th lease.
    Ack(usize),
    Nack(usize, Fault),
    Refuse(usize),
    NackAll,
    /// After so many milliseconds.
    Evict(u64),
    /// By an orderly end, or by `kill -9`.
    Reopen {
        killed: bool,
    },
    /// Noise over a page of the closed file.
    Damage(Page),
    DiskFull,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    Header,
    Metadata,
    Payload,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let page = prop_oneof![
        Just(Page::Header),
        Just(Page::Metadata),
        Just(Page::Payload)
    ];
    let fault = prop_oneof![Just(Fault::Peer), Just(Fault::Batch)];
    prop_oneof![
        12 => prop_oneof![0..3_000_usize, 3_000..40_000_usize].prop_map(Op::Put),
        1 => Just(Op::Put(usize::try_from(MAX_BYTES).expect("small") + 1)),
        6 => (0..4_usize).prop_map(Op::Lease),
        4 => (0..8_usize).prop_map(Op::Ack),
        3 => (0..8_usize, fault).prop_map(|(nth, fault)| Op::Nack(nth, fault)),
        1 => (0..8_usize).prop_map(Op::Refuse),
        1 => Just(Op::NackAll),
        3 => (0..30_000_u64).prop_map(Op::Evict),
        2 => any::<bool>().prop_map(|killed| Op::Reopen { killed }),
        1 => page.prop_map(Op::Damage),
        2 => Just(Op::DiskFull),
    ]
}
