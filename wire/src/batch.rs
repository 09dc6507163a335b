//! One sealed interval of one host.

use std::borrow::Cow;

use crate::error::DecodeError;
use crate::family::connection::{EdgeRow, EventRow, SightingRow, WorkerRow};
use crate::family::host::HostRow;
use crate::family::listener::{ListenerNamespaceRow, ListenerRow};
use crate::family::nat::NatRow;
use crate::family::process::ProcessRow;
use crate::schema::Table;
use crate::table::{DynamicTable, Row};

/// First bytes of every batch, of any format; the next one is the format's version.
pub const MAGIC: [u8; 4] = *b"WYBL";

/// Who sealed a batch and when; also the idempotency key (`host`, `boot`, `sequence`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchHeader {
    /// Stable random id of the host's agent installation.
    pub host: [u8; 16],
    /// Random id of this run of the agent (a new one at each start).
    pub boot: [u8; 16],
    /// 1, 2, 3, ... within `boot`.
    pub sequence: u64,
    /// Begin of the interval, Unix milliseconds.
    pub start_ms: u64,
    /// End of the interval, Unix milliseconds.
    pub end_ms: u64,
}

/// The registry: a line for each table that has a struct.
macro_rules! registry {
    ($( $(#[$docs:meta])+ $field:ident: $row:ty, )+) => {
        /// One sealed interval of one host.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Batch {
            /// Who and when.
            pub header: BatchHeader,
            $( $(#[$docs])+ pub $field: Vec<$row>, )+
            /// Tables for which this program has no struct, with their descriptions.
            pub others: Vec<DynamicTable>,
        }

        impl Batch {
            /// Number of rows of all families.
            #[must_use]
            pub fn row_count(&self) -> usize {
                let others = self.others.iter().map(|table| table.rows);
                [$( self.$field.len(), )+].iter().sum::<usize>() + others.sum::<usize>()
            }

            /// Each table that has a struct and rows, with its place in the registry.
            #[must_use]
            pub fn as_tables(&self) -> Vec<(usize, DynamicTable)> {
                let all = [$( (!self.$field.is_empty()).then(|| DynamicTable::of(&self.$field)), )+];
                all.into_iter().enumerate().filter_map(|(at, table)| Some((at, table?))).collect()
            }

            /// Each table that has rows and a name that is wanted, with a struct or without.
            #[must_use]
            pub fn described(&self, wanted: impl Fn(&str) -> bool) -> Vec<Cow<'_, DynamicTable>> {
                let mut all: Vec<Cow<'_, DynamicTable>> = Vec::new();
                $(
                    if !self.$field.is_empty() && wanted(&<$row as Row>::table().name) {
                        all.push(Cow::Owned(DynamicTable::of(&self.$field)));
                    }
                )+
                let others = self.others.iter().filter(|table| wanted(&table.table.name));
                all.extend(others.map(Cow::Borrowed));
                all
            }

            /// Adds a table, as rows where it has a struct.
            ///
            /// # Errors
            /// Where it has one and its columns are not those of the struct.
            pub fn put(&mut self, table: DynamicTable) -> Result<(), DecodeError> {
                $(
                    if table.table.name == <$row as Row>::table().name {
                        self.$field = table.into_rows()?;
                        return Ok(());
                    }
                )+
                self.others.push(table);
                Ok(())
            }

            /// Bytes of a row of each table that has a struct, without its texts.
            #[must_use]
            pub fn row_bytes() -> Vec<usize> {
                vec![$( size_of::<$row>(), )+]
            }
        }

        /// The descriptions of all tables that have a struct.
        #[must_use]
        pub fn tables() -> Vec<&'static Table> {
            vec![$( <$row as Row>::table(), )+]
        }
    };
}

registry! {
    /// Changed edges.
    edges: EdgeRow,
    /// Kept sightings.
    sightings: SightingRow,
    /// New, changed and refreshed process identities.
    processes: ProcessRow,
    /// At most one row in practice.
    hosts: HostRow,
    /// Abnormal connections.
    events: EventRow,
    /// What gateways translated.
    nats: NatRow,
    /// Sockets that listen.
    listeners: ListenerRow,
    /// What they turned away together.
    listener_namespaces: ListenerNamespaceRow,
    /// What processes did beside their siblings.
    workers: WorkerRow,
}

impl Batch {
    /// True when there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row_count() == 0
    }
}
