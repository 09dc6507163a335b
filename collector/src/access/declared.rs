//! The declared communication matrix: every version of it, as it was given, and by whom.

use std::io::{self, Read as _};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::record::{Action, Entry};

/// Versions that are kept.
const KEPT: i64 = 50;
/// Packed bytes of all versions that are kept; the newest is kept however large.
const KEPT_BYTES: i64 = 64 << 20;
/// How a file is packed: it is small, and kept for long.
const PACKING: i32 = 9;

/// A matrix to declare.
#[derive(Clone, Copy, Debug)]
pub struct NewMatrix<'a> {
    /// The file: CSV, XLSX or TOML.
    pub file: &'a [u8],
    /// Flows in it.
    pub flows: u32,
    /// What is said of it.
    pub note: &'a str,
    /// The version that it was made from: nothing is declared where another one is the newest by
    /// now. 0 where there was none; `None` declares in any case.
    pub base: Option<i64>,
}

/// A version of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixVersion {
    /// Grows with each.
    pub version: i64,
    /// When it was declared, Unix milliseconds.
    pub at_ms: i64,
    /// By whom; see [`Actor`].
    pub actor: String,
    /// What is said of it.
    pub note: String,
    /// Flows in it.
    pub flows: u32,
}

/// Why a matrix was not declared.
#[derive(Debug, thiserror::Error)]
pub enum NotDeclared {
    /// Somebody else has declared one in the meantime.
    #[error("version {newest} was declared in the meantime: look at it, and declare on top of it")]
    Stale {
        /// The newest version; 0: none.
        newest: i64,
    },
    /// The file cannot be packed.
    #[error("the matrix cannot be packed")]
    Packing(#[source] io::Error),
    /// The database.
    #[error(transparent)]
    Access(#[from] Error),
}

impl Access {
    /// Declares a matrix; its version.
    ///
    /// # Errors
    /// See [`NotDeclared`].
    pub fn declare(
        &self,
        new: &NewMatrix<'_>,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<MatrixVersion, NotDeclared> {
        let packed = zstd::encode_all(new.file, PACKING).map_err(NotDeclared::Packing)?;
        self.change(actor, now_ms, |db| {
            let before = newest(db).map_err(Error::read)?;
            let last = before.as_ref().map_or(0, |before| before.version);
            if new.base.is_some_and(|base| base != last) {
                return Err(NotDeclared::Stale { newest: last });
            }
            let made = MatrixVersion {
                version: last + 1,
                at_ms: now_ms,
                actor: actor.who.clone(),
                note: new.note.to_owned(),
                flows: new.flows,
            };
            put(db, &made, &packed).map_err(Error::write)?;
            let told = |one: &MatrixVersion| {
                json!({ "version": one.version, "flows": one.flows, "note": one.note })
            };
            let entry = Entry::new(Action::MatrixDeclared, made.version.to_string());
            let entry = entry.after(told(&made));
            let entry = match &before {
                Some(before) => entry.before(told(before)),
                None => entry,
            };
            Ok((made, vec![entry]))
        })
    }

    /// A version of the matrix, the newest where none is named, and its file; `None` where there is
    /// none, or not any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn declared(
        &self,
        version: Option<i64>,
        most: usize,
    ) -> Result<Option<(MatrixVersion, Vec<u8>)>, Error> {
        let found = self.ask(|db| {
            db.prepare_cached(
                "SELECT version, at_ms, actor, note, flows, file FROM matrix
                 WHERE ?1 IS NULL OR version = ?1 ORDER BY version DESC LIMIT 1",
            )?
            .query_row([version], |row| {
                Ok((of_row(row)?, row.get::<_, Vec<u8>>(5)?))
            })
            .optional()
        })?;
        let Some((version, packed)) = found else {
            return Ok(None);
        };
        // Without the lock: it takes a while.
        let file = unpack(&packed, most).map_err(|source| Error::read(unusable(source)))?;
        Ok(Some((version, file)))
    }

    /// The number of the version that is in force; `None`: nothing is declared.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn matrix_in_force(&self) -> Result<Option<i64>, Error> {
        self.ask(|db| Ok(newest(db)?.map(|newest| newest.version)))
    }

    /// Every version that is kept, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn matrix_versions(&self) -> Result<Vec<MatrixVersion>, Error> {
        self.ask(|db| {
            db.prepare_cached(
                "SELECT version, at_ms, actor, note, flows FROM matrix ORDER BY version DESC",
            )?
            .query_map((), of_row)?
            .collect()
        })
    }
}

fn newest(db: &Connection) -> rusqlite::Result<Option<MatrixVersion>> {
    db.query_row(
        "SELECT version, at_ms, actor, note, flows FROM matrix ORDER BY version DESC LIMIT 1",
        (),
        of_row,
    )
    .optional()
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<MatrixVersion> {
    Ok(MatrixVersion {
        version: row.get(0)?,
        at_ms: row.get(1)?,
        actor: row.get(2)?,
        note: row.get(3)?,
        flows: row.get(4)?,
    })
}

/// Adds a version, and deletes the oldest ones beyond the bounds.
fn put(db: &Connection, made: &MatrixVersion, packed: &[u8]) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO matrix (version, at_ms, actor, note, flows, file)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            made.version,
            made.at_ms,
            made.actor,
            made.note,
            made.flows,
            packed
        ],
    )?;
    db.execute(
        "DELETE FROM matrix WHERE version < ?1 AND (version <= ?1 - ?2 OR
            (SELECT sum(length(file)) FROM matrix AS later
             WHERE later.version >= matrix.version) > ?3)",
        params![made.version, KEPT, KEPT_BYTES],
    )
    .map(drop)
}

fn unpack(packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut file = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let decoder = zstd::Decoder::with_buffer(packed)?;
    decoder.take(limit).read_to_end(&mut file)?;
    Ok(file)
}

fn unusable(source: io::Error) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Blob;
    rusqlite::Error::FromSqlConversionFailure(5, kind, Box::new(source))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{KEPT, NewMatrix, NotDeclared};
    use crate::access::{Access, Actor, AuditQuery};

    fn open() -> (tempfile::TempDir, Access) {
        let dir = tempfile::TempDir::new().unwrap();
        let access = Access::open(&dir.path().join("access.db"), Duration::from_secs(60)).unwrap();
        (dir, access)
    }

    fn ann() -> Actor {
        Actor::remote("user", "ann", None)
    }

    fn new(file: &[u8], base: Option<i64>) -> NewMatrix<'_> {
        NewMatrix {
            file,
            flows: 1,
            note: "n",
            base,
        }
    }

    #[test]
    fn the_newest_is_in_force_the_older_are_kept_and_each_has_its_record() {
        let (_dir, access) = open();
        assert!(access.declared(None, 99).unwrap().is_none());
        let first = access
            .declare(&new(b"one", Some(0)), &ann(), 5)
            .unwrap()
            .version;
        let second = access
            .declare(&new(b"two", Some(first)), &ann(), 6)
            .unwrap()
            .version;
        let (newest, file) = access.declared(None, 99).unwrap().unwrap();
        assert_eq!((newest.version, &file[..]), (second, &b"two"[..]));
        let (old, file) = access.declared(Some(first), 99).unwrap().unwrap();
        assert_eq!((old.at_ms, &file[..]), (5, &b"one"[..]));
        let log = access.audit(&AuditQuery::default()).unwrap();
        assert_eq!(log.len(), 2);
        assert_eq!(log[0].action, "matrix.declared");
        assert_eq!(log[0].before.as_ref().unwrap()["version"], first);
        assert_eq!(log[0].after.as_ref().unwrap()["version"], second);
    }

    #[test]
    fn who_has_not_seen_the_newest_declares_nothing() {
        let (_dir, access) = open();
        access.declare(&new(b"one", None), &ann(), 5).unwrap();
        let refused = access.declare(&new(b"two", Some(0)), &ann(), 6);
        assert!(matches!(refused, Err(NotDeclared::Stale { newest: 1 })));
        assert_eq!(access.matrix_versions().unwrap().len(), 1);
        assert_eq!(access.audit(&AuditQuery::default()).unwrap().len(), 1);
    }

    #[test]
    fn versions_are_bounded_and_their_numbers_go_on() {
        let (_dir, access) = open();
        for number in 0..KEPT + 3 {
            let made = access.declare(&new(b"x", None), &ann(), number).unwrap();
            assert_eq!(made.version, number + 1);
        }
        let kept = access.matrix_versions().unwrap();
        assert_eq!(kept.len() as i64, KEPT);
        assert_eq!(kept.last().unwrap().version, 4);
        assert!(access.declared(Some(1), 99).unwrap().is_none());
    }
}
