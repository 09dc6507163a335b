//! The table `block`.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::edges::Edges;
use super::events::Events;
use super::lasting::Lastings;
use super::number::{Reading, put};
use super::sightings::Sightings;
use crate::pack::{pack, unpack};

/// Bytes of a piece, at most: four of them fill a page, whatever the length of a block.
const PIECE: usize = 980;
/// Compressed as fast as it goes: levels above gain a tenth and take three times as long.
const LEVEL: i32 = 1;
/// Most bytes of a block that is unpacked: a batch of the largest size takes less.
const MOST: usize = 512 << 20;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    /// [`Edges`].
    Edges,
    /// [`Sightings`].
    Sightings,
    /// [`Lastings`].
    Lasting,
    /// [`Events`] of the table with this number.
    Events(i64),
}

impl Kind {
    /// As it is stored.
    pub(in crate::store) fn number(self) -> i64 {
        match self {
            Self::Edges => 0,
            Self::Sightings => 1,
            Self::Lasting => 2,
            Self::Events(table) => table.saturating_add(16),
        }
    }

    /// The inverse of [`Kind::number`].
    pub(in crate::store) fn of(number: i64) -> Self {
        match number {
            0 => Self::Edges,
            1 => Self::Sightings,
            ..16 => Self::Lasting,
            table => Self::Events(table - 16),
        }
    }
}

/// A block without its rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Head {
    pub(in crate::store) id: i64,
    pub(in crate::store) boot: i64,
    pub(in crate::store) sequence: i64,
    pub(in crate::store) start_ms: i64,
    pub(in crate::store) end_ms: i64,
    pub(in crate::store) received_ms: i64,
    pieces: i64,
    /// Its rows are not those that are stored.
    pub(in crate::store) changed: bool,
}

impl Head {
    /// Of a block that is to be written, of a run's batch with an interval.
    pub(in crate::store) fn new(
        (boot, sequence): (i64, i64),
        (start_ms, end_ms): (i64, i64),
        received_ms: i64,
    ) -> Self {
        Self {
            id: 0,
            boot,
            sequence,
            start_ms,
            end_ms,
            received_ms,
            pieces: 1,
            changed: false,
        }
    }
}

const HEAD: &str = "id, boot_id, sequence, start_ms, end_ms, received_ms, pieces";

fn head(row: &Row<'_>) -> Result<Head> {
    Ok(Head {
        id: row.get(0)?,
        boot: row.get(1)?,
        sequence: row.get(2)?,
        start_ms: row.get(3)?,
        end_ms: row.get(4)?,
        received_ms: row.get(5)?,
        pieces: row.get(6)?,
        changed: false,
    })
}

/// Rows that can be in a block.
pub(in crate::store) trait Rows: Sized {
    fn len(&self) -> usize;
    fn bytes(&self) -> Vec<u8>;
    fn of(bytes: &[u8]) -> Option<Self>;
}

impl Rows for Edges {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> Vec<u8> {
        self.encode()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }
}

impl Rows for Sightings {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> Vec<u8> {
        self.encode()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }
}

impl Rows for Lastings {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> Vec<u8> {
        self.encode()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }
}

impl Rows for Events {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> Vec<u8> {
        self.encode()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }
}

/// Length and compressed bytes.
fn seal(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut sealed = Vec::new();
    put(&mut sealed, bytes.len() as u64);
    let packed = pack(bytes, LEVEL)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    sealed.extend(packed);
    Ok(sealed)
}

fn open(sealed: &[u8]) -> Option<Vec<u8>> {
    let mut reading = Reading(sealed);
    let length = usize::try_from(reading.number()?).ok()?;
    if length > MOST {
        return None;
    }
    let bytes = unpack(reading.0, length).ok()?;
    (bytes.len() == length).then_some(bytes)
}

/// Appends a block; gives its number. `id`, of the head, is chosen here.
pub(in crate::store) fn write<R: Rows>(
    db: &Connection,
    head: &Head,
    kind: Kind,
    rows: &R,
) -> Result<i64> {
    let sealed = seal(&rows.bytes())?;
    let pieces = sealed.len().div_ceil(PIECE).max(1);
    let mut parts = sealed.chunks(sealed.len().div_ceil(pieces).max(1));
    let first = parts.next().unwrap_or_default();
    let id = db
        .prepare_cached(
            "INSERT INTO block (boot_id, sequence, kind, start_ms, end_ms, received_ms, row_count,
                 pieces, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert(params![
            head.boot,
            head.sequence,
            kind.number(),
            head.start_ms,
            head.end_ms,
            head.received_ms,
            i64::try_from(rows.len()).unwrap_or(i64::MAX),
            i64::try_from(pieces).unwrap_or(i64::MAX),
            first,
        ])?;
    for (part, next) in parts.zip(id + 1..) {
        db.prepare_cached(
            "INSERT INTO block (id, boot_id, sequence, kind, start_ms, end_ms, received_ms,
                 row_count, pieces, bytes)
             VALUES (?1, 0, 0, 0, 0, 0, 0, 0, 0, ?2)",
        )?
        .execute(params![next, part])?;
    }
    Ok(id)
}

/// Puts other rows in the place of those that are there.
pub(in crate::store) fn rewrite<R: Rows>(db: &Connection, head: &Head, rows: &R) -> Result<()> {
    db.prepare_cached("DELETE FROM block WHERE id > ?1 AND id < ?1 + ?2 AND pieces = 0")?
        .execute([head.id, head.pieces])?;
    db.prepare_cached("UPDATE block SET pieces = 1, bytes = ?2 WHERE id = ?1")?
        .execute(params![head.id, seal(&rows.bytes())?])
        .map(drop)
}

/// The rows of a block.
pub(in crate::store) fn read<R: Rows>(db: &Connection, head: &Head) -> Result<R> {
    let mut statement = db.prepare_cached(
        "SELECT bytes FROM block WHERE id >= ?1 AND id < ?1 + ?2 AND (id = ?1 OR pieces = 0)
         ORDER BY id",
    )?;
    let mut sealed = Vec::new();
    let mut rows = statement.query([head.id, head.pieces])?;
    while let Some(row) = rows.next()? {
        sealed.extend_from_slice(row.get_ref(0)?.as_blob()?);
    }
    open(&sealed).as_deref().and_then(R::of).ok_or_else(|| {
        let what = "a block that cannot be read";
        rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, what.into())
    })
}

/// Blocks of a kind whose intervals end after a time and up to another one, in that order.
pub(in crate::store) fn in_window(
    db: &Connection,
    kind: Kind,
    (after_ms, upto_ms): (i64, i64),
) -> Result<Vec<Head>> {
    let sql = format!(
        "SELECT {HEAD} FROM block WHERE end_ms > ?1 AND end_ms <= ?2 AND kind = ?3 AND pieces > 0
         ORDER BY end_ms, id"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let heads = statement.query_map(params![after_ms, upto_ms, kind.number()], head)?;
    heads.collect()
}

/// Blocks of a kind in the order of their arrival, between two numbers.
pub(in crate::store) fn in_order(
    db: &Connection,
    kind: Kind,
    (from, upto): (i64, i64),
) -> Result<Vec<Head>> {
    let sql = format!(
        "SELECT {HEAD} FROM block WHERE id >= ?1 AND id <= ?2 AND kind = ?3 AND pieces > 0
         ORDER BY id"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let heads = statement.query_map(params![from, upto, kind.number()], head)?;
    heads.collect()
}

/// What blocks hold between two numbers.
pub(in crate::store) fn kinds(db: &Connection, (from, upto): (i64, i64)) -> Result<Vec<Kind>> {
    db.prepare_cached(
        "SELECT DISTINCT kind FROM block WHERE id >= ?1 AND id <= ?2 AND pieces > 0 ORDER BY kind",
    )?
    .query_map([from, upto], |row| row.get(0).map(Kind::of))?
    .collect()
}

/// The first block that arrived at a time or after it; one behind the last where none did.
pub(in crate::store) fn id_at(db: &Connection, received_ms: i64) -> Result<i64> {
    let end = |sql: &str| -> Result<i64> {
        db.prepare_cached(sql)?
            .query_row((), |row| row.get::<_, Option<i64>>(0))
            .map(|id| id.unwrap_or(0))
    };
    // Numbers and times rise together: what is looked for is between the two.
    let mut low = end("SELECT min(id) FROM block")?;
    let mut high = end("SELECT max(id) FROM block")?.saturating_add(1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = db
            .prepare_cached(
                "SELECT id, received_ms FROM block WHERE id >= ?1 AND pieces > 0 ORDER BY id LIMIT 1",
            )?
            .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((id, at)) if at < received_ms => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// First and last piece of what was written since `before`, the last piece then.
pub(in crate::store) fn written(
    db: &Connection,
    before: Option<i64>,
) -> Result<Option<(i64, i64)>> {
    let last = last(db)?;
    Ok(last
        .filter(|last| Some(*last) > before)
        .map(|last| (before.unwrap_or(0) + 1, last)))
}

/// The last piece of all.
pub(in crate::store) fn last(db: &Connection) -> Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM block ORDER BY id DESC LIMIT 1")?
        .query_row((), |row| row.get(0))
        .optional()
}
