//! Silences and maintenance windows.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::database::{AlertStore, Error};
use super::people::{By, NotDone};
use crate::access::{Action, Entry};
use crate::alert::mute::{Maintenance, Mutes, NewMaintenance, NewSilence, Silence};

/// Most of each.
const MOST: i64 = 1000;

impl AlertStore {
    /// All silences and maintenance windows, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn mutes(&self) -> Result<Mutes, Error> {
        let db = self.reading();
        Ok(Mutes {
            silences: all(&db, "SELECT body FROM silence ORDER BY id DESC")?,
            windows: all(&db, "SELECT body FROM maintenance ORDER BY id DESC")?,
        })
    }

    /// Makes a silence.
    ///
    /// # Errors
    /// It cannot be used, there are too many, or the database cannot be written.
    pub fn add_silence(&self, new: &NewSilence, by: By<'_>) -> Result<Silence, NotDone> {
        let from_ms = new.check(by.now_ms).map_err(NotDone::Wrong)?;
        self.change(|db| {
            room(db, "SELECT count(*) FROM silence")?;
            db.execute(
                "INSERT INTO silence (until_ms, body) VALUES (?1, '{}')",
                [new.until_ms],
            )?;
            let made = silence(db.last_insert_rowid(), new, from_ms, by, by.now_ms);
            put(
                db,
                "UPDATE silence SET body = ?2 WHERE id = ?1",
                made.id,
                &made,
            )?;
            by.record(Entry::new(Action::SilenceMade, made.id.to_string()).after(json!(made)))?;
            Ok(made)
        })
    }

    /// Changes a silence.
    ///
    /// # Errors
    /// There is none, it cannot be used, or the database cannot be written.
    pub fn change_silence(
        &self,
        id: i64,
        new: &NewSilence,
        by: By<'_>,
    ) -> Result<Silence, NotDone> {
        self.change(|db| {
            let was: Silence = one(db, "SELECT body FROM silence WHERE id = ?1", id)?
                .ok_or(NotDone::Unknown("silence"))?;
            let new = NewSilence {
                from_ms: new.from_ms.or(Some(was.from_ms)),
                ..new.clone()
            };
            let from_ms = new.check(by.now_ms).map_err(NotDone::Wrong)?;
            let made = silence(id, &new, from_ms, by, was.made_ms);
            put(db, "UPDATE silence SET body = ?2 WHERE id = ?1", id, &made)?;
            db.execute(
                "UPDATE silence SET until_ms = ?2 WHERE id = ?1",
                params![id, made.until_ms],
            )?;
            let entry = Entry::new(Action::SilenceChanged, id.to_string());
            by.record(entry.before(json!(was)).after(json!(made)))?;
            Ok(made)
        })
    }

    /// Ends a silence: what it kept from being told is told from now on.
    ///
    /// # Errors
    /// There is none, or the database cannot be written.
    pub fn end_silence(&self, id: i64, by: By<'_>) -> Result<(), NotDone> {
        self.change(|db| {
            let was: Silence = one(db, "SELECT body FROM silence WHERE id = ?1", id)?
                .ok_or(NotDone::Unknown("silence"))?;
            db.execute("DELETE FROM silence WHERE id = ?1", [id])?;
            by.record(Entry::new(Action::SilenceEnded, id.to_string()).before(json!(was)))
        })
    }

    /// Makes a maintenance window.
    ///
    /// # Errors
    /// It cannot be used, there are too many, or the database cannot be written.
    pub fn add_maintenance(&self, new: NewMaintenance, by: By<'_>) -> Result<Maintenance, NotDone> {
        new.check().map_err(NotDone::Wrong)?;
        self.change(|db| {
            room(db, "SELECT count(*) FROM maintenance")?;
            db.execute("INSERT INTO maintenance (body) VALUES ('{}')", ())?;
            let made = maintenance(db.last_insert_rowid(), new, by, by.now_ms);
            put(
                db,
                "UPDATE maintenance SET body = ?2 WHERE id = ?1",
                made.id,
                &made,
            )?;
            let entry = Entry::new(Action::MaintenanceMade, made.id.to_string());
            by.record(entry.after(json!(made)))?;
            Ok(made)
        })
    }

    /// Changes a maintenance window.
    ///
    /// # Errors
    /// There is none, it cannot be used, or the database cannot be written.
    pub fn change_maintenance(
        &self,
        id: i64,
        new: NewMaintenance,
        by: By<'_>,
    ) -> Result<Maintenance, NotDone> {
        new.check().map_err(NotDone::Wrong)?;
        self.change(|db| {
            let was: Maintenance = one(db, "SELECT body FROM maintenance WHERE id = ?1", id)?
                .ok_or(NotDone::Unknown("maintenance window"))?;
            let made = maintenance(id, new, by, was.made_ms);
            put(
                db,
                "UPDATE maintenance SET body = ?2 WHERE id = ?1",
                id,
                &made,
            )?;
            let entry = Entry::new(Action::MaintenanceChanged, id.to_string());
            by.record(entry.before(json!(was)).after(json!(made)))?;
            Ok(made)
        })
    }

    /// Removes a maintenance window.
    ///
    /// # Errors
    /// There is none, or the database cannot be written.
    pub fn remove_maintenance(&self, id: i64, by: By<'_>) -> Result<(), NotDone> {
        self.change(|db| {
            let was: Maintenance = one(db, "SELECT body FROM maintenance WHERE id = ?1", id)?
                .ok_or(NotDone::Unknown("maintenance window"))?;
            db.execute("DELETE FROM maintenance WHERE id = ?1", [id])?;
            let entry = Entry::new(Action::MaintenanceRemoved, id.to_string());
            by.record(entry.before(json!(was)))
        })
    }
}

fn silence(id: i64, new: &NewSilence, from_ms: i64, by: By<'_>, made_ms: i64) -> Silence {
    Silence {
        id,
        matchers: new.matchers.clone(),
        from_ms,
        until_ms: new.until_ms,
        why: new.why.clone(),
        who: by.actor.who.clone(),
        made_ms,
    }
}

fn maintenance(id: i64, window: NewMaintenance, by: By<'_>, made_ms: i64) -> Maintenance {
    Maintenance {
        id,
        window,
        who: by.actor.who.clone(),
        made_ms,
    }
}

fn room(db: &Connection, count: &str) -> Result<(), NotDone> {
    let count: i64 = db.query_row(count, (), |row| row.get(0))?;
    if count >= MOST {
        return Err(NotDone::Conflict("there are 1000 already: end some first"));
    }
    Ok(())
}

fn put<T: Serialize>(db: &Connection, sql: &str, id: i64, value: &T) -> Result<(), NotDone> {
    db.execute(sql, params![id, serde_json::to_string(value)?])?;
    Ok(())
}

fn one<T: DeserializeOwned>(db: &Connection, sql: &str, id: i64) -> Result<Option<T>, NotDone> {
    let body: Option<String> = db.query_row(sql, [id], |row| row.get(0)).optional()?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

fn all<T: DeserializeOwned>(db: &Connection, sql: &str) -> Result<Vec<T>, Error> {
    let mut statement = db.prepare_cached(sql)?;
    let bodies = statement.query_map((), |row| row.get::<_, String>(0))?;
    bodies
        .map(|body| Ok(serde_json::from_str(&body?)?))
        .collect()
}
