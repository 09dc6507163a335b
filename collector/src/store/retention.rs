//! Retention: what is older than the horizon goes, a bounded number of rows at a time.
//!
//! A step is short, so that batches that arrive meanwhile wait for milliseconds. Samples and
//! sightings go by the end of their interval; keys of batches by their arrival, so that a batch
//! that was sent late is still known as a duplicate. What only names things (flows, processes,
//! runs, hosts) goes when nothing refers to it any more.

use rusqlite::{Connection, Result, params};

use super::nat;

/// Rows of each kind a step may delete.
const STEP_ROWS: i64 = 2000;

/// Deletes old rows, step by step.
#[derive(Clone, Debug)]
pub struct Retention {
    age_ms: i64,
    /// The last flow looked at: flows are visited in rounds, for no index says which are unused.
    flow: i64,
}

/// What one step deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Keys of batches.
    pub batches: u64,
    /// Counter samples.
    pub samples: u64,
    /// Sightings.
    pub sightings: u64,
    /// Events.
    pub events: u64,
    /// Translations of gateways, with their samples.
    pub nats: u64,
    /// Subjects, flows, processes, runs and hosts.
    pub identities: u64,
    /// True when another step has something to do now.
    pub more: bool,
}

impl Retention {
    /// Deletes what is older than `age_ms`.
    #[must_use]
    pub fn new(age_ms: i64) -> Self {
        Self { age_ms, flow: 0 }
    }

    /// One step inside the caller's transaction.
    pub(super) fn step(&mut self, db: &Connection, now_ms: i64) -> Result<Deleted> {
        let horizon = now_ms.saturating_sub(self.age_ms);
        let mut deleted = Deleted {
            samples: superseded(db, "sample", "subject_id", horizon)?,
            sightings: by_time(
                db,
                "sighting",
                "token, flow_id, part, port",
                "last_ms",
                horizon,
            )?,
            events: by_time(db, "event", "id", "end_ms", horizon)?,
            batches: batches(db, horizon)?,
            nats: superseded(db, "nat_sample", "nat_id", horizon)?,
            ..Deleted::default()
        };
        let (subjects, samples) = self.subjects(db, horizon)?;
        deleted.samples += samples;
        deleted.identities = subjects;
        deleted.nats += nat::retain(db, horizon, horizon.saturating_sub(self.age_ms), STEP_ROWS)?;
        let (flows, round_over) = self.flows(db)?;
        deleted.identities += flows + unreferenced(db, horizon)?;
        let full = STEP_ROWS.unsigned_abs();
        deleted.more = !round_over
            || [
                deleted.samples,
                deleted.sightings,
                deleted.events,
                deleted.batches,
                deleted.nats,
                subjects,
            ]
            .iter()
            .any(|n| *n >= full);
        Ok(deleted)
    }

    /// Subjects that are over, with their last samples.
    ///
    /// A subject may go on as long as its agent runs, and then its last sample is the baseline for
    /// what follows. So it stays while the agent reports; but not for more than twice the age with
    /// nothing open, for agents forget idle subjects too.
    fn subjects(&self, db: &Connection, horizon: i64) -> Result<(u64, u64)> {
        let idle = horizon.saturating_sub(self.age_ms);
        let over: Vec<i64> = db
            .prepare_cached(
                "SELECT subject.id FROM subject JOIN flow ON flow.id = subject.flow_id
                 JOIN boot ON boot.id = flow.boot_id
                 WHERE subject.last_ms <= ?1 AND (boot.last_ms <= ?1
                     OR (subject.last_ms <= ?2 AND subject.open = 0))
                 LIMIT ?3",
            )?
            .query_map(params![horizon, idle, STEP_ROWS], |row| row.get(0))?
            .collect::<Result<_>>()?;
        let mut samples = 0;
        for subject in &over {
            samples += run(
                db,
                "DELETE FROM sample WHERE subject_id = ?1",
                params![subject],
            )?;
            run(db, "DELETE FROM subject WHERE id = ?1", params![subject])?;
        }
        Ok((over.len() as u64, samples))
    }

    /// The next flows of the round that nothing refers to; true when the round is over.
    fn flows(&mut self, db: &Connection) -> Result<(u64, bool)> {
        let last: Option<i64> = db
            .prepare_cached(
                "SELECT max(id) FROM (SELECT id FROM flow WHERE id > ?1 ORDER BY id LIMIT ?2)",
            )?
            .query_row(params![self.flow, STEP_ROWS], |row| row.get(0))?;
        let Some(last) = last else {
            self.flow = 0;
            return Ok((0, true));
        };
        let deleted = run(
            db,
            "DELETE FROM flow WHERE id > ?1 AND id <= ?2
                 AND NOT EXISTS (SELECT 1 FROM subject WHERE subject.flow_id = flow.id)
                 AND NOT EXISTS (SELECT 1 FROM sighting WHERE sighting.flow_id = flow.id)
                 AND NOT EXISTS (SELECT 1 FROM event WHERE event.flow_id = flow.id)",
            params![self.flow, last],
        )?;
        self.flow = last;
        Ok((deleted, false))
    }
}

/// Old samples that a newer old one of the same subject replaces as baseline.
fn superseded(db: &Connection, table: &str, subject: &str, horizon: i64) -> Result<u64> {
    let sql = format!(
        "DELETE FROM {table} WHERE ({subject}, end_ms) IN (
             SELECT old.{subject}, old.end_ms FROM {table} AS old
             WHERE old.end_ms <= ?1 AND EXISTS (
                 SELECT 1 FROM {table} AS newer WHERE newer.{subject} = old.{subject}
                     AND newer.end_ms > old.end_ms AND newer.end_ms <= ?1)
             LIMIT ?2)"
    );
    run(db, &sql, params![horizon, STEP_ROWS])
}

fn by_time(db: &Connection, table: &str, key: &str, time: &str, horizon: i64) -> Result<u64> {
    let sql = format!(
        "DELETE FROM {table} WHERE ({key}) IN
             (SELECT {key} FROM {table} WHERE {time} <= ?1 LIMIT ?2)"
    );
    run(db, &sql, params![horizon, STEP_ROWS])
}

fn batches(db: &Connection, horizon: i64) -> Result<u64> {
    run(
        db,
        "DELETE FROM batch WHERE (boot_id, sequence) IN
             (SELECT boot_id, sequence FROM batch
              WHERE received_ms <= ?1 AND end_ms <= ?1 LIMIT ?2)",
        params![horizon, STEP_ROWS],
    )
}

/// Processes, runs and hosts that are old and that nothing refers to.
fn unreferenced(db: &Connection, horizon: i64) -> Result<u64> {
    let processes = run(
        db,
        "DELETE FROM process WHERE (boot_id, process_id) IN (
             SELECT boot_id, process_id FROM process WHERE last_ms <= ?1
                 AND NOT EXISTS (SELECT 1 FROM flow WHERE flow.boot_id = process.boot_id
                     AND flow.process_id = process.process_id)
             LIMIT ?2)",
        params![horizon, STEP_ROWS],
    )?;
    let boots = run(
        db,
        "DELETE FROM boot WHERE last_ms <= ?1
             AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.boot_id = boot.id)
             AND NOT EXISTS (SELECT 1 FROM flow WHERE flow.boot_id = boot.id)
             AND NOT EXISTS (SELECT 1 FROM nat WHERE nat.boot_id = boot.id)
             AND NOT EXISTS (SELECT 1 FROM process WHERE process.boot_id = boot.id)",
        params![horizon],
    )?;
    let hosts = run(
        db,
        "DELETE FROM host WHERE last_seen_ms <= ?1
             AND NOT EXISTS (SELECT 1 FROM boot WHERE boot.host_id = host.id)",
        params![horizon],
    )?;
    Ok(processes + boots + hosts)
}

fn run(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<u64> {
    Ok(db.prepare_cached(sql)?.execute(values)? as u64)
}
