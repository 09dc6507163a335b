//! Which addresses services had.

use rusqlite::params;

use super::error::{Error, failed};
use super::reader::Reader;
use super::window::Window;
use crate::digest::hex;
use crate::meter::Meter;
use wire::Endpoint;

/// Bytes of one, beside its texts.
const ADDRESS: usize = 128;

/// An address of a service on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressOf {
    /// Host id, 32 hex digits.
    pub host: String,
    /// As its node is called.
    pub service: String,
    /// The address.
    pub ip: std::net::IpAddr,
}

impl Reader {
    /// The local addresses of what was active in a window, each of a service once. Not those of
    /// runs of agents that share a host's id.
    ///
    /// # Errors
    /// [`Error::Exceeded`] where that is more than `meter` has, and whatever SQLite reports.
    pub fn addresses(
        &mut self,
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<AddressOf>, Error> {
        // Of a run with batches that `known` has not written yet, any may have been active.
        // The name of a node: `join::rows` has the same order.
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT DISTINCT host.host, flow.local_addr, coalesce(nullif(process.service, ''),
                     nullif(process.exe, ''), nullif(process.comm, ''), '(unknown)')
                 FROM subject JOIN flow ON flow.id = subject.flow_id
                 JOIN boot ON boot.id = flow.boot_id JOIN host ON host.id = boot.host_id
                 LEFT JOIN process ON process.boot_id = flow.boot_id
                     AND process.process_id = flow.process_id
                 WHERE (subject.last_ms > ?1 OR subject.open > 0
                     OR (boot.flushed < boot.last_sequence AND boot.last_ms > ?1))
                     AND subject.since_ms <= ?2",
            )
            .map_err(failed)?;
        let of = params![window.from_ms, window.to_ms];
        let mut rows = statement.query(of).map_err(failed)?;
        let mut addresses = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (host, addr, service): ([u8; 16], [u8; 16], String) = read().map_err(failed)?;
            meter.row(ADDRESS + service.len())?;
            addresses.push(AddressOf {
                host: hex(&host),
                service,
                ip: Endpoint { addr, port: 0 }.ip(),
            });
        }
        Ok(addresses)
    }
}
