//! What an operator wants to know of a store before anything is asked of it; works while `serve`
//! writes.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::error::{Error, failed};
use super::evicted::{Evicted, evicted};
use super::reader::Reader;

/// Most faults that a quick check names.
const FAULTS: u32 = 10;

/// What is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its version, which is that of this program.
    pub version: i64,
    /// Batches that are known.
    pub batches: u64,
    /// Hosts that are listed.
    pub hosts: u64,
    /// Ends of the oldest and the newest interval of them, by clocks of hosts; Unix milliseconds.
    pub ends_ms: Option<(i64, i64)>,
    /// When the newest came; Unix milliseconds.
    pub received_ms: Option<i64>,
    /// What was deleted because it was full.
    pub evicted: Option<Evicted>,
    /// Outputs as of the last commit.
    pub outputs: Vec<Output>,
    /// When the oldest batch was stored that waits for outputs; Unix milliseconds.
    pub oldest_waiting_ms: Option<i64>,
}

/// How far an output was at the last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name in the configuration.
    pub name: String,
    /// Batches that wait.
    pub waiting: u64,
    /// Batches that made room before they were sent.
    pub dropped: u64,
}

/// Looks at a store.
///
/// # Errors
/// When it cannot be opened, is not ours, or has another version.
pub fn look(path: &Path) -> Result<Look, Error> {
    let mut reader = Reader::open(path)?;
    let db = reader.connection.transaction().map_err(failed)?;
    let evicted = evicted(&db)?;
    read(&db, evicted).map_err(failed)
}

fn read(db: &Connection, evicted: Option<Evicted>) -> rusqlite::Result<Look> {
    let number = |sql| db.query_row(sql, (), |row| row.get::<_, Option<i64>>(0));
    let count = |sql| number(sql).map(|count| count.unwrap_or(0).unsigned_abs());
    let ends = number("SELECT min(end_ms) FROM batch")?;
    let ends = ends.zip(number("SELECT max(end_ms) FROM batch")?);
    let last = number("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'");
    let last = last.optional()?.flatten().unwrap_or(0);
    let mut outputs = db.prepare("SELECT name, position, dropped FROM output ORDER BY name")?;
    let outputs = outputs.query_map((), |row| {
        let waiting = last.saturating_sub(row.get(1)?).max(0);
        Ok(Output {
            name: row.get(0)?,
            waiting: waiting.unsigned_abs(),
            dropped: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    Ok(Look {
        version: db.pragma_query_value(None, "user_version", |row| row.get(0))?,
        batches: count("SELECT count(*) FROM batch")?,
        hosts: count("SELECT count(*) FROM host WHERE forgotten = 0")?,
        ends_ms: ends,
        received_ms: number("SELECT max(received_ms) FROM batch")?,
        evicted,
        outputs: outputs.collect::<rusqlite::Result<_>>()?,
        oldest_waiting_ms: number("SELECT min(received_ms) FROM outbox")?,
    })
}

/// Looks for damaged pages, without comparing indexes; `None` where that takes longer.
///
/// # Errors
/// When it cannot be opened, is not ours, or has another version.
pub fn quick_check(path: &Path, within: Duration) -> Result<Option<Vec<String>>, Error> {
    let reader = Reader::open(path)?;
    let interrupt = reader.connection.get_interrupt_handle();
    let (done, over) = std::sync::mpsc::channel::<()>();
    let watch = move || {
        let late = over.recv_timeout(within) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if late {
            interrupt.interrupt();
        }
        late
    };
    let watch = std::thread::Builder::new()
        .name(String::from("quick-check"))
        .spawn(watch);
    let watch = watch.map_err(Error::Open)?;
    let sql = format!("PRAGMA quick_check({FAULTS})");
    let checked = reader.connection.prepare(&sql).and_then(|mut statement| {
        let said = statement.query_map((), |row| row.get::<_, String>(0))?;
        said.collect::<rusqlite::Result<Vec<_>>>()
    });
    drop(done);
    let late = watch.join().unwrap_or(false);
    match checked {
        Ok(said) => Ok(Some(said.into_iter().filter(|said| said != "ok").collect())),
        Err(_) if late => Ok(None),
        // A page that cannot be read at all ends the check.
        Err(error) => Ok(Some(vec![error.to_string()])),
    }
}
