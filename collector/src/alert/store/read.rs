//! What is asked about alerts.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database::{AlertStore, Error};
use super::people::{Acknowledged, acknowledged, alert};
use crate::alert::finding::Severity;
use crate::alert::group::Group;
use crate::alert::state::{Alert, Phase, Transition, What};

/// Transitions of one alert that are answered, the newest.
const HISTORY: u32 = 200;

/// Which alerts are asked for; of each of these any, where none is given.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Phases.
    pub phases: Vec<Phase>,
    /// How bad.
    pub severity: Option<Severity>,
    /// Values of labels, all of them.
    pub labels: Vec<(&'static str, String)>,
    /// Only those of a group.
    pub group: Option<String>,
    /// Most of them.
    pub limit: usize,
    /// Those behind this one.
    pub after: Option<Place>,
}

/// A place in the list: phase, severity, time and id of an alert.
pub type Place = (i64, i64, i64, String);

/// An alert as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// It.
    pub alert: Alert,
    /// Its group, while it fires.
    pub group: Option<String>,
    /// Who knows of it.
    pub acknowledged: Option<Acknowledged>,
}

/// A page of alerts.
#[derive(Clone, Debug)]
pub struct Page {
    /// Those that fire first, then those that are pending, the worst and newest first.
    pub alerts: Vec<Kept>,
    /// Where the next page begins, where there is one.
    pub next: Option<Place>,
    /// Up to when was judged, Unix milliseconds.
    pub through_ms: i64,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Counts {
    /// Critical ones that fire.
    pub critical: u64,
    /// Warnings that fire.
    pub warning: u64,
    /// Those that are found and do not fire yet.
    pub pending: u64,
    /// Those that fire or are pending and cannot be judged now.
    pub unknown: u64,
}

impl AlertStore {
    /// A page of alerts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn page(&self, asked: &Asked) -> Result<Page, Error> {
        let (sql, values) = query(asked);
        let db = self.reading();
        let mut statement = db.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            let place: Place = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((place, row.get::<_, String>(4)?, row.get(5)?))
        })?;
        let mut rows = rows.collect::<Result<Vec<(Place, String, Option<String>)>, _>>()?;
        let more = rows.len() > asked.limit;
        rows.truncate(asked.limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|(place, ..)| place.clone());
        let mut alerts = Vec::new();
        for (_, body, group) in rows {
            let alert: Alert = serde_json::from_str(&body)?;
            alerts.push(kept(&db, alert, group)?);
        }
        Ok(Page {
            alerts,
            next,
            through_ms: through(&db)?,
        })
    }

    /// Every alert that fires.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn firing(&self) -> Result<Vec<Alert>, Error> {
        let db = self.reading();
        let mut statement = db.prepare_cached("SELECT body FROM alert WHERE phase = 0")?;
        let bodies = statement.query_map((), |row| row.get::<_, String>(0))?;
        bodies
            .map(|body| Ok(serde_json::from_str(&body?)?))
            .collect()
    }

    /// One alert, with what became of it, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn one(&self, id: &str) -> Result<Option<(Kept, Vec<Transition>)>, Error> {
        let db = self.reading();
        let Some(found) = alert(&db, id)? else {
            return Ok(None);
        };
        let group = "SELECT group_id FROM alert WHERE id = ?1";
        let group = db.query_row(group, [id], |row| row.get(0))?;
        let found = kept(&db, found, group)?;
        let mut statement = db.prepare_cached(
            "SELECT at_ms, what, value, severity, why FROM transition WHERE alert = ?1
             ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = statement.query_map((id, HISTORY), |row| {
            let (what, severity): (String, String) = (row.get(1)?, row.get(3)?);
            Ok(Transition {
                id: id.to_owned(),
                at_ms: row.get(0)?,
                what: What::of(&what).unwrap_or(What::Known),
                value: row.get(2)?,
                severity: Severity::of(&severity).unwrap_or(Severity::Warning),
                why: row.get(4)?,
            })
        })?;
        Ok(Some((found, rows.collect::<Result<_, _>>()?)))
    }

    /// Groups of those that fire, the worst first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn groups(&self) -> Result<Vec<Group>, Error> {
        let db = self.reading();
        let mut statement = db.prepare_cached("SELECT body FROM grouped ORDER BY place")?;
        let bodies = statement.query_map((), |row| row.get::<_, String>(0))?;
        bodies
            .map(|body| Ok(serde_json::from_str(&body?)?))
            .collect()
    }

    /// How many there are, and up to when was judged.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counts(&self) -> Result<(Counts, i64), Error> {
        let db = self.reading();
        let count = |condition: &str| -> Result<u64, Error> {
            let sql = format!("SELECT count(*) FROM alert WHERE {condition}");
            let count: i64 = db.prepare_cached(&sql)?.query_row((), |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        let counts = Counts {
            critical: count("phase = 0 AND severity = 0")?,
            warning: count("phase = 0 AND severity = 1")?,
            pending: count("phase = 1")?,
            unknown: count("phase < 2 AND body ->> '$.unknown_since_ms' IS NOT NULL")?,
        };
        Ok((counts, through(&db)?))
    }
}

fn through(db: &Connection) -> Result<i64, Error> {
    let sql = "SELECT coalesce(max(through_ms), 0) FROM judged";
    Ok(db.prepare_cached(sql)?.query_row((), |row| row.get(0))?)
}

fn kept(db: &Connection, alert: Alert, group: Option<String>) -> Result<Kept, Error> {
    Ok(Kept {
        acknowledged: acknowledged(db, &alert)?,
        group,
        alert,
    })
}

fn query(asked: &Asked) -> (String, Vec<Value>) {
    let (mut conditions, mut values) = (vec![String::from("1")], Vec::new());
    let mut value = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    if !asked.phases.is_empty() {
        let phases = asked.phases.iter().map(|phase| match phase {
            Phase::Firing => "0",
            Phase::Pending => "1",
            Phase::Resolved => "2",
        });
        let phases: Vec<&str> = phases.collect();
        conditions.push(format!("phase IN ({})", phases.join(", ")));
    }
    if let Some(severity) = asked.severity {
        let severity = i64::from(severity == Severity::Warning);
        conditions.push(format!("severity = {}", value(severity.into())));
    }
    if let Some(group) = &asked.group {
        conditions.push(format!("group_id = {}", value(group.clone().into())));
    }
    for (name, wanted) in &asked.labels {
        let name = value(String::from(*name).into());
        let wanted = value(wanted.clone().into());
        conditions.push(format!(
            "EXISTS (SELECT 1 FROM label WHERE label.alert = alert.id AND name = {name}
             AND value = {wanted})"
        ));
    }
    if let Some((phase, severity, before_ms, id)) = &asked.after {
        let phase = value((*phase).into());
        let severity = value((*severity).into());
        let before_ms = value((*before_ms).into());
        let id = value(id.clone().into());
        conditions.push(format!(
            "(phase, severity, before_ms, id) > ({phase}, {severity}, {before_ms}, {id})"
        ));
    }
    let limit = i64::try_from(asked.limit).unwrap_or(i64::MAX - 1) + 1;
    let limit = value(limit.into());
    let sql = format!(
        "SELECT phase, severity, before_ms, id, body, group_id FROM alert WHERE {}
         ORDER BY phase, severity, before_ms, id LIMIT {limit}",
        conditions.join(" AND ")
    );
    (sql, values)
}
