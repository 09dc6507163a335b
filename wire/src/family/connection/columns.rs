//! Sets of columns of an edge.

use crate::cell::{read_numbers, write_numbers};
use crate::error::DecodeError;
use crate::schema::{Kind, Type};
use crate::table::{Cell, Values};

/// A set of the columns of an [`super::EdgeRow`] that depend on what a kernel offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Columns(u16);

impl Columns {
    /// No column.
    pub const NONE: Self = Self(0);
    /// `bytes_sent`.
    pub const BYTES_SENT: Self = Self(1);
    /// `bytes_received`.
    pub const BYTES_RECEIVED: Self = Self(1 << 1);
    /// `segments_sent`.
    pub const SEGMENTS_SENT: Self = Self(1 << 2);
    /// `segments_received`.
    pub const SEGMENTS_RECEIVED: Self = Self(1 << 3);
    /// `retransmits`.
    pub const RETRANSMITS: Self = Self(1 << 4);
    /// `out_of_order`.
    pub const OUT_OF_ORDER: Self = Self(1 << 5);
    /// `zero_windows`.
    pub const ZERO_WINDOWS: Self = Self(1 << 6);
    /// `connect_latency`.
    pub const CONNECT_LATENCY: Self = Self(1 << 7);
    /// `rtt`.
    pub const RTT: Self = Self(1 << 8);
    /// `role`: nobody knows which side called `connect`, and both ports are kept. Since 1.2.
    pub const ROLE: Self = Self(1 << 9);
    /// `reset_local`: no program tells of resets that this host sends.
    pub const RESET_LOCAL: Self = Self(1 << 10);
    /// `reset_remote`: no program tells of resets that arrive.
    pub const RESET_REMOTE: Self = Self(1 << 11);
    /// Each column that can be in a set, with its name.
    pub const NAMES: [(Self, &str); 12] = [
        (Self::BYTES_SENT, "bytes_sent"),
        (Self::BYTES_RECEIVED, "bytes_received"),
        (Self::SEGMENTS_SENT, "segments_sent"),
        (Self::SEGMENTS_RECEIVED, "segments_received"),
        (Self::RETRANSMITS, "retransmits"),
        (Self::OUT_OF_ORDER, "out_of_order"),
        (Self::ZERO_WINDOWS, "zero_windows"),
        (Self::CONNECT_LATENCY, "connect_latency"),
        (Self::RTT, "rtt"),
        (Self::ROLE, "role"),
        (Self::RESET_LOCAL, "reset_local"),
        (Self::RESET_REMOTE, "reset_remote"),
    ];

    /// The set as a number, one bit per column.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set of a number; `None` with a bit of no column.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits >> Self::NAMES.len() == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The columns of either set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The columns of the set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all columns of `other` are in the set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Cell for Columns {
    fn parts() -> Vec<(&'static str, Option<Kind>, Type)> {
        vec![("", None, Type::Columns)]
    }

    fn write<'a>(cells: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<Values>) {
        write_numbers(cells.map(|cell| u64::from(cell.bits())), out);
    }

    fn read<'a>(
        cells: impl Iterator<Item = &'a mut Self>,
        columns: &mut dyn Iterator<Item = Values>,
    ) -> Result<(), DecodeError> {
        read_numbers(cells, columns, |bits| {
            Self::from_bits(u16::try_from(bits).ok()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Columns;
    use crate::family::connection::EdgeRow;
    use crate::table::Row;

    #[test]
    fn each_bit_is_the_column_that_is_described_with_it() {
        for (set, name) in Columns::NAMES {
            let described = EdgeRow::table().column(name).expect(name);
            let bit = described.absent.map(u32::from);
            assert_eq!(bit, Some(set.bits().trailing_zeros()), "{name}");
        }
        let described = EdgeRow::table().columns.iter();
        assert_eq!(
            described.filter(|column| column.absent.is_some()).count(),
            Columns::NAMES.len()
        );
    }
}
