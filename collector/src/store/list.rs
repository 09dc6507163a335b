//! The hosts, by name, a page after the other.

use rusqlite::{Row, params};

use super::copies;
use super::error::{Error, failed};
use super::reader::Reader;
use crate::join::HostId;

/// What is known of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRecord {
    /// Its id.
    pub host: HostId,
    /// Its name; empty until it has reported it.
    pub hostname: String,
    /// Its newest host row as JSON; empty until there is one.
    pub report: String,
    /// Arrival of its first batch.
    pub first_seen_ms: i64,
    /// Arrival of its last batch.
    pub last_seen_ms: i64,
    /// Batches received of its newest run.
    pub batches: i64,
    /// Highest batch number of its newest run.
    pub last_sequence: i64,
    /// By how much its clock was found to be ahead.
    pub clock_ahead_ms: i64,
    /// Up to when several machines used its id at once; `None` where none did.
    pub copied_ms: Option<i64>,
}

/// Where a list of hosts goes on: behind the host of this name and id.
pub type HostCursor = (String, HostId);

impl Reader {
    /// The next hosts by name and id: at most `most`, and as soon as their reports have `bytes`.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn hosts(
        &self,
        after: Option<&HostCursor>,
        most: usize,
        bytes: usize,
    ) -> Result<Vec<HostRecord>, Error> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT host.host, host.hostname, host.report, host.first_seen_ms,
                     host.last_seen_ms, coalesce(boot.batches, 0),
                     coalesce(boot.last_sequence, 0), coalesce(boot.ahead_ms, 0)
                 FROM host LEFT JOIN boot ON boot.id = (
                     SELECT id FROM boot WHERE host_id = host.id ORDER BY last_ms DESC, id DESC
                     LIMIT 1)
                 WHERE host.forgotten = 0 AND (host.hostname, host.host) > (?1, ?2)
                 ORDER BY host.hostname, host.host",
            )
            .map_err(failed)?;
        // Nothing comes before an empty name and id.
        let (name, host) = after.map_or(("", &[][..]), |(name, host)| (name, &host.0));
        let mut rows = statement.query(params![name, host]).map_err(failed)?;
        let (mut hosts, mut read) = (Vec::new(), 0);
        while hosts.len() < most && read < bytes {
            let Some(row) = rows.next().map_err(failed)? else {
                break;
            };
            let mut host = host_record(row).map_err(failed)?;
            host.copied_ms = copies::of_host(&self.connection, &host.host.0).map_err(failed)?;
            read += host.report.len();
            hosts.push(host);
        }
        Ok(hosts)
    }
}

fn host_record(row: &Row<'_>) -> rusqlite::Result<HostRecord> {
    Ok(HostRecord {
        host: HostId(row.get(0)?),
        hostname: row.get(1)?,
        report: row.get(2)?,
        first_seen_ms: row.get(3)?,
        last_seen_ms: row.get(4)?,
        batches: row.get(5)?,
        last_sequence: row.get(6)?,
        clock_ahead_ms: row.get(7)?,
        copied_ms: None,
    })
}
