//! All tables of a batch.

use super::edge::EdgeColumns;
use super::header::FAMILIES;
use super::keys::Keys;
use super::source::Source;
use super::{event, host, nat, process, sighting};
use crate::batch::{Batch, BatchHeader};
use crate::error::DecodeError;

/// Reads all tables, with as many rows of each of [`FAMILIES`] as the head says.
///
/// # Errors
/// Where the tables are not those of a batch.
pub fn read(
    source: &mut impl Source,
    rows: [u32; FAMILIES.len()],
    header: BatchHeader,
) -> Result<Batch, DecodeError> {
    let [edges, sightings, processes, hosts, events, nats] = rows;
    let ends = [edges, sightings, events]
        .map(u64::from)
        .iter()
        .sum::<u64>();
    let ends = usize::try_from(ends).unwrap_or(usize::MAX / 2);
    let addresses = usize::try_from(nats).map_or(usize::MAX, |n| n.saturating_mul(nat::ADDRESSES));
    let keys = Keys::read(source, ends, addresses)?;
    let end_ms = header.end_ms;
    let mut batch = Batch {
        header,
        ..Batch::default()
    };
    if begin("edge", edges, source)? {
        batch.edges = EdgeColumns::read(source, &keys)?.rows(&keys)?;
    }
    if begin("sighting", sightings, source)? {
        batch.sightings = sighting::read(source, end_ms, &keys)?;
    }
    if begin("event", events, source)? {
        batch.events = event::read(source, end_ms, &keys)?;
    }
    if begin("process", processes, source)? {
        batch.processes = process::read(source, end_ms)?;
    }
    if begin("host", hosts, source)? {
        batch.hosts = host::read(source, end_ms)?;
    }
    if begin("nat", nats, source)? {
        batch.nats = nat::read(source, end_ms, &keys)?;
    }
    Ok(batch)
}

/// Goes to the table of a family; false where it has no rows.
fn begin(family: &'static str, rows: u32, source: &mut impl Source) -> Result<bool, DecodeError> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let found = source.table(family);
    if found != rows {
        let what = format!("{found} rows of {family}, but its head says {rows}");
        return Err(DecodeError::Malformed(what));
    }
    Ok(rows > 0)
}
