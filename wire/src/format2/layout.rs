//! What both directions know of how columns are laid out.

use std::sync::LazyLock;

use super::head::MAX_TABLES;
use crate::batch::{BatchHeader, tables};
use crate::schema::{self, Column, Table, Type};

/// Tables and lists of a batch.
pub(super) const MAX_STREAMS: usize = 4 * MAX_TABLES;

/// What is added to the name of a column of lists for their lengths.
pub(super) const LENGTH: &str = ".length";
/// What is added to the name of a histogram for the first bucket that has a count.
pub(super) const FIRST: &str = ".first";
/// What is added to the name of a histogram for the sum of its values.
pub(super) const SUM: &str = ".sum";
/// The shift of the part that holds what is left of a number of 64 bits.
pub(super) const LAST_PART: u32 = 24;
/// The same of a distance in time, which is longer than most numbers: 49 days in milliseconds.
pub(super) const LAST_PART_OF_TIME: u32 = 32;

/// The descriptions of all tables that have a struct, as they travel.
pub(super) fn descriptions() -> &'static [String] {
    static TEXTS: LazyLock<Vec<String>> =
        LazyLock::new(|| tables().into_iter().map(describe).collect());
    &TEXTS
}

pub(super) fn describe(table: &Table) -> String {
    serde_json::to_string(table).expect("a description is words and numbers")
}

/// Whether a time is written as its distance to the end of the interval.
pub(super) fn is_before_end(column: &Column) -> bool {
    column.kind == schema::Kind::Time
        && column.values == Type::U64
        && matches!(column.unit.as_str(), "ms" | "us")
}

/// The end of the interval in the unit of a column.
pub(super) fn unit_end(column: &Column, header: &BatchHeader) -> u64 {
    let per_ms = if column.unit == "us" { 1000 } else { 1 };
    header.end_ms.wrapping_mul(per_ms)
}
