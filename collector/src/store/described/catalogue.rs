//! Which tables are stored, by their descriptions.
//!
//! A table that only its senders know may have another description with each of them. What agrees
//! in the columns that both have is one table, which has the columns of all; what does not is
//! another table of the same name.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use wire::schema::{MAX_COLUMNS, Table, Type};

use super::column::is_series;

/// Most tables that are stored by the word of one host.
const TABLES_OF_HOST: i64 = 16;
/// Most tables that are stored by the word of hosts.
const TABLES: i64 = 256;

/// A table that is stored.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: i64,
    /// Its columns are in the order in which they are stored.
    pub(super) table: Table,
}

/// The table in which rows of this description are stored; `None` where there are too many others.
pub(super) fn admit(db: &Connection, host: i64, table: &Table) -> Result<Option<Known>> {
    for known in named(db, &table.name)? {
        let Some(merged) = merge(&known.table, table) else {
            continue;
        };
        if merged != known.table {
            db.prepare_cached("UPDATE described SET description = ?2 WHERE id = ?1")?
                .execute(params![known.id, text(&merged)])?;
        }
        return Ok(Some(Known {
            id: known.id,
            table: merged,
        }));
    }
    let is_own = wire::tables().iter().any(|own| own.name == table.name);
    if !is_own {
        let (all, of_host): (i64, i64) = db
            .prepare_cached(
                "SELECT count(*), coalesce(sum(host_id = ?1), 0) FROM described
                 WHERE host_id IS NOT NULL",
            )?
            .query_row([host], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if all >= TABLES || of_host >= TABLES_OF_HOST {
            return Ok(None);
        }
    }
    let host = (!is_own).then_some(host);
    let id = db
        .prepare_cached("INSERT INTO described (name, host_id, description) VALUES (?1, ?2, ?3)")?
        .insert(params![table.name, host, text(table)])?;
    Ok(Some(Known {
        id,
        table: table.clone(),
    }))
}

/// Makes a table known before there are rows of it.
pub(in crate::store) fn describe(db: &Connection, table: &Table) -> Result<()> {
    admit(db, 0, table).map(drop)
}

/// All tables of a name.
pub(super) fn named(db: &Connection, name: &str) -> Result<Vec<Known>> {
    db.prepare_cached("SELECT id, description FROM described WHERE name = ?1 ORDER BY id")?
        .query_map([name], known)?
        .collect()
}

/// The table with this number.
pub(super) fn by_id(db: &Connection, id: i64) -> Result<Option<Known>> {
    db.prepare_cached("SELECT id, description FROM described WHERE id = ?1")?
        .query_row([id], known)
        .optional()
}

/// All tables with the end of their newest rows, by name.
pub(super) fn all(db: &Connection) -> Result<Vec<(Table, Option<i64>)>> {
    let mut statement = db.prepare("SELECT id, description FROM described ORDER BY name, id")?;
    let tables = statement.query_map((), known)?;
    let with_newest = tables.map(|known| {
        let known = known?;
        let last = db
            .prepare_cached(
                "SELECT max(last_ms) FROM series WHERE table_id = ?1
                 UNION ALL SELECT last_ms FROM event_last WHERE table_id = ?1
                 ORDER BY 1 DESC LIMIT 1",
            )?
            .query_row([known.id], |row| row.get(0))
            .optional()?;
        Ok((known.table, last.flatten()))
    });
    with_newest.collect()
}

fn known(row: &Row<'_>) -> Result<Known> {
    let description = row.get_ref(1)?.as_str()?;
    let damaged = |error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    };
    Ok(Known {
        id: row.get(0)?,
        table: serde_json::from_str(description).map_err(damaged)?,
    })
}

fn text(table: &Table) -> String {
    serde_json::to_string(table).expect("a description is words and numbers")
}

/// One description for rows of both; `None` where they contradict each other.
fn merge(known: &Table, came: &Table) -> Option<Table> {
    if (known.shape, &known.family) != (came.shape, &came.family) {
        return None;
    }
    let is_newer = came.version >= known.version;
    let mut merged = known.clone();
    if is_newer {
        merged.version = came.version;
        merged.help.clone_from(&came.help);
    }
    for column in &came.columns {
        let Some(have) = merged
            .columns
            .iter_mut()
            .find(|have| have.name == column.name)
        else {
            merged.columns.push(column.clone());
            continue;
        };
        if (have.kind, &have.unit) != (column.kind, &column.unit) {
            return None;
        }
        let values = both(&have.values, &column.values)?;
        if is_newer {
            *have = column.clone();
        }
        have.values = values;
    }
    let fits = merged.columns.len() <= MAX_COLUMNS && is_series(&merged) == is_series(known);
    fits.then_some(merged)
}

/// A type that has the values of both.
fn both(one: &Type, other: &Type) -> Option<Type> {
    match (one, other) {
        _ if one == other => Some(one.clone()),
        (Type::Enum(names), Type::Enum(others)) => {
            let (less, more) = if names.len() < others.len() {
                (names, others)
            } else {
                (others, names)
            };
            more.starts_with(less).then(|| Type::Enum(more.clone()))
        }
        (
            Type::U8 | Type::U16 | Type::U32 | Type::U64,
            Type::U8 | Type::U16 | Type::U32 | Type::U64,
        ) => Some(
            if one.bits() < other.bits() {
                other
            } else {
                one
            }
            .clone(),
        ),
        _ => None,
    }
}
