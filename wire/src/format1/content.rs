//! All tables of a batch.

use super::codec::Codec;
use super::edge::EdgeColumns;
use super::event::EventColumns;
use super::header::FAMILIES;
use super::host::HostColumns;
use super::keys::Keys;
use super::nat::{ADDRESSES, NatColumns, addresses};
use super::process::ProcessColumns;
use super::sighting::SightingColumns;
use crate::batch::{Batch, BatchHeader};
use crate::error::DecodeError;

/// The rows of a batch by column.
#[derive(Debug, Default)]
pub(crate) struct Content {
    keys: Keys,
    edges: EdgeColumns,
    sightings: SightingColumns,
    processes: ProcessColumns,
    hosts: HostColumns,
    events: EventColumns,
    nats: NatColumns,
}

impl Content {
    pub(crate) fn of(batch: &Batch) -> Self {
        let keys = Keys::of(batch, batch.nats.iter().flat_map(addresses));
        let end_ms = batch.header.end_ms;
        Self {
            edges: EdgeColumns::of(&batch.edges, &keys),
            sightings: SightingColumns::of(&batch.sightings, end_ms, &keys),
            processes: ProcessColumns::of(&batch.processes, end_ms),
            hosts: HostColumns::of(&batch.hosts, end_ms),
            events: EventColumns::of(&batch.events, end_ms, &keys),
            nats: NatColumns::of(&batch.nats, end_ms, &keys),
            keys,
        }
    }

    /// All tables, with as many rows as the head says.
    pub(crate) fn code(
        &mut self,
        codec: &mut impl Codec,
        rows: [u32; FAMILIES.len()],
    ) -> Result<(), DecodeError> {
        let [edges, sightings, processes, hosts, events, nats] = rows;
        let ends = [edges, sightings, events]
            .iter()
            .copied()
            .map(u64::from)
            .sum::<u64>();
        let ends = usize::try_from(ends).unwrap_or(usize::MAX / 2);
        let addresses = usize::try_from(nats).map_or(usize::MAX, |n| n.saturating_mul(ADDRESSES));
        self.keys.code(codec, ends, addresses)?;
        if begin("edge", edges, codec)? {
            self.edges.code(codec, &self.keys)?;
        }
        if begin("sighting", sightings, codec)? {
            self.sightings.code(codec, &self.keys)?;
        }
        if begin("event", events, codec)? {
            self.events.code(codec, &self.keys)?;
        }
        if begin("process", processes, codec)? {
            self.processes.code(codec)?;
        }
        if begin("host", hosts, codec)? {
            self.hosts.code(codec)?;
        }
        if begin("nat", nats, codec)? {
            self.nats.code(codec, &self.keys)?;
        }
        Ok(())
    }

    /// The batch, after [`Self::code`].
    pub(crate) fn batch(self, header: BatchHeader) -> Result<Batch, DecodeError> {
        let end_ms = header.end_ms;
        Ok(Batch {
            edges: self.edges.rows(&self.keys)?,
            sightings: self.sightings.rows(end_ms, &self.keys)?,
            processes: self.processes.rows(end_ms)?,
            hosts: self.hosts.rows(end_ms)?,
            events: self.events.rows(end_ms, &self.keys)?,
            nats: self.nats.rows(end_ms, &self.keys)?,
            header,
            ..Batch::default()
        })
    }
}

/// Begins the table of a family; false where it has no rows.
fn begin(family: &'static str, rows: u32, codec: &mut impl Codec) -> Result<bool, DecodeError> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let mut found = rows;
    codec.table(family, &mut found)?;
    if found != rows {
        let what = format!("{found} rows of {family}, but its head says {rows}");
        return Err(DecodeError::Malformed(what));
    }
    Ok(rows > 0)
}
