//! Keeps a step of all alerts.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::database::{AlertStore, Error};
use super::queue::enqueue;
use crate::alert::finding::Severity;
use crate::alert::group::Group;
use crate::alert::labels::labels;
use crate::alert::notify::{Memory, Notice, Told};
use crate::alert::state::{Alert, Changes, Phase, State};

/// Transitions that are deleted at once.
const TRIMMED: i64 = 5000;
/// Alerts that are kept in all; the oldest that resolved make room.
const MOST_KEPT: i64 = 200_000;

/// A step, as it is kept.
#[derive(Debug)]
pub struct Step<'a> {
    /// What was known before it.
    pub before: &'a State,
    /// What is known now.
    pub after: &'a State,
    /// What changed.
    pub changes: &'a Changes,
    /// Groups of those that fire.
    pub groups: &'a [Group],
    /// What was told before, and what is told with it.
    pub memory: (&'a Memory, &'a Memory),
    /// What is to be sent, by output.
    pub notices: &'a [(String, Notice)],
}

impl AlertStore {
    /// What was known when a step was kept last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn state(&self) -> Result<State, Error> {
        let db = self.reading();
        let judged = "SELECT through_ms FROM judged";
        let through_ms = db.query_row(judged, (), |row| row.get(0)).optional()?;
        let mut statement = db.prepare("SELECT id, body FROM alert WHERE is_alive = 1")?;
        let rows = statement.query_map((), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        let mut state = State {
            through_ms: through_ms.unwrap_or(0),
            ..State::default()
        };
        for row in rows {
            let (id, body) = row?;
            state.alerts.insert(id, serde_json::from_str(&body)?);
        }
        Ok(state)
    }

    /// What was told.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn memory(&self) -> Result<Memory, Error> {
        let db = self.reading();
        let mut memory = Memory::default();
        let mut told = db.prepare("SELECT alert, began_ms, severity, group_id FROM told")?;
        let rows = told.query_map((), |row| {
            let severity: String = row.get(2)?;
            let told = Told {
                began_ms: row.get(1)?,
                severity: Severity::of(&severity).unwrap_or(Severity::Warning),
                group: row.get(3)?,
            };
            Ok((row.get::<_, String>(0)?, told))
        })?;
        memory.told = rows.collect::<Result<BTreeMap<_, _>, _>>()?;
        let mut sent = db.prepare("SELECT group_id, at_ms FROM group_told")?;
        let rows = sent.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
        memory.sent = rows.collect::<Result<BTreeMap<_, _>, _>>()?;
        Ok(memory)
    }

    /// Keeps a step. The number of notices that made room for newer ones.
    ///
    /// # Errors
    /// When the database cannot be written: then nothing of it is kept.
    pub fn keep(&self, step: &Step<'_>) -> Result<u64, Error> {
        self.change(|db| {
            db.prepare_cached("INSERT OR REPLACE INTO judged (one, through_ms) VALUES (1, ?1)")?
                .execute([step.after.through_ms])?;
            for (id, alert) in &step.after.alerts {
                let before = step.before.alerts.get(id);
                if before != Some(alert) {
                    let same_labels = before.is_some_and(|before| labels(before) == labels(alert));
                    write(db, alert, same_labels)?;
                }
            }
            for alert in &step.changes.gone {
                write(db, alert, true)?;
                db.prepare_cached("UPDATE alert SET is_alive = 0 WHERE id = ?1")?
                    .execute([&alert.id])?;
            }
            transitions(db, step.changes)?;
            // One that never fired is nothing that people look back at.
            for alert in &step.changes.gone {
                db.prepare_cached(
                    "DELETE FROM alert WHERE id = ?1 AND NOT EXISTS
                     (SELECT 1 FROM transition WHERE alert = ?1 AND what = 'firing')",
                )?
                .execute([&alert.id])?;
            }
            groups(db, step.groups)?;
            told(db, step.memory)?;
            let mut dropped = 0;
            for (output, notice) in step.notices {
                dropped += enqueue(db, output, notice)?;
            }
            trim(db, step.after.through_ms.saturating_sub(self.retention_ms))?;
            Ok(dropped)
        })
    }
}

fn write(db: &Connection, alert: &Alert, same_labels: bool) -> Result<(), Error> {
    let (phase, since_ms) = match alert.phase {
        Phase::Firing => (0, alert.fired_ms.unwrap_or(alert.began_ms)),
        Phase::Pending => (1, alert.began_ms),
        Phase::Resolved => (2, alert.resolved_ms.unwrap_or(alert.found_ms)),
    };
    let severity = match alert.finding.severity {
        Severity::Critical => 0,
        Severity::Warning => 1,
    };
    db.prepare_cached(
        "INSERT INTO alert (id, rule, phase, severity, before_ms, is_alive, body)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)
         ON CONFLICT (id) DO UPDATE SET phase = ?3, severity = ?4, before_ms = ?5, is_alive = 1,
         body = ?6",
    )?
    .execute(params![
        alert.id,
        alert.finding.rule.as_str(),
        phase,
        severity,
        -since_ms,
        serde_json::to_string(alert)?
    ])?;
    if same_labels {
        return Ok(());
    }
    db.prepare_cached("DELETE FROM label WHERE alert = ?1")?
        .execute([&alert.id])?;
    for (name, values) in labels(alert) {
        for value in values {
            db.prepare_cached("INSERT INTO label (alert, name, value) VALUES (?1, ?2, ?3)")?
                .execute(params![alert.id, name, value])?;
        }
    }
    Ok(())
}

fn transitions(db: &Connection, changes: &Changes) -> Result<(), Error> {
    for one in &changes.transitions {
        db.prepare_cached(
            "INSERT INTO transition (alert, at_ms, what, value, severity, why)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            one.id,
            one.at_ms,
            one.what.name(),
            one.value,
            one.severity.name(),
            one.why
        ])?;
    }
    Ok(())
}

fn groups(db: &Connection, groups: &[Group]) -> Result<(), Error> {
    db.execute("DELETE FROM grouped", ())?;
    db.prepare_cached("UPDATE alert SET group_id = NULL WHERE group_id IS NOT NULL")?
        .execute(())?;
    for (place, group) in (0_i64..).zip(groups) {
        db.prepare_cached("INSERT INTO grouped (id, place, body) VALUES (?1, ?2, ?3)")?
            .execute(params![group.id, place, serde_json::to_string(group)?])?;
        for id in &group.alerts {
            db.prepare_cached("UPDATE alert SET group_id = ?2 WHERE id = ?1")?
                .execute(params![id, group.id])?;
        }
    }
    Ok(())
}

fn told(db: &Connection, (before, after): (&Memory, &Memory)) -> Result<(), Error> {
    for (id, told) in &after.told {
        if before.told.get(id) != Some(told) {
            db.prepare_cached(
                "INSERT OR REPLACE INTO told (alert, began_ms, severity, group_id)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id, told.began_ms, told.severity.name(), told.group])?;
        }
    }
    for id in before
        .told
        .keys()
        .filter(|id| !after.told.contains_key(*id))
    {
        db.prepare_cached("DELETE FROM told WHERE alert = ?1")?
            .execute([id])?;
    }
    for (group, at_ms) in &after.sent {
        if before.sent.get(group) != Some(at_ms) {
            db.prepare_cached(
                "INSERT OR REPLACE INTO group_told (group_id, at_ms) VALUES (?1, ?2)",
            )?
            .execute(params![group, at_ms])?;
        }
    }
    for id in before
        .sent
        .keys()
        .filter(|id| !after.sent.contains_key(*id))
    {
        db.prepare_cached("DELETE FROM group_told WHERE group_id = ?1")?
            .execute([id])?;
    }
    Ok(())
}

/// Deletes a bounded number of what is too old, or too many.
fn trim(db: &Connection, horizon_ms: i64) -> Result<(), Error> {
    db.prepare_cached(
        "DELETE FROM alert WHERE id IN (SELECT id FROM alert
         WHERE phase = 2 AND is_alive = 0 AND before_ms > ?1 LIMIT 1000)",
    )?
    .execute([-horizon_ms])?;
    db.prepare_cached(
        "DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE phase = 2 AND is_alive = 0
         ORDER BY before_ms DESC LIMIT max(0, min(1000, (SELECT count(*) FROM alert) - ?1)))",
    )?
    .execute([MOST_KEPT])?;
    db.prepare_cached(
        "DELETE FROM transition WHERE id IN
         (SELECT id FROM transition WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)",
    )?
    .execute(params![horizon_ms, TRIMMED])?;
    db.prepare_cached("DELETE FROM silence WHERE until_ms < ?1")?
        .execute([horizon_ms])?;
    Ok(())
}
