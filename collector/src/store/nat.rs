//! Family `nat` in the store: what gateways translated.
//!
//! As with described series, samples are cumulative under the end of their interval
//! ([`super::series`]), so what happened in a window is a difference of two of them.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use wire::{Endpoint, NatRow};

use super::context::{Context, signed};
use super::series::{self, Late, Sample, Series, Table, Value};
use super::window::Window;
use crate::join::{HostId, Nat};

/// The table `nat_sample`.
struct Translations;

impl Value for u64 {
    fn add(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }

    fn beyond(&self, other: &Self) -> Self {
        self.saturating_sub(*other)
    }

    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Table for Translations {
    type Value = u64;
    const NAMES: (&'static str, &'static str) = ("nat_sample", "nat_id");

    fn before(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<u64>>> {
        db.prepare_cached(
            "SELECT end_ms, sequence, total, opened FROM nat_sample
             WHERE nat_id = ?1 AND end_ms <= ?2 ORDER BY end_ms DESC LIMIT 1",
        )?
        .query_row([series, end_ms], sample)
        .optional()
    }

    fn after(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<u64>>> {
        db.prepare_cached(
            "SELECT end_ms, sequence, total, opened FROM nat_sample
             WHERE nat_id = ?1 AND end_ms > ?2 ORDER BY end_ms LIMIT 1",
        )?
        .query_row([series, end_ms], sample)
        .optional()
    }

    fn write(db: &Connection, series: i64, sample: &Sample<u64>) -> Result<()> {
        db.prepare_cached(
            "INSERT OR REPLACE INTO nat_sample (nat_id, end_ms, sequence, total, opened)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            series,
            sample.end_ms,
            sample.sequence,
            sample.total,
            signed(sample.value),
        ])
        .map(drop)
    }
}

fn sample(row: &Row<'_>) -> Result<Sample<u64>> {
    Ok(Sample {
        end_ms: row.get(0)?,
        sequence: row.get(1)?,
        total: row.get(2)?,
        value: number(row.get(3)?),
    })
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Stores one row.
pub(super) fn put(db: &Connection, context: Context, row: &NatRow, late: &mut Late) -> Result<()> {
    let key = params![
        context.boot,
        row.netns,
        row.client,
        row.dialled.addr,
        row.dialled.port,
        row.source,
        row.server.addr,
        row.server.port,
        signed(row.since_ms),
    ];
    let known = db
        .prepare_cached(
            "SELECT id, last_ms, cut FROM nat WHERE boot_id = ?1 AND netns = ?2 AND client = ?3
                 AND dialled_addr = ?4 AND dialled_port = ?5 AND source = ?6 AND server_addr = ?7
                 AND server_port = ?8 AND since_ms = ?9",
        )?
        .query_row(key, Series::of)
        .optional()?;
    let nat = match known {
        Some(nat) => nat,
        None => Series::new(
            db.prepare_cached(
                "INSERT INTO nat (boot_id, netns, client, dialled_addr, dialled_port, source,
                     server_addr, server_port, since_ms, last_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
            )?
            .insert(key)?,
            context.is_cut(signed(row.since_ms)),
        ),
    };
    let counted = (row.total, row.opened);
    series::put::<Translations>(db, context, nat, counted, late)?;
    db.prepare_cached("UPDATE nat SET last_ms = max(last_ms, ?2), cut = ?3 WHERE id = ?1")?
        .execute(params![nat.id, context.end_ms, nat.cut && !row.total])
        .map(drop)
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
) -> Result<Vec<(i64, Nat)>> {
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
         WHERE boot.last_ms > ?1 AND boot.first_ms <= ?2",
    )?;
    let rows = statement.query_map([window.from_ms, window.to_ms, evicted_ms], nat)?;
    // A row without a sample up to the end of the window began after it.
    let known = rows.filter_map(Result::transpose);
    known.take(most.saturating_add(1)).collect()
}

fn nat(row: &Row<'_>) -> Result<Option<(i64, Nat)>> {
    let before: Option<i64> = row.get(8)?;
    let upto: Option<i64> = row.get(9)?;
    let first: Option<i64> = row.get(10)?;
    let Some(upto) = upto else { return Ok(None) };
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
