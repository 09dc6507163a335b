//! One batch into the tables, inside the caller's transaction.

use rusqlite::{Connection, OptionalExtension, Result, params};
use wire::{HostRow, ProcessRow};

use super::block;
use super::context::{Context, signed};
use super::flow::{Place, put_edges};
use super::marks::Marks;
use super::runs::Runs;
use super::series::Late;
use super::sighted::put_sightings;
use super::{copies, described, nat};
use crate::accept::Opened;

/// A host clock this far ahead is taken to be wrong; below, it is ordinary drift. Milliseconds.
pub const AHEAD_TOLERANCE_MS: i64 = 10 * 60 * 1000;

/// When a host was seen last is kept to this, milliseconds.
const SEEN_EVERY_MS: i64 = 30_000;

/// Tables that have places of their own in the store, and the commands that show them.
pub const TYPED: [(&str, &str); 5] = [
    ("edge", "topology"),
    ("sighting", "topology"),
    ("process", "topology"),
    ("nat", "topology"),
    ("host", "hosts"),
];

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored now.
    Stored {
        /// The host's clock is ahead, and the batch was stored under the time of its arrival.
        clock_ahead: bool,
        /// It went on beside a later run of the same host id: several machines use it.
        copied: bool,
        /// Rows that came late, and of which a part shows with the next totals of their series only.
        unplaced: u64,
        /// Rows beyond a bound of the tables that are stored by their description: not stored.
        refused: u64,
    },
    /// Stored before, with the same content.
    Duplicate,
    /// Other content is stored under the same key.
    Conflict,
    /// The credential speaks for another host.
    Foreign,
    /// A host that is not known, and there are as many as there may be.
    TooManyHosts,
}

/// Whether a table is stored by its description.
fn is_described(table: &str) -> bool {
    TYPED.iter().all(|(typed, _)| *typed != table)
}

/// Stores one batch, unless it is stored.
pub(super) fn put(
    db: &Connection,
    runs: &mut Runs,
    opened: &Opened,
    now_ms: i64,
) -> Result<Outcome> {
    let header = &opened.batch.header;
    let stored: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT batch.digest FROM host JOIN boot ON boot.host_id = host.id
             JOIN batch ON batch.boot_id = boot.id
             WHERE host.host = ?1 AND boot.boot = ?2 AND batch.sequence = ?3",
        )?
        .query_row(
            params![header.host, header.boot, signed(header.sequence)],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(digest) = stored {
        return Ok(if digest == opened.digest {
            Outcome::Duplicate
        } else {
            Outcome::Conflict
        });
    }
    let mut marks = Marks::before(db, header, runs.take_recent(), now_ms)?;
    let (host, context, clock_ahead, is_newest) = put_batch(db, opened, now_ms)?;
    let copied = copies::shows(db, host, context.boot, context.end_ms)?;
    for row in &opened.batch.processes {
        marks.process(db, context, row)?;
        put_process(db, context, row)?;
    }
    let mut late = Late::default();
    let place = Place {
        db,
        context,
        received_ms: now_ms,
        is_newest,
    };
    let before = block::last(db)?;
    put_series(place, runs, opened, (&mut marks, &mut late))?;
    for row in &opened.batch.nats {
        nat::put(db, context, row, &mut late)?;
    }
    for row in &opened.batch.hosts {
        put_host(db, host, context, row)?;
    }
    let mut refused = late.refused;
    for table in opened.batch.described(is_described) {
        refused += described::put(place, host, &table, &mut late)?;
    }
    if let Some((first, last)) = block::written(db, before)? {
        db.prepare_cached(
            "UPDATE batch SET first_block = ?3, last_block = ?4
             WHERE boot_id = ?1 AND sequence = ?2",
        )?
        .execute([context.boot, context.sequence, first, last])?;
    }
    runs.recent = marks.apply(db, context, now_ms)?;
    Ok(Outcome::Stored {
        clock_ahead,
        copied,
        unplaced: late.unplaced,
        refused,
    })
}

/// What edges counted and connections that were kept.
fn put_series(
    place: Place<'_>,
    runs: &mut Runs,
    opened: &Opened,
    (marks, late): (&mut Marks, &mut Late),
) -> Result<()> {
    let (db, context) = (place.db, place.context);
    let (run, tokens) = runs.get(db, context.boot)?;
    put_edges(place, run, &opened.batch.edges, late)?;
    let of_run = (&mut *run, tokens);
    put_sightings(place, of_run, &opened.batch.sightings, (marks, late))?;
    run.wrote(db, context.boot)
}

/// Host, agent run and key of the batch, and whether it is the newest one; also decides under which times it is stored.
fn put_batch(db: &Connection, opened: &Opened, now_ms: i64) -> Result<(i64, Context, bool, bool)> {
    let header = &opened.batch.header;
    let host = put_seen(db, &header.host, now_ms)?;
    let sequence = signed(header.sequence);
    let (boot, known_ahead, last_ms, newest): (i64, i64, i64, i64) = db
        .prepare_cached(
            "INSERT INTO boot (host_id, boot, first_ms, last_ms, batches, last_sequence)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT (host_id, boot) DO UPDATE SET batches = batches + 1,
                 last_sequence = max(last_sequence, excluded.last_sequence)
             RETURNING id, ahead_ms, last_ms, last_sequence",
        )?
        .query_row(
            params![host, header.boot, i64::MAX, i64::MIN, sequence],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;

    // A future time would never be deleted and never be "now". The difference is kept per run, so
    // that the order of its intervals stays what it was.
    let reported_end = signed(header.end_ms);
    let ahead = if reported_end - known_ahead > now_ms.saturating_add(AHEAD_TOLERANCE_MS) {
        reported_end - now_ms
    } else if newest == sequence && reported_end - known_ahead <= last_ms {
        // The clock was set back: to the right time, or its run goes on where it was.
        (reported_end - last_ms - 1).min(0)
    } else {
        known_ahead
    };
    let end_ms = in_order(db, (boot, sequence), newest, reported_end - ahead)?;
    let context = Context {
        boot,
        sequence,
        start_ms: (signed(header.start_ms) - ahead).min(end_ms),
        end_ms,
        own_start_ms: signed(header.start_ms),
        evicted_ms: db
            .prepare_cached("SELECT before_ms FROM evicted")?
            .query_row((), |row| row.get(0))
            .optional()?,
    };
    db.prepare_cached(
        "UPDATE boot SET first_ms = min(first_ms, ?2), last_ms = max(last_ms, ?3), ahead_ms = ?4
         WHERE id = ?1",
    )?
    .execute(params![boot, context.start_ms, context.end_ms, ahead])?;
    db.prepare_cached(
        "INSERT INTO batch (boot_id, sequence, digest, end_ms, received_ms, bytes, row_count)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        boot,
        sequence,
        opened.digest,
        context.end_ms,
        now_ms,
        count(opened.bytes),
        count(opened.batch.row_count()),
    ])?;
    Ok((host, context, ahead > 0, newest == sequence))
}

/// The host's number; it was seen now.
fn put_seen(db: &Connection, host: &[u8; 16], now_ms: i64) -> Result<i64> {
    let known: Option<(i64, i64, bool)> = db
        .prepare_cached("SELECT id, last_seen_ms, forgotten FROM host WHERE host = ?1")?
        .query_row([host], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    // Its row is long, and not written again with each of its batches.
    if let Some((id, seen_ms, false)) = known
        && (seen_ms..seen_ms.saturating_add(SEEN_EVERY_MS)).contains(&now_ms)
    {
        return Ok(id);
    }
    db.prepare_cached(
        "INSERT INTO host (host, first_seen_ms, last_seen_ms) VALUES (?1, ?2, ?2)
         ON CONFLICT (host) DO UPDATE SET
             last_seen_ms = max(last_seen_ms, excluded.last_seen_ms), forgotten = 0
         RETURNING id",
    )?
    .query_row(params![host, now_ms], |row| row.get(0))
}

/// When the interval of a batch ended, between those of its neighbours: what one says of a series
/// counts on from what the one before said, also where a clock was set in between.
fn in_order(
    db: &Connection,
    (boot, sequence): (i64, i64),
    newest: i64,
    end_ms: i64,
) -> Result<i64> {
    if newest == sequence {
        return Ok(end_ms);
    }
    let neighbour = |sql: &str| -> Result<Option<i64>> {
        db.prepare_cached(sql)?
            .query_row([boot, sequence], |row| row.get(0))
            .optional()
    };
    let before = neighbour(
        "SELECT end_ms FROM batch WHERE boot_id = ?1 AND sequence < ?2
         ORDER BY sequence DESC LIMIT 1",
    )?;
    let after = neighbour(
        "SELECT end_ms FROM batch WHERE boot_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT 1",
    )?;
    let end_ms = before.map_or(end_ms, |before| end_ms.max(before.saturating_add(1)));
    Ok(after.map_or(end_ms, |after| end_ms.min(after.saturating_sub(1))))
}

fn put_process(db: &Connection, context: Context, row: &ProcessRow) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO process (boot_id, process_id, last_ms, sequence, tgid, started_ms, comm, exe,
             cgroup, container, unit, service, tags)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (boot_id, process_id) DO UPDATE SET last_ms = excluded.last_ms,
             sequence = excluded.sequence, tgid = excluded.tgid,
             started_ms = excluded.started_ms, comm = excluded.comm, exe = excluded.exe,
             cgroup = excluded.cgroup, container = excluded.container, unit = excluded.unit,
             service = excluded.service, tags = excluded.tags
         WHERE excluded.sequence >= sequence",
    )?
    .execute(params![
        context.boot,
        row.process_id,
        context.end_ms,
        context.sequence,
        row.tgid,
        signed(row.started_ms),
        row.comm,
        row.exe,
        row.cgroup,
        row.container,
        row.unit,
        row.service,
        json(&row.tags),
    ])?;
    Ok(())
}

fn put_host(db: &Connection, host: i64, context: Context, row: &HostRow) -> Result<()> {
    let report = serde_json::json!({
        "kernel": row.kernel,
        "agent": row.agent,
        "mode": row.mode,
        "plan": row.plan,
        "facts": row.facts,
        "paths_off": row.paths_off,
        "counters": row.counters,
        "started_ms": row.started_ms,
    });
    db.prepare_cached(
        "UPDATE host SET report_end_ms = ?2, report_sequence = ?3, report_boot_id = ?4,
             hostname = ?5, report = ?6
         WHERE id = ?1 AND (?2 > report_end_ms
             OR (?2 = report_end_ms AND ?3 >= report_sequence))",
    )?
    .execute(params![
        host,
        context.end_ms,
        context.sequence,
        context.boot,
        row.hostname,
        report.to_string(),
    ])?;
    Ok(())
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn json(pairs: &[(String, String)]) -> String {
    serde_json::to_string(pairs).expect("pairs of strings are JSON")
}
