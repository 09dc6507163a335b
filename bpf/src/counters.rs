//! What programs count, and the kinds of their records: `families/registry.h`, in Rust.

use crate::abi;

/// One counter of the programs.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// `WB_COUNT_*`: its place in the table.
    pub number: u32,
    /// By which the agent reports it.
    pub name: &'static str,
    /// For operators, in Markdown.
    pub meaning: &'static str,
    /// What to do when it grows, in Markdown.
    pub advice: &'static str,
}

/// One kind of record.
#[derive(Clone, Copy, Debug)]
pub struct RecordKind {
    /// `WB_RECORD_*`.
    pub number: u32,
    /// `WB_FAMILY_*`: whose records these are.
    pub family: u32,
    /// In the names of its counters.
    pub name: &'static str,
    /// What the records are, for operators.
    pub meaning: &'static str,
}

impl RecordKind {
    /// Place of one of its counters in the table: `WB_RECORD_COUNTER` of `core/abi.h`.
    #[must_use]
    pub const fn counter(&self, outcome: u32) -> u32 {
        (self.number - 1) * abi::WB_OUTCOMES + outcome
    }
}

/// Kinds of records that there are.
pub const KINDS: usize = RECORD_KINDS.len();

/// Every counter but those of records, by number.
pub const COUNTERS: &[Counter] = lists::COUNTERS;

/// Every kind of record, by number.
pub const RECORD_KINDS: &[RecordKind] = lists::RECORD_KINDS;

mod lists {
    use super::{Counter, RecordKind};
    use crate::abi;

    include!(concat!(env!("OUT_DIR"), "/lists.rs"));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{COUNTERS, RECORD_KINDS};
    use crate::abi;

    #[test]
    fn every_place_in_the_table_has_one_name() {
        let outcomes = 0..abi::WB_OUTCOMES;
        let of_records = RECORD_KINDS
            .iter()
            .flat_map(|kind| outcomes.clone().map(|outcome| kind.counter(outcome)));
        let places: Vec<_> = of_records
            .chain(COUNTERS.iter().map(|counter| counter.number))
            .collect();
        assert_eq!(places, (0..abi::WB_COUNT_MAX).collect::<Vec<_>>());
        let names: BTreeSet<_> = COUNTERS.iter().map(|counter| counter.name).collect();
        assert_eq!(names.len(), COUNTERS.len(), "no name twice");
    }
}
