//! Reads the audit log.

use rusqlite::{Row, params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::record::{Action, Entry};

/// Most records of one answer.
const LISTED: u32 = 10_000;

/// Records of the log.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct AuditLog {
    /// The last first.
    pub records: Vec<AuditRecord>,
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct AuditRecord {
    /// Grows with each record.
    pub id: i64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Who; see [`Actor`].
    pub actor: String,
    /// From where: an address, or `command`.
    pub source: String,
    /// What was done; one of [`Action`].
    pub action: String,
    /// To what.
    pub subject: String,
    /// How it was.
    pub before: Option<Value>,
    /// How it is.
    pub after: Option<Value>,
}

/// Which records.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// From this time on, Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this time, Unix milliseconds.
    pub to_ms: Option<i64>,
    /// Records before this one: what an answer that was cut is continued with.
    pub before_id: Option<i64>,
    /// Most records, at most 10,000.
    pub limit: Option<u32>,
}

impl Access {
    /// Writes down what was done elsewhere.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record(&self, actor: &Actor, entry: Entry, now_ms: i64) -> Result<(), Error> {
        self.change(actor, now_ms, |_| Ok(((), vec![entry])))
    }

    /// Records of the log, the last first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn audit(&self, asked: &AuditQuery) -> Result<Vec<AuditRecord>, Error> {
        let limit = asked.limit.unwrap_or(1000).clamp(1, LISTED);
        self.ask(|db| {
            db.prepare_cached(
                "SELECT id, at_ms, actor, source, action, subject, before, after FROM audit
                 WHERE at_ms >= ?1 AND at_ms < ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",
            )?
            .query_map(
                params![
                    asked.from_ms.unwrap_or(i64::MIN),
                    asked.to_ms.unwrap_or(i64::MAX),
                    asked.before_id.unwrap_or(i64::MAX),
                    limit
                ],
                record,
            )?
            .collect()
        })
    }

    /// The last record of an action.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last(&self, action: Action) -> Result<Option<AuditRecord>, Error> {
        self.ask(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, at_ms, actor, source, action, subject, before, after FROM audit
                 WHERE action = ?1 ORDER BY id DESC LIMIT 1",
            )?;
            statement
                .query_map([action.name()], record)?
                .next()
                .transpose()
        })
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(AuditRecord {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        actor: row.get(2)?,
        source: row.get(3)?,
        action: row.get(4)?,
        subject: row.get(5)?,
        before: json(row.get(6)?),
        after: json(row.get(7)?),
    })
}
