//! Hosts whose id several machines use, because their state was copied: runs of their agents that
//! were alive at once.
//!
//! Runs of one machine follow each other, for the state directory has a lock. That their times
//! overlap is not enough: a clock may have been set back in between. That batches of one arrive after
//! those of the other is not enough, either: they may have waited in the spool. It takes both.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, Result, params};

use super::window::Window;
use crate::join::HostId;

/// Runs may overlap by what a clock is corrected by at the end of one.
pub(super) const SLACK_MS: i64 = 2000;
/// Newest runs of one host that are looked at for the list of hosts.
const MAX_RUNS: i64 = 256;
/// The same with every batch.
const NEWEST_RUNS: i64 = 16;

/// A run of an agent.
#[derive(Clone, Copy)]
struct Run {
    id: i64,
    first_ms: i64,
    last_ms: i64,
}

/// A run that is shown as a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// The run's own id.
    pub(super) host: HostId,
    /// As the host was last called.
    pub(super) hostname: String,
}

/// All runs of the hosts that had several at once in the window, by their rows.
pub(super) fn runs(db: &Connection, window: Window) -> Result<HashMap<i64, Copy>> {
    let mut statement = db.prepare(
        "SELECT boot.host_id, boot.id, boot.first_ms, boot.last_ms FROM boot
         WHERE boot.last_ms > ?1 AND boot.first_ms <= ?2
         ORDER BY boot.host_id, boot.first_ms, boot.id",
    )?;
    let in_window = statement.query_map(params![window.from_ms, window.to_ms], |row| {
        Ok((row.get(0)?, run(row)?))
    })?;
    let mut copied = HashSet::new();
    // Of the host at hand, the run that went on for longest.
    let mut longest: Option<(i64, Run)> = None;
    for row in in_window {
        let (host, run): (i64, Run) = row?;
        let before = longest.filter(|(of, _)| *of == host);
        if let Some((_, before)) = before
            && !copied.contains(&host)
            && is_beside(db, before, run)?.is_some()
        {
            copied.insert(host);
        }
        longest = before
            .filter(|(_, before)| before.last_ms >= run.last_ms)
            .or(Some((host, run)));
    }
    let mut all = HashMap::new();
    for host in copied {
        let mut statement = db.prepare_cached(
            "SELECT boot.id, boot.boot, host.hostname
             FROM boot JOIN host ON host.id = boot.host_id WHERE boot.host_id = ?1",
        )?;
        let runs = statement.query_map([host], |row| {
            let copy = Copy {
                host: HostId(row.get(1)?),
                hostname: row.get(2)?,
            };
            Ok((row.get(0)?, copy))
        })?;
        for run in runs {
            let (id, copy) = run?;
            all.insert(id, copy);
        }
    }
    Ok(all)
}

/// Up to when a host had several runs at once, Unix milliseconds; `None` where it had not.
pub(super) fn of_host(db: &Connection, host: &[u8; 16]) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM (
             SELECT boot.host_id, boot.id, boot.first_ms, boot.last_ms
             FROM boot JOIN host ON host.id = boot.host_id
             WHERE host.host = ?1 ORDER BY boot.last_ms DESC LIMIT ?2)
         ORDER BY first_ms, id",
    )?;
    let runs = statement.query_map(params![host, MAX_RUNS], run)?;
    let (mut longest, mut upto): (Option<Run>, Option<i64>) = (None, None);
    for run in runs {
        let run = run?;
        if let Some(before) = longest {
            upto = upto.max(is_beside(db, before, run)?);
        }
        if longest.is_none_or(|before| run.last_ms > before.last_ms) {
            longest = Some(run);
        }
    }
    Ok(upto)
}

/// Runs of a host that were alive at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Together {
    /// Since when, Unix milliseconds.
    pub(super) first_ms: i64,
    runs: usize,
}

/// Those of the newest runs of a host that were alive at once; `None` where none were.
pub(super) fn together(db: &Connection, host: i64) -> Result<Option<Together>> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM (SELECT host_id, id, first_ms, last_ms FROM boot WHERE host_id = ?1
             ORDER BY last_ms DESC LIMIT ?2)
         ORDER BY first_ms, id",
    )?;
    let runs = statement.query_map([host, NEWEST_RUNS], run)?;
    let (mut longest, mut together): (Option<Run>, Option<Together>) = (None, None);
    for run in runs {
        let run = run?;
        if let Some(before) = longest
            && is_beside(db, before, run)?.is_some()
        {
            let known = together.get_or_insert(Together {
                first_ms: run.first_ms,
                runs: 1,
            });
            known.runs += 1;
        }
        if longest.is_none_or(|before| run.last_ms > before.last_ms) {
            longest = Some(run);
        }
    }
    Ok(together)
}

fn run(row: &rusqlite::Row<'_>) -> Result<Run> {
    Ok(Run {
        id: row.get(1)?,
        first_ms: row.get(2)?,
        last_ms: row.get(3)?,
    })
}

/// Up to when the earlier of two runs of a host was alive beside the later one, if it was.
fn is_beside(db: &Connection, earlier: Run, later: Run) -> Result<Option<i64>> {
    if earlier.last_ms <= later.first_ms.saturating_add(SLACK_MS) {
        return Ok(None);
    }
    let arrived: bool = db
        .prepare_cached(
            "SELECT (SELECT received_ms FROM batch WHERE boot_id = ?1
                     ORDER BY sequence DESC LIMIT 1)
                 > (SELECT received_ms FROM batch WHERE boot_id = ?2 ORDER BY sequence LIMIT 1)
             AND (SELECT received_ms FROM batch WHERE boot_id = ?2
                     ORDER BY sequence DESC LIMIT 1)
                 > (SELECT received_ms FROM batch WHERE boot_id = ?1 ORDER BY sequence LIMIT 1)",
        )?
        .query_row([earlier.id, later.id], |row| {
            Ok(row.get::<_, Option<bool>>(0)?.unwrap_or(false))
        })?;
    Ok(arrived.then_some(earlier.last_ms.min(later.last_ms)))
}

/// Whether a batch of a run that ends at `end_ms` shows that it went on beside a later run of its
/// host: the one that last reported of the host.
pub(super) fn shows(db: &Connection, host: i64, boot: i64, end_ms: i64) -> Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM host JOIN boot AS other ON other.id = host.report_boot_id
             JOIN boot AS its ON its.id = ?2
             WHERE host.id = ?1 AND other.id <> its.id AND other.first_ms >= its.first_ms
             AND other.first_ms + ?4 < ?3
             AND (SELECT received_ms FROM batch WHERE boot_id = other.id
                     ORDER BY sequence DESC LIMIT 1)
                 > (SELECT received_ms FROM batch WHERE boot_id = its.id
                     ORDER BY sequence LIMIT 1))",
    )?
    .query_row(params![host, boot, end_ms, SLACK_MS], |row| row.get(0))
}
