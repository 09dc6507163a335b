//! Who knows of an alert.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::database::{AlertStore, Error};
use crate::access::{Access, Action, Actor, Entry};
use crate::alert::state::{Alert, Phase};

/// Most bytes of what somebody says.
const TEXT_BYTES: usize = 1024;

/// Somebody knows of an alert.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub who: String,
    /// What they said.
    pub why: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// Why something about alerts is not done.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// There is nothing of that name.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// It does not make sense now.
    #[error("{0}")]
    Conflict(&'static str),
    /// What was given cannot be used.
    #[error("{0}")]
    Wrong(String),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<rusqlite::Error> for NotDone {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<crate::access::Error> for NotDone {
    fn from(error: crate::access::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<serde_json::Error> for NotDone {
    fn from(error: serde_json::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Who changes something, where it is written down, and when.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// The log of changes.
    pub log: &'a Access,
    /// Unix milliseconds.
    pub now_ms: i64,
}

impl By<'_> {
    /// Writes a change down, before it is made for good: there may be a record of a change that the
    /// disk refused, and there is no change without a record.
    pub(super) fn record(&self, entry: Entry) -> Result<(), NotDone> {
        Ok(self.log.record(self.actor, entry, self.now_ms)?)
    }
}

impl AlertStore {
    /// Somebody knows of an alert, for as long as it goes on this time.
    ///
    /// # Errors
    /// There is none, it is over, or the database cannot be written.
    pub fn acknowledge(&self, id: &str, why: &str, by: By<'_>) -> Result<Acknowledged, NotDone> {
        if why.len() > TEXT_BYTES {
            let why = format!("why: expected at most {TEXT_BYTES} bytes");
            return Err(NotDone::Wrong(why));
        }
        self.change(|db| {
            let alert = alert(db, id)?.ok_or(NotDone::Unknown("alert"))?;
            if alert.phase == Phase::Resolved {
                return Err(NotDone::Conflict("the alert is over already"));
            }
            let known = Acknowledged {
                who: by.actor.who.clone(),
                why: why.to_owned(),
                at_ms: by.now_ms,
            };
            db.execute(
                "INSERT OR REPLACE INTO acknowledged (alert, began_ms, who, why, at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id, alert.began_ms, known.who, known.why, known.at_ms],
            )?;
            let said = json!({ "rule": alert.finding.rule, "why": known.why });
            by.record(Entry::new(Action::AlertAcknowledged, id).after(said))?;
            Ok(known)
        })
    }

    /// Takes an acknowledgement back.
    ///
    /// # Errors
    /// There is none, or the database cannot be written.
    pub fn unacknowledge(&self, id: &str, by: By<'_>) -> Result<(), NotDone> {
        self.change(|db| {
            let alert = alert(db, id)?.ok_or(NotDone::Unknown("alert"))?;
            let known = acknowledged(db, &alert)?;
            let known = known.ok_or(NotDone::Conflict("nobody has acknowledged the alert"))?;
            db.execute("DELETE FROM acknowledged WHERE alert = ?1", [id])?;
            let said = json!({ "who": known.who, "why": known.why });
            by.record(Entry::new(Action::AlertUnacknowledged, id).before(said))
        })
    }
}

/// An alert.
pub(super) fn alert(db: &Connection, id: &str) -> Result<Option<Alert>, Error> {
    let body: Option<String> = db
        .prepare_cached("SELECT body FROM alert WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

/// Who knows of it this time.
pub(super) fn acknowledged(db: &Connection, alert: &Alert) -> Result<Option<Acknowledged>, Error> {
    let read = |row: &Row<'_>| {
        Ok(Acknowledged {
            who: row.get(0)?,
            why: row.get(1)?,
            at_ms: row.get(2)?,
        })
    };
    Ok(db
        .prepare_cached(
            "SELECT who, why, at_ms FROM acknowledged WHERE alert = ?1 AND began_ms = ?2",
        )?
        .query_row(params![alert.id, alert.began_ms], read)
        .optional()?)
}
