//! Family `listener`: sockets that listen, and what waited and was turned away there.

use crate::cell::{read_numbers, write_numbers};
use crate::error::DecodeError;
use crate::schema::{Kind, Type};
use crate::table::{Cell, Values, table};
use crate::value::Endpoint;

table! {
    /// TCP sockets of one process identity that listen at the same address and port.
    ///
    /// A row comes with an interval in which something waited, was turned away or changed; where none
    /// comes, all is as it was and nothing waited. Several sockets have one address with
    /// `SO_REUSEPORT`.
    ListenerRow is Series "listener" of "listener" version 1,
    sorted by |row| (
        (row.total, row.process_id, row.netns),
        (row.local.port, row.local.addr, row.since_ms),
    );

    /// Set: the counters are totals since the series began, as of the end of the interval; not set:
    /// what the interval added.
    total: bool = Dimension "",
    /// Identity of the process that called listen, or that accepts where it began before the agent.
    process_id: u32 = Dimension "",
    /// Network namespace inode number.
    netns: u32 = Dimension "",
    /// Address and port; the address is zero where it listens on all.
    local: Endpoint = Dimension "",
    /// Time at which the series began, and counted from zero.
    since_ms: u64 = Time "ms",
    /// Sockets at the end of the interval; 0 when none listens any more.
    sockets: u32 = Gauge "{socket}",
    /// Least backlog limit of them: what listen was given, or `net.core.somaxconn`.
    backlog: u32 = Gauge "{connection}",
    /// Connections that waited to be accepted at the end of the interval, at the fullest of them.
    queue: u32 = Gauge "{connection}",
    /// Most that waited in the interval, at the fullest of all sockets with this address.
    queue_most: u32 = Gauge "{connection}" absent 0,
    /// Packets that the sockets turned away: at a full queue SYNs and last ACKs of handshakes, and
    /// segments that no listener takes.
    drops: u64 = Counter "{packet}" absent 1,
    /// Columns that could not be measured: their numbers mean nothing.
    absent: Unmeasured = Dimension "",
}

table! {
    /// What all listening TCP sockets of a network namespace turned away.
    ListenerNamespaceRow is Series "listener_namespace" of "listener" version 1,
    sorted by |row| (row.total, row.netns, row.since_ms);

    /// Set: the counters are totals since the series began, as of the end of the interval; not set:
    /// what the interval added.
    total: bool = Dimension "",
    /// Network namespace inode number.
    netns: u32 = Dimension "",
    /// Time at which the series began, and counted from zero.
    since_ms: u64 = Time "ms",
    /// SYNs and last ACKs of handshakes that found the accept queue full: `ListenOverflows`.
    overflows: u64 = Counter "{packet}",
    /// The same, and those that were turned away for other reasons: `ListenDrops`.
    drops: u64 = Counter "{packet}",
}

/// A set of the columns of a [`ListenerRow`] that depend on what a host offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmeasured(u16);

impl Unmeasured {
    /// No column.
    pub const NONE: Self = Self(0);
    /// `queue_most`: no program watches between two looks.
    pub const QUEUE_MOST: Self = Self(1);
    /// `drops`: the kernel does not tell them.
    pub const DROPS: Self = Self(1 << 1);

    /// The columns of either set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all columns of `other` are in the set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Cell for Unmeasured {
    fn parts() -> Vec<(&'static str, Option<Kind>, Type)> {
        vec![("", None, Type::Columns)]
    }

    fn write<'a>(cells: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<Values>) {
        write_numbers(cells.map(|cell| u64::from(cell.0)), out);
    }

    fn read<'a>(
        cells: impl Iterator<Item = &'a mut Self>,
        columns: &mut dyn Iterator<Item = Values>,
    ) -> Result<(), DecodeError> {
        let all = Self::QUEUE_MOST.with(Self::DROPS);
        read_numbers(cells, columns, |bits| {
            let set = Self(u16::try_from(bits).ok()?);
            all.has(set).then_some(set)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenerRow, Unmeasured};
    use crate::table::{DynamicTable, Row as _};

    #[test]
    fn each_bit_is_the_column_that_is_described_with_it() {
        let described = &ListenerRow::table().columns;
        let bits = described.iter().filter_map(|column| column.absent);
        assert_eq!(bits.collect::<Vec<_>>(), [0, 1]);
        for (set, name) in [
            (Unmeasured::QUEUE_MOST, "queue_most"),
            (Unmeasured::DROPS, "drops"),
        ] {
            let column = ListenerRow::table().column(name).expect(name);
            assert_eq!(column.absent.map(u32::from), Some(set.0.trailing_zeros()));
        }
    }

    #[test]
    fn rows_come_back_and_a_bit_of_no_column_is_refused() {
        let row = |bits| ListenerRow {
            absent: Unmeasured(bits),
            drops: 7,
            ..Default::default()
        };
        let rows = [row(0), row(3)];
        let back: Vec<ListenerRow> = DynamicTable::of(&rows).into_rows().expect("as it was");
        assert_eq!(back, rows);
        assert!(
            DynamicTable::of(&[row(4)])
                .into_rows::<ListenerRow>()
                .is_err()
        );
    }
}
