//! What an operator does with a store: check it, copy it, put a copy in its place, give its free
//! pages back.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::block::{self, Edges, Events, Kind, Lastings, Sightings};
use super::error::{Error, failed};
use super::migrate;
use super::reader::Reader;
use crate::files;

/// Most faults that a check names.
const FAULTS: usize = 100;

/// What a check of a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checked {
    /// Faults, in SQLite's words or as the number of a block; none in a sound store.
    pub faults: Vec<String>,
    /// Batches that are known.
    pub batches: u64,
    /// Blocks of rows that were read.
    pub blocks: u64,
}

/// Bytes of a store's file before and after something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shrunk {
    /// Before.
    pub before_bytes: u64,
    /// After.
    pub after_bytes: u64,
}

/// Checks pages, indexes and every block; works while `serve` writes.
///
/// # Errors
/// When it cannot be opened, or is not ours; faults are no error.
pub fn check(path: &Path) -> Result<Checked, Error> {
    let mut reader = Reader::open(path)?;
    let db = reader.connection.transaction().map_err(failed)?;
    let mut checked = Checked::default();
    let mut statement = db
        .prepare(&format!("PRAGMA integrity_check({FAULTS})"))
        .map_err(failed)?;
    let said = statement
        .query_map((), |row| row.get::<_, String>(0))
        .map_err(failed)?;
    for text in said {
        // A page that cannot be read at all ends the check.
        match text {
            Ok(text) if text == "ok" => {}
            Ok(text) => checked.faults.push(text),
            Err(error) => checked.faults.push(error.to_string()),
        }
    }
    if let Err(error) = blocks(&db, &mut checked) {
        checked.faults.push(error.to_string());
    }
    Ok(checked)
}

fn blocks(db: &Connection, checked: &mut Checked) -> rusqlite::Result<()> {
    let batches: i64 = db.query_row("SELECT count(*) FROM batch", (), |row| row.get(0))?;
    checked.batches = batches.unsigned_abs();
    let last = block::last(db)?.unwrap_or(0);
    let mut kinds = vec![Kind::Edges, Kind::Sightings, Kind::Lasting];
    let mut tables = db.prepare("SELECT id FROM described")?;
    for table in tables.query_map((), |row| row.get(0))? {
        kinds.push(Kind::Events(table?));
    }
    // Some thousand at a time: their heads are in memory.
    for from in (0..=last).step_by(10_000) {
        for kind in &kinds {
            for head in block::in_order(db, *kind, (from, from.saturating_add(9_999)))? {
                let read = match kind {
                    Kind::Edges => block::read::<Edges>(db, &head).map(drop),
                    Kind::Sightings => block::read::<Sightings>(db, &head).map(drop),
                    Kind::Lasting => block::read::<Lastings>(db, &head).map(drop),
                    Kind::Events(_) => block::read::<Events>(db, &head).map(drop),
                };
                checked.blocks += 1;
                if let Err(error) = read
                    && checked.faults.len() < FAULTS
                {
                    checked.faults.push(format!("block {}: {error}", head.id));
                }
            }
        }
    }
    Ok(())
}

/// Copies the store as of this moment into a new file; works while `serve` writes.
///
/// # Errors
/// When the file is there, or one of both cannot be read or written.
pub fn backup(path: &Path, to: &Path) -> Result<(), Error> {
    absent(to)?;
    let reader = Reader::open(path)?;
    let part = part(to);
    // What an earlier attempt left; and nobody else may read it while it is written.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::Open(error));
        }
        _ => {}
    }
    drop(files::make(&mut OpenOptions::new(), &part, files::GROUP).map_err(Error::Open)?);
    let text = part.to_string_lossy();
    reader
        .connection
        .pragma_update(None, "query_only", false)
        .and_then(|()| reader.connection.execute("VACUUM INTO ?1", [text]))
        .map_err(|error| Error::sqlite("back up", error))?;
    settle(&part, to)
}

/// Puts a copy where there is no store.
///
/// # Errors
/// When there is one, the copy is not sound, or one of both cannot be read or written.
pub fn restore(path: &Path, from: &Path) -> Result<Checked, Error> {
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        absent(Path::new(&file))?;
    }
    let checked = check(from)?;
    if !checked.faults.is_empty() {
        return Ok(checked);
    }
    // By SQLite: a copy that is in use as a store has a log beside it.
    backup(from, path)?;
    Ok(checked)
}

/// Gives all free pages back to the file system; batches wait meanwhile.
///
/// # Errors
/// When it cannot be opened or written, or somebody else writes all the time.
pub fn vacuum(path: &Path) -> Result<Shrunk, Error> {
    let bytes = || path.metadata().map(|file| file.len()).map_err(Error::Open);
    let before_bytes = bytes()?;
    // Never makes a store where there is none.
    drop(Reader::open(path)?);
    let db = migrate::open_writer(path)?;
    db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
        .map_err(|error| Error::sqlite("vacuum", error))?;
    Ok(Shrunk {
        before_bytes,
        after_bytes: bytes()?,
    })
}

fn absent(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::Open(error)),
        Ok(_) => Err(Error::Exists {
            path: path.to_owned(),
        }),
    }
}

fn part(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

/// On disk, and only then under its name.
fn settle(part: &Path, path: &Path) -> Result<(), Error> {
    let sync = || {
        File::open(part)?.sync_all()?;
        std::fs::rename(part, path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    sync().map_err(Error::Open)
}
