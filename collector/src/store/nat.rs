//! Family `nat` in the store: what gateways translated.
//!
//! As with the counters of flows, samples are cumulative under the end of their interval, so what
//! happened in a window is a difference of two of them.

use rusqlite::{Connection, Row, params};
use wire::{Endpoint, NatRow};

use super::context::{Context, signed};
use super::window::Window;
use crate::join::{HostId, Nat};

/// Stores one row.
pub(super) fn put(db: &Connection, context: Context, row: &NatRow) -> rusqlite::Result<()> {
    let nat: i64 = db
        .prepare_cached(
            "INSERT INTO nat (boot_id, netns, client, dialled_addr, dialled_port, source,
                 server_addr, server_port, since_ms, last_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET last_ms = max(last_ms, excluded.last_ms)
             RETURNING id",
        )?
        .query_row(
            params![
                context.boot,
                row.netns,
                row.client,
                row.dialled.addr,
                row.dialled.port,
                row.source,
                row.server.addr,
                row.server.port,
                signed(row.since_ms),
                context.end_ms,
            ],
            |row| row.get(0),
        )?;
    db.prepare_cached(
        "INSERT INTO nat_sample (nat_id, end_ms, sequence, opened) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (nat_id, end_ms) DO UPDATE SET sequence = excluded.sequence,
             opened = excluded.opened
         WHERE excluded.sequence >= sequence",
    )?
    .execute(params![
        nat,
        context.end_ms,
        context.sequence,
        signed(row.opened),
    ])?;
    Ok(())
}

/// Translations that were counted in the window, and those known from before while their agent
/// reported in it: what they opened may still be open. One more than `most` ends it.
///
/// Each with the row of its run. What began up to `evicted_ms` may have lost its first samples: the first that is left stands for
/// those.
pub(super) fn window(
    db: &Connection,
    window: Window,
    evicted_ms: i64,
    most: usize,
) -> rusqlite::Result<Vec<(i64, Nat)>> {
    let mut statement = db.prepare(
        "SELECT host.host, nat.netns, nat.client, nat.dialled_addr, nat.dialled_port,
             nat.source, nat.server_addr, nat.server_port,
             (SELECT opened FROM nat_sample WHERE nat_id = nat.id AND end_ms <= ?1
              ORDER BY end_ms DESC LIMIT 1),
             (SELECT opened FROM nat_sample WHERE nat_id = nat.id AND end_ms <= ?2
              ORDER BY end_ms DESC LIMIT 1),
             (SELECT opened FROM nat_sample WHERE nat_id = nat.id AND nat.since_ms <= ?3
              ORDER BY end_ms LIMIT 1),
             nat.boot_id
         FROM nat JOIN boot ON boot.id = nat.boot_id JOIN host ON host.id = boot.host_id
         WHERE nat.last_ms > ?1
             OR (boot.last_ms > ?1 AND boot.first_ms <= ?2)",
    )?;
    let rows = statement.query_map([window.from_ms, window.to_ms, evicted_ms], nat)?;
    // A row without a sample up to the end of the window began after it.
    let known = rows.filter_map(Result::transpose);
    known.take(most.saturating_add(1)).collect()
}

fn nat(row: &Row<'_>) -> rusqlite::Result<Option<(i64, Nat)>> {
    let before: Option<i64> = row.get(8)?;
    let upto: Option<i64> = row.get(9)?;
    let first: Option<i64> = row.get(10)?;
    let Some(upto) = upto else { return Ok(None) };
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let before = before.or(first).map_or(0, number);
    let nat = Nat {
        host: HostId(row.get(0)?),
        netns: row.get(1)?,
        client: row.get(2)?,
        dialled: Endpoint {
            addr: row.get(3)?,
            port: row.get(4)?,
        },
        source: row.get(5)?,
        server: Endpoint {
            addr: row.get(6)?,
            port: row.get(7)?,
        },
        opened: number(upto).saturating_sub(before),
        before,
    };
    Ok(Some((row.get(11)?, nat)))
}
