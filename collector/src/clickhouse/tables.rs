//! The tables that are not described by batches, and those that are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use wire::schema::Table;

use super::cells::{Cells, Written};
use super::client::Server;
use super::layout::{self, Place};
use crate::digest::sha256;
use crate::store::Error;

/// Most tables that only their senders know.
const OTHERS: usize = 256;

/// What is known by a name of ours, with its columns, its order, what makes a row newer, and whether
/// it goes day by day.
type Own = (
    &'static str,
    &'static [(&'static str, &'static str)],
    (&'static str, Option<&'static str>, bool),
);

const KEY: &[(&str, &str)] = &[
    ("minute", "Int32"),
    ("host", "FixedString(16)"),
    ("boot", "FixedString(16)"),
    ("sequence", "UInt64"),
    ("place", "UInt32"),
    ("start_ms", "Int64"),
    ("end_ms", "Int64"),
    ("at_ms", "Int64"),
    ("received_ms", "Int64"),
    ("digest", "FixedString(32)"),
    ("bytes", "UInt64"),
    ("row_count", "UInt64"),
];

/// Batches that are stored: a row of it is written last, and makes the others count.
pub(super) const BATCH: Own = ("batch", KEY, ("host, boot, sequence", None, true));

/// What was joined; of the rows of a slice the newest counts.
pub(super) const SLICE: Own = (
    "slice",
    &[
        ("length_ms", "Int64"),
        ("at_ms", "Int64"),
        ("generation", "UInt64"),
        ("joined_ms", "Int64"),
        ("edges", "UInt64"),
        ("is_joined", "UInt8"),
        ("body", "String"),
    ],
    ("length_ms, at_ms", Some("joined_ms"), true),
);

/// What was said of credentials, line by line.
pub(super) const CREDENTIAL: Own = (
    "credential",
    &[
        ("id", "FixedString(32)"),
        ("host", "FixedString(16)"),
        ("kind", "UInt8"),
        ("said_ms", "Int64"),
        ("count", "UInt64"),
    ],
    ("id, said_ms, kind, host, count", None, false),
);

/// Orders of the fleet.
pub(super) const ORDERS: Own = (
    "orders",
    &[
        ("version", "UInt64"),
        ("made_ms", "Int64"),
        ("body", "String"),
        ("signature", "FixedString(64)"),
    ],
    ("version", None, false),
);

/// Up to when rows may be missing: lines, of which the latest time counts.
pub(super) const GONE: Own = (
    "gone",
    &[("before_ms", "Int64")],
    ("before_ms", None, false),
);

/// Descriptions of tables, by the name of their place.
const DESCRIBED: Own = (
    "described",
    &[("name", "String"), ("description", "String")],
    ("name", None, false),
);

/// Finds out whether rows can be written: a replica of each shard answers, and a row is taken, which
/// is there already.
pub(super) fn probe(server: &Server) -> Result<(), Error> {
    let (database, table) = (&server.dialect.database, BATCH.0);
    server.ask_small(&format!(
        "SELECT count() FROM `{database}`.{table} WHERE at_ms = 0"
    ))?;
    match wire::tables().first() {
        Some(table) => describe(server, &Place::of(table)),
        None => Ok(()),
    }
}

/// Writes down what is at a place.
fn describe(server: &Server, place: &Place) -> Result<(), Error> {
    let mut row = Written::default();
    row.text(place.name.as_bytes());
    let description = serde_json::to_vec(&*place.table);
    let description = description.expect("a description is words and numbers");
    row.text(&description);
    let token = sha256(&row.0);
    server.insert(DESCRIBED.0, &columns(&DESCRIBED), &row.0, &token)
}

/// The columns of a table of ours as they stand in SQL.
pub(super) fn columns(own: &Own) -> String {
    layout::list(&typed(own))
}

fn typed((_, columns, _): &Own) -> Vec<(String, String)> {
    let columns = columns.iter();
    columns
        .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()))
        .collect()
}

/// The places of described tables that are known to be there.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: Mutex<BTreeMap<String, Place>>,
}

impl Places {
    /// Makes what is not there, and reads which tables there are.
    pub(super) fn open(server: &Server) -> Result<Self, Error> {
        for own in [BATCH, SLICE, CREDENTIAL, ORDERS, GONE, DESCRIBED] {
            server.make(own.0, &typed(&own), own.2)?;
        }
        let places = Self::default();
        for table in wire::tables() {
            places.admit(server, table)?;
        }
        Ok(places)
    }

    /// The place of a table, made where it is new; `None` where there are as many as there may be.
    pub(super) fn admit(&self, server: &Server, table: &Table) -> Result<Option<Place>, Error> {
        if table.check().is_err() {
            return Ok(None);
        }
        let place = Place::of(table);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(&place.name) {
            return Ok(Some(place));
        }
        if known.len() >= OTHERS + wire::tables().len() {
            return Ok(None);
        }
        let order = "minute, host, boot, sequence, place";
        server.make(
            &place.name,
            &place.columns(&server.dialect),
            (order, None, true),
        )?;
        describe(server, &place)?;
        known.insert(place.name.clone(), place.clone());
        Ok(Some(place))
    }

    /// All places, also those that other collectors have made.
    pub(super) fn all(server: &Server) -> Result<Vec<Place>, Error> {
        let database = &server.dialect.database;
        let sql = format!(
            "SELECT DISTINCT name, description FROM `{database}`.described ORDER BY name LIMIT 10000"
        );
        let rows = server.ask_small(&sql)?;
        let (mut cells, mut places) = (Cells(&rows), BTreeMap::new());
        while !cells.is_empty() {
            let (name, description) = (cells.string()?, cells.text()?);
            let table: Table = serde_json::from_slice(description).map_err(|_| Error::Damaged {
                what: "a description that cannot be read",
            })?;
            let own = wire::tables().into_iter().find(|own| own.name == name);
            // Of one that this program has, the rows are read as it knows them.
            let table = own.map_or(Cow::Owned(table), Cow::Borrowed);
            places.insert(name.clone(), Place { name, table });
        }
        Ok(places.into_values().collect())
    }
}
