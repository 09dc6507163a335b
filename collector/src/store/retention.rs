//! Deleting what is old, a bounded number of rows at a time.
//!
//! A step is short, so that batches that arrive meanwhile wait for milliseconds. Samples and
//! sightings go by the end of their interval; keys of batches by their arrival too, so that a batch
//! that was sent late is still known as a duplicate. What only names things (flows, processes,
//! runs, hosts) goes when nothing refers to it any more.
//!
//! The same pass through the tables serves age ([`Retention`]) and size (`super::room`): it walks
//! subjects, series, flows and names in the order of their keys, so that what it deletes lies together.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::deleted::Deleted;
use super::flush;
use super::frozen::{self, Ages};
use super::gone::{self, Gone};
use super::old::{STEP_ROWS, by_time, old, run};
use super::unused::{
    NATS, OfRun, SERIES, UNUSED_BOOT, UNUSED_FLOW, UNUSED_HOST, UNUSED_TABLE, blocks, write_all,
};

/// Rows that a step may look at.
const STEP_VISITS: i64 = 4000;
/// Runs of which a step writes what is known.
const STEP_RUNS: i64 = 20;

/// Deletes what is older than an age, step by step.
#[derive(Clone, Debug)]
pub struct Retention {
    age_ms: i64,
    /// Of what was joined; it is kept where there is none.
    joined: Option<Ages>,
    pass: Option<Pass>,
}

impl Retention {
    /// Deletes what is older than `age_ms`.
    #[must_use]
    pub fn new(age_ms: i64) -> Self {
        Self {
            age_ms,
            joined: None,
            pass: None,
        }
    }

    /// The ages, milliseconds: of rows, of what was joined of minutes, and of hours.
    #[must_use]
    pub fn ages(&self) -> [i64; 3] {
        let joined = self
            .joined
            .map_or([self.age_ms; 2], |ages| [ages.short_ms, ages.long_ms]);
        [self.age_ms, joined[0], joined[1]]
    }

    /// And of what was joined, slices of up to ten minutes that are older than `short_ms`, and those
    /// of an hour that are older than `long_ms`.
    #[must_use]
    pub fn with_joined(self, short_ms: i64, long_ms: i64) -> Self {
        let joined = Some(Ages { short_ms, long_ms });
        Self { joined, ..self }
    }

    /// One step inside the caller's transaction; a pass begins when none is under way.
    /// `boots` are runs of which names were deleted.
    pub(super) fn step(
        &mut self,
        db: &Connection,
        now_ms: i64,
        boots: &mut Vec<i64>,
    ) -> Result<Deleted> {
        let age_ms = self.age_ms;
        let begin = || {
            let horizon_ms = now_ms.saturating_sub(age_ms);
            Pass::by_age(horizon_ms, horizon_ms.saturating_sub(age_ms))
        };
        // Kept only once the step went well: what is rolled back is tried again.
        let mut pass = self.pass.clone().unwrap_or_else(begin);
        frozen::freeze(db, pass.horizon_ms)?;
        let mut deleted = pass.step(db, boots)?;
        if let Some(ages) = self.joined {
            deleted.slices = frozen::retain(db, ages, now_ms)?;
        }
        self.pass = deleted.more.then_some(pass);
        Ok(deleted)
    }
}

/// Which subjects and translations go although their agent still reports.
#[derive(Clone, Copy, Debug)]
enum Idle {
    /// Those that were silent since then with nothing open: agents forget these too.
    Since(i64),
    /// All whose last sample is old. What follows has no baseline then, and readers know it.
    All,
}

/// One way through all tables.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    horizon_ms: i64,
    idle: Idle,
    stage: Stage,
    /// The last row that was looked at, in the order of the stage's keys.
    cursor: (i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Rows,
    Subjects,
    Nats,
    Series,
    Flows,
    Processes,
    Boots,
    Hosts,
    Described,
}

impl Pass {
    /// What is older than `horizon_ms`, except for baselines of what goes on.
    fn by_age(horizon_ms: i64, idle_ms: i64) -> Self {
        Self::new(horizon_ms, Idle::Since(idle_ms))
    }

    /// What is older than `horizon_ms`, also of agents that go on.
    pub(super) fn by_size(horizon_ms: i64) -> Self {
        Self::new(horizon_ms, Idle::All)
    }

    fn new(horizon_ms: i64, idle: Idle) -> Self {
        Self {
            horizon_ms,
            idle,
            stage: Stage::Rows,
            cursor: (i64::MIN, i64::MIN),
        }
    }

    /// One step; `more` until the pass is over.
    pub(super) fn step(&mut self, db: &Connection, boots: &mut Vec<i64>) -> Result<Deleted> {
        let mut deleted = Deleted::default();
        let over = match self.stage {
            Stage::Rows => self.rows(db, &mut deleted)?,
            Stage::Subjects => self.subjects(db, &mut deleted, boots)?,
            Stage::Nats => self.of_runs(NATS, db, &mut deleted)?,
            Stage::Series => self.of_runs(SERIES, db, &mut deleted)?,
            Stage::Flows => self.flows(db, &mut deleted, boots)?,
            Stage::Processes => self.processes(db, &mut deleted)?,
            Stage::Boots => self.unused("boot", UNUSED_BOOT, db, &mut deleted)?,
            Stage::Hosts => self.unused("host", UNUSED_HOST, db, &mut deleted)?,
            Stage::Described => self.unused("described", UNUSED_TABLE, db, &mut deleted)?,
        };
        if deleted.has_time() {
            let rows_ms = Some(self.horizon_ms);
            let slices_ms = None;
            gone::note(db, Gone { rows_ms, slices_ms })?;
        }
        deleted.more = true;
        if over {
            self.cursor = (i64::MIN, i64::MIN);
            match self.stage.next() {
                Some(next) => self.stage = next,
                None => deleted.more = false,
            }
        }
        Ok(deleted)
    }

    /// What has a time of its own; true when nothing is left of it.
    fn rows(&self, db: &Connection, deleted: &mut Deleted) -> Result<bool> {
        let horizon = self.horizon_ms;
        // What was counted is in nothing but the blocks that are to go.
        if !flush::write_before(db, horizon, STEP_RUNS)? {
            return Ok(false);
        }
        let key = "token, flow_id, part, port";
        let sightings = match self.idle {
            Idle::Since(_) => {
                // What is open says who has it, as long as its agent reports.
                "last_ms <= ?1 AND NOT (coalesce(ended_ms, 0) > ?1 AND EXISTS (
                     SELECT 1 FROM flow JOIN boot ON boot.id = flow.boot_id
                     WHERE flow.id = sighting.flow_id AND boot.last_ms > ?1))"
            }
            Idle::All => "last_ms <= ?1",
        };
        deleted.sightings = by_time(db, "sighting", key, sightings, horizon)?;
        run(db, "DELETE FROM event_last WHERE last_ms <= ?1", [horizon])?;
        let batches = match self.idle {
            Idle::Since(_) => "received_ms <= ?1 AND end_ms <= ?1",
            // Late ones as well: their rows are gone, and this makes room.
            Idle::All => "end_ms <= ?1",
        };
        deleted.batches = by_time(db, "batch", "boot_id, sequence", batches, horizon)?;
        let counts = [deleted.sightings, deleted.batches];
        let over = counts.iter().all(|n| *n < STEP_ROWS.unsigned_abs());
        Ok(blocks(db, horizon, deleted)? && over)
    }

    /// The next subjects, as far as they are over: they may go on as long as their agent runs, and
    /// what is known of them stays while it reports, unless they have been idle.
    fn subjects(
        &mut self,
        db: &Connection,
        deleted: &mut Deleted,
        boots: &mut Vec<i64>,
    ) -> Result<bool> {
        let (all, idle) = match self.idle {
            Idle::All => (true, i64::MIN),
            Idle::Since(idle) => (false, idle),
        };
        let sql = "SELECT subject.id, flow.boot_id, boot.last_ms > ?1,
                 subject.last_ms <= ?1 AND (?2 OR boot.last_ms <= ?1
                     OR (subject.last_ms <= ?3 AND subject.open = 0))
             FROM subject JOIN flow ON flow.id = subject.flow_id
             JOIN boot ON boot.id = flow.boot_id
             WHERE subject.id > ?4 ORDER BY subject.id LIMIT ?5";
        let mut over = Vec::new();
        // A second time once it is known what blocks have of those that seem to be.
        for looks in 0..2 {
            let values = params![self.horizon_ms, all, idle, self.cursor.0, STEP_VISITS];
            let found: Vec<(i64, (i64, bool), bool)> = db
                .prepare_cached(sql)?
                .query_map(values, |row| {
                    Ok((row.get(0)?, (row.get(1)?, row.get(2)?), row.get(3)?))
                })?
                .collect::<Result<_>>()?;
            over = found
                .iter()
                .filter(|(.., over)| *over)
                .map(|(id, boot, _)| (*id, *boot))
                .collect();
            if looks == 1 || over.is_empty() {
                self.cursor.0 = found.last().map_or(self.cursor.0, |(last, ..)| *last);
                break;
            }
            let alive = over.iter().filter(|(_, (_, alive))| *alive);
            write_all(db, alive.map(|(_, (boot, _))| *boot))?;
        }
        for (id, (boot, _)) in over {
            deleted.identities += run(db, "DELETE FROM subject WHERE id = ?1", [id])?;
            boots.push(boot);
        }
        self.is_last(db, "subject")
    }

    /// The same for series that belong to a run of an agent: they are idle when they are silent.
    fn of_runs(&mut self, of: OfRun, db: &Connection, deleted: &mut Deleted) -> Result<bool> {
        let OfRun {
            table,
            samples,
            key,
            count,
        } = of;
        let idle = match self.idle {
            Idle::All => self.horizon_ms,
            Idle::Since(idle) => idle,
        };
        let sql = format!(
            "SELECT its.id, its.last_ms <= ?1 AND (boot.last_ms <= ?1 OR its.last_ms <= ?2),
                 (SELECT max(end_ms) FROM {samples} WHERE {key} = its.id AND end_ms <= ?1),
                 (SELECT min(end_ms) FROM {samples} WHERE {key} = its.id)
             FROM {table} AS its JOIN boot ON boot.id = its.boot_id
             WHERE its.id > ?3 ORDER BY its.id LIMIT ?4"
        );
        let values = params![self.horizon_ms, idle, self.cursor.0, STEP_VISITS];
        for old in old(db, &sql, values)? {
            let (rows, identities) = count(deleted);
            let left = STEP_ROWS.saturating_sub_unsigned(*rows);
            *rows += old.delete(db, (samples, key), left)?;
            if *rows >= STEP_ROWS.unsigned_abs() {
                return Ok(false);
            }
            if old.over {
                let sql = format!("DELETE FROM {table} WHERE id = ?1");
                *identities.unwrap_or(rows) += run(db, &sql, [old.id])?;
            }
            self.cursor.0 = old.id;
        }
        self.is_last(db, table)
    }

    /// Whether no row of the table follows on the cursor.
    fn is_last(&self, db: &Connection, table: &str) -> Result<bool> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {table} WHERE id > ?1)");
        db.prepare_cached(&sql)?
            .query_row([self.cursor.0], |row| row.get(0))
    }

    /// The next rows of a table that nothing refers to.
    fn unused(
        &mut self,
        table: &str,
        unused: &str,
        db: &Connection,
        deleted: &mut Deleted,
    ) -> Result<bool> {
        let next = format!(
            "SELECT max(id) FROM (SELECT id FROM {table} WHERE id > ?1 ORDER BY id LIMIT ?2)"
        );
        let last: Option<i64> = db
            .prepare_cached(&next)?
            .query_row([self.cursor.0, STEP_ROWS], |row| row.get(0))?;
        let Some(last) = last else { return Ok(true) };
        // `?3` is named by those that ask for an age.
        let sql = format!("DELETE FROM {table} WHERE id > ?1 AND id <= ?2 AND ?3 = ?3 {unused}");
        let values = params![self.cursor.0, last, self.horizon_ms];
        deleted.identities += run(db, &sql, values)?;
        self.cursor.0 = last;
        Ok(false)
    }

    /// The next flows that nothing refers to.
    fn flows(
        &mut self,
        db: &Connection,
        deleted: &mut Deleted,
        boots: &mut Vec<i64>,
    ) -> Result<bool> {
        let sql = format!(
            "SELECT boot_id, EXISTS (SELECT 1 FROM boot
                 WHERE boot.id = flow.boot_id AND boot.last_ms > ?3)
             FROM flow WHERE id > ?1 AND id <= ?1 + ?2 {UNUSED_FLOW}"
        );
        let values = params![self.cursor.0.max(0), STEP_ROWS, self.horizon_ms];
        let unused: Vec<(i64, bool)> = db
            .prepare_cached(&sql)?
            .query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_>>()?;
        let alive = unused.iter().filter(|(_, alive)| *alive);
        write_all(db, alive.map(|(boot, _)| *boot))?;
        boots.extend(unused.into_iter().map(|(boot, _)| boot));
        self.unused("flow", UNUSED_FLOW, db, deleted)
    }

    /// The next processes that are old and have no flow.
    fn processes(&mut self, db: &Connection, deleted: &mut Deleted) -> Result<bool> {
        let last: Option<(i64, i64)> = db
            .prepare_cached(
                "SELECT boot_id, process_id FROM (
                     SELECT boot_id, process_id FROM process
                     WHERE (boot_id, process_id) > (?1, ?2) ORDER BY boot_id, process_id LIMIT ?3)
                 ORDER BY boot_id DESC, process_id DESC LIMIT 1",
            )?
            .query_row(params![self.cursor.0, self.cursor.1, STEP_ROWS], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some(last) = last else { return Ok(true) };
        deleted.identities += run(
            db,
            "DELETE FROM process WHERE (boot_id, process_id) > (?1, ?2)
                 AND (boot_id, process_id) <= (?3, ?4) AND last_ms <= ?5
                 AND NOT EXISTS (SELECT 1 FROM flow WHERE flow.boot_id = process.boot_id
                     AND flow.process_id = process.process_id)",
            params![
                self.cursor.0,
                self.cursor.1,
                last.0,
                last.1,
                self.horizon_ms
            ],
        )?;
        self.cursor = last;
        Ok(false)
    }
}

impl Stage {
    fn next(self) -> Option<Self> {
        match self {
            Self::Rows => Some(Self::Subjects),
            Self::Subjects => Some(Self::Nats),
            Self::Nats => Some(Self::Series),
            Self::Series => Some(Self::Flows),
            Self::Flows => Some(Self::Processes),
            Self::Processes => Some(Self::Boots),
            Self::Boots => Some(Self::Hosts),
            Self::Hosts => Some(Self::Described),
            Self::Described => None,
        }
    }
}
